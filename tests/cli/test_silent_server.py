"""A server that is silent while TCP is alive, or that restarts: every command ends or goes on, and says what happened."""

import json
import os
import signal
import subprocess
import time

import pytest

from helpers import create, one, send
from processes import QCTL, environment, failing, wait_until
from silent import line

_SOON = {"QCTL_STATEMENT_TIMEOUT": "1s"}


@pytest.mark.parametrize("command", [["check"], ["status"], ["purge", "--older-than", "7d", "--dry-run"]])
def test_a_command_that_reads_ends_with_3(conn, dsn, command):
    create(conn)
    with line(dsn) as to:
        begun = time.monotonic()
        with _Running(to.dsn, command, QCTL_STATEMENT_TIMEOUT="2s", PGAPPNAME="x") as process:
            to.hold()
            _, talk = process.communicate(timeout=40)
        assert process.returncode in (0, 3), talk
        assert time.monotonic() - begun < 30


def test_what_a_session_says_when_the_server_falls_silent(conn, dsn):
    create(conn)
    with conn.transaction():
        conn.execute("lock table qctl.queue in access exclusive mode")
        said = failing(3, "status", dsn=dsn, **_SOON)
        assert "the server takes connections but does not answer" in said
        assert "no answer within 1 s" in said
    with conn.transaction():
        conn.execute("select from qctl.gate for update")
        said = failing(9, "pause", "-q", "orders", dsn=dsn, **_SOON)
        assert "outcome unknown" in said
        assert "qctl status" in said
        assert "Traceback" not in said
    # What was given up committed all the same: nothing tried again on its own.
    wait_until(lambda: one(conn, "select paused_at is not null from qctl.gate"), what="the pause that was given up")


def test_a_duration_that_is_none_is_refused(dsn):
    assert "QCTL_STATEMENT_TIMEOUT: 'soon' is not a duration" in failing(
        2, "status", dsn=dsn, QCTL_STATEMENT_TIMEOUT="soon"
    )


def test_a_connection_that_nobody_answers_ends_with_3(conn, dsn):
    create(conn)
    with line(dsn) as to:
        to.hold()
        begun = time.monotonic()
        failing(3, "check", dsn=to.dsn, timeout=40)
        assert time.monotonic() - begun < 30


def test_tail_and_watch_connect_again(conn, dsn):
    create(conn)
    with line(dsn) as to, _Running(to.dsn, ["tail", "-f", "-o", "jsonl"]) as tail, \
            _Running(to.dsn, ["status", "--watch", "100ms", "-o", "jsonl"]) as watch:  # fmt: skip
        assert json.loads(watch.stdout.readline())["queue_name"] == "orders"
        time.sleep(1)
        to.cut()
        send(conn)
        conn.execute("select qctl.discard('orders', array[1::bigint])")
        conn.execute(
            "insert into qctl.attempt (queue_id, msg_id, delivery_no, attempt_no, outcome, transport, claimed_at, settled_at)"
            " select queue_id, 1, 1, 1, 'dead', 'http', clock_timestamp(), clock_timestamp() from qctl.queue"
        )
        assert json.loads(tail.stdout.readline())["outcome"] == "dead"
        deadline = time.monotonic() + 30
        while json.loads(watch.stdout.readline())["dead"] != 1:
            assert time.monotonic() < deadline
        for process in (tail, watch):
            process.send_signal(signal.SIGINT)
            _, talk = process.communicate(timeout=20)
            assert process.returncode == 130
            assert "trying again" in talk
            assert "connected again" in talk


@pytest.mark.slow
def test_a_worker_ends_within_its_grace_although_the_server_is_silent(conn, dsn, endpoint, worker):
    create(conn, url=endpoint("--delay", "0.2").url)
    with line(dsn) as to:
        process = worker("-q", "orders", "--grace", "2s", at=to.dsn)
        send(conn, 20)
        wait_until(lambda: one(conn, "select count(*) from qctl.attempt") > 0)
        to.hold()
        time.sleep(1)
        begun = time.monotonic()
        process.send(signal.SIGTERM)
        code, _talk = process.end(timeout=60)
        assert time.monotonic() - begun < 8
        assert code in (0, 9)


def test_sighup_ends_a_worker_in_order(conn, endpoint, worker):
    create(conn, url=endpoint().url)
    process = worker("-q", "orders")
    send(conn, 5)
    wait_until(lambda: one(conn, "select count(*) from qctl.attempt") == 5)
    process.send(signal.SIGHUP)
    code, talk = process.end()
    assert code == 0, talk
    assert one(conn, "select stopped_at is not null from qctl.worker") is True


class _Running:
    """A command that runs beside the test."""

    def __init__(self, dsn: str, arguments: list[str], **extra: str) -> None:
        self._process = subprocess.Popen(
            [str(QCTL), *arguments], env=environment(QCTL_DSN=dsn, **extra), text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def __enter__(self) -> subprocess.Popen:
        return self._process

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            os.kill(self._process.pid, signal.SIGKILL)
        self._process.communicate()
