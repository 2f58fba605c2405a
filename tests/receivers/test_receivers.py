"""The receivers of docs/receivers.md, as they stand there: what a signed queue sends is kept, once, and nothing else is."""

import base64
import contextlib
import http.client
import json
import os
import subprocess
import time
from datetime import UTC, datetime

import pytest
from page import BLOCKS, PAGE, Api, program
from standardwebhooks import Webhook

from helpers import create, one, send
from processes import qctl

KINDS = ["python", "python with standardwebhooks", "node", "node with standardwebhooks", "deno"]
OTHER = "whsec_" + base64.b64encode(bytes(32)).decode()
BODY = b'{"id": 7, "name": "Zo\xc3\xab", "total": 1.0}'

every_receiver = pytest.mark.parametrize("kind", KINDS)


def signed(secret: str, body: bytes = BODY, webhook_id: str = "msg_1", ago_s: float = 0) -> dict[str, str]:
    """Headers by the public library, as of so many seconds ago."""
    now = int(time.time() - ago_s)
    signature = Webhook(secret).sign(webhook_id, datetime.fromtimestamp(now, UTC), body.decode())
    return {"webhook-id": webhook_id, "webhook-timestamp": str(now), "webhook-signature": signature}


def rotate(dsn: str, *options: str) -> str:
    done = qctl("secret", "rotate", "-q", "orders", "-o", "json", *options, dsn=dsn)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)[0]["secret"]


def drain(worker) -> None:
    code, talk = worker("-q", "orders", "--drain").end()
    assert code == 0, talk


def last(conn) -> tuple:
    """Outcome and status of the last attempt."""
    return conn.execute("select outcome, status_code from qctl.attempt order by settled_at desc limit 1").fetchone()


@every_receiver
def test_what_a_signed_queue_sends_is_kept_and_a_replay_of_it_once(conn, dsn, worker, start, kind):
    create(conn, expect_json={"ok": True}, retry_schedule_s=[1])
    receiver = start(kind, rotate(dsn))
    conn.execute("select qctl.set_queue('orders', p_url => %s)", [receiver.url])
    bodies = ['{"b": 1.0, "a": "é 😀", "n": 12345678901234567890}', "[]", "null"]
    msg_id = one(conn, "select min(s) from qctl.send('orders', %s::jsonb[]) as s", bodies)
    drain(worker)
    kept = receiver.kept()
    assert sorted(kept.values()) == ["[]", "null", '{"a": "é 😀", "b": 1.0, "n": 12345678901234567890}']
    send(conn, 100)
    drain(worker)
    assert len(kept := receiver.kept()) == 103
    assert qctl("replay", f"orders/{msg_id}", dsn=dsn).returncode == 0
    drain(worker)
    assert one(conn, "select count(*) from qctl.attempt where outcome = 'delivered'") == 104
    assert receiver.kept() == kept
    assert qctl("replay", f"orders/{msg_id}", "--new-id", dsn=dsn).returncode == 0
    drain(worker)
    assert len(receiver.kept()) == 104
    assert one(conn, "select count(*) from qctl.attempt where outcome <> 'delivered'") == 0


@every_receiver
def test_a_wrong_secret_is_refused_and_told_as_401(conn, dsn, worker, start, kind):
    create(conn, retry_schedule_s=[3600])
    rotate(dsn)
    receiver = start(kind, OTHER)
    conn.execute("select qctl.set_queue('orders', p_url => %s)", [receiver.url])
    send(conn)
    drain(worker)
    assert last(conn) == ("retrying", 401)
    assert receiver.kept() == {}
    assert one(conn, "select count(*) from pgmq.q_orders") == 1


@every_receiver
def test_a_new_secret_is_taken_over_without_a_refusal(conn, dsn, worker, start, kind):
    create(conn, retry_schedule_s=[3600])
    receiver = start(kind, rotate(dsn))

    def deliver() -> tuple:
        conn.execute("select qctl.set_queue('orders', p_url => %s)", [receiver.url])
        send(conn)
        drain(worker)
        return last(conn)

    assert deliver() == ("delivered", 200)
    new = rotate(dsn, "--overlap", "24h")
    assert deliver() == ("delivered", 200), "the receiver that knows only the old one"
    before = receiver
    receiver = start(kind, new)
    assert deliver() == ("delivered", 200), "the one that knows only the new one"
    assert qctl("secret", "revoke", "-q", "orders", "--now", dsn=dsn).returncode == 0
    assert deliver() == ("delivered", 200)
    receiver = before
    assert deliver() == ("retrying", 401)


@every_receiver
def test_nothing_else_is_let_in(start, kind):
    secret = "whsec_" + base64.b64encode(os.urandom(32)).decode()
    receiver = start(kind, secret)
    good = signed(secret)
    signature = good["webhook-signature"]
    refused = {
        "no headers": (BODY, {}),
        "unsigned": (BODY, {k: v for k, v in good.items() if k != "webhook-signature"}),
        "stale": (BODY, signed(secret, ago_s=310)),
        "from the future": (BODY, signed(secret, ago_s=-310)),
        "another time": (BODY, {**good, "webhook-timestamp": str(int(good["webhook-timestamp"]) - 1)}),
        "no number": (BODY, {**good, "webhook-timestamp": "now"}),
        "no time": (BODY, {**good, "webhook-timestamp": "nan"}),
        "an endless number": (BODY, {**good, "webhook-timestamp": "9" * 5000}),
        "another id": (BODY, {**good, "webhook-id": "msg_2"}),
        "another secret": (BODY, signed(OTHER)),
        "a changed body": (BODY.replace(b"7", b"8"), good),
        "a body written again": (json.dumps(json.loads(BODY), separators=(",", ":")).encode(), good),
        "an empty body": (b"", good),
        "bytes that are no text": (b"\xff\xfe", good),
        "another version": (BODY, {**good, "webhook-signature": signature.replace("v1,", "v1a,")}),
        "half of it": (BODY, {**good, "webhook-signature": signature[:20]}),
        "no version": (BODY, {**good, "webhook-signature": signature[3:]}),
        "nothing after the version": (BODY, {**good, "webhook-signature": "v1,"}),
        "only the version": (BODY, {**good, "webhook-signature": "v1"}),
        "no base64": (BODY, {**good, "webhook-signature": "v1,***"}),
        "no ASCII": (BODY, {**good, "webhook-signature": "v1,é"}),
    }
    answers = {name: receiver.post(body, headers) for name, (body, headers) in refused.items()}
    assert answers == dict.fromkeys(refused, 401)
    assert receiver.kept() == {}
    assert receiver.post(BODY, good) == 200
    assert receiver.post(BODY, good) == 200
    assert receiver.post(BODY, signed(secret, webhook_id="msg_2", ago_s=290)) == 200
    third = signed(secret, webhook_id="msg_3")
    several = f"v1a,x {signed(OTHER)['webhook-signature']} {third['webhook-signature']}"
    assert receiver.post(BODY, {**third, "webhook-signature": several}) == 200
    assert receiver.kept() == dict.fromkeys(["msg_1", "msg_2", "msg_3"], BODY.decode())


@pytest.mark.parametrize("kind", ["python", "node", "deno"])
def test_what_cannot_be_kept_is_not_accepted(start, kind):
    receiver = start(kind, OTHER)
    receiver.lose_the_inbox()
    assert receiver.post(BODY, signed(OTHER)) == 503


@pytest.mark.parametrize("kind", ["python", "node", "deno"])
def test_what_is_too_large_is_not_read(start, kind):
    receiver = start(kind, OTHER)
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=10)) as connection:
        connection.putrequest("POST", "/hook")
        connection.putheader("content-length", "10000001")
        connection.endheaders()
        assert connection.getresponse().status == 413


def test_the_edge_function_takes_supabases_older_key_too(start):
    receiver = start("deno", OTHER, SUPABASE_SECRET_KEYS="{}", SUPABASE_SERVICE_ROLE_KEY=Api.OLDER_KEY)
    assert receiver.post(BODY, signed(OTHER)) == 200
    assert receiver.kept() == {"msg_1": BODY.decode()}


# The libraries take short secrets; the other receivers of the page do not.
@pytest.mark.parametrize(
    ("kind", "secret"),
    [(kind, "whsec_") for kind in KINDS] + [(kind, "whsec_AAAA") for kind in KINDS if " " not in kind],
)
def test_without_a_secret_it_does_not_start(start, kind, secret):
    with pytest.raises(RuntimeError, match="ended before it listened"):
        start(kind, secret)


def test_the_edge_function_passes_denos_type_check(tmp_path):
    (tmp_path / "index.ts").write_text(BLOCKS["index.ts"])
    command = [program("deno"), "check", "--quiet", "--no-remote", "--no-npm", "index.ts"]
    env = {**os.environ, "DENO_DIR": str(tmp_path / "deno"), "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_each_titled_block_of_the_page_is_run_here():
    run = {"inbox.sql", "receiver.py", "receiver.mjs", "index.ts"}
    run |= {f"verify.{ext}{how}" for ext in ("py", "mjs") for how in ("", " with standardwebhooks")}
    assert set(BLOCKS) == run
    assert PAGE.count("```") // 2 == len(run) + PAGE.count("```console\n")
