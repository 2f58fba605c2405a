"""Jobs of pg_cron: which there are, scaling, what refuses, what is left behind. Nothing here waits for a job to run."""

import json
import threading
import time

import psycopg
import pytest

from helpers import create, one, send, states
from processes import qctl, wait_until
from qctl import db
from qctl.config import Database
from qctl.db import files
from qctl.db.files import SqlFile
from qctl.operations import migrate


def jobs(conn) -> dict[str, tuple[str, str, bool]]:
    rows = conn.execute("select jobname, schedule, command, active from cron.job order by jobname")
    return {name: (schedule, command, active) for name, schedule, command, active in rows}


def without_pg_cron(conn) -> None:
    """So that no full minute comes between a test and the CALLs that it makes itself."""
    conn.execute("select cron.unschedule(jobid) from cron.job")
    conn.execute("update qctl.scheduler set generation = generation + 1")
    wait_until(lambda: one(conn, "select count(*) from qctl.running_jobs()") == 0)


WORKER = ("* * * * *", "call qctl.work()", True)
MAINTENANCE = ("* * * * *", "call qctl.maintenance()", True)


def test_auto_is_pg_net_where_both_are_and_makes_one_worker_and_one_maintenance_job(site, cron):
    done = qctl("create", "orders", "--url", "http://127.0.0.1:9/x", dsn=site.dsn)
    assert done.returncode == 0, done.stderr
    assert "transport pg_net: pg_net and pg_cron are available" in done.stderr
    assert jobs(cron) == {"qctl-worker": WORKER, "qctl-maintenance": MAINTENANCE}
    create(cron, "second")
    assert jobs(cron) == {"qctl-worker": WORKER, "qctl-maintenance": MAINTENANCE}


def test_a_queue_of_the_http_transport_has_only_maintenance(cron):
    create(cron, transport="http")
    assert jobs(cron) == {"qctl-maintenance": MAINTENANCE}


def test_a_queue_that_moves_to_http_keeps_the_worker_until_its_requests_are_settled(cron):
    create(cron, url="http://127.0.0.1:9/x")
    send(cron)
    cron.execute("select qctl.dispatch('orders')")
    cron.execute("select qctl.set_queue('orders', p_settings => '{\"transport\": \"http\"}')")
    assert "qctl-worker" in jobs(cron)

    def is_settled() -> bool:
        cron.execute("select qctl.collect('orders')")
        return not one(cron, "select count(*) from qctl.in_flight where lapsed_at is null")

    wait_until(is_settled)
    cron.execute("call qctl.maintenance()")
    assert jobs(cron) == {"qctl-maintenance": MAINTENANCE}


def test_scale_prints_before_after_ceiling_and_what_limits_it(site, cron):
    create(cron)
    done = qctl("scale", "--workers", "3", "-o", "json", dsn=site.dsn)
    assert done.returncode == 0, done.stderr
    [row] = json.loads(done.stdout)
    assert (row["workers_before"], row["workers"]) == (1, 3)
    assert row["ceiling_per_s"] == pytest.approx(200 / 1.02)
    assert "pg_net.batch_size" in row["limited_by"]
    assert "more jobs do not raise its limit" in done.stderr
    assert set(jobs(cron)) == {"qctl-worker", "qctl-worker-2", "qctl-worker-3", "qctl-maintenance"}
    assert qctl("scale", "--workers", "1", dsn=site.dsn).returncode == 0
    assert set(jobs(cron)) == {"qctl-worker", "qctl-maintenance"}


def test_scale_never_takes_more_than_half_of_the_slots(sites):
    site = sites(**{"cron.max_running_jobs": "8"})
    with site.connect() as cron:
        create(cron)
        done = qctl("scale", "--workers", "4", dsn=site.dsn)
        assert done.returncode == 7
        assert "more than half of the 8" in done.stderr
        assert set(jobs(cron)) == {"qctl-worker", "qctl-maintenance"}
        assert one(cron, "select workers from qctl.scheduler") == 1
        assert qctl("scale", "--workers", "3", dsn=site.dsn).returncode == 0


def test_scale_warns_past_the_eight_of_supabase(site, cron):
    create(cron)
    assert "Supabase" in qctl("scale", "--workers", "9", dsn=site.dsn).stderr


def test_a_dedicated_queue_has_a_job_of_its_own_and_the_shared_ones_pass_over_it(site, cron, endpoint):
    url = endpoint().url
    create(cron, url=url)
    create(cron, "second", url=url)
    assert qctl("scale", "-q", "orders", "--dedicated", dsn=site.dsn).returncode == 0
    assert jobs(cron)["qctl-worker-orders"] == ("* * * * *", "call qctl.work('orders')", True)
    without_pg_cron(cron)
    send(cron, 1, "orders")
    send(cron, 1, "second")
    cron.execute("set statement_timeout = '5s'")
    cron.execute("call qctl.work()")
    assert one(cron, "select count(*) from pgmq.q_orders") == 1
    assert one(cron, "select count(*) from pgmq.q_second") == 0
    cron.execute("call qctl.work('orders')")
    assert one(cron, "select count(*) from pgmq.q_orders") == 0
    assert qctl("scale", "-q", "orders", "--shared", dsn=site.dsn).returncode == 0
    assert set(jobs(cron)) == {"qctl-worker", "qctl-maintenance"}


def test_a_job_that_was_switched_off_is_switched_on_again(site, cron):
    create(cron)
    cron.execute("select cron.alter_job(jobid, active := false) from cron.job where jobname = 'qctl-worker'")
    assert qctl("scale", "--workers", "1", dsn=site.dsn).returncode == 0
    assert jobs(cron)["qctl-worker"] == WORKER


@pytest.mark.parametrize("schedule", ["*/30 * * * * *", "* * * *", "60 seconds", "every minute", "* * * * *; drop"])
def test_schedules_that_pg_cron_would_misread_are_refused(conn, schedule):
    with pytest.raises(psycopg.Error, match="is not a valid schedule") as caught:
        conn.execute("select qctl._check_schedule(%s)", (schedule,))
    assert caught.value.sqlstate == "QC002"


@pytest.mark.parametrize("schedule", ["* * * * *", "*/5 1-3 * jan mon", "0 3 $ * *", "5 seconds", "59 seconds"])
def test_schedules_that_pg_cron_takes(conn, schedule):
    conn.execute("select qctl._check_schedule(%s)", (schedule,))


def calling(site, command="call qctl.work()") -> tuple[threading.Thread, list[float]]:
    """Runs a CALL as a job would; the thread, and when it ended."""
    ended: list[float] = []

    def run() -> None:
        with site.connect() as connection:
            connection.execute(command)
        ended.append(time.monotonic())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    with site.connect() as connection:
        wait_until(lambda: one(connection, "select count(*) from qctl.running_jobs()") >= 1)
    return thread, ended


def test_scale_0_reaches_a_running_call_and_leaves_nothing_half_done(site, cron, endpoint):
    create(cron, url=endpoint("--delay-s", "0.05").url)
    ids = send(cron, 300)
    thread, ended = calling(site)
    wait_until(lambda: one(cron, "select count(*) from qctl.in_flight where request_id is not null") > 0)
    asked = time.monotonic()
    done = qctl("scale", "--workers", "0", dsn=site.dsn)
    assert done.returncode == 0, done.stderr
    assert "still running" not in done.stderr
    thread.join(5)
    assert ended[0] - asked < 2 + 1
    assert set(jobs(cron)) == {"qctl-maintenance"}
    assert one(cron, "select count(*) from qctl.running_jobs()") == 0
    assert one(cron, "select count(*) from qctl.in_flight where lapsed_at is null and request_id is null") == 0
    # What was handed over is settled when somebody looks.
    wait_until(lambda: one(cron, "select count(*) from net.http_request_queue") == 0)
    cron.execute("select qctl.collect('orders')")
    assert set(states(cron, ids)) <= {"delivered", "ready"}
    assert "Next: qctl scale --workers 1" in done.stderr


def test_scaling_down_ends_the_surplus_and_only_that(site, cron):
    create(cron)
    # At a full minute every CALL ends and pg_cron starts its own: what follows begins early in a minute.
    if time.time() % 60 > 20:
        time.sleep(61 - time.time() % 60)
    assert qctl("scale", "--workers", "2", dsn=site.dsn).returncode == 0
    # Where pg_cron's own two run already, these end at once, and the two that hold the slots are judged.
    calls = [calling(site) for _ in range(2)]
    wait_until(lambda: one(cron, "select count(*) from qctl.running_jobs()") == 2)
    running = dict(cron.execute("select slot, pid from qctl.running_jobs()").fetchall())
    done = qctl("scale", "--workers", "1", dsn=site.dsn)
    assert "still running" not in done.stderr
    wait_until(lambda: one(cron, "select count(*) from qctl.running_jobs()") == 1, 10, "the end of one CALL")
    assert cron.execute("select slot, pid from qctl.running_jobs()").fetchall() == [(1, running[1])]
    cron.execute("update qctl.scheduler set generation = generation + 1")
    for thread, _ in calls:
        thread.join(5)


def test_scale_0_reaches_a_dedicated_job_too(site, cron):
    create(cron)
    assert qctl("scale", "-q", "orders", "--dedicated", dsn=site.dsn).returncode == 0
    thread, ended = calling(site, "call qctl.work('orders')")
    done = qctl("scale", "--workers", "0", dsn=site.dsn)
    assert "still running" not in done.stderr
    thread.join(3)
    assert ended
    assert set(jobs(cron)) == {"qctl-maintenance"}
    started = time.monotonic()
    cron.execute("call qctl.work('orders')")
    assert time.monotonic() - started < 1


def test_another_roles_job_that_is_off_is_named(site, cron):
    create(cron)
    cron.execute("create role other_role login superuser")
    cron.execute("update cron.job set username = 'other_role', active = false where jobname = 'qctl-worker'")
    done = qctl("scale", "--workers", "1", dsn=site.dsn)
    assert "job 'qctl-worker' of role 'other_role' is switched off" in done.stderr


def test_a_job_of_our_name_for_another_database_is_refused(site, cron):
    cron.execute("create database elsewhere")
    cron.execute("select cron.schedule_in_database('qctl-maintenance', '* * * * *', 'select 1', 'elsewhere')")
    done = qctl("create", "orders", "--url", "http://127.0.0.1:9/x", dsn=site.dsn)
    assert done.returncode == 7
    assert "another database" in done.stderr


def test_upgrade_reaches_a_running_call(site, cron):
    create(cron)
    thread, ended = calling(site)
    changed = [SqlFile(f.name, f.text + b"-- changed\n") if f.name == "work" else f for f in files.routines()]
    with db.connect(Database(site.dsn, "test"), application="test") as connection:
        migrate.apply(connection, files.migrations(), changed)
    upgraded = time.monotonic()
    thread.join(5)
    assert ended[0] - upgraded < 2


def test_one_slot_one_worker(site, cron):
    create(cron)
    thread, _ = calling(site)
    started = time.monotonic()
    cron.execute("call qctl.work()")
    assert time.monotonic() - started < 1
    cron.execute("update qctl.scheduler set generation = generation + 1")
    thread.join(5)


def test_for_computes_settings_and_says_when_they_already_do(site, cron):
    create(cron)
    done = qctl("scale", "-q", "orders", "--for", "5000/min", "-o", "json", dsn=site.dsn)
    assert done.returncode == 0, done.stderr
    assert "the current settings are enough" in done.stderr
    cron.execute("select qctl.set_queue('orders', p_settings => '{\"max_in_flight\": 10, \"batch\": 5}')")
    [row] = json.loads(qctl("scale", "-q", "orders", "--for", "5000/min", "-o", "json", dsn=site.dsn).stdout)
    assert row["batch_before"] == 5
    assert row["batch"] >= 5000 / 60 / 4
    assert row["ceiling_per_s"] >= 5000 / 60


def test_for_more_than_pg_net_can_prints_the_way_to_worker_processes(site, cron):
    create(cron)
    done = qctl("scale", "-q", "orders", "--for", "20000/min", dsn=site.dsn)
    assert done.returncode == 7
    for command in (
        "qctl set -q orders --transport http",
        "qctl scale -q orders --for",
        "qctl worker -q orders",
        "qctl status",
    ):
        assert command in done.stderr


def test_dry_run_changes_nothing(site, cron):
    create(cron)
    done = qctl("scale", "--workers", "2", "--dry-run", dsn=site.dsn)
    assert "job qctl-worker-2 would be scheduled" in done.stderr
    assert set(jobs(cron)) == {"qctl-worker", "qctl-maintenance"}


def test_maintenance_keeps_our_history_short_and_nobody_elses(site, cron):
    create(cron)
    old = "now() - interval '2 days'"
    for command, start, end in (
        ("call qctl.work()", old, old), ("call qctl.work()", old, "null"), ("call qctl.maintenance()", "null", "null"),
        ("select 1", old, old), ("call qctl.work()", "now()", "null"),
    ):  # fmt: skip
        cron.execute(
            "insert into cron.job_run_details (jobid, runid, job_pid, database, username, command, status, start_time, end_time)"
            f" select 1, coalesce(max(runid), 0) + 1, 1, 'postgres', 'postgres', %s, 'running', {start}, {end}"
            " from cron.job_run_details",
            (command,),
        )
    cron.execute("call qctl.maintenance()")
    left = [row[0] for row in cron.execute("select command from cron.job_run_details where start_time is null or end_time is null"
                                           " or end_time < now() - interval '1 day' order by runid")]  # fmt: skip
    # The one without a start has a smaller number than a run of that age.
    assert left == ["select 1", "call qctl.work()"]


def test_retention_and_throughput(site, cron):
    create(cron, transport="http")
    ids = send(cron, 20)
    cron.execute("select qctl.settle('orders', array_agg(lease), array_agg(msg_id), array_agg(200), array_agg(null::text),"
                 " array_agg(null::bytea), array_agg(1), array_agg(null::int)) from qctl.claim('orders', 100)")  # fmt: skip
    cron.execute("update pgmq.a_orders set archived_at = archived_at - interval '8 days' where msg_id <= %s", (ids[9],))
    cron.execute("update qctl.attempt set settled_at = settled_at - interval '3 min'")
    cron.execute("call qctl.maintenance()")
    assert one(cron, "select count(*) from pgmq.a_orders") == 10
    assert one(cron, "select sum(delivered) from qctl.throughput") == 20
    cron.execute("select qctl.set_queue('orders', p_settings => '{\"retention_s\": null}')")
    cron.execute("update pgmq.a_orders set archived_at = archived_at - interval '8 days'")
    cron.execute("update qctl.upkept set retained_at = null")
    cron.execute("call qctl.maintenance()")
    assert one(cron, "select count(*) from pgmq.a_orders") == 10


def test_uninstall_waits_for_a_running_call_and_leaves_nothing_in_pg_cron(site, cron, endpoint):
    create(cron, url=endpoint("--delay-s", "0.2").url)
    cron.execute("create table public.users (id int)")
    cron.execute("select qctl.attach('public.users', 'orders')")
    send(cron, 500)
    thread, ended = calling(site)
    cron.execute(
        "insert into cron.job_run_details (jobid, runid, job_pid, database, username, command, status, start_time, end_time)"
        " values (1, 1, 1, 'postgres', 'postgres', 'call qctl.work()', 'succeeded', now(), now())"
    )
    done = qctl("uninstall", "--yes", "-o", "json", dsn=site.dsn)
    assert done.returncode == 0, done.stderr
    assert "job qctl-worker unscheduled" in done.stderr
    thread.join(5)
    assert ended
    [remains] = json.loads(done.stdout)
    assert remains["unfinished"] + remains["archived"] == 500
    assert one(cron, "select count(*) from cron.job") == 0
    assert one(cron, "select count(*) from cron.job_run_details where command ~ 'qctl'") == 0
    cron.execute("insert into public.users values (1)")


def test_drop_of_the_last_queue_leaves_no_job(site, cron):
    create(cron)
    assert qctl("drop", "orders", "--yes", dsn=site.dsn).returncode == 0
    assert jobs(cron) == {}


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ("select cron.unschedule('qctl-worker')", "missing"),
        ("select cron.alter_job(jobid, active := false) from cron.job where jobname = 'qctl-worker'", "switched off"),
        ("select cron.alter_job(jobid, command := 'select 1') from cron.job where jobname = 'qctl-worker'", "missing"),
    ],
)
def test_verify_finds_what_is_wrong_with_a_job_and_scale_mends_it(site, cron, damage, problem):
    create(cron)
    for _ in range(2):  # the maintenance job fixes it, too, if a full minute comes between
        cron.execute(damage)
        done = qctl("verify", "-o", "json", dsn=site.dsn)
        if done.returncode == 8:
            break
    assert done.returncode == 8
    [finding] = json.loads(done.stdout)
    assert (finding["kind"], finding["object"], finding["problem"]) == ("job", "qctl-worker", problem)
    assert qctl(*finding["fix"].split()[1:], dsn=site.dsn).returncode == 0
    assert jobs(cron)["qctl-worker"] == WORKER
    assert qctl("verify", dsn=site.dsn).returncode == 0


def test_a_job_that_was_switched_off_stays_off_and_is_in_the_audit(cron):
    create(cron)
    cron.execute("update cron.job set active = false where jobname = 'qctl-maintenance'")
    cron.execute("call qctl.maintenance()")
    cron.execute("call qctl.maintenance()")
    create(cron, "second")
    cron.execute("select qctl.set_queue('second', p_settings => '{\"dedicated\": true}')")
    assert one(cron, "select active from cron.job where jobname = 'qctl-maintenance'") is False
    said = "select detail ->> 'job' from qctl.audit where verb = 'job_off'"
    assert cron.execute(said).fetchall() == [("qctl-maintenance",)]
    cron.execute("select * from qctl.scale(p_workers => 1)")
    assert one(cron, "select active from cron.job where jobname = 'qctl-maintenance'") is True
    assert (
        one(
            cron,
            "select count(*) from qctl.audit where verb = 'job_scheduled' and detail ->> 'job' = 'qctl-maintenance'",
        )
        >= 1
    )


def test_doctor_says_that_a_statement_timeout_cuts_the_jobs_minute(cron):
    create(cron)
    role = one(cron, "select current_user")
    cron.execute(f"alter role {role} set statement_timeout = '15s'")
    found = cron.execute("select problem, fix from qctl.doctor() where problem ~ 'statement_timeout'").fetchall()
    assert len(found) == 1
    assert "works only 13 s of each minute" in found[0][0]
    cron.execute(found[0][1])
    assert cron.execute("select from qctl.doctor() where problem ~ 'statement_timeout'").fetchall() == []


def test_a_queue_that_has_just_moved_to_pg_net_is_no_trouble(cron):
    create(cron, transport="http")
    cron.execute("update qctl.queue set created_at = created_at - interval '1 d'")
    assert one(cron, "select health from qctl.status") == "no_worker"
    cron.execute("select qctl.set_queue('orders', p_settings => '{\"transport\": \"pg_net\"}')")
    assert one(cron, "select health from qctl.status") == "ok"
