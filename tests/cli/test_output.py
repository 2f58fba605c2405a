"""What commands print: the keys of their JSON, and texts whole at any width."""

import pytest

from helpers import claim, create, send, settle
from processes import data, ok, plain, screen

MESSAGE = {
    "queue_name", "msg_id", "state", "webhook_id", "enqueued_at", "visible_at", "finished_at", "delivery_no", "attempts",
    "lost", "next_at",
    "reason", "note",
}  # fmt: skip


LISTED = MESSAGE | {"last_attempt_at", "status_code", "error", "response", "duration_ms"}


EVENT = {
    "at",
    "event",
    "delivery_no",
    "attempt_no",
    "status_code",
    "duration_ms",
    "error",
    "response",
    "actor",
    "detail",
    "until",
}


WORKER = {
    "worker_id", "name", "kind", "transport", "queues", "state", "in_flight", "holds_since", "busy", "qctl_version",
    "role_name", "started_at",
    "last_seen_at", "stopped_at", "job_name", "last_run", "last_message",
}  # fmt: skip


def test_the_shape_of_each_verbs_json(busy, dsn):
    for row in data("messages", dsn=dsn):
        assert set(row) == LISTED
    for row in data("messages", "--payload", dsn=dsn):
        assert set(row) == LISTED | {"headers", "message"}
        assert row["message"]["table"] == "users"
    (life,) = data("show", "2", dsn=dsn)
    assert set(life) == MESSAGE | {"last_status", "last_error", "attempt_log", "life"}
    assert {frozenset(event) for event in life["life"]} == {frozenset(EVENT)}
    (life,) = data("show", "2", "--payload", dsn=dsn)
    assert life["message"]["record"] == {"id": 2}
    dead = data("dead", dsn=dsn)
    assert set(dead) == {"groups", "messages"}
    assert set(dead["groups"][0]) == {"queue_name", "reason", "status_code", "error", "messages", "first_at", "last_at"}
    assert [set(row) for row in dead["messages"]] == [LISTED]
    (worker,) = data("status", "--workers", dsn=dsn)
    assert set(worker) == WORKER
    assert (worker["state"], worker["in_flight"], worker["kind"]) == ("running", 1, "process")
    check = data("check", dsn=dsn)
    assert set(check) == {"ok", "queues", "limits", "problems"}
    assert (check["ok"], check["queues"], check["problems"]) == (True, 1, [])
    assert check["limits"]["max_lag_s"] == 60
    check = data("check", "--max-dead", "0", dsn=dsn, code=8)
    (problem,) = check["problems"]
    assert set(problem) == {"queue_name", "cause", "since", "problem", "value", "limit", "fix"}
    assert (problem["cause"], problem["value"], problem["limit"], problem["fix"]) == ("dead", 1, 0, None)
    assert problem["problem"] == "dead letters; see: qctl dead -q orders"
    for row in data("doctor", dsn=dsn):
        assert set(row) == {"severity", "kind", "object", "problem", "fix"}
    assert set(data("describe", dsn=dsn)) >= {"headers", "attachments", "health", "retention_s", "url"}
    assert set(data("lag", dsn=dsn)[0]) == {"queue_name", "lag_s", "age_s"}


@pytest.mark.slow
def test_piped_output_is_uncut_at_any_width(conn, dsn):
    long_url = "http://127.0.0.1:9/" + "x" * 300
    create(conn, url=long_url)
    send(conn)
    settle(conn, claim(conn), None, error="e" * 400)
    for width in ("20", "80", "200"):
        assert long_url in ok("queues", dsn=dsn, COLUMNS=width).stdout
        assert "e" * 400 in ok("tail", dsn=dsn, COLUMNS=width).stdout
        assert "e" * 400 in ok("show", "1", dsn=dsn, COLUMNS=width).stdout
        assert long_url in ok("describe", "orders", dsn=dsn, COLUMNS=width).stdout
        assert long_url in ok("queues", "-o", "table", dsn=dsn, COLUMNS=width).stdout


def test_no_colour_where_none_is_wanted(conn, dsn):
    create(conn)
    for arguments in (("status",), ("status", "-o", "table"), ("describe", "orders")):
        assert "\x1b" not in ok(*arguments, dsn=dsn).stdout
        assert "\x1b" not in ok(*arguments, dsn=dsn, NO_COLOR="1").stdout


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (160, 48)])
@pytest.mark.parametrize(
    "arguments", [["status"], ["status", "--workers"], ["messages"], ["dead"], ["show", "2"], ["doctor"], ["tail"]]
)
def test_nothing_is_wider_than_the_screen_but_what_is_to_be_copied(busy, dsn, arguments, columns, rows):
    lines = plain(screen(dsn, *arguments, columns=columns, rows=rows)).splitlines()
    assert lines
    told = [
        line
        for line in lines
        if not line.startswith(("    ", "  Next:", "Next:", "webhook-id", "orders:", "warning", "broken", "note"))
    ]
    assert max(len(line.rstrip()) for line in told) <= columns, told
