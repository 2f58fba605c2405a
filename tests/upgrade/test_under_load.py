"""Upgrade while the previous version's worker delivers, and while a CALL runs."""

import io
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import psycopg
import pytest

import standin
from helpers import create, one, send
from processes import environment, qctl, wait_until
from qctl import db
from qctl.config import Database
from qctl.db import files
from qctl.db.files import SqlFile
from qctl.operations import migrate
from standin import NetWorker

TOP = Path(__file__).parents[2]
RELEASED = Path(__file__).parent / "released"


@pytest.fixture(params=sorted(path.stem for path in RELEASED.glob("*.commit")))
def old_qctl(request, tmp_path):
    """The previous release's code, from the history of this repository; runs its commands."""
    commit = (RELEASED / f"{request.param}.commit").read_text().strip()
    archive = subprocess.run(["git", "-C", str(TOP), "archive", commit, "src", "sql"], capture_output=True, check=False)
    if archive.returncode:
        pytest.skip(f"this clone has no history back to {request.param}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(tmp_path, filter="data")

    def start(*arguments: str, dsn: str) -> subprocess.Popen:
        # It knows none of the options that the tests' own config sets.
        env = environment(QCTL_DSN=dsn, PYTHONPATH=str(tmp_path / "src"), QCTL_CONFIG="/nonexistent/config.toml")
        return subprocess.Popen([sys.executable, "-m", "qctl", *arguments], env=env, stderr=subprocess.PIPE, text=True)

    return start


@pytest.mark.timeout(180)
def test_the_previous_versions_worker_goes_on_through_an_upgrade(old_qctl, empty_dsn, endpoint):
    receiver = endpoint()
    installing = old_qctl("install", dsn=empty_dsn)
    assert installing.wait(30) == 0, installing.communicate()[1]
    installing.communicate()
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        conn.execute("select qctl.create_queue('orders', %s)", (receiver.url,))
        if "allow_networks" in {column.name for column in conn.execute("select * from qctl.queue").description}:
            conn.execute("update qctl.queue set allow_networks = '{127.0.0.0/8}'")
        conn.execute("create table public.users (id int primary key)")
        conn.execute("select qctl.attach('public.users', 'orders')")
        worker = old_qctl("worker", "-q", "orders", dsn=empty_dsn)
        stop = threading.Event()
        written = 0

        def write() -> None:
            nonlocal written
            with psycopg.connect(empty_dsn, autocommit=True) as writer:
                while not stop.is_set():
                    writer.execute(
                        "insert into users select n from generate_series(%s::int, %s::int) n", (written, written + 24)
                    )
                    written += 25
                    time.sleep(0.05)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            wait_until(lambda: len(receiver.entries()) > 500)
            upgraded = qctl("upgrade", dsn=empty_dsn)
            assert upgraded.returncode == 0, upgraded.stderr
            at_upgrade = len(receiver.entries())
            wait_until(lambda: len(receiver.entries()) > at_upgrade + 1000)
        finally:
            stop.set()
            writer.join()
        wait_until(lambda: one(conn, "select count(*) from pgmq.q_orders") == 0, 60)
        assert worker.poll() is None
        worker.send_signal(signal.SIGTERM)
        _, talk = worker.communicate(timeout=30)
        assert worker.returncode == 0, talk
        accepted = receiver.accepted()
        assert len(accepted) == sum(accepted.values()) == written
        assert qctl("verify", dsn=empty_dsn).returncode == 0


@pytest.mark.timeout(180)
def test_a_capture_under_way_goes_on_with_what_it_needs(old_qctl, empty_dsn):
    installing = old_qctl("install", dsn=empty_dsn)
    assert installing.wait(30) == 0, installing.communicate()[1]
    installing.communicate()
    written = []

    def write() -> None:
        with psycopg.connect(empty_dsn, autocommit=True) as writer:
            writer.execute("insert into users values (1)")
            written.append(1)

    with psycopg.connect(empty_dsn, autocommit=True) as conn, psycopg.connect(empty_dsn) as holder:
        conn.execute("select qctl.create_queue('orders', 'http://127.0.0.1:9/')")
        conn.execute("create table public.users (id int primary key)")
        conn.execute("select qctl.attach('public.users', 'orders')")
        # The trigger function has begun and waits, so it goes on as it was before the upgrade.
        holder.execute("lock table pgmq.q_orders in share mode")
        writer = threading.Thread(target=write)
        writer.start()
        wait_until(
            lambda: one(
                conn, "select count(*) from pg_locks where relation = 'pgmq.q_orders'::regclass and not granted"
            )
        )
        upgraded = qctl("upgrade", dsn=empty_dsn)
        holder.rollback()
        writer.join(30)
        assert upgraded.returncode == 0, upgraded.stderr
        assert written == [1]
        kept = "select count(*) from pg_proc where pronamespace = 'qctl'::regnamespace and proname ~ '^(kept_)?capture_[0-9]'"
        assert one(conn, "select count(*) from pgmq.q_orders") + one(conn, "select count(*) from qctl.held_event") == 1
        conn.execute("update qctl.routine set checksum = 'older' where name = 'facts'")
        assert qctl("upgrade", dsn=empty_dsn).returncode == 0
        assert one(conn, kept) == 0
        assert qctl("verify", dsn=empty_dsn).returncode == 0


def test_an_upgrade_under_running_calls_loses_nothing(conn, dsn, endpoint):
    standin.install(dsn)
    pg_net = NetWorker(dsn)
    receiver = endpoint()
    create(conn, url=receiver.url, transport="pg_net")
    try:
        with standin.calls(dsn):
            send(conn, 1500)
            for n in range(3):
                wait_until(lambda n=n: len(receiver.entries()) > 300 * (n + 1), 30)
                changed = [SqlFile(f.name, f.text + f"-- {n}\n".encode()) for f in files.routines()]
                with db.connect(Database(dsn, "test"), application="test") as installer:
                    assert len(migrate.apply(installer, files.migrations(), changed)) == len(changed)
            wait_until(lambda: one(conn, "select count(*) from pgmq.q_orders") == 0, 60)
    finally:
        pg_net.close()
    assert len(receiver.entries()) == len(receiver.accepted()) == 1500


def test_an_upgrade_that_postgresql_ends_for_a_deadlock_is_tried_again(conn, dsn):
    conn.execute("create table public.a (); create table public.b ()")
    locking = b"\ndo $$ begin lock table public.a; perform pg_sleep(0.5); lock table public.b; end $$;\n"
    changed = [SqlFile(f.name, f.text + locking) for f in files.routines()[:1]]
    with psycopg.connect(dsn) as other, db.connect(Database(dsn, "test"), application="test") as installer:
        # So that the upgrade is the one that PostgreSQL ends.
        other.execute("set deadlock_timeout = '1min'; lock table public.b")
        upgrade = threading.Thread(target=lambda: applied.extend(migrate.apply(installer, files.migrations(), changed)))
        applied: list = []
        upgrade.start()
        wait_until(lambda: one(conn, "select count(*) from pg_locks where relation = 'public.a'::regclass and granted"))
        other.execute("lock table public.a")
        other.commit()
        upgrade.join(30)
    assert [step.name for step in applied] == [changed[0].name]


def test_a_worker_too_old_for_the_schema_settles_what_it_holds_and_ends_with_5(conn, dsn, endpoint):
    receiver = endpoint("--delay-s", "1")
    create(conn, url=receiver.url, concurrency=10)
    send(conn, 10)
    worker = subprocess.Popen(
        [sys.executable, "-m", "qctl", "worker", "-q", "orders"],
        env=environment(QCTL_DSN=dsn), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_until(lambda: len(receiver.entries()) == 10)
    conn.execute("alter function qctl.claim(text, integer, bigint, bigint) rename to claim_of_another_time")
    send(conn, 1)
    _, talk = worker.communicate(timeout=30)
    assert worker.returncode == 5, talk
    assert "qctl upgrade" in talk
    delivered = one(conn, "select count(*) from pgmq.a_orders")
    assert delivered + one(conn, "select count(*) from pgmq.q_orders") == 11
