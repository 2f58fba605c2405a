"""A queue whose pgmq tables are gone does not stop commands for the other queues."""

import json

import pytest

from helpers import LOOKING, claim, create, drop_pgmq_queue, one, send, settle
from processes import data, failing, ok, qctl


def test_pgmq_gone_behind_our_back(conn, dsn):
    create(conn)
    conn.execute("drop schema pgmq cascade")
    assert json.loads(ok("status", "-o", "json", dsn=dsn).stdout)[0]["depth"] is None
    assert "pgmq" in failing(4, "send", "1", dsn=dsn)


def test_one_broken_queue_blinds_no_one(conn, dsn):
    for name in ("broken", "sound"):
        create(conn, name)
        send(conn, name=name)
    settle(conn, claim(conn, name="sound"), 200, name="sound")
    drop_pgmq_queue(conn, "broken")
    rows = json.loads(ok("status", "-o", "json", dsn=dsn).stdout)
    assert [(row["queue_name"], row["depth"]) for row in rows] == [("broken", None), ("sound", 0)]
    assert [row["queue_name"] for row in json.loads(ok("depth", "-o", "json", dsn=dsn).stdout)] == ["sound"]
    assert json.loads(ok("show", "1", "-o", "json", dsn=dsn).stdout)[0]["queue_name"] == "sound"
    assert "broken:" in failing(9, "purge", "--older-than", "0s", dsn=dsn)
    assert one(conn, "select count(*) from pgmq.a_sound") == 0


@pytest.mark.parametrize("table", ["a_other", "q_other"])
def test_a_table_of_pgmq_that_is_gone_blinds_no_verb_for_the_others(busy, dsn, table):
    create(busy, "other")
    busy.execute("select qctl.register_worker('w2', 'http', '{other}', '0')")
    send(busy, 1, "other")
    busy.execute(f"drop table pgmq.{table} cascade")
    for arguments in LOOKING:
        done = qctl(*arguments, "-o", "json", dsn=dsn)
        assert done.returncode in (0, 8), (arguments, done.stderr)
    (fix,) = {row["fix"] for row in data("doctor", dsn=dsn, code=8) if row["object"] == "other"}
    ok(*fix.split()[1:], dsn=dsn)
    assert data("check", dsn=dsn)["ok"] is True
