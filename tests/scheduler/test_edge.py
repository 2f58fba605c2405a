"""The edge worker where people have it: real pg_cron wakes it, by commands typed as they are printed."""

import os
import re
import stat
import subprocess
from contextlib import closing

import pytest
from gateway import Gateway
from isolate import missing

from helpers import create, one
from processes import QCTL, data, environment, failing, ok, qctl, wait_until


def secrets_of(path) -> dict[str, str]:
    return dict(re.findall(r'^(\w+)="(.*)"$', path.read_text(), re.MULTILINE))


@pytest.fixture
def known(site, cron, tmp_path):
    """``qctl edge wake`` was typed; what it said and the file of secrets."""

    def type_it(*arguments: str, code: int = 0):
        done = qctl("edge", "wake", "--secrets", str(tmp_path / "supabase/.env.qctl"), *arguments, dsn=site.dsn)
        assert done.returncode == code, done.stderr
        return done

    return type_it, tmp_path / "supabase/.env.qctl"


def test_from_init_to_a_delivered_row_and_stopped(site, cron, tmp_path, endpoint, known):
    if why := missing():
        pytest.skip(why)
    receiver = endpoint()
    create(cron, url=receiver.url, transport="http")
    cron.execute("create table public.orders (id int primary key)")
    cron.execute("select qctl.attach('public.orders', 'orders')")
    folder = tmp_path / "supabase/functions/qctl-worker"
    done = ok("edge", "init", "--dir", str(folder), dsn=site.dsn)
    assert "Next: qctl edge wake --url https://PROJECT.supabase.co/functions/v1/qctl-worker" in done.stderr
    type_it, path = known
    with closing(Gateway("", "", function=folder, QCTL_IDLE_S="100")) as gateway:
        done = type_it("--url", gateway.url)
        secrets = secrets_of(path)
        gateway.dsn, gateway.secret = secrets["QCTL_DSN"], secrets["QCTL_WAKE_SECRET"]
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert (path.parent / ".gitignore").read_text() == "/.env.qctl\n"
        assert secrets["QCTL_DSN"].startswith("postgresql://qctl_edge:")
        assert not any(value in done.stdout + done.stderr for value in secrets.values())
        assert (
            f"supabase secrets set --env-file {path} && supabase functions deploy qctl-worker --no-verify-jwt"
            in done.stderr
        )
        assert one(cron, "select schedule from qctl.jobs() where job_name = 'qctl-edge'") == "* * * * *"
        assert data("edge", "status", dsn=site.dsn)["state"] == "never woken"
        assert data("status", dsn=site.dsn)[0]["health"] == "ok"
        cron.execute("insert into public.orders select generate_series(1, 50)")
        wait_until(lambda: len(receiver.accepted()) == 50, 75, "the next full minute")
        (worker,) = [row for row in data("status", "--workers", dsn=site.dsn) if row["kind"] == "edge"]
        assert (worker["state"], worker["role_name"]) == ("running", "qctl_edge")
        assert worker["qctl_version"] == one(cron, "select qctl._version()")
        status = data("edge", "status", dsn=site.dsn)
        assert (status["state"], status["running"], status["wakes_today"]) == ("running", 1, 1)
        assert "invoked about" in ok("capacity", dsn=site.dsn).stderr
        assert [row for row in data("doctor", dsn=site.dsn, code=0) if row["kind"] == "edge"] == []
        assert "still running" in ok("edge", "stop", dsn=site.dsn).stdout
        wait_until(lambda: not gateway.running(), 20, "the end of the worker")
    assert one(cron, "select count(*) from qctl.jobs() where job_name = 'qctl-edge'") == 0
    assert data("edge", "status", dsn=site.dsn)["state"] == "stopped"
    assert data("status", dsn=site.dsn)[0]["health"] == "no_worker"
    # Typed again without an address it goes on, with the same secrets.
    before = path.read_text()
    assert "is unchanged" in type_it().stderr
    assert path.read_text() == before
    assert one(cron, "select count(*) from qctl.jobs() where job_name = 'qctl-edge'") == 1


def test_what_is_known_is_kept_and_what_is_new_is_written(site, cron, known):
    type_it, path = known
    url = "https://abc.supabase.co/functions/v1/qctl-worker"
    type_it("--url", url)
    first = secrets_of(path)
    assert cron.execute("select rolcanlogin, rolsuper, rolconfig from pg_roles where rolname = 'qctl_edge'").fetchone() == (
        True, False, ["lock_timeout=1s", "statement_timeout=10s"],
    )  # fmt: skip
    type_it("--new-secret")
    second = secrets_of(path)
    assert first["QCTL_DSN"] == second["QCTL_DSN"]
    assert first["QCTL_WAKE_SECRET"] != second["QCTL_WAKE_SECRET"]
    assert one(cron, "select count(*) from qctl.edge_secret") == 2, "the old one also signs for a day"
    type_it("--pooler", "pool.example.com")
    third = secrets_of(path)
    assert "@pool.example.com:6543/" in third["QCTL_DSN"]
    assert re.findall(r":([^:@]+)@", third["QCTL_DSN"]) == re.findall(r":([^:@]+)@", first["QCTL_DSN"])
    type_it("--new-password")
    assert re.findall(r":([^:@]+)@", secrets_of(path)["QCTL_DSN"]) != re.findall(r":([^:@]+)@", first["QCTL_DSN"])
    assert first["QCTL_WAKE_SECRET"] not in path.read_text()
    # Without the file nobody knows the secret and the password any more.
    path.unlink()
    assert "the function's secrets are unchanged" in type_it().stderr, "to schedule the job again needs none"
    assert "role 'qctl_edge' exists" in type_it("--new-secret", code=7).stderr
    assert not path.exists()
    assert one(cron, "select count(*) from qctl.edge_secret where expires_at is null") == 1
    type_it("--new-secret", "--new-password")
    assert set(secrets_of(path)) == {"QCTL_DSN", "QCTL_WAKE_SECRET"}


def typed(fix: str, site, folder) -> None:
    env = environment(QCTL_DSN=site.dsn, PATH=f"{QCTL.parent}:{os.environ['PATH']}")
    done = subprocess.run(
        ["sh", "-c", fix], cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def settings(cron) -> list[tuple]:
    """What a fix for the job must not change: function, secrets, roles, queues."""
    return cron.execute(
        "select url, most, pooler from qctl.edge_function"
        " union all select string_agg(mark, ',' order by secret_id), count(*), null from qctl.edge_secret"
        " union all select string_agg(role_name || level, ',' order by role_name), count(*), null from qctl.grantee"
        " union all select max(rolpassword), count(*), null from pg_authid where rolname = 'qctl_edge'"
        " union all select string_agg(q::text, ','), count(*), null from qctl.queue q"
    ).fetchall()


def doctor_of(cron) -> list[tuple]:
    return cron.execute("select * from qctl.doctor() where kind in ('edge', 'job') and severity = 'broken'").fetchall()


def test_a_lost_file_of_secrets_is_made_anew_by_the_command_that_is_printed(site, cron, known, tmp_path):
    type_it, _ = known
    type_it("--url", "https://abc.supabase.co/functions/v1/qctl-worker")
    refused = failing(7, "edge", "wake", "--new-password", "--secrets", str(tmp_path / "none"), dsn=site.dsn)
    (fix,) = re.findall(r"Try:  (qctl .*?);", refused)
    assert fix == "qctl edge wake --new-secret --new-password"
    (tmp_path / "elsewhere").mkdir()
    typed(fix, site, tmp_path / "elsewhere")
    assert set(secrets_of(tmp_path / "elsewhere/supabase/.env.qctl")) == {"QCTL_DSN", "QCTL_WAKE_SECRET"}


def test_a_job_that_is_switched_off_and_one_that_is_gone_are_named_and_put_right(site, cron, known, tmp_path):
    type_it, _ = known
    create(cron, transport="http")
    type_it("--url", "https://abc.supabase.co/functions/v1/qctl-worker")
    for harm, says in (
        ("select cron.alter_job(jobid, active => false) from cron.job where jobname = 'qctl-edge'", "is switched off"),
        ("select cron.unschedule('qctl-edge')", "no pg_cron job wakes the edge function"),
        ("select qctl.stop_edge()", "the edge function was stopped"),
    ):
        cron.execute(harm)
        health, reason, fix = cron.execute("select health, reason, fix from qctl.health('orders')").fetchone()
        assert (health, fix) == ("no_worker", "qctl edge wake")
        assert says in reason
        before = settings(cron)
        # As it is printed, in whatever folder.
        typed(fix, site, tmp_path)
        assert one(cron, "select health from qctl.health('orders')") == "ok"
        assert settings(cron) == before
        assert doctor_of(cron) == []


def test_jobs_of_others_stay_and_what_was_taken_away_is_given_again(site, cron, known):
    type_it, path = known
    for name in ("qctl-edge-report", "qctl-maintenance-report"):
        cron.execute("select cron.schedule(%s, '* * * * *', 'select qctl.check()')", (name,))
    type_it("--url", "https://abc.supabase.co/functions/v1/qctl-worker")
    before = path.read_text()
    cron.execute("select qctl.revoke_role('qctl_edge')")
    type_it()
    assert path.read_text() == before
    assert one(cron, "select level from qctl.grantee where role_name = 'qctl_edge'") == "work"
    cron.execute("drop owned by qctl_edge; drop role qctl_edge")
    type_it()
    assert path.read_text() != before
    assert one(cron, "select rolcanlogin from pg_roles where rolname = 'qctl_edge'")
    type_it("--role", "another")
    assert secrets_of(path)["QCTL_DSN"].startswith("postgresql://another:")
    ok("edge", "stop", dsn=site.dsn)
    assert one(cron, "select count(*) from cron.job where jobname ~ 'report$'") == 2


def test_one_failed_run_of_the_job_is_no_alarm(site, cron, known):
    type_it, _ = known
    create(cron, transport="http")
    type_it("--url", "https://abc.supabase.co/functions/v1/qctl-worker")
    for number in range(1, 4):
        cron.execute(
            "insert into cron.job_run_details (jobid, runid, database, command, status, return_message, start_time, end_time)"
            " select jobid, nextval('cron.runid_seq'), 'postgres', command, 'failed', 'job startup timeout', now(), now()"
            " from cron.job where jobname = 'qctl-edge'"
        )
        health, reason = cron.execute("select health, reason from qctl.health('orders')").fetchone()
        assert health == ("no_worker" if number == 3 else "ok"), reason
    assert "fails: job startup timeout" in reason


def test_what_cannot_be_is_refused(site, cron, known):
    type_it, path = known
    for url in (
        "abc.supabase.co",
        "https://abc.supabase.co",
        "https://abc.supabase.co/f?x=1",
        "ftp://a/b",
        "https://a b/c",
    ):
        assert "Error" in type_it("--url", url, code=2).stderr
    assert not path.exists()
    assert "--url" in failing(2, "edge", "wake", "--secrets", str(path), dsn=site.dsn)
    assert "edge init" in failing(6, "edge", "status", dsn=site.dsn)
    assert "edge wake --url" in failing(6, "edge", "stop", dsn=site.dsn)
    assert "edge wake --url" in failing(6, "scale", "--edge", "2", dsn=site.dsn)
    type_it("--url", "https://abc.supabase.co/functions/v1/qctl-worker")
    assert "1 to 64" in failing(2, "scale", "--edge", "65", dsn=site.dsn)
    ok("scale", "--edge", "3", dsn=site.dsn)
    assert one(cron, "select most from qctl.edge_function") == 3
    assert "the address of a pooler" in type_it("--pooler", "a/b", code=2).stderr
