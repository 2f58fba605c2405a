"""qctl uninstall: what stays, and what ends."""

import json

from helpers import claim, create, make_due, one, send, settle
from processes import WorkerProcess, failed, ok, qctl, wait_until


def test_uninstall_leaves_pgmq_and_says_what_is_undelivered(full, dsn):
    [dead] = send(full, 1)
    settle(full, [c for c in claim(full) if c.msg_id == dead], 410)
    full.execute("select qctl.discard('orders', %s)", ([dead],))
    done = failed(7, "uninstall", dsn=dsn)
    assert "2 unfinished messages will stay in pgmq" in done.stderr
    assert qctl("uninstall", "--dry-run", dsn=dsn).returncode == 0
    assert one(full, "select to_regnamespace('qctl') is not null")
    done = qctl("uninstall", "--yes", "-o", "json", dsn=dsn)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [{"queue_name": "orders", "unfinished": 2, "archived": 1}]
    assert one(full, "select to_regnamespace('qctl') is null")
    assert one(full, "select count(*) from pgmq.q_orders") == 2
    assert one(full, "select count(*) from pgmq.a_orders") == 1
    full.execute("insert into users values (9)")
    full.execute("delete from users")
    failed(5, "uninstall", "--yes", dsn=dsn)
    failed(5, "verify", dsn=dsn)
    # And back again: what waited is delivered, if asked.
    assert qctl("install", dsn=dsn).returncode == 0
    assert qctl("create", "orders", "--url", "http://127.0.0.1:9/x", "--waiting", "deliver", dsn=dsn).returncode == 0
    make_due(full)
    assert len(claim(full)) == 2


def test_uninstall_of_a_table_that_two_queues_take(full, dsn):
    create(full, "second")
    full.execute("select qctl.attach('public.users', 'second')")
    done = qctl("uninstall", "--yes", dsn=dsn)
    assert done.returncode == 0, done.stderr
    full.execute("insert into users values (9)")


def test_a_running_worker_ends_with_5_when_qctl_is_uninstalled(full, dsn):
    worker = WorkerProcess(dsn, "--all")
    try:
        wait_until(lambda: one(full, "select count(*) from qctl.worker") == 1)
        assert qctl("uninstall", "--yes", dsn=dsn).returncode == 0
        code, talk = worker.end(20)
        assert code == 5, talk
    finally:
        worker.close()


def test_uninstall_leaves_no_message_hidden(conn, dsn):
    create(conn, ordered=True)
    ok("send", "-", "--order-key", "a", dsn=dsn, stdin="1\n2\n3\n")
    assert len(claim(conn)) == 1
    ok("uninstall", "--yes", dsn=dsn)
    assert one(conn, "select count(*) from pgmq.q_orders where isfinite(vt)") == 3
    assert one(conn, "select count(*) from pg_class where relname ~ '^qctl_order'") == 0
