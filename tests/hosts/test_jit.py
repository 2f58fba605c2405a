"""On a server that compiles costly plans, as Debian's does: nothing of qctl is worth it, and compiling takes 0.3 s each time."""

import psycopg
import pytest

from helpers import claim, create, send, settle
from processes import qctl
from qctl import db
from qctl.config import Database
from qctl.operations import migrate
from servers import DebianServer, debian_binaries

EXPLAIN = {
    "session_preload_libraries": "'auto_explain'", "auto_explain.log_min_duration": "0", "auto_explain.log_analyze": "on",
    "auto_explain.log_nested_statements": "on", "auto_explain.log_timing": "off",
}  # fmt: skip
COMMANDS = """
status; status --workers; depth; lag; queues; describe orders; check --max-depth 9; check --max-silence 1h; doctor; verify; scale
capacity --rate 100/s; messages; messages --since 1h; messages --status-code 500; messages --response x; messages --attempted
messages --where {"record":{}}; show 1; dead; tail; replay 1; discard 2 --yes; send {}; purge --older-than 1d --dry-run
purge --older-than 1d; pause; resume; secret list
"""


@pytest.fixture
def compiling():
    if debian_binaries() is None:
        pytest.skip("no Debian PostgreSQL here: scripts/debian_parts.sh")
    server = DebianServer(jit="on", **EXPLAIN)
    server.start()
    try:
        with psycopg.connect(server.uri(), autocommit=True) as connection:
            if not connection.execute("select pg_jit_available()").fetchone()[0]:
                pytest.skip("this PostgreSQL was built without just-in-time compilation")
            connection.execute("create database jit")
        with db.connect(Database(server.uri("jit"), "test"), application="test") as connection:
            migrate.apply(connection)
        yield server
    finally:
        server.close()


def test_nothing_is_compiled(compiling):
    dsn, log = compiling.uri("jit"), compiling.folder / "log"
    with psycopg.connect(dsn, autocommit=True) as conn:
        create(conn)
        conn.execute("set jit_above_cost = 0")
        conn.execute("select count(*) from pg_class")
        assert "JIT:" in log.read_text(), "what is compiled is seen"
        conn.execute("reset jit_above_cost")
        seen = len(log.read_text())
        conn.execute("create table public.orders (id bigint)")
        conn.execute("select qctl.attach('public.orders', 'orders')")
        conn.execute("insert into public.orders select n from generate_series(1, 1000) n")
        send(conn, 10)
        settle(conn, claim(conn, 8), [200] * 6 + [500, 400])
        conn.execute("call qctl.maintenance()")
        for command in COMMANDS.replace("\n", ";").strip(";").split(";"):
            done = qctl(*command.split(), dsn=dsn)
            assert done.returncode in (0, 8), (command, done.stderr)
    told = log.read_text()[seen:].split(" LOG:  ")
    assert len(told) > 200
    assert [text[:400] for text in told if "JIT:" in text] == []
