"""What capture adds to a statement, in processor time of its backend, beside release 0.6.0.

Two databases of one server: one has the frozen schema of 0.6.0, the other this version. Each case has a table that is captured
and an equal one that is not. The difference is what capture adds; the lowest value of alternating rounds counts, because other
load on the machine only adds.
"""

import sys
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo
from results import Report, Row
from rig import HERE, create, install, options, postgres

sys.path.insert(0, str(HERE.parent / "scripts"))

from schema_dump import restore

RELEASED = HERE.parent / "tests/upgrade/released/v0.6.0.sql"
COLUMNS = "id bigint primary key, name text, email text, plan text, n int"
# Columns of the table, arguments of attach, the highest ratio that is accepted.
CASES = {
    "built-in types": (COLUMNS, "", 1.15),
    "timestamptz": (COLUMNS.replace("n int", "n timestamptz"), "", 1.5),
    "a condition": (COLUMNS, ", p_operations => '{INSERT,UPDATE}', p_when => 'new.n > 0'", 1.5),
    "an order key": (COLUMNS, ", p_order_by => 'record.n'", 1.5),
    "columns": (COLUMNS, ", p_columns => '{n}'", 1.5),
    "an enum": (COLUMNS.replace("plan text", "plan plan"), "", 1.5),
}
# Arguments of attach, and the highest ratio to plain capture that is accepted.
SHAPES = {
    "a body of two columns": (", p_body => 'jsonb_build_object(''id'', new.id, ''plan'', new.plan)'", 4.0),
    "a body with a joined row": (
        ", p_body => '(select to_jsonb(c) from public.joined c where c.id = new.n)'",
        5.0,
    ),
    "cloudevents": (", p_payload => 'cloudevents'", 6.0),
}


class Database:
    """A session of a database in which every case is set up."""

    def __init__(self, uri: str) -> None:
        self.connection = psycopg.connect(uri, autocommit=True)
        execute = self.connection.execute
        create(self.connection, "bench", "http://127.0.0.1:9/")
        execute("create type plan as enum ('free')")
        for number, (columns, arguments, _) in enumerate(CASES.values()):
            execute(
                f"create table public.captured_{number} ({columns}); create table public.plain_{number} ({columns})"
            )
            execute(f"select qctl.attach('public.captured_{number}', 'bench'{arguments})")
        execute("set synchronous_commit = off")
        pid = self.connection.info.backend_pid
        self._schedstat = Path(f"/proc/{pid}/schedstat")

    def cost_us(self, statement: str, rows: int) -> float:
        """Microseconds of processor time for each row."""
        before = self._spent_ns()
        self.connection.execute(statement)
        return (self._spent_ns() - before) / rows / 1000

    def _spent_ns(self) -> int:
        return int(self._schedstat.read_text().split()[0])


def shapes(database: Database, report: Report, rounds: int, rows: int, single: int) -> None:
    """What a body or a format adds to a statement, beside plain capture of an equal table."""
    execute = database.connection.execute
    execute("create table public.joined (id bigint primary key, name text)")
    execute("insert into public.joined values (1, 'joined')")
    tables = {"plain": "public.plain_0", "captured": "public.captured_0"}
    for number, (case, (arguments, _)) in enumerate(SHAPES.items()):
        tables[case] = f"public.shaped_{number}"
        execute(f"create table {tables[case]} ({COLUMNS})")
        execute(f"select qctl.attach('{tables[case]}', 'bench'{arguments})")
    least: dict[tuple[str, str], float] = {}
    for _ in range(rounds):
        for case, table in tables.items():
            execute(f"truncate {table}, pgmq.q_bench")
            for what, (statement, written) in statements(table, "1", rows, single).items():
                cost = database.cost_us(statement, written)
                least[case, what] = min(cost, least.get((case, what), cost))
    for case, (_, most) in SHAPES.items():
        for what in statements("t", "1", 1, 1):
            added, plain = (least[which, what] - least["plain", what] for which in (case, "captured"))
            report.add(
                Row(
                    f"capture, {case}, {what}", f"≤ {most} × plain capture", f"{added:.1f} µs added", "", rounds,
                    f"plain capture {plain:.1f} µs", added / plain, added / plain <= most, "the least of the rounds",
                )
            )  # fmt: skip


def statements(table: str, value: str, rows: int, single: int) -> dict[str, tuple[str, int]]:
    """What is measured, each with how many rows it writes."""
    row = f"'user', 'user@example.com', 'free', {value}"
    return {
        "one row": (
            f"do $$ begin for i in 1 .. {single} loop insert into {table} values (-i, {row}); end loop; end $$", single
        ),
        "many rows": (f"insert into {table} select i, {row} from generate_series(1, {rows}) i", rows),
        "many updates": (f"update {table} set name = name || 'x', n = {value} where id > 0", rows),
    }  # fmt: skip


def main() -> None:
    """All cases, in alternating rounds."""
    size = options(__doc__, rounds=(15, 1), rows=(100_000, 500), single=(3_000, 100))
    report = Report("capture_cost", size.quick)
    with postgres() as uri:
        uris = {}
        with psycopg.connect(uri, autocommit=True) as admin:
            for name in ("before", "now"):
                admin.execute(f"create database {name}")
                uris[name] = make_conninfo(uri, dbname=name)
        restore(uris["before"], RELEASED)
        install(uris["now"])
        databases = {name: Database(its) for name, its in uris.items()}
        for number, (case, (columns, _, most)) in enumerate(CASES.items()):
            value = "clock_timestamp()" if "timestamptz" in columns else "1"
            least: dict[tuple[str, str, str], float] = {}
            for _ in range(size.rounds):
                for name, database in databases.items():
                    for kind in ("captured", "plain"):
                        table = f"public.{kind}_{number}"
                        database.connection.execute(f"truncate {table}, pgmq.q_bench")
                        for what, (statement, rows) in statements(table, value, size.rows, size.single).items():
                            cost = database.cost_us(statement, rows)
                            key = (name, kind, what)
                            least[key] = min(cost, least.get(key, cost))
            for what in statements("t", value, 1, 1):
                added = {name: least[name, "captured", what] - least[name, "plain", what] for name in databases}
                ratio = added["now"] / added["before"]
                report.add(
                    Row(
                        f"capture, {case}, {what}", f"≤ {most} × of 0.6.0", f"{added['now']:.1f} µs added", "", size.rounds,
                        f"0.6.0 {added['before']:.1f} µs", ratio, ratio <= most, "the least of the rounds",
                    )
                )  # fmt: skip
        shapes(databases["now"], report, size.rounds, size.rows, size.single)
    report.save()


if __name__ == "__main__":
    main()
