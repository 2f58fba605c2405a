"""A database restored from a dump captures as the original did: what was attached goes on, whole, under other oids."""

import subprocess

import psycopg
import pytest

from helpers import create, one
from qctl.demo import embedded


def restored(server, dsn: str, empty_dsn: str) -> None:
    dump = subprocess.run([str(embedded.binaries() / "pg_dump"), "-d", dsn], capture_output=True, check=True)
    subprocess.run(
        [str(embedded.binaries() / "psql"), "-q", "-v", "ON_ERROR_STOP=1", "-d", empty_dsn],
        input=dump.stdout, capture_output=True, check=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("ddl", "target"),
    [
        ("create table public.users (id int primary key, active boolean)", "public.users"),
        ("create table public.users (id int primary key, active boolean) partition by range (id);"
         " create table public.users_1 partition of public.users for values from (0) to (1000)", "public.users"),
    ],
    ids=["table", "partitioned"],
)  # fmt: skip
def test_events_are_whole_and_conditions_hold(conn, dsn, empty_dsn, server, ddl, target):
    create(conn)
    # So that no oid of the original means the same in the copy.
    conn.execute(
        "do $$ begin for i in 1..50 loop execute format('create table public.filler_%s ()', i); end loop; end $$"
    )
    conn.execute(ddl)
    conn.execute("do $$ begin for i in 1..50 loop execute format('drop table public.filler_%s', i); end loop; end $$")
    conn.execute("select qctl.attach(%s, 'orders', '{INSERT}', p_when => 'new.active')", [target])
    restored(server, dsn, empty_dsn)
    with psycopg.connect(empty_dsn, autocommit=True) as copy:
        assert one(copy, "select %s::regclass::oid", target) != one(conn, "select %s::regclass::oid", target)
        copy.execute("insert into public.users values (1, true), (2, false)")
        rows = copy.execute("select message -> 'record', message ? 'truncated' from pgmq.q_orders").fetchall()
        assert rows == [({"id": 1, "active": True}, False)]
        assert [row[0] for row in copy.execute("select health from qctl.status")] == ["unarmed"]
        assert copy.execute("select * from qctl.verify()").fetchall() == []
        copy.execute("alter table public.users rename to people")
        copy.execute("insert into public.people values (3, true)")
        assert one(copy, "select message -> 'record' ->> 'id' from pgmq.q_orders order by msg_id desc limit 1") == "3"
