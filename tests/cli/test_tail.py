"""qctl tail: each attempt once, until interrupted."""

import json
import signal
import subprocess
import threading
import time

import psycopg
import pytest

from helpers import claim, create, one, send, settle, state
from processes import QCTL, environment, ok, wait_until


def test_tail_follows_and_ends_cleanly(conn, dsn):
    create(conn)
    send(conn, 3)
    claims = claim(conn)
    settle(conn, claims[:1], 200)
    process = subprocess.Popen(
        [str(QCTL), "tail", "-f"],
        env=environment(QCTL_DSN=dsn),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = [json.loads(process.stdout.readline())]
    settle(conn, claims[1:2], 500)
    lines.append(json.loads(process.stdout.readline()))
    settle(conn, claims[2:], 200)
    lines.append(json.loads(process.stdout.readline()))
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=10) == ("", "")
    assert process.returncode == 130
    assert [(line["msg_id"], line["outcome"]) for line in lines] == [
        (1, "delivered"),
        (2, "retrying"),
        (3, "delivered"),
    ]


def test_tail_can_show_failures_only(conn, dsn):
    create(conn)
    send(conn, 2)
    first, second = claim(conn)
    settle(conn, [first], 200)
    settle(conn, [second], 500)
    assert [row["msg_id"] for row in json.loads(ok("tail", "--failed", "-o", "json", dsn=dsn).stdout)] == [2]


def test_a_reader_that_goes_away_is_no_error(conn, dsn):
    create(conn)
    send(conn, 500)
    settle(conn, claim(conn, 500), 200)
    script = f"{QCTL} tail -n 500 -o jsonl | head -n 1 >/dev/null; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script], env=environment(QCTL_DSN=dsn), capture_output=True, text=True, check=True
    )
    assert (done.stdout.strip(), done.stderr) == ("0", "")


def test_tail_shows_as_many_lines_as_asked_and_then_only_new_ones(conn, dsn):
    create(conn)
    send(conn, 60)
    settle(conn, claim(conn, 50), 200)
    process = subprocess.Popen(
        [str(QCTL), "tail", "-f", "-n", "3"], env=environment(QCTL_DSN=dsn), stdout=subprocess.PIPE, text=True
    )
    lines = [json.loads(process.stdout.readline())["msg_id"] for _ in range(3)]
    time.sleep(1.2)
    settle(conn, claim(conn, 1), 200)
    lines.append(json.loads(process.stdout.readline())["msg_id"])
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert len(set(lines)) == 4
    assert lines[3] == 51


@pytest.mark.slow
def test_tail_shows_each_attempt_once_while_transactions_overlap(conn, dsn):
    """Settled at one moment, committed at another: several sessions, each holding its rows back for a while."""
    import random

    create(conn)
    process = subprocess.Popen(
        [str(QCTL), "tail", "-f", "-n", "1"],
        env=environment(QCTL_DSN=dsn),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    seen: list[tuple[int, int]] = []
    reader = threading.Thread(
        target=lambda: seen.extend((r["msg_id"], r["attempt_no"]) for r in map(json.loads, process.stdout))
    )
    reader.start()
    wait_until(lambda: one(conn, "select count(*) from pg_stat_activity where application_name = 'qctl tail'") == 1)
    time.sleep(1)
    total = [0] * 6

    def settle_some(number: int) -> None:
        pick = random.Random(number)
        with psycopg.connect(dsn) as connection:
            until = time.monotonic() + 10
            while time.monotonic() < until:
                count = pick.randrange(1, 100)
                connection.execute(
                    "insert into qctl.attempt (queue_id, msg_id, delivery_no, attempt_no, outcome, transport, claimed_at,"
                    " settled_at)"
                    " select 1, %s + g, 1, 1, 'delivered', 'http', clock_timestamp(), clock_timestamp() from"
                    " generate_series(1, %s) g",
                    (number * 1_000_000 + total[number], count))  # fmt: skip
                time.sleep(pick.choice([0, 0, 0.1, 0.7, 1.6]))
                connection.commit()
                total[number] += count

    writers = [threading.Thread(target=settle_some, args=(number,)) for number in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    wait_until(lambda: len(seen) >= sum(total), 15, "every attempt")
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130
    reader.join(5)
    process.communicate()
    expected = {(number * 1_000_000 + n, 1) for number in range(6) for n in range(1, total[number] + 1)}
    assert len(seen) == len(set(seen)), "an attempt came twice"
    assert set(seen) == expected


def test_tail_ends_when_its_reader_goes_though_nothing_happens(conn, dsn):
    create(conn)
    process = subprocess.Popen(
        [str(QCTL), "tail", "-f"],
        env=environment(QCTL_DSN=dsn),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: one(conn, "select count(*) from pg_stat_activity where application_name = 'qctl tail'") == 1)
    process.stdout.close()
    process.stdout = None
    _, talk = process.communicate(timeout=10)
    assert (process.returncode, talk) == (0, "")


def test_tail_failed_and_of_one_queue(busy, dsn):
    create(busy, "other")
    rows = [
        json.loads(line) for line in ok("tail", "--failed", "-q", "orders", "-o", "jsonl", dsn=dsn).stdout.splitlines()
    ]
    assert [row["msg_id"] for row in rows] == [2, 3]
    assert ok("tail", "-q", "other", "-o", "jsonl", dsn=dsn).stdout == ""
    assert state(busy, 1) == "delivered"
