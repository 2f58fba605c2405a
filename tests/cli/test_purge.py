"""qctl purge: what is deleted, what is kept, and exports that lose nothing."""

import gzip
import json
import re
import subprocess

from helpers import claim, create, one, send, settle, states
from processes import QCTL, environment, failing, ok, wait_until


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
    assert "1 dead letter will be deleted for ever" in told
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


def test_purge_from_cron_is_silent_and_complete(conn, dsn):
    """env -i, no terminal, two queues: exit 0, nothing on stderr."""
    for name in ("alpha", "beta"):
        create(conn, name)
        send(conn, 3, name)
        settle(conn, claim(conn, name=name), 200, name=name)
        conn.execute(f"update pgmq.a_{name} set archived_at = now() - interval '8 days' where msg_id < 3")
    preview = json.loads(ok("purge", "--older-than", "7d", "--dry-run", "-o", "json", dsn=dsn).stdout)
    assert [(row["messages"], row["attempts"]) for row in preview] == [(2, 2), (2, 2)]
    done = subprocess.run(
        ["env", "-i", str(QCTL), "--dsn", dsn, "purge", "--older-than", "7d", "-o", "json"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert [(row["queue_name"], row["messages"]) for row in json.loads(done.stdout)] == [("alpha", 2), ("beta", 2)]
    assert one(conn, "select count(*) from pgmq.a_alpha") == 1
    again = ok("purge", "--older-than", "7d", "-o", "json", dsn=dsn)
    assert [row["messages"] for row in json.loads(again.stdout)] == [0, 0]


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
    assert "is not a gzip file" in failing(2, "purge", "--older-than", "0s", "--export", str(file), dsn=dsn)
    assert file.read_text() == "my notes"


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


def test_a_database_that_its_host_made_read_only_is_purged_as_the_hint_says(conn, dsn):
    """As hosts do when the disk is full."""
    create(conn)
    send(conn)
    settle(conn, claim(conn), 200)
    name = one(conn, "select current_database()")
    conn.execute(f'alter database "{name}" set default_transaction_read_only = on')
    told = failing(4, "purge", "--older-than", "0s", "--yes", dsn=dsn)
    (options,) = re.findall(r"PGOPTIONS='([^']*)'", told)
    ok("purge", "--older-than", "0s", "--yes", dsn=dsn, PGOPTIONS=options)
    conn.execute(f'alter database "{name}" reset default_transaction_read_only')
    assert one(conn, "select count(*) from pgmq.a_orders") == 0
