"""qctl check: one line that says its limits."""

import json
import os
import re
import shlex
import subprocess

from helpers import create
from processes import QCTL, environment, failing, ok, qctl


def test_check_is_one_line_that_says_its_limits(busy, dsn):
    line = ok("check", dsn=dsn).stdout
    assert line == (
        "OK 1 queue: armed, workers seen within 30s, none paused, triggers in place;"
        " lag ≤ 1m, age ≤ 15m, failures ≤ 20%\n"
    )
    done = qctl("check", "--max-depth", "1", "--max-dead", "0", dsn=dsn)
    assert done.returncode == 8
    assert (
        done.stdout == "FAILED orders dead: 1 (limit 0) dead letters; see: qctl dead -q orders; "
        "orders depth: 3 (limit 1) unfinished messages; see: qctl scale -q orders\n"
    )
    assert done.stderr == ""
    assert "no such cause: tired" in failing(2, "check", "--ignore", "tired", dsn=dsn)
    assert "not a share" in failing(2, "check", "--max-failure-rate", "120%", dsn=dsn)
    assert "queue 'nope' not found" in failing(6, "check", "-q", "nope", dsn=dsn)
    assert "lag" not in ok("check", "--max-lag", "none", dsn=dsn).stdout


def test_the_line_has_room_for_a_message_and_names_the_worst_first(busy, dsn):
    for number in range(30):
        create(busy, f"queue_with_a_long_name_{number}")
        busy.execute("select qctl.pause(%s, %s)", (f"queue_with_a_long_name_{number}", f"because of number {number}"))
    busy.execute("create table public.t (id int primary key)")
    busy.execute("select qctl.attach('public.t', 'queue_with_a_long_name_29')")
    busy.execute("alter table public.t disable trigger all")
    busy.execute("update qctl.queue set created_at = now() - interval '1 min'")
    line = qctl("check", dsn=dsn).stdout
    assert len(line) <= 401
    assert line.startswith("FAILED queue_with_a_long_name_29 capture_broken: ")
    assert re.search(r"; 30 queues no_worker: .*\+\d+ more, see -o json\n$", line)
    found = json.loads(qctl("check", "-o", "json", dsn=dsn).stdout)
    assert len(found["problems"]) == 61


def test_a_command_in_the_line_goes_to_the_database_that_was_named(busy, dsn):
    busy.execute("update qctl.gate set opened_at = now(), open_reason = 'HTTP 500', probe_at = now() + interval '1 h'")
    line = qctl("check", "--dsn", dsn).stdout
    command = line.partition("; see: ")[2].partition(" (since")[0]
    assert "--dsn" in command
    assert ok(*shlex.split(command)[1:]).stdout
    busy.execute("update qctl.gate set open_reason = repeat('x', 350)")
    line = qctl("check", "--dsn", dsn).stdout
    assert len(line) <= 401
    assert "qctl show" not in line


def test_prose_about_a_qctl_worker_is_no_command(conn, dsn):
    create(conn)
    for command in ("check", "doctor", "status"):
        assert "no qctl worker process serves this queue" in qctl(command, "-o", "json", "--dsn", dsn).stdout


def test_check_and_doctor_before_an_install(empty_dsn):
    assert "not installed" in failing(5, "doctor", dsn=empty_dsn)
    assert "not installed" in failing(5, "check", dsn=empty_dsn)


def test_the_command_in_the_line_works_when_typed(busy, dsn):
    busy.execute("select qctl.pause('orders')")
    line = qctl("check", "--dsn", dsn).stdout
    command = line.rstrip("\n").partition(" → ")[2]
    env = environment(PATH=f"{QCTL.parent}{os.pathsep}{os.environ['PATH']}")
    typed = subprocess.run(["sh", "-c", command], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert typed.returncode == 0, (command, typed.stderr)
    assert ok("check", dsn=dsn).stdout.startswith("OK")
