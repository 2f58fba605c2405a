"""A storm over a captured table: random DDL between random writes.

What must hold, with an oracle in Python that computes each change: no write fails; while nothing is found wrong, each change is
captured exactly as the options of its attachment say; while something is, nothing goes out that did not happen; and the printed
command makes it right again, with what was held delivered and nothing lost but what no trigger saw. QCTL_TEST_STEPS makes it
longer, QCTL_TEST_SEED begins elsewhere.
"""

import os
import random
import shlex
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass, field

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from helpers import create, one
from qctl.demo import embedded

STEPS = int(os.environ.get("QCTL_TEST_STEPS", "80"))
SEED = int(os.environ.get("QCTL_TEST_SEED", "1"))
OPTIONS = {
    "all": {},
    "condition": {"operations": ["INSERT", "UPDATE"], "when_sql": "new.v >= 0"},
    "columns": {"columns": ["v"]},
    "order key": {"order_by": "v"},
    "replicated": {"replicated": True},
    "partitions": {},
    "partitions with a condition": {"operations": ["INSERT", "UPDATE"], "when_sql": "new.v >= 0"},
}
OURS = "from qctl.attachment join qctl.queue using (queue_id) where queue_name = 'orders'"
# What the printed command may take away, because a column is gone for good.
REMOVABLE = {"--when": "when_sql", "--columns": "columns", "--order-by": "order_by"}


@dataclass
class Row:
    """What the application knows of one."""

    value: int | None
    part: int


@dataclass(frozen=True)
class Change:
    """One row's, with the value after and before it."""

    operation: str
    id: int
    value: int | None
    old: int | None


@dataclass
class Storm:
    """A table, its attachment, and what is known of both."""

    connection: psycopg.Connection
    dsn: str
    dice: random.Random
    options: dict
    roles: list[str]
    schema: str = "public"
    table: str = "t"
    value: str | None = "v"
    number: bool = True
    partitioned: bool = False
    parts: int = 0
    made: int = 0
    names: list[str] = field(default_factory=lambda: ["v"])
    rows: dict[int, Row] = field(default_factory=dict)
    # Since the last time that nothing was wrong: all changes, those that must arrive, those that arrived.
    wanted: Counter[Change] = field(default_factory=Counter)
    needed: Counter[Change] = field(default_factory=Counter)
    received: Counter[Change] = field(default_factory=Counter)
    received_last: list[Change] = field(default_factory=list)
    # Nothing captures: what happens is marked as missing.
    missing: bool = False
    log: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """As SQL."""
        return f"{self.schema}.{self.table}"

    def execute(self, statement: str) -> int:
        """Runs it and notes it; gives the number of rows."""
        self.log.append(statement)
        return self.connection.execute(statement).rowcount

    def create_table(self) -> None:
        """With its rows lost, if it was there."""
        self.execute("create sequence if not exists public.ids")
        columns = "id int default nextval('public.ids')"
        if self.partitioned:
            self.execute(
                f"create table {self.name} ({columns}, p int, v int, spare text, primary key (id, p)) partition by list (p);"
                f"create table public.part0 partition of {self.name} for values in (0)"
            )
        else:
            self.execute(f"create table {self.name} ({columns} primary key, v int, spare text)")
        self.value, self.number, self.rows, self.parts = "v", True, {}, 0

    def findings(self) -> list[tuple[str, str]]:
        """Problems and commands."""
        return self.connection.execute("select problem, fix from qctl._verify_attachments()").fetchall()

    def new_name(self, prefix: str) -> str:
        """One that was not used."""
        self.made += 1
        return f"{prefix}{self.made}"

    # What happens to the table.

    def add_column(self) -> None:
        kind = self.dice.choice(["text", "float8", "timestamptz", "jsonb", "json", "int[]", "int default 7", "bytea"])
        self.execute(f"alter table {self.name} add {self.new_name('c')} {kind}")

    def drop_column(self) -> None:
        columns = [row[0] for row in self.connection.execute(
            "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped"
            " and attname not in ('id', 'p')", (self.name,))]  # fmt: skip
        if columns:
            column = self.dice.choice(columns)
            self.execute(f"alter table {self.name} drop {column}")
            if column == self.value:
                self.value = None
                for row in self.rows.values():
                    row.value = None

    def rename_column(self) -> None:
        if self.value is not None:
            new = self.new_name("v")
            self.execute(f"alter table {self.name} rename {self.value} to {new}")
            self.value = new
            self.names.append(new)

    def retype_column(self) -> None:
        if self.value is not None and self.number:
            kind = self.dice.choice(["bigint", "numeric", "int"])
            self.execute(f"alter table {self.name} alter {self.value} type {kind}")

    def rename_table(self) -> None:
        new = self.new_name("t")
        self.execute(f"alter table {self.name} rename to {new}")
        self.table = new

    def swap(self) -> None:
        """Another table takes the name; the capture stays with this one."""
        old, new = self.table, self.new_name("t")
        self.execute(f"alter table {self.name} rename to {new}; create table {self.schema}.{old} (id int)")
        self.table = new

    def move(self) -> None:
        new = "other" if self.schema == "public" else "public"
        self.execute(f"alter table {self.name} set schema {new}")
        self.schema = new

    def new_owner(self) -> None:
        self.execute(f"alter table {self.name} owner to {self.dice.choice(self.roles)}")

    def reassign(self) -> None:
        first, second = self.dice.sample(self.roles[:2], 2)
        self.execute(f"reassign owned by {first} to {second}")

    def revoke(self) -> None:
        self.execute(f"revoke all on all functions in schema qctl from public, {', '.join(self.roles[:2])}")

    def disable(self) -> None:
        self.missing = True
        self.execute(f"alter table {self.name} disable trigger user")

    def only_replicas(self) -> None:
        self.missing = True
        for (trigger,) in self.connection.execute(
            "select tgname from pg_trigger where tgrelid = %s::regclass and not tgisinternal", (self.name,)
        ).fetchall():
            self.execute(f'alter table {self.name} enable replica trigger "{trigger}"')

    def drop_row_function(self) -> None:
        function = one(self.connection, f"select qctl._row_function(name)::text {OURS}")
        if function:
            self.execute(f"drop function {function}")

    def create_again(self) -> None:
        """As a reset of an application's schema does."""
        # Only its name tells that it is the same: it is followed before it gets another.
        if one(self.connection, f"select table_name {OURS}") == self.name:
            self.execute(f"drop table {self.name}")
            self.create_table()
            self.missing = True
            self.write()
            self.follow()

    def partition(self) -> None:
        """One more, made in place or attached as it is."""
        self.parts += 1
        part = f"part{self.parts}"
        if self.dice.random() < 0.5:
            self.execute(f"create table public.{part} partition of {self.name} for values in ({self.parts})")
        else:
            self.execute(f"create table public.{part} (like {self.name} including all)")
            self.execute(f"alter table {self.name} attach partition public.{part} for values in ({self.parts})")

    def part_with(self) -> None:
        """A partition goes, and its rows with it."""
        if self.parts:
            self.execute(f"alter table {self.name} detach partition public.part{self.parts}")
            self.execute(f"drop table public.part{self.parts}")
            self.rows = {key: row for key, row in self.rows.items() if row.part != self.parts}
            self.parts -= 1

    def stray(self) -> None:
        """What a schema diff between two databases brings: a trigger of another table's capture."""
        function = one(
            self.connection,
            "select 'qctl.capture_' || name || '_insert' from qctl.attachment where table_name = 'public.bystander'",
        )
        self.execute(
            f"create trigger {self.new_name('stray')} after insert on {self.name}"
            f" referencing new table as new_rows for each statement execute function {function}()"
        )

    def restore(self) -> None:
        """As pg_restore --clean of the one table: it has another OID and the triggers of the dump."""
        if one(self.connection, f"select table_name {OURS}") == self.name:
            programs = embedded.binaries()
            self.log.append("pg_dump, pg_restore --clean")
            with tempfile.NamedTemporaryFile(suffix=".dump") as dump:
                for command in (
                    ["pg_dump", "-Fc", "-t", self.name, "-f", dump.name],
                    ["pg_restore", "--clean", dump.name],
                ):
                    done = subprocess.run(
                        [programs / command[0], "-d", self.dsn, *command[1:]],
                        check=False,
                        capture_output=True,
                        text=True,
                    )
                    # What a server does not know that is older than these programs.
                    unknown = "transaction_timeout" in done.stderr and "errors ignored on restore: 1" in done.stderr
                    assert done.returncode == 0 or unknown, done.stderr
            self.missing = True
            self.write()
            self.follow()

    # What the application does.

    def write(self) -> None:
        """One statement, and what must have become of its rows."""
        wrong = self.findings()
        changes = self.statement()
        for change in changes:
            self.wanted[change] += 1
            if self.selected(change) and not self.missing:
                self.needed[change] += 1
        self.receive()
        if not wrong:
            assert self.held() == 0
            selected = Counter(change for change in changes if self.selected(change))
            assert Counter(self.received_last) == selected

    def statement(self) -> list["Change"]:
        """Runs a random statement and gives its changes, as computed here."""
        number, operation = self.dice.randint(-3, 3), self.dice.choice("IIUUDM")
        if operation == "I":
            part = self.dice.randint(0, self.parts) if self.partitioned else 0
            columns = [*(["p"] if self.partitioned else []), *([self.value] if self.value else [])]
            rows = []
            for value in (number, -number):
                values = [*([part] if self.partitioned else []), *([value] if self.value else [])]
                rows.append(f"({', '.join(map(str, values))})")
            given = f"({', '.join(columns)}) values {', '.join(rows)}" if columns else "default values"
            self.log.append(statement := f"insert into {self.name} {given} returning id")
            new = [row[0] for row in self.connection.execute(statement).fetchall()]
            values = (number, -number) if columns else (None,)
            changes = []
            for key, value in zip(new, values, strict=True):
                self.rows[key] = Row(value if self.value else None, part)
                changes.append(Change("INSERT", key, self.rows[key].value, None))
            return changes
        if operation == "U" and self.value:
            self.execute(f"update {self.name} set {self.value} = {self.value} + 1 where {self.value} > {number}")
            changes = []
            for key, row in self.rows.items():
                if row.value is not None and row.value > number:
                    changes.append(Change("UPDATE", key, row.value + 1, row.value))
                    row.value += 1
            return changes
        if operation == "M" and self.partitioned and self.parts and self.value:
            self.execute(
                f"update {self.name} set p = {self.parts}, {self.value} = {self.value} + 10 where p <> {self.parts}"
            )
            changes = []
            for key, row in self.rows.items():
                if row.part != self.parts:
                    if row.value is not None:
                        row.value += 10
                    old = None if row.value is None else row.value - 10
                    changes.append(Change("UPDATE", key, row.value, old))
                    row.part = self.parts
            return changes
        self.execute(f"delete from {self.name} where id % 5 = {abs(number)}")
        gone = {key: row for key, row in self.rows.items() if key % 5 == abs(number)}
        self.rows = {key: row for key, row in self.rows.items() if key not in gone}
        return [Change("DELETE", key, None, row.value) for key, row in gone.items()]

    def selected(self, change: "Change") -> bool:
        """Whether the options want it; those that name a column that is gone will be taken away."""
        if "operations" in self.options and change.operation not in self.options["operations"]:
            return False
        if self.value is None:
            return True
        if self.options.get("when_sql"):
            return change.value is not None and change.value >= 0
        if self.options.get("columns") and change.operation == "UPDATE":
            return change.value != change.old
        return True

    def receive(self) -> None:
        """Takes what is in the queue."""
        self.received_last = []
        for message, headers in self.connection.execute("delete from pgmq.q_orders returning message, headers"):
            assert message["table"] != "bystander"
            sides = {side: message.get(side) for side in ("record", "old_record")}
            key = next(row["id"] for row in sides.values() if row)
            value, old = (self.value_in(row) for row in sides.values())
            change = Change(message["operation"], key, value, old)
            self.received_last.append(change)
            if self.options.get("order_by") and self.value:
                ordered_by = old if change.operation == "DELETE" else value
                assert (headers or {}).get("x-pgmq-group") == (None if ordered_by is None else str(ordered_by))
        self.received.update(self.received_last)
        assert self.received <= self.wanted, self.received - self.wanted

    def value_in(self, row: dict | None) -> int | None:
        """The value, whatever its column was called when the event was captured."""
        return next((row[name] for name in reversed(self.names) if name in row), None) if row else None

    def held(self) -> int:
        return one(self.connection, "select count(*) from qctl.held_event")

    def follow(self) -> None:
        """Types the printed commands."""
        for _ in range(2):
            for problem, fix in self.findings():
                self.log.append(f"{problem} → {fix}")
                words = shlex.split(fix)
                assert words[:2] == ["qctl", "attach"], fix
                assert (words[3], words[5]) == ("-q", "--change")
                before = self.kept()
                changes: dict[str, object] = {}
                for option, value in zip(words[6::2], words[7::2], strict=True):
                    changes[REMOVABLE[option]] = value.split(",") if option == "--columns" and value else value
                    self.options.pop(REMOVABLE[option], None)
                if changes.get("columns") == "":
                    changes["columns"] = []
                self.connection.execute(
                    "select qctl.change_attachment(%s, %s, %s)", (words[2], words[4], Jsonb(changes))
                )
                while one(
                    self.connection, "select queued + dropped from qctl.release_held(%s, %s)", words[2], words[4]
                ):
                    pass
                assert self.kept() == before
        assert self.findings() == []
        assert self.held() == 0
        self.receive()
        assert self.needed <= self.received, self.needed - self.received
        assert self.received <= self.wanted
        self.wanted, self.needed, self.received = Counter(), Counter(), Counter()
        self.missing = False

    def kept(self) -> list:
        """Options that no fix changes."""
        return self.connection.execute(
            "select operations, payload, unchanged, replicated from qctl.attachment order by attachment_id"
        ).fetchall()


DDL = (
    Storm.add_column, Storm.drop_column, Storm.rename_column, Storm.rename_column, Storm.retype_column, Storm.rename_table,
    Storm.swap, Storm.move, Storm.new_owner, Storm.reassign, Storm.revoke, Storm.disable, Storm.only_replicas,
    Storm.drop_row_function, Storm.create_again, Storm.stray,
)  # fmt: skip
OF_PARTITIONED = (*DDL, Storm.partition, Storm.partition, Storm.part_with)
OF_PLAIN = (*DDL, Storm.restore)


@pytest.mark.parametrize("options", OPTIONS)
def test_whatever_happens_to_a_table_its_writes_succeed_and_its_changes_are_captured_held_or_found(conn, dsn, options):
    create(conn)
    roles = [f"storm{number}_{one(conn, 'select current_database()')}" for number in (1, 2)]
    for role in roles:
        conn.execute(f"create role {role}")
    try:
        conn.execute(f"create schema other; grant all on schema public, other to {', '.join(roles)}")
        storm = Storm(conn, dsn, random.Random(f"{SEED} {options}"), dict(OPTIONS[options]), [*roles, conn.info.user])
        storm.partitioned = options.startswith("partitions")
        storm.create_table()
        create(conn, "aside")
        conn.execute("create table public.bystander (id int); select qctl.attach('public.bystander', 'aside')")
        arguments = {"when" if name == "when_sql" else name: value for name, value in storm.options.items()}
        call = sql.SQL(", ").join(sql.SQL("{} => {}").format(sql.Identifier(f"p_{n}"), v) for n, v in arguments.items())
        conn.execute(
            sql.SQL("select qctl.attach('public.t', 'orders'{}{})").format(sql.SQL(", " if arguments else ""), call)
        )
        try:
            for _ in range(STEPS):
                if storm.dice.random() < 0.4:
                    storm.dice.choice(OF_PARTITIONED if storm.partitioned else OF_PLAIN)(storm)
                for _ in range(storm.dice.randint(1, 3)):
                    storm.write()
                if storm.dice.random() < 0.5:
                    storm.follow()
            storm.follow()
        except BaseException as error:
            error.add_note("\n".join(["", *storm.log[-25:]]))
            raise
    finally:
        conn.execute(f"reassign owned by {', '.join(roles)} to current_user")
        for role in roles:
            conn.execute(f"drop owned by {role}; drop role {role}")
