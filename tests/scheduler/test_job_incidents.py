"""Incidents of jobs in pg_cron: the cause is named, and what doctor says fixes it."""

import json

import pytest

from helpers import create, one, send
from incidents import fix, sick, well
from processes import qctl, wait_until

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def running(site, cron, endpoint):
    """A queue that a job delivers."""
    create(cron, url=endpoint().url, timeout_ms=2000)
    send(cron)
    # At the full minute, or at the next one where the machine is so busy that pg_cron starts no job at the first.
    wait_until(lambda: one(cron, "select count(*) from pgmq.a_orders") == 1, 150, "a first delivery")
    return cron


def silence(conn) -> None:
    """Ends the CALL that runs, and makes it as if that had been a while ago."""
    conn.execute("update qctl.scheduler set generation = generation + 1")
    wait_until(lambda: one(conn, "select count(*) from qctl.running_jobs()") == 0, 20, "the end of the running CALL")
    conn.execute(
        "update qctl.worker set last_seen_at = last_seen_at - interval '3 min', started_at = started_at - interval '3 min'"
    )


def doctor(site) -> list[dict]:
    return json.loads(qctl("doctor", "-o", "json", dsn=site.dsn).stdout)


def test_a_job_fails(site, running):
    well(site.dsn)
    conn = running
    conn.execute(
        "select cron.alter_job(jobid, command => 'call qctl.wrok()') from cron.job where jobname = 'qctl-worker'"
    )
    conn.execute("update qctl.scheduler set generation = generation + 1")
    query = "select count(*) from cron.job_run_details where command = 'call qctl.wrok()' and status = 'failed'"
    wait_until(lambda: one(conn, query) > 0, 90, "a failed run")
    silence(conn)
    command = sick(site.dsn, "no_worker")
    assert "does not exist" in qctl("check", dsn=site.dsn).stdout
    assert [row for row in doctor(site) if row["kind"] == "job" and row["problem"].startswith("it fails")]
    fix(site.dsn, command)
    well(site.dsn, 100)
    jobs = json.loads(qctl("status", "--workers", "-o", "json", dsn=site.dsn).stdout)
    (job,) = (row for row in jobs if row["job_name"] == "qctl-worker")
    assert (job["kind"], job["name"], job["state"]) == ("schedule", "call qctl.work()", "scheduled")


def test_a_job_is_switched_off(site, running):
    running.execute("select cron.alter_job(jobid, active => false) from cron.job where jobname = 'qctl-worker'")
    # Although the CALL that runs goes on until its minute ends.
    assert one(running, "select health from qctl.health('orders')") == "no_worker"
    silence(running)
    # Maintenance, which looks after the jobs each minute, leaves it off.
    running.execute("call qctl.maintenance('1 s')")
    assert sick(site.dsn, "no_worker") == "qctl scale --workers 1"
    assert "switched off" in qctl("check", dsn=site.dsn).stdout
    fix(site.dsn, "qctl scale --workers 1")
    assert one(running, "select active from cron.job where jobname = 'qctl-worker'")
    # It starts at the next full minute, so there is nothing to type again.
    assert one(running, "select health from qctl.health('orders')") == "ok"


def test_doctor_sees_what_would_stop_the_jobs(site, running):
    conn = running
    well(site.dsn)
    conn.execute("create role leaver login superuser")
    conn.execute("set role leaver")
    conn.execute("select cron.schedule('theirs', '0 0 1 1 *', 'select 1')")
    conn.execute("reset role")
    conn.execute("alter role leaver nosuperuser; drop owned by leaver; drop role leaver")
    (finding,) = (row for row in doctor(site) if row["object"] == "theirs")
    assert (finding["severity"], finding["fix"].split("(")[0]) == ("broken", "select cron.unschedule")
    fix(site.dsn, finding["fix"])
    assert not [row for row in doctor(site) if row["object"] == "theirs"]
    conn.execute("insert into cron.job_run_details (jobid, runid, command, status, return_message)"
                 " select 1, 1000000 + g, 'x', 'succeeded', repeat(md5(g::text), 60) from generate_series(1, 120000)"
                 " g")  # fmt: skip
    assert [row["fix"] for row in doctor(site) if row["object"] == "cron.job_run_details"]


def test_jobs_that_succeed_while_nothing_is_delivered(site, running):
    conn = running
    # As after a migration that went wrong: each claim fails, and work goes on with the next queue.
    conn.execute("alter table pgmq.q_orders add column tenant integer not null default 0 check (tenant >= 0)")
    conn.execute(
        "create function public.refuse() returns trigger language plpgsql as $$ begin raise exception 'not today'; end $$"
    )
    conn.execute("create trigger refuse before update on pgmq.q_orders for each row execute function public.refuse()")
    send(conn, 3)
    conn.execute("alter table pgmq.q_orders disable trigger refuse")
    conn.execute("update pgmq.q_orders set vt = vt - interval '5 min', enqueued_at = enqueued_at - interval '5 min'")
    conn.execute("alter table pgmq.q_orders enable trigger refuse")
    conn.execute("update qctl.attempt set settled_at = settled_at - interval '5 min'")
    done = "select count(*) from cron.job_run_details where command = 'call qctl.work()' and status = 'succeeded'"
    conn.execute("update qctl.scheduler set generation = generation + 1")
    wait_until(lambda: one(conn, done) > 0, 90, "a run that succeeded")
    wait_until(
        lambda: one(conn, "select count(*) from qctl.audit where verb = 'dispatch_failed'") > 0, 90, "a refused claim"
    )
    (finding,) = (row for row in doctor(site) if "its jobs succeed" in row["problem"])
    assert finding["severity"] == "broken"
    assert "not today" in finding["problem"]
