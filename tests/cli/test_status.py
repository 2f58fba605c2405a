"""qctl status: its formats, its workers, its screen."""

import csv
import io
import json
import signal
import subprocess
import time

import pytest

from helpers import create, one, send
from processes import QCTL, environment, ok, plain, screen, wait_until

STATUS_KEYS = {
    "queue_name", "health", "depth", "ready", "delayed", "in_flight", "retrying", "dead", "lag_s", "age_s", "delivered_1m",
    "failed_1m", "last_error", "paused_at", "paused_by", "pause_reason", "url", "transport", "since", "reason", "fix",
    "depth_exact", "depth_estimate", "dead_1m", "delivered_1h", "failed_1h", "dead_1h", "p50_s", "p95_s", "growth_per_s",
    "drain_s", "last_delivered_at", "last_failed_at",
}  # fmt: skip


def test_status_in_every_format(conn, dsn):
    create(conn)
    send(conn, 3)
    (row,) = json.loads(ok("status", "-o", "json", dsn=dsn).stdout)
    assert set(row) == STATUS_KEYS
    assert (row["health"], row["ready"]) == ("no_worker", 3)
    assert row["lag_s"] >= 0
    assert json.loads(ok("status", "-o", "jsonl", dsn=dsn).stdout)["depth"] == 3
    for separator, name in ((",", "csv"), ("\t", "tsv")):
        (line,) = csv.DictReader(io.StringIO(ok("status", "-o", name, dsn=dsn).stdout), delimiter=separator)
        assert set(line) == STATUS_KEYS
        assert line["ready"] == "3"
    assert ok("status", "-o", "markdown", dsn=dsn).stdout.startswith("| queue")
    plain = ok("status", dsn=dsn).stdout
    assert "orders" in plain
    assert "no_worker" in plain
    assert ok("status", dsn=dsn).stderr == ""


def test_health_says_paused_and_ok(conn, dsn):
    create(conn)
    conn.execute("select qctl.register_worker('w', 'http', '{orders}', '0')")
    assert json.loads(ok("status", "-o", "json", dsn=dsn).stdout)[0]["health"] == "ok"
    assert "yes" in ok("pause", "-q", "orders", "--reason", "moving", dsn=dsn).stdout
    (row,) = json.loads(ok("status", "-o", "json", dsn=dsn).stdout)
    assert (row["health"], row["pause_reason"]) == ("paused", "moving")
    assert json.loads(ok("resume", "-o", "json", dsn=dsn).stdout)[0]["changed"] is True


def test_workers_are_listed(conn, dsn):
    create(conn)
    process = subprocess.Popen([str(QCTL), "worker", "--all"], env=environment(QCTL_DSN=dsn), stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: one(conn, "select count(*) from qctl.worker") == 1)
        (row,) = json.loads(ok("status", "--workers", "-o", "json", dsn=dsn).stdout)
        assert (row["state"], row["queues"], row["transport"]) == ("running", ["orders"], "http")
        time.sleep(0.2)
        assert json.loads(ok("status", "-o", "json", dsn=dsn).stdout)[0]["health"] == "ok"
    finally:
        process.terminate()
        process.wait(30)
    assert process.returncode == 0


def test_status_watch_repeats_until_interrupted(conn, dsn):
    create(conn)
    process = subprocess.Popen(
        [str(QCTL), "status", "--watch", "200ms", "-o", "jsonl"],
        env=environment(QCTL_DSN=dsn), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert [json.loads(process.stdout.readline())["queue_name"] for _ in range(3)] == ["orders"] * 3
    process.send_signal(signal.SIGINT)
    _, talk = process.communicate(timeout=10)
    assert (process.returncode, talk) == (130, "")


def test_watch_refreshes_in_place_with_a_sparkline(busy, dsn):
    busy.execute("insert into qctl.throughput select queue_id, date_trunc('minute', now()) - g * interval '1 min', g, 0, 0,"
    " 0, 5, 9"
                 " from qctl.queue, generate_series(1, 60) g")  # fmt: skip
    text = screen(dsn, "status", "--watch", "0.3s", columns=160, rows=48, seconds=2.5, stop=signal.SIGINT)
    assert "\x1b[?1049h" in text
    assert "\x1b[?1049l" in text
    assert plain(text).count("last hour") >= 3
    assert "█" in text
    assert "▁" in text


@pytest.mark.parametrize(
    "given", [["--watch"], ["-w"], ["--watch", "1"], ["-w", "1s"], ["--watch", "-q", "orders"], ["-q", "orders", "-w"]]
)
def test_watch_stands_with_and_without_seconds(busy, dsn, given):
    process = subprocess.Popen(
        [str(QCTL), "status", *given, "-o", "jsonl"], env=environment(QCTL_DSN=dsn), stdout=subprocess.PIPE, text=True
    )
    assert json.loads(process.stdout.readline())["queue_name"] == "orders"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
