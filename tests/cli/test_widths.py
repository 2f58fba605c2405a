"""Tables at terminals of every width: nothing that a person needs is cut, and times have a named zone."""

import re

import pytest

from helpers import create, send
from processes import failing, ok, plain, qctl, screen

COMMANDS = [
    "status", "depth", "lag", "queues", "messages", "dead", "tail", "capacity", "status --workers", "config show",
    "scale -q orders", "set -q orders --timeout 15s", "secret list", "replay --dry-run --attempted",
    "purge --dry-run --older-than 1d",
    "partition --dry-run -q orders", "events", "show 2", "describe orders", "verify", "doctor",
]  # fmt: skip


@pytest.mark.parametrize("columns", [40, 80, 100, 132, 200])
def test_no_title_and_no_number_is_cut_at_any_width(busy, dsn, columns):
    busy.execute("update qctl.attempt set error = repeat('long ', 60)")
    create(busy, "a_queue_with_a_name_of_40_letters_________")
    for command in COMMANDS:
        shown = plain(screen(dsn, *command.split(), columns=columns, rows=50, seconds=0.1))
        for cut in re.findall(r"\S*…", shown):
            # Only texts of endpoints and URLs may be cut.
            assert re.match(r"(\S*long|lo|l|http\S*|)…", cut) or cut in ("lon…", "bad…", "later…", "fi…"), (
                command,
                cut,
                shown,
            )


@pytest.mark.parametrize("columns", [20, 40, 60])
def test_tables_without_rows_at_narrow_terminals(conn, dsn, columns):
    for command in COMMANDS:
        if "orders" not in command and "show" not in command:
            shown = plain(screen(dsn, *command.split(), columns=columns, rows=50, seconds=0.1))
            assert "bug in qctl" not in shown, (command, shown)


def test_what_has_no_room_for_columns_is_written_as_lines(busy, dsn):
    lines = plain(screen(dsn, "status", columns=40, rows=50, seconds=0.1)).splitlines()
    assert "queue   orders" in [line.rstrip() for line in lines]
    assert "depth   3" in [line.rstrip() for line in lines]


def test_times_have_one_zone_that_is_named_once(busy, dsn):
    for command in ("messages", "show 2", "tail", "status"):
        shown = plain(screen(dsn, *command.split(), columns=120, rows=50, seconds=0.1))
        assert len(re.findall(r"^times are UTC$", shown, re.MULTILINE)) == (command != "status"), (command, shown)
    assert "times are" not in plain(screen(dsn, "depth", columns=120, rows=50, seconds=0.1))
    assert qctl("messages", dsn=dsn).stderr == ""


def test_the_server_writes_times_in_the_zone_of_the_reader(busy, dsn):
    busy.execute("select qctl._audit_rarely('lapse_failed', 'orders', '42501', 'no right')")
    [at] = busy.execute("select at from qctl.audit where verb = 'lapse_failed'").fetchone()
    for zone, offset in (("UTC", 0), ("Asia/Kolkata", 330), ("America/St_Johns", None)):
        done = qctl("doctor", dsn=dsn, TZ=zone)
        [shown] = re.findall(r"last at (\S+ \S+):", done.stdout)
        assert "timezone" not in done.stderr
        if offset is not None:
            hours = f"{offset // 60:02d}" + (f":{offset % 60:02d}" if offset % 60 else "")
            assert shown.endswith(f"+{hours}")
    # What is printed is a time that --since takes.
    assert ok("messages", "--since", shown, dsn=dsn)
    assert at


def test_many_messages_are_summed_up_and_listed_when_asked(conn, dsn):
    create(conn)
    send(conn, 30)
    said = ok("replay", "--dry-run", "1..30", "-o", "table", dsn=dsn)
    assert said.stdout.split() == ["queue", "state", "now", "messages", "orders", "ready", "30"]
    assert len(ok("replay", "--dry-run", "1..30", "-v", "-o", "table", dsn=dsn).stdout.splitlines()) == 31
    assert len(ok("replay", "--dry-run", "1..30", "-o", "tsv", dsn=dsn).stdout.splitlines()) == 31
    assert len(ok("replay", "--dry-run", "1..30", dsn=dsn).stdout.splitlines()) == 31
    assert len(ok("replay", "--dry-run", "1..20", "-o", "table", dsn=dsn).stdout.splitlines()) == 21
    assert ok("discard", "1..30", "--yes", "-o", "table", dsn=dsn).stdout.split()[-1] == "30"


def test_doctor_and_verify_of_one_queue(busy, dsn):
    create(busy, "bills")
    busy.execute("update qctl.queue set created_at = now() - interval '1 min'")
    busy.execute("alter table public.users disable trigger all")
    busy.execute("drop table pgmq.a_bills")
    both = qctl("verify", dsn=dsn).stdout
    assert "users" in both
    assert "bills" in both
    assert "bills" not in qctl("verify", "-q", "orders", dsn=dsn).stdout
    assert "users" not in qctl("verify", "-q", "bills", dsn=dsn).stdout
    found = qctl("doctor", "-q", "bills", dsn=dsn).stdout
    assert "bills" in found
    assert "users" not in found
    assert "orders" not in found
    for command in ("doctor", "verify"):
        assert "queue nothing" in failing(6, command, "-q", "nothing", dsn=dsn).replace("'", "")


def test_tail_since_a_time_shows_all_since_then(conn, busy, dsn):
    assert len(ok("tail", "--since", "1h", "-o", "jsonl", dsn=dsn).stdout.splitlines()) == 3
    busy.execute("update qctl.attempt set settled_at = settled_at - interval '2 h' where msg_id = 1")
    assert len(ok("tail", "--since", "1h", "-o", "jsonl", dsn=dsn).stdout.splitlines()) == 2
    assert len(ok("tail", "--since", "1h", "-n", "1", "-o", "jsonl", dsn=dsn).stdout.splitlines()) == 1
    assert len(ok("tail", "-o", "jsonl", dsn=dsn).stdout.splitlines()) == 3
