"""Which queue and which messages a command is about."""

import json

from helpers import claim, create, one, send, settle
from processes import failing, ok


def test_which_queue(conn, dsn):
    assert "no queue exists yet" in failing(6, "pause", dsn=dsn)
    create(conn, "alpha")
    ok("pause", dsn=dsn)
    create(conn, "beta")
    assert "alpha, beta" in failing(2, "resume", dsn=dsn)
    ok("resume", dsn=dsn, QCTL_QUEUE="alpha")
    assert "queue 'gamma' not found" in failing(6, "pause", "-q", "gamma", dsn=dsn)
    assert "alpha, beta" in failing(6, "status", "-q", "gamma", dsn=dsn)


def test_an_empty_queue_name_never_means_all(conn, dsn):
    create(conn)
    send(conn)
    settle(conn, claim(conn), 200)
    for arguments in (("purge", "--older-than", "0s"), ("status",), ("depth",), ("pause",)):
        assert "queue '' not found" in failing(6, *arguments, "-q", "", dsn=dsn)
    assert one(conn, "select count(*) from pgmq.a_orders") == 1


def test_an_id_known_in_two_queues_must_be_named_with_its_queue(conn, dsn):
    for name in ("alpha", "beta"):
        create(conn, name)
        send(conn, name=name)
    talk = failing(2, "replay", "1", dsn=dsn)
    assert "alpha/1" in talk
    assert "beta/1" in talk
    assert json.loads(ok("show", "beta/1", "-o", "json", dsn=dsn).stdout)[0]["queue_name"] == "beta"
    assert json.loads(ok("show", "1", "-q", "alpha", "-o", "json", dsn=dsn).stdout)[0]["queue_name"] == "alpha"
