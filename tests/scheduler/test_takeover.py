"""Taking over what somebody built before: the seed's own SQL."""

from pathlib import Path

import pytest
from pgmq.install import get_embedded_install_sql

from helpers import one
from processes import qctl

SEED = Path(__file__).with_name("seed.sql")
QUEUE = "webhooks_n8n"


@pytest.fixture
def seeded(sites):
    """A cluster where the seed ran first, and qctl was installed after it."""
    site = sites(qctl=False)
    with site.connect() as connection:
        connection.execute("create extension pg_cron")
        connection.execute(get_embedded_install_sql().encode())
        connection.execute(SEED.read_bytes())
        # None of its jobs runs while a test looks at what waits.
        connection.execute("select cron.alter_job(jobid, schedule => '0 0 29 2 *') from cron.job")
        connection.execute("insert into public.users select n, 'a@b' from generate_series(1, 5) n")
    site.install()
    return site


def active(site) -> set[str]:
    with site.connect() as connection:
        return {row[0] for row in connection.execute("select jobname from cron.job where active")}


def create(site, *options: str):
    return qctl("create", QUEUE, "--url", "http://127.0.0.1:9/x", *options, dsn=site.dsn)


def test_create_refuses_while_a_cron_job_reads_the_queue_and_names_it(seeded):
    done = create(seeded, "--waiting", "deliver")
    assert done.returncode == 7
    assert "worker-1" in done.stderr
    assert "worker-2" in done.stderr
    assert "limpieza" not in done.stderr
    assert "--take-over" in done.stderr
    assert active(seeded) == {"worker-1", "worker-2", "limpieza-diaria-logs"}
    with seeded.connect() as connection:
        assert one(connection, "select count(*) from qctl.queue") == 0


def test_take_over_switches_the_readers_off_in_the_same_transaction(seeded):
    done = create(seeded, "--take-over")
    assert done.returncode == 7
    assert "holds 5 messages" in done.stderr
    assert active(seeded) >= {"worker-1", "worker-2"}
    done = create(seeded, "--take-over", "--waiting", "deliver")
    assert done.returncode == 0, done.stderr
    assert "cron job worker-1 is switched off" in done.stderr
    assert active(seeded) == {"limpieza-diaria-logs", "qctl-worker", "qctl-maintenance"}
    with seeded.connect() as connection:
        assert one(connection, "select qctl.dispatch(%s)", QUEUE) == 5
        assert one(connection, "select retention_s from qctl.queue") is None


def test_skip_moves_what_waits_to_the_archive(seeded):
    done = create(seeded, "--take-over", "--waiting", "skip")
    assert done.returncode == 0, done.stderr
    assert "5 waiting messages skipped to the archive" in done.stderr
    with seeded.connect() as connection:
        assert one(connection, f"select count(*) from pgmq.a_{QUEUE}") == 5
        assert one(connection, "select count(*) from qctl.dead_letter") == 0
        connection.execute("insert into public.users values (6, 'c@d')")
        assert one(connection, "select qctl.dispatch(%s)", QUEUE) == 1


def test_readers_can_be_let_be(seeded):
    done = create(seeded, "--waiting", "deliver", "--ignore-readers")
    assert done.returncode == 0, done.stderr
    assert active(seeded) >= {"worker-1", "worker-2"}


def test_a_job_of_another_queue_does_not_matter(seeded):
    with seeded.connect() as connection:
        connection.execute("select pgmq.create('webhooks')")
        connection.execute("select pgmq.send('webhooks', '{}'::jsonb)")
    done = qctl("create", "webhooks", "--url", "http://127.0.0.1:9/x", "--waiting", "deliver", dsn=seeded.dsn)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "select pgmq.pop('orders')",
        "select process('orders')",
        "delete from pgmq.q_orders where vt < now()",
        'with d as (delete from pgmq."q_orders" returning 1) select count(*) from d',
        "select pgmq_public.read(queue_name => 'orders', sleep_seconds => 30, n => 10)",
        "call outer_one()",
        'select public."DrainAll"()',
        "select drain_every()",
    ],
)
def test_readers_in_every_disguise(site, cron, command):
    cron.execute("create function process(q text) returns void language sql as $$ select pgmq.archive(q, 1) $$")
    cron.execute("create function inner_one() returns setof bigint language plpgsql as"
                 " $$ begin return query select msg_id from pgmq.read('orders', 30, 10); end $$")  # fmt: skip
    cron.execute(
        "create function public.\"DrainAll\"() returns void language sql as $$ select from pgmq.pop('orders') $$"
    )
    cron.execute(
        "create function drain_every() returns void language plpgsql as $$ declare q text; begin"
        " for q in select queue_name from pgmq.list_queues() loop perform pgmq.pop(q); end loop; end $$"
    )
    cron.execute("create procedure outer_one() language sql as $$ select inner_one() $$")
    cron.execute("select pgmq.create('orders')")
    cron.execute("select cron.schedule('theirs', '* * * * *', %s)", (command,))
    done = qctl("create", "orders", "--url", "http://127.0.0.1:9/x", dsn=site.dsn)
    assert done.returncode == 7, done.stderr
    assert "theirs" in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "select pgmq.send('orders', '{}')",
        "select count(*) from pgmq.q_orders",
        "delete from pgmq.a_orders",
        "select 1",
        "select pgmq.send('orders', message) from pgmq.pop('incoming')",
        "select count(*) from pgmq.q_orders -- delete from pgmq.q_orders",
    ],
)
def test_producers_and_lookers_on_are_no_readers(site, cron, command):
    cron.execute("select pgmq.create('orders')")
    cron.execute("select cron.schedule('theirs', '* * * * *', %s)", (command,))
    done = qctl("create", "orders", "--url", "http://127.0.0.1:9/x", dsn=site.dsn)
    assert done.returncode == 0, done.stderr
