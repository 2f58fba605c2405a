"""Jobs that pg_cron really runs. Each test waits for a full minute to begin."""

import time

import pytest

from helpers import one
from processes import qctl, wait_until

A_MINUTE_S = 75


@pytest.mark.timeout(240)
@pytest.mark.parametrize("background", ["off", "on"])
def test_three_commands_give_a_pipeline_without_a_host(sites, endpoint, background):
    receiver = endpoint("--fail-rate", "0.2", "--failures", "500,429,reset")
    site = sites(qctl=False, **{"cron.use_background_workers": background})
    with site.connect() as conn:
        conn.execute("create table public.users (id bigint primary key, email text)")
        done = qctl("install", dsn=site.dsn)
        assert done.returncode == 0, done.stderr
        assert "new queues use transport pg_net" in done.stderr
        done = qctl(
            "create", "users", "--url", receiver.url, "--retry", "1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s",
            "--attach", "public.users", dsn=site.dsn,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "Next: qctl test -q users" in done.stderr
        conn.execute("insert into public.users select n, 'a@b' from generate_series(1, 300) n")
        wait_until(lambda: len(receiver.accepted()) == 300, A_MINUTE_S, "delivery by the job")
        wait_until(lambda: one(conn, "select count(*) from pgmq.q_users") == 0, 30)
        assert one(conn, "select health from qctl.status") == "ok"
        # The job's minute ends, and the next one goes on where it stopped.
        first = one(conn, "select max(runid) from cron.job_run_details where command = 'call qctl.work()'")
        wait_until(lambda: one(conn, "select max(runid) from cron.job_run_details where command = 'call qctl.work()'") > first,
                   A_MINUTE_S, "the next run")  # fmt: skip
        time.sleep(1)
        conn.execute("update public.users set email = 'c@d' where id <= 10")
        wait_until(lambda: len(receiver.accepted()) == 310, 30, "delivery by the next run")
        statuses = conn.execute(
            "select distinct status from cron.job_run_details where command ~ 'qctl' and end_time is not null"
        )
        assert {row[0] for row in statuses} == {"succeeded"}
        shown = qctl("status", "--workers", dsn=site.dsn)
        assert "job 1" in shown.stdout
