"""qctl verify: what differs from what was installed, and the command that fixes it."""

import json

import pytest

from helpers import one
from processes import failed, qctl

TRIGGER = "qctl_capture_orders_users_8d9c50d4_insert"
CHANGE = "qctl attach public.users -q orders --change"


def test_verify_finds_nothing_in_a_fresh_install(full, dsn):
    done = qctl("verify", dsn=dsn)
    assert (done.returncode, done.stdout) == (0, "")
    assert "everything is as it was installed" in done.stderr


@pytest.mark.parametrize(
    ("damage", "problem", "fix"),
    [
        ("drop function qctl.pause(text, text)", "missing", "qctl upgrade --repair"),
        ("alter function qctl.is_armed() reset all", "changed", "qctl upgrade --repair"),
        ("drop index qctl.attempt_settled_idx", "missing", "sql/schema.sql"),
        ("alter table qctl.queue drop constraint queue_timeout_check", "missing", "sql/schema.sql"),
        (f"drop trigger {TRIGGER} on users", "missing", CHANGE),
        (f"alter table users disable trigger {TRIGGER}", "disabled", CHANGE),
        ("drop table users", "the table is gone", "qctl detach"),
        ("drop table pgmq.q_orders, pgmq.a_orders; delete from pgmq.meta", "is gone", "qctl upgrade --repair"),
        ("update pgmq.meta set is_unlogged = true", "unlogged", "queue that is logged and not partitioned"),
    ],
)  # fmt: skip
def test_verify_names_what_differs_and_what_mends_it(full, dsn, damage, problem, fix):
    full.execute(damage)
    done = failed(8, "verify", "-o", "json", dsn=dsn)
    findings = json.loads(done.stdout)
    assert any(problem in f["problem"] and fix in f["fix"] for f in findings), findings


def test_the_commands_that_verify_prints_mend(full, dsn):
    full.execute("drop view qctl.status; drop function qctl.pause(text, text)")
    full.execute(f"drop trigger {TRIGGER} on users")
    for finding in json.loads(failed(8, "verify", "-o", "json", dsn=dsn).stdout):
        qctl(*finding["fix"].split()[1:], dsn=dsn)
    assert qctl("verify", dsn=dsn).returncode == 0
    full.execute("insert into users values (5)")
    assert one(full, "select count(*) from pgmq.q_orders") == 3


def test_for_a_person_each_command_that_mends_stands_on_one_line(full, dsn):
    full.execute(f"drop trigger {TRIGGER} on users")
    done = failed(8, "verify", "-o", "table", dsn=dsn)
    assert "\n    qctl attach public.users -q orders --change\n" in done.stdout
