"""A copy stays silent until it is armed, by whatever transport; a crash or a restart is no copy."""

import subprocess
import time

import psycopg
import pytest

from helpers import claim, create, one, send
from processes import WorkerProcess, qctl, wait_until
from servers import DebianServer, debian_binaries


def is_silent(dsn: str) -> None:
    """Nothing is claimed by either transport, status and the worker say why."""
    done = qctl("status", dsn=dsn)
    assert done.returncode == 0
    assert "unarmed" in done.stdout
    with psycopg.connect(dsn, autocommit=True) as connection:
        assert one(connection, "select qctl.is_armed()") is False
        assert claim(connection, name="by_http") == []
        assert one(connection, "select qctl.dispatch('by_net')") == 0
        connection.execute("set statement_timeout = '3s'")
        connection.execute("call qctl.work()")
        assert one(connection, "select count(*) from net.http_request_queue") == 0
    drained = qctl("worker", "-q", "by_http", "--drain", dsn=dsn)
    assert drained.returncode == 7
    assert "not armed" in drained.stderr
    assert "qctl arm" in drained.stderr


def delivers_once_armed(dsn: str) -> None:
    done = qctl("arm", "--yes", dsn=dsn)
    assert done.returncode == 0, done.stderr
    assert "2 waiting messages will be delivered now" in done.stderr
    with psycopg.connect(dsn, autocommit=True) as connection:
        assert len(claim(connection, name="by_http")) == 1
        assert one(connection, "select qctl.dispatch('by_net')") == 1


@pytest.fixture
def original(sites, endpoint):
    url = endpoint().url
    site = sites()
    with site.connect() as connection:
        connection.execute("select cron.unschedule(jobid) from cron.job")
        create(connection, "by_http", url=url, transport="http")
        create(connection, "by_net", url=url, transport="pg_net")
        connection.execute("select cron.unschedule(jobid) from cron.job")
        send(connection, 1, "by_http")
        send(connection, 1, "by_net")
    return site


def test_a_restored_dump(original):
    copy = original.server.uri("copy")
    with original.connect() as connection:
        connection.execute("create database copy")
    command = [str(debian_binaries() / "pg_dump"), "--exclude-schema=cron", original.dsn]
    dump = subprocess.run(command, capture_output=True, check=True)
    text = b"\n".join(line for line in dump.stdout.splitlines() if b"EXTENSION" not in line)
    subprocess.run(
        [str(debian_binaries() / "psql"), "-q", "-v", "ON_ERROR_STOP=1", copy],
        input=text,
        capture_output=True,
        check=True,
    )
    is_silent(copy)
    delivers_once_armed(copy)
    assert "unarmed" not in qctl("status", dsn=original.dsn).stdout


def backup(original, *options: str):
    folder = original.server.folder / "backup"
    original.server.tool("pg_basebackup", "-d", original.dsn, "-D", str(folder), "-X", "stream", "-c", "fast", *options)
    return folder


def test_a_base_backup_that_was_recovered(original, sites):
    folder = backup(original)
    copy = DebianServer(folder, restore_command="'false'", recovery_target_timeline="'latest'")
    try:
        (copy.data / "recovery.signal").touch()
        copy.start()
        wait_until(lambda: _writes(copy.uri()), what="the end of recovery")
        is_silent(copy.uri())
        delivers_once_armed(copy.uri())
    finally:
        copy.close()


def _writes(dsn: str) -> bool:
    with psycopg.connect(dsn, autocommit=True) as connection:
        return not one(connection, "select pg_is_in_recovery()")


@pytest.mark.parametrize("survive", [False, True])
def test_a_promoted_standby(original, survive):
    if survive:
        assert qctl("arm", "--survive-failover", "--yes", dsn=original.dsn).returncode == 0
    folder = backup(original)
    standby = DebianServer(folder, primary_conninfo=f"'{original.dsn}'", hot_standby="on")
    try:
        (standby.data / "standby.signal").touch()
        standby.start()
        with psycopg.connect(standby.uri(), autocommit=True) as connection:
            assert one(connection, "select qctl.is_armed()") is True
        original.server.stop("immediate")
        standby.tool("pg_ctl", "-D", str(standby.data), "-w", "promote")
        if survive:
            with psycopg.connect(standby.uri(), autocommit=True) as connection:
                assert one(connection, "select qctl.is_armed()") is True
                assert len(claim(connection, name="by_http")) == 1
        else:
            is_silent(standby.uri())
            delivers_once_armed(standby.uri())
    finally:
        standby.close()


@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_a_restart_is_no_copy(original, how):
    original.server.stop(how)
    original.server.start()
    with original.connect() as connection:
        assert one(connection, "select qctl.is_armed()") is True


def test_another_database_of_the_same_server(conn, server, dsn):
    """The tests' own databases are clones of a template, and each had to be armed."""
    assert one(conn, "select qctl.is_armed()") is True
    conn.execute("select qctl.disarm()")
    create(conn)
    send(conn)
    assert claim(conn) == []
    assert one(conn, "select health from qctl.status") == "unarmed"
    assert conn.execute("select armed, changed from qctl.arm(true)").fetchone() == (True, True)
    conn.execute("select qctl.disarm()")
    assert conn.execute("select changed, survive_failover from qctl.arm()").fetchone() == (True, True)
    assert conn.execute("select armed, changed from qctl.arm()").fetchone() == (True, False)
    assert len(claim(conn)) == 1


def test_a_running_worker_says_so_and_goes_on_when_armed(conn, dsn, endpoint):
    create(conn, url=endpoint().url)
    conn.execute("select qctl.disarm()")
    process = WorkerProcess(dsn, "-q", "orders")
    try:
        send(conn, 3)
        time.sleep(1)
        assert one(conn, "select count(*) from pgmq.q_orders") == 3
        assert qctl("arm", "--yes", dsn=dsn).returncode == 0
        wait_until(lambda: one(conn, "select count(*) from pgmq.q_orders") == 0, 15)
        time.sleep(6)
    finally:
        process.send(2)
        talk = process.end()[1]
    assert "not armed" in talk
    assert "armed again" in talk


def test_disarm_by_hand(conn, dsn):
    done = qctl("disarm", "-o", "json", dsn=dsn)
    assert done.returncode == 0
    assert '"armed": false' in done.stdout
    assert one(conn, "select count(*) from qctl.audit where verb = 'disarm'") == 1
