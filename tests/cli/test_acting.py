"""Putting things right: exactly those messages, at a rate, under new ids; what is refused and what is partly done."""

import gzip
import json
import signal
import subprocess
import time

import pytest

from helpers import claim, create, make_due, one, send, settle, states
from processes import QCTL, WorkerProcess, environment, qctl, wait_until


def ok(*arguments: str, **keywords):
    done = qctl(*arguments, **keywords)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done


def failing(code: int, *arguments: str, **keywords) -> str:
    done = qctl(*arguments, **keywords)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stderr


def outcomes(done) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in json.loads(done.stdout):
        counts[row["outcome"]] = counts.get(row["outcome"], 0) + 1
    return counts


@pytest.fixture
def wrong(conn):
    """1,000 delivered messages, 37 of them with an error behind the 200; the ids of those."""
    create(conn)
    send(conn, 1000)
    claims = claim(conn, 1000)
    ids = {c.msg_id for c in claims[5:1000:26]}
    ids = set(sorted(ids)[:37])
    settle(conn, claims, 200, response=[b'{"ok":false}' if c.msg_id in ids else b'{"ok":true}' for c in claims])
    return ids


FILTER = ["--status-code", "200", "--response", '"ok":false']


def test_exactly_those_by_a_filter(conn, dsn, wrong):
    told = failing(7, "replay", *FILTER, dsn=dsn)
    assert "37 messages (37 delivered: orders/" in told
    assert "their ids stay" in told
    assert "--new-id gives new ones" in told
    done = ok("replay", *FILTER, "--yes", "-o", "json", dsn=dsn)
    assert {row["msg_id"] for row in json.loads(done.stdout)} == wrong
    assert outcomes(done) == {"replayed": 37}
    assert {row[0] for row in conn.execute("select msg_id from pgmq.q_orders")} == wrong
    assert (
        sum(one(conn, "select (detail ->> 'replayed')::int from qctl.audit where verb = 'replay'") for _ in [0]) == 37
    )
    # Waiting for their second delivery, they still match: nothing is done twice.
    assert outcomes(ok("replay", *FILTER, "--yes", "-o", "json", dsn=dsn)) == {"ready": 37}


def test_exactly_those_by_a_pipe(conn, dsn, wrong):
    ids = ok("messages", *FILTER, "--ids", dsn=dsn).stdout
    assert outcomes(ok("replay", "-", "-o", "json", stdin=ids, dsn=dsn)) == {"replayed": 37}
    assert {row[0] for row in conn.execute("select msg_id from pgmq.q_orders")} == wrong


def test_ten_thousand_dead_letters(conn, dsn):
    create(conn, retry_schedule_s=[], max_in_flight=10000)
    send(conn, 10000)
    settle(conn, claim(conn, 10000), 500)
    assert one(conn, "select count(*) from qctl.dead_letter") == 10000
    assert ok("replay", "--dead", "--dry-run", dsn=dsn).stdout.count("dead") == 10000
    done = ok("replay", "--dead", "--yes", "--reason", "mended", "-o", "json", dsn=dsn)
    assert outcomes(done) == {"replayed": 10000}
    assert one(conn, "select count(*) from pgmq.q_orders where vt <= now()") == 10000
    assert one(conn, "select count(*) from qctl.dead_letter") == 0
    assert "no message matches" in ok("replay", "--dead", "--yes", dsn=dsn).stderr


def test_a_rate_spreads_over_batches_of_several_queues(conn, dsn):
    create(conn, retry_schedule_s=[])
    create(conn, "other", retry_schedule_s=[])
    for name in ("orders", "other"):
        send(conn, 1500, name)
        for _ in range(2):
            settle(conn, claim(conn, 1000, name), 200, name=name)
    ok("replay", "--delivered", "--yes", "--rate", "50/s", dsn=dsn)
    rows = conn.execute("select vt from pgmq.q_orders union all select vt from pgmq.q_other order by 1").fetchall()
    times = [row[0] for row in rows]
    assert len(times) == 3000
    assert 58 <= (times[-1] - times[0]).total_seconds() <= 63
    for start in range(0, 2900, 100):
        assert 1.5 < (times[start + 100] - times[start]).total_seconds() < 2.5
    assert len(claim(conn, 1000)) < 300


def test_new_ids_and_the_same_ids(conn, dsn):
    create(conn)
    send(conn, 2)
    first = {c.msg_id: c.headers["webhook-id"] for c in claim(conn)}
    conn.execute("update qctl.in_flight set expires_at = now()")
    settle(conn, claim(conn), 200)
    conn.execute("select qctl.upkeep()")
    settle(conn, claim(conn), 200)
    ok("replay", "1", dsn=dsn)
    ok("replay", "2", "--new-id", dsn=dsn)
    second = {c.msg_id: c for c in claim(conn)}
    assert second[1].headers["webhook-id"] == first[1]
    assert second[2].headers["webhook-id"] != first[2]
    settle(conn, list(second.values()), 200)
    ok("replay", "2", dsn=dsn)
    assert claim(conn)[0].headers["webhook-id"] == second[2].headers["webhook-id"]


def test_ranges_have_holes_and_unknown_ids_are_said(conn, dsn):
    create(conn)
    send(conn, 10)
    conn.execute("delete from pgmq.q_orders where msg_id in (4, 5)")
    settle(conn, claim(conn), 200)
    assert outcomes(ok("replay", "3..6", "-o", "json", dsn=dsn)) == {"replayed": 2}
    done = qctl("replay", "orders/1", "7..8", "orders/99", "-o", "json", dsn=dsn)
    assert done.returncode == 9
    assert "orders/99" in done.stderr
    assert outcomes(done) == {"replayed": 3, "unknown": 1}
    failing(6, "replay", "4..5", dsn=dsn)
    failing(6, "replay", "orders/99", dsn=dsn)
    failing(6, "replay", "99", dsn=dsn)
    failing(6, "replay", "nope/1", dsn=dsn)
    for wrong in (
        ["5..1"],
        ["1..x"],
        ["1..9999999"],
        [],
        ["1", "--dead"],
        ["1", "--rate", "0/s"],
        ["--dead", "--rate", "fast"],
    ):
        failing(2, "replay", *wrong, dsn=dsn)


def test_what_waits_is_tried_now_and_what_flies_is_left_alone(conn, dsn):
    create(conn, retry_schedule_s=[3600])
    send(conn, 4)
    claims = claim(conn, 2)
    settle(conn, claims[:1], 500)
    done = qctl("replay", "1..4", "-o", "json", dsn=dsn)
    assert outcomes(done) == {"due_now": 1, "in_flight": 1, "ready": 2}
    assert states(conn, [1]) == {"ready": 1}


def test_discard_by_a_filter(conn, dsn):
    create(conn, retry_schedule_s=[3600])
    send(conn, 5)
    settle(conn, claim(conn, 3), [500, 500, 503])
    assert "2 messages (2 retrying: orders/1, orders/2) to be given up" in failing(
        7, "discard", "--status-code", "500", dsn=dsn
    )
    assert outcomes(ok("discard", "--status-code", "500", "--yes", "--reason", "no use", "-o", "json", dsn=dsn)) == {
        "discarded": 2
    }
    assert states(conn, [1, 2, 3, 4, 5]) == {"dead": 2, "retrying": 1, "ready": 2}


# purge, export, send


def exported(file) -> list[dict]:
    return [json.loads(line) for line in gzip.decompress(file.read_bytes()).decode().split("\n") if line]


BODIES = [
    '{"n": 1.10, "big": 12345678901234567890.123456789}',
    '{"t": "ü\\u2028\\n\\"quoted\\""}',
    "null",
    '[1, {"qctl_export": 1}]',
    '"text"',
]


def test_what_is_exported_and_sent_back_equals_the_original(conn, dsn, tmp_path):
    create(conn)
    ok("send", "-", stdin="\n".join(BODIES), dsn=dsn)
    settle(conn, claim(conn), 200)
    original = [row[0] for row in conn.execute("select message::text from pgmq.a_orders order by msg_id")]
    assert len(original) == len(BODIES)
    file = tmp_path / "old.jsonl.gz"
    assert ok("purge", "--older-than", "0s", "--export", str(file), dsn=dsn).stdout == ""
    assert one(conn, "select count(*) from pgmq.a_orders") == 0
    assert one(conn, "select count(*) from qctl.attempt") == 0
    ok("send", f"@{file}", dsn=dsn)
    assert [row[0] for row in conn.execute("select message::text from pgmq.q_orders order by msg_id")] == original
    settle(conn, claim(conn), 200)
    ok("purge", "--older-than", "0s", "--export", str(file), dsn=dsn)
    rows = exported(file)
    assert [row["msg_id"] for row in rows] == list(range(1, 11))
    assert {row["state"] for row in rows} == {"delivered"}


def test_purge_of_dead_letters_asks_and_leaves_the_rest(conn, dsn, tmp_path):
    create(conn, retry_schedule_s=[])
    send(conn, 4)
    claims = claim(conn)
    settle(conn, claims[:2], 500)
    settle(conn, claims[2:3], 200)
    conn.execute("update qctl.dead_letter set died_at = now() - interval '40 d' where msg_id = 1")
    told = failing(7, "purge", "--older-than", "30d", "--dead", dsn=dsn)
    assert "1 dead letter to be deleted for ever" in told
    (row,) = json.loads(ok("purge", "--older-than", "30d", "--dead", "--dry-run", "-o", "json", dsn=dsn).stdout)
    assert (row["kind"], row["messages"], row["attempts"], row["bytes"] > 0) == ("dead", 1, 1, True)
    file = tmp_path / "dead.gz"
    (row,) = json.loads(
        ok("purge", "--older-than", "30d", "--dead", "--yes", "--export", str(file), "-o", "json", dsn=dsn).stdout
    )
    assert (row["messages"], row["attempts"]) == (1, 1)
    assert states(conn, [1, 2, 3, 4]) == {None: 1, "dead": 1, "delivered": 1, "in_flight": 1}
    assert [row["state"] for row in exported(file)] == ["dead"]
    ok("purge", "--older-than", "0s", "--dead", "--yes", dsn=dsn)
    assert states(conn, [2, 3, 4]) == {None: 1, "delivered": 1, "in_flight": 1}


def test_the_nightly_line_is_silent_and_takes_what_is_left_over(conn, dsn):
    create(conn)
    send(conn, 3)
    settle(conn, claim(conn), 200)
    for table, column in (("pgmq.a_orders", "archived_at"), ("qctl.attempt", "settled_at")):
        conn.execute(f"update {table} set {column} = now() - interval '8 d'")
    conn.execute(
        "insert into qctl.attempt select 1, 99, 1, 1, 'late', null, 'http', settled_at, settled_at from qctl.attempt"
        " where msg_id = 1"
    )
    conn.execute(
        "insert into qctl.throughput values (1, now() - interval '8 d', 1, 0, 0, 0, 1, 1), (1, now(), 1, 0, 0, 0, 1, 1)"
    )
    env = {"PATH": f"{QCTL.parent}:/usr/bin:/bin", "QCTL_DSN": dsn}
    done = subprocess.run(
        ["/bin/sh", "-c", "qctl purge --older-than 7d"],
        env=env,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert one(conn, "select count(*) from pgmq.a_orders") == 0
    assert one(conn, "select count(*) from qctl.attempt") == 0
    assert one(conn, "select count(*) from qctl.throughput") == 1


def test_purge_vacuums(conn, dsn):
    create(conn)
    send(conn, 3)
    settle(conn, claim(conn), 200)
    ok("purge", "--older-than", "0s", "--vacuum", dsn=dsn)
    # PostgreSQL 14 tells it a moment later.
    wait_until(lambda: one(conn, "select pg_stat_get_vacuum_count('pgmq.a_orders'::regclass)") == 1)
    failing(2, "purge", "--older-than", "0s", "--vacuum", "--dry-run", dsn=dsn)
    failing(2, "purge", "--older-than", "0s", "--export", "/nowhere/x.gz", dsn=dsn)


def test_two_exports_at_once_and_one_killed_in_the_middle_lose_nothing(conn, dsn, tmp_path):
    create(conn, max_in_flight=60000)
    conn.execute("insert into pgmq.a_orders (msg_id, enqueued_at, archived_at, vt, message, headers) overriding system value"
                 " select g, now(), now() - interval '1 h', now(), to_jsonb(g), '{\"qctl\": {\"outcome\": \"delivered\"}}'"
                 " from generate_series(1, 60000) g")  # fmt: skip
    files = [tmp_path / f"{n}.gz" for n in range(3)]

    def start(file):
        return subprocess.Popen(
            [str(QCTL), "purge", "--older-than", "1m", "--export", str(file)], env=environment(QCTL_DSN=dsn)
        )

    victim = start(files[0])
    wait_until(lambda: one(conn, "select count(*) from pgmq.a_orders") < 60000)
    victim.kill()
    victim.wait()
    for process in [start(files[1]), start(files[2])]:
        assert process.wait(60) == 0
    # Rows that one of the two had locked when the other passed by.
    ok("purge", "--older-than", "1m", "--export", str(files[1]), dsn=dsn)
    assert one(conn, "select count(*) from pgmq.a_orders") == 0
    seen = {row["msg_id"] for file in files for row in exported(file)}
    assert seen == set(range(1, 60001))


def test_send_from_a_file_names_the_lines_that_fail(conn, dsn, tmp_path):
    create(conn)
    file = tmp_path / "m.jsonl"
    file.write_text('{"a": 1}\nnot json\n\n{"a": 2}\n')
    done = qctl("send", f"@{file}", dsn=dsn)
    assert done.returncode == 9
    assert "line 2: not JSON" in done.stderr
    assert one(conn, "select count(*) from pgmq.q_orders") == 2
    assert "cannot read" in failing(2, "send", f"@{tmp_path / 'none'}", dsn=dsn)
    file.write_bytes(b"\x1f\x8bbroken")
    failing(2, "send", f"@{file}", dsn=dsn)


def test_an_export_goes_on_behind_one_that_was_cut_off(conn, dsn, tmp_path):
    create(conn)
    file = tmp_path / "x.gz"
    for _ in range(2):
        send(conn, 2)
        settle(conn, claim(conn), 200)
        ok("purge", "--older-than", "0s", "--export", str(file), dsn=dsn)
        with file.open("ab") as behind:
            behind.write(gzip.compress(b"{}" * 1000)[:20])
    send(conn, 1)
    settle(conn, claim(conn), 200)
    ok("purge", "--older-than", "0s", "--export", str(file), dsn=dsn)
    assert [row["msg_id"] for row in exported(file)] == [1, 2, 3, 4, 5]
    file.write_text("my notes")
    assert "is no gzip file" in failing(2, "purge", "--older-than", "0s", "--export", str(file), dsn=dsn)
    assert file.read_text() == "my notes"


def test_pause_and_resume_all(conn, dsn):
    for name in ("a", "b", "c"):
        create(conn, name)
    ok("pause", "-q", "b", "--reason", "first", dsn=dsn)
    rows = json.loads(ok("pause", "--all", "--reason", "maintenance", "-o", "json", dsn=dsn).stdout)
    assert [(row["queue_name"], row["changed"]) for row in rows] == [("a", True), ("b", False), ("c", True)]
    assert one(conn, "select pause_reason from qctl.status where queue_name = 'b'") == "first"
    failing(2, "resume", dsn=dsn)
    assert all(row["changed"] for row in json.loads(ok("resume", "--all", "-o", "json", dsn=dsn).stdout))


# test


def test_no_test_event_is_sent_where_nothing_is_sent(conn, dsn):
    create(conn)
    conn.execute("select qctl.pause('orders', 'moving')")
    told = failing(8, "test", dsn=dsn)
    assert "nothing was sent, for queue orders sends nothing now" in told
    assert "paused: moving" in told
    assert "qctl resume -q orders" in told
    conn.execute("select qctl.disarm()")
    told = failing(8, "test", dsn=dsn)
    assert "unarmed: " in told
    assert "qctl arm" in told
    assert one(conn, "select count(*) from pgmq.q_orders") == 0


def test_a_test_event_takes_the_whole_way(conn, dsn, endpoint):
    receiver = endpoint()
    create(conn, url=receiver.url)
    process = WorkerProcess(dsn, "-q", "orders")
    try:
        done = ok("test", "-o", "json", dsn=dsn)
        (row,) = json.loads(done.stdout)
        assert (row["outcome"], row["status_code"]) == ("delivered", 200)
        assert len(receiver.accepted()) == 1
        receiver.become("--fail-rate", "1", "--failures", "404")
        told = failing(8, "test", dsn=dsn)
        assert "not delivered: HTTP 404" in told
        receiver.kill()
        assert "not delivered: Failed to connect" in failing(8, "test", "--body", "[1]", dsn=dsn)
    finally:
        process.close()
    assert one(conn, "select count(*) from pgmq.q_orders") == 0
    assert one(conn, "select count(*) from qctl.dead_letter") == 0
    told = failing(8, "test", "--within", "1s", dsn=dsn)
    assert "no answer within 1s" in told
    assert one(conn, "select count(*) from pgmq.q_orders") == 0
    failing(2, "test", "--body", "{", dsn=dsn)


# What a second look found.


def test_what_changed_while_a_person_thought_is_left_alone(conn, dsn):
    create(conn, retry_schedule_s=[3600] * 3)
    send(conn, 4)
    settle(conn, claim(conn), 500)
    conn.execute("select qctl.discard('orders', '{4}')")
    make_due(conn)
    seen = conn.execute("select msg_id, state, delivery_no from qctl.messages('orders') order by msg_id").fetchall()
    settle(conn, claim(conn, 2), 200)
    conn.execute("select qctl.replay('orders', '{4}')")
    rows = dict(conn.execute(
        "select * from qctl.replay('orders', %s, p_seen_states => %s, p_seen_delivery_nos => %s)",
        [list(c) for c in zip(*seen, strict=True)]
    ))  # fmt: skip
    assert rows == {1: "changed", 2: "changed", 3: "ready", 4: "changed"}
    assert states(conn, [1, 2, 3, 4]) == {"delivered": 2, "ready": 2}
    rows = dict(conn.execute(
        "select * from qctl.discard('orders', %s, null, %s, %s)", [list(c) for c in zip(*seen, strict=True)]))  # fmt: skip
    assert rows == {1: "changed", 2: "changed", 3: "discarded", 4: "changed"}


def test_a_rate_over_finished_and_waiting_ones(conn, dsn):
    create(conn, retry_schedule_s=[36000])
    send(conn, 200)
    claims = claim(conn, 200)
    settle(conn, claims, [200, 500] * 100)
    ok("replay", "1..200", "--rate", "20/s", dsn=dsn)
    times = [row[0] for row in conn.execute("select vt from pgmq.q_orders order by 1")]
    for start in range(0, 180, 20):
        assert 0.9 < (times[start + 20] - times[start]).total_seconds() < 1.1
    assert one(conn, "select age_s from qctl.lag()") < 5
    conn.execute("update qctl.retry set replayed_at = replayed_at - interval '1 h' where replayed_at is not null")
    assert one(conn, "select age_s from qctl.lag()") < 60


def test_a_new_id_also_for_a_replay_that_waits_already(conn, dsn):
    create(conn)
    send(conn)
    first = claim(conn)
    settle(conn, first, 200)
    ok("replay", "1", dsn=dsn)
    ok("replay", "1", "--new-id", dsn=dsn)
    assert claim(conn)[0].headers["webhook-id"] != first[0].headers["webhook-id"]


def test_two_dead_letters_of_one_number_are_two(conn, dsn, tmp_path):
    create(conn, retry_schedule_s=[])
    send(conn, 1)
    settle(conn, claim(conn), 500)
    conn.execute("insert into qctl.dead_letter select queue_id, msg_id, delivery_no, attempts, lost, reason, note,"
    " status_code, error,"
                 " enqueued_at - interval '9 d', read_ct, message, headers, webhook_id, died_at - interval '9 d' from"
                 " qctl.dead_letter")  # fmt: skip
    file = tmp_path / "d.gz"
    ok("purge", "--older-than", "7d", "--dead", "--yes", "--export", str(file), dsn=dsn)
    assert one(conn, "select count(*) from qctl.dead_letter") == 1
    assert one(conn, "select count(*) from qctl.attempt") == 1
    assert len(exported(file)) == 1
    ok("purge", "--older-than", "7d", "--dead", "--yes", dsn=dsn)
    assert one(conn, "select count(*) from qctl.dead_letter") == 1


def test_purge_keeps_the_log_of_a_number_that_lives_on(conn, dsn):
    create(conn)
    send(conn, 1)
    settle(conn, claim(conn), 200)
    conn.execute("update pgmq.a_orders set archived_at = now() - interval '8 d'")
    conn.execute("insert into pgmq.q_orders (msg_id, vt, message) overriding system value values (1, now(), '1')")
    ok("purge", "--older-than", "7d", dsn=dsn)
    assert one(conn, "select count(*) from pgmq.a_orders") == 0
    assert one(conn, "select count(*) from qctl.attempt") == 1


def test_one_export_file_has_one_writer_and_infinite_instants_are_exported(conn, dsn, tmp_path):
    import fcntl

    create(conn)
    send(conn, 1)
    settle(conn, claim(conn), 200)
    conn.execute("update pgmq.a_orders set enqueued_at = 'infinity'")
    file = tmp_path / "x.gz"
    with file.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert "another purge writes" in failing(10, "purge", "--older-than", "0s", "--export", str(file), dsn=dsn)
    ok("purge", "--older-than", "0s", "--export", str(file), dsn=dsn)
    assert exported(file)[0]["enqueued_at"] == "infinity"
    assert one(conn, "select count(*) from pgmq.a_orders") == 0


def test_a_full_disk_deletes_nothing(conn, dsn, tmp_path):
    create(conn)
    send(conn, 1)
    settle(conn, claim(conn), 200)
    command = f"ulimit -f 0; exec {QCTL} purge --older-than 0s --export {tmp_path / 'x.gz'}"
    done = subprocess.run(
        ["/bin/sh", "-c", command], env=environment(QCTL_DSN=dsn), capture_output=True, text=True, check=False
    )
    assert done.returncode == 9, done.stderr
    assert "what was not written was not deleted" in done.stderr
    assert one(conn, "select count(*) from pgmq.a_orders") == 1


def test_lines_that_only_look_like_an_export_and_bytes_that_are_no_text(conn, dsn):
    create(conn)
    lines = [
        b'{"qctl_export": 1}',
        b'{"qctl_export": 1, "message": {"a": 1}}',
        b'{"a": "\xff"}',
        b'{"qctl_export": 1, "message": "[7]"}',
    ]
    done = qctl("send", "-", "-o", "json", stdin=b"\n".join(lines), dsn=dsn)
    assert done.returncode == 9
    assert b"line 3: not UTF-8" in done.stderr
    assert len(json.loads(done.stdout)) == 3
    bodies = [row[0] for row in conn.execute("select message from pgmq.q_orders order by msg_id")]
    assert bodies == [{"qctl_export": 1}, {"qctl_export": 1, "message": {"a": 1}}, [7]]


def test_all_and_one_exclude_each_other(conn, dsn):
    create(conn)
    failing(2, "pause", "--all", "-q", "orders", dsn=dsn)
    ok("pause", "--all", dsn=dsn, QCTL_QUEUE="orders")


def test_an_interrupted_test_leaves_no_event(conn, dsn):
    create(conn)
    process = subprocess.Popen([str(QCTL), "test"], env=environment(QCTL_DSN=dsn), stderr=subprocess.PIPE, text=True)
    wait_until(lambda: one(conn, "select count(*) from pgmq.q_orders") == 1)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 130
    assert one(conn, "select count(*) from pgmq.q_orders") == 0
    assert one(conn, "select count(*) from qctl.dead_letter") == 0
