"""Scrapes under load, read by the official parser; probes of a worker."""

import contextlib
import json
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from helpers import claim, create, deliver, one, send, settle
from processes import QCTL, WorkerProcess, environment, ok, qctl, wait_until
from qctl.operations.metrics import BOUNDS_S
from servers import free_port

TOP = Path(__file__).parents[2]


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""


def samples(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (s.name, tuple(sorted(s.labels.values()))): s.value
        for f in text_string_to_metric_families(text)
        for s in f.samples
    }


def total(text: str, name: str, *labels: str) -> float:
    return sum(value for (key, found), value in samples(text).items() if key == name and set(labels) <= set(found))


def test_a_worker_is_scraped_and_probed_under_load(conn, dsn, endpoint):
    receiver = endpoint("--fail-rate", "0.1", "--failures", "500,429")
    create(conn, url=receiver.url, retry_schedule_s=[1] * 20)
    create(conn, "quiet")
    conn.execute("update qctl.queue set created_at = now() - interval '1 min'")
    health, metrics = free_port(), free_port()
    with contextlib.closing(
        WorkerProcess(dsn, "-q", "orders", "--health", f"127.0.0.1:{health}", "--metrics", f"127.0.0.1:{metrics}")
    ) as worker:
        wait_until(lambda: get(health, "/ready")[0] == 200)
        assert get(health, "/live")[0] == 200
        seen = 0.0
        for _ in range(10):
            send(conn, 300)
            status, text = get(metrics, "/metrics")
            assert status == 200
            count = total(text, "qctl_attempts_total")
            assert count >= seen
            seen = count
        wait_until(lambda: one(conn, "select count(*) from pgmq.q_orders") == 0, 60)
        _, text = get(metrics, "/metrics")
        wait_until(lambda: total(get(metrics, "/metrics")[1], "qctl_attempts_total", "delivered") == 3000, 10)
        _, text = get(metrics, "/metrics")
        logged = one(conn, "select count(*) from qctl.attempt where settled_at is not null")
        assert total(text, "qctl_attempts_total") == logged == len(receiver.entries())
        assert total(text, "qctl_attempts_total", "retrying", "500") > 0
        assert total(text, "qctl_attempt_seconds_count", "orders") == logged
        assert total(text, "qctl_depth", "orders") == 0
        assert samples(text)["qctl_health", ("no_worker", "quiet")] == 1
        assert samples(text)["qctl_health", ("ok", "orders")] == 1
        assert total(text, "qctl_armed") == 1
        assert total(text, "qctl_scrape_seconds") > 0
        (age,) = [
            v
            for (name, labels), v in samples(text).items()
            if name == "qctl_worker_last_seen_seconds" and "http" in labels
        ]
        assert 0 <= age < 20
        conn.execute("select qctl.drop_queue('quiet', p_with_archive => true)")
        assert "quiet" not in get(metrics, "/metrics")[1]
        assert get(metrics, "/nothing")[0] == 404
        worker.send(signal.SIGSTOP)
        time.sleep(0.2)
        worker.send(signal.SIGCONT)
        worker.send(signal.SIGTERM)
        code, talk = worker.end()
    assert code == 0, talk


def test_not_ready_while_it_ends_and_not_scraped_while_the_database_is_gone(conn, dsn, endpoint):
    receiver = endpoint("--delay-s", "3")
    create(conn, url=receiver.url)
    send(conn, 1)
    port = free_port()
    with contextlib.closing(WorkerProcess(dsn, "--all", "--health", str(port), "--metrics", str(port))) as worker:
        wait_until(lambda: receiver.entries())
        # It is ready once the round that sent is over.
        wait_until(lambda: get(port, "/ready")[0] == 200, 2)
        worker.send(signal.SIGTERM)
        wait_until(lambda: get(port, "/ready")[0] == 503, 2)
        assert get(port, "/live")[0] == 200
        assert worker.end()[0] == 0
    done = qctl("metrics", dsn="postgresql://127.0.0.1:1/nothing")
    assert (done.returncode, "cannot connect" in done.stderr) == (3, True)


def test_an_exporter_counts_what_anybody_delivers_and_survives_a_lost_connection(conn, dsn):
    create(conn)
    port = free_port()
    exporter = subprocess.Popen(
        [str(QCTL), "metrics", "--port", f"127.0.0.1:{port}"],
        env=environment(QCTL_DSN=dsn),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: get(port, "/metrics")[0] == 200)
        conn.execute("select qctl.send('orders', array['{}'::jsonb])")
        conn.execute("select qctl.discard('orders', '{1}')")
        assert total(get(port, "/metrics")[1], "qctl_dead_letters") == 1
        conn.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'qctl metrics'")
        answers = [get(port, "/metrics")[0] for _ in range(2)]
        assert answers in ([503, 200], [200, 200])
    finally:
        exporter.terminate()
        _, talk = exporter.communicate(timeout=10)
    assert exporter.returncode == 0, talk
    assert f"port {port}" in talk


def test_counters_outlive_the_log_and_every_process(conn, dsn):
    def count(*labels: str) -> float:
        return total(qctl("metrics", dsn=dsn).stdout, "qctl_attempts_total", *labels)

    create(conn, retry_schedule_s=[60], reject_after=1)
    send(conn, 6)
    claims = claim(conn, 6)
    settle(conn, claims[:4], [200, 200, 400, 503], took_ms=[5, 6, 70_000, None])
    assert count() == 4
    conn.execute(
        "update qctl.upkept set (rolled_to, totalled_to) = (now() - interval '3 min', now() - interval '3 min')"
    )
    conn.execute("update qctl.attempt set settled_at = settled_at - interval '2 min'")
    assert one(conn, "select qctl._roll_up()") > 0
    assert count() == 4
    assert one(conn, "select sum(attempts) from qctl.attempt_total") == 4
    conn.execute("delete from qctl.attempt")
    settle(conn, claims[4:], [200, 200], took_ms=[1, 2])
    assert (count(), count("delivered", "200"), count("dead", "400"), count("retrying", "503")) == (6, 4, 1, 1)
    text = qctl("metrics", dsn=dsn).stdout
    within = {
        labels[0]: value for (name, labels), value in samples(text).items() if name == "qctl_attempt_seconds_bucket"
    }
    assert (within["0.005"], within["0.01"], within["60.0"], within["+Inf"]) == (3, 4, 4, 5)
    assert total(text, "qctl_attempt_seconds_count") == 5
    assert total(text, "qctl_attempt_seconds_sum") == pytest.approx(70.014)
    conn.execute("select qctl.drop_queue('orders', p_discard => true, p_with_archive => true)")
    conn.execute("update qctl.upkept set swept_at = null")
    conn.execute("select qctl._sweep()")
    assert one(conn, "select count(*) from qctl.attempt_total") == 0


def test_a_bound_of_the_histogram_is_the_same_in_the_database(conn):
    bounds = one(conn, "select qctl._duration_bounds_ms()")
    assert (*(bound / 1000 for bound in bounds), float("inf")) == BOUNDS_S


@pytest.mark.parametrize("text", ["x", "1:2:x", "99999", ""])
def test_a_port_that_is_none(dsn, text):
    done = qctl("metrics", "--port", text, dsn=dsn)
    assert (done.returncode, "is not a port" in done.stderr) == (2, True)


def test_two_cannot_have_one_port(dsn, conn):
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        done = qctl("metrics", "--port", f"127.0.0.1:{taken.getsockname()[1]}", dsn=dsn)
    assert (done.returncode, "cannot listen on" in done.stderr) == (2, True)


def test_the_dashboard_and_the_alerts_name_what_is_served(conn, dsn):
    create(conn)
    served = {family.name for family in text_string_to_metric_families(qctl("metrics", dsn=dsn).stdout)}
    names = {f"{name}{suffix}" for name in served for suffix in ("", "_total", "_bucket", "_sum", "_count")}
    dashboard = (TOP / "deploy/grafana-dashboard.json").read_text()
    alerts = (TOP / "deploy/prometheus-alerts.yml").read_text()
    expressions = [target["expr"] for panel in json.loads(dashboard)["panels"] for target in panel.get("targets", [])]
    assert len(expressions) >= 8
    for text in (*expressions, *re.findall(r"expr: (.*)", alerts)):
        found = set(re.findall(r"\bqctl_[a-z_]+", text))
        assert found, text
        assert found <= names, (text, found - names)


def test_neither_a_purge_nor_a_clock_sets_the_counters_back(conn, dsn):
    def count() -> int:
        return one(conn, "select coalesce(sum(attempts), 0) from qctl.attempt_totals()")

    create(conn)
    deliver(conn, 5)
    assert count() == 5
    ok("purge", "-q", "orders", "--older-than", "0s", dsn=dsn)
    assert one(conn, "select count(*) from qctl.attempt") == 0
    assert count() == 5
    deliver(conn, 3)
    conn.execute("select qctl._add_up(clock_timestamp())")
    assert count() == 8
    conn.execute("update qctl.upkept set rolled_to = rolled_to - interval '1 h'")
    conn.execute("call qctl.maintenance()")
    assert count() == 8
    # Maintenance that was down for longer than what is purged is old.
    conn.execute("update qctl.upkept set (rolled_to, totalled_to) = (now() - interval '10 d', now() - interval '10 d')")
    conn.execute("truncate qctl.attempt_total")
    conn.execute(
        "update qctl.attempt set settled_at = settled_at - interval '8 d', claimed_at = claimed_at - interval '8 d'"
    )
    conn.execute(
        "update pgmq.a_orders set archived_at = archived_at - interval '8 d', enqueued_at = enqueued_at - interval '8 d'"
    )
    assert count() == 3
    ok("purge", "-q", "orders", "--older-than", "7d", dsn=dsn)
    assert one(conn, "select count(*) from qctl.attempt") == 0
    assert count() == 3
