"""Behind a real PgBouncer: everything that looks and acts, and a worker, in transaction and in session mode."""

import contextlib
import gzip
import json
import signal

import pytest

from helpers import create, one, send
from processes import WorkerProcess, ok, wait_until


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_install_look_act_and_uninstall(empty_dsn, pooler, mode, tmp_path):
    dsn = pooler(empty_dsn, mode)
    ok("install", dsn=dsn)
    ok("upgrade", dsn=dsn)
    ok("create", "orders", "--url", "http://127.0.0.1:9/x", "--transport", "http", dsn=dsn)
    lines = "".join(json.dumps({"n": n}) + "\n" for n in range(3000))
    ok("send", "-q", "orders", "-", stdin=lines, dsn=dsn)
    for arguments in (["status"], ["messages", "--limit", "2000"], ["show", "1"], ["describe", "orders"],
                      ["tail"], ["dead"], ["queues"], ["lag"], ["depth"], ["scale"], ["verify"]):  # fmt: skip
        ok(*arguments, dsn=dsn)
    ok("discard", "--state", "ready", "--yes", dsn=dsn)
    assert json.loads(ok("status", "-o", "json", dsn=dsn).stdout)[0]["dead"] == 3000
    ok("replay", "--dead", "--yes", dsn=dsn)
    ok("pause", dsn=dsn)
    ok("resume", dsn=dsn)
    ok("discard", "--state", "ready", "--yes", dsn=dsn)
    ok("purge", "--dead", "--older-than", "0s", "--export", str(tmp_path / "dead.jsonl.gz"), "--yes", dsn=dsn)
    assert len(gzip.decompress((tmp_path / "dead.jsonl.gz").read_bytes()).splitlines()) == 3000
    ok("drop", "orders", "--yes", dsn=dsn)
    ok("uninstall", "--yes", dsn=dsn)


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_a_worker_delivers_what_is_captured_and_survives_the_pooler_handing_its_connection_around(
    conn, dsn, pooler, endpoint, mode
):
    receiver = endpoint("--fail-rate", "0.1", "--failures", "500")
    create(conn, url=receiver.url, retry_schedule_s=[1] * 20)
    conn.execute("create table public.users (id int primary key)")
    conn.execute("select qctl.attach('public.users', 'orders')")
    pooled = pooler(dsn, mode)
    with contextlib.closing(WorkerProcess(pooled, "-q", "orders")) as worker:
        for first in range(0, 2000, 100):
            conn.execute("insert into public.users select generate_series(%s::int, %s::int)", (first + 1, first + 100))
            ok("lag", dsn=pooled)
        wait_until(lambda: len(receiver.accepted()) == 2000, 60)
        wait_until(lambda: one(conn, "select count(*) from pgmq.q_orders") == 0, 20)
        worker.send(signal.SIGTERM)
        code, talk = worker.end()
    assert code == 0, talk
    assert "behind a pooler" in talk
    assert max(receiver.accepted().values()) == 1


def test_two_workers_behind_one_pool_keep_out_of_each_others_way(conn, dsn, pooler, endpoint):
    receiver = endpoint()
    create(conn, url=receiver.url)
    send(conn, 2000)
    pooled = pooler(dsn, "transaction")
    with contextlib.closing(WorkerProcess(pooled, "--all")), contextlib.closing(WorkerProcess(pooled, "--all")):
        wait_until(lambda: one(conn, "select count(*) from pgmq.q_orders") == 0, 60)
    assert len(receiver.accepted()) == 2000
    assert max(receiver.accepted().values()) == 1


def test_listening_through_a_session_pooler(conn, dsn, pooler, endpoint):
    receiver = endpoint()
    create(conn, url=receiver.url)
    with contextlib.closing(WorkerProcess(pooler(dsn, "session"), "--all", "--listen")) as worker:
        send(conn, 10)
        wait_until(lambda: len(receiver.accepted()) == 10, 20)
        worker.send(signal.SIGTERM)
        code, talk = worker.end()
    assert code == 0
    assert "behind a pooler" not in talk
