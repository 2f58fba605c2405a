"""Table, trigger, queue, ``qctl worker``, and a real n8n whose own list of executions is held against the database."""

import base64
import datetime as dt
import hmac
import json
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from n8n_process import TOP, Flow, N8n, node, workflow
from standardwebhooks.webhooks import Webhook

from helpers import SECRET
from processes import qctl, wait_until

IMPORTED = TOP / "docs/n8n/verify-signature.json"
CODE = "Verify"


@pytest.fixture
def run(dsn: str) -> Callable[..., str]:
    """Runs qctl on the test's database, which must succeed; its stdout."""

    def start(*arguments: str, **keywords: Any) -> str:
        done = qctl(*arguments, dsn=dsn, **keywords)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout

    return start


@pytest.fixture
def users(conn: psycopg.Connection) -> Callable[[int], None]:
    """A table ``public.users``; adds so many rows to it, in several transactions."""
    conn.execute("create table public.users (id int generated always as identity primary key, name text)")

    def insert(count: int) -> None:
        for _ in range(0, count, 10):
            conn.execute(
                "insert into public.users (name) select 'Zoë \"' || n || '\"' from generate_series(1, %s) n",
                (min(10, count),),
            )

    return insert


def messages(run: Callable[..., str], *filters: str) -> list[dict[str, Any]]:
    return json.loads(run("messages", "-q", "users", *filters, "--captured-since", "1h", "-o", "json"))


def settled(run: Callable[..., str], count: int, timeout_s: float = 60) -> list[dict[str, Any]]:
    """The messages once so many are delivered, and none is left."""
    wait_until(lambda: json.loads(run("status", "-o", "json"))[0]["depth"] == 0, timeout_s, "the queue to be empty")
    found = messages(run)
    assert {message["state"] for message in found} == {"delivered"}
    assert len(found) == count
    return found


def executed(flow: Flow, count: int) -> list[str]:
    """The webhook-ids that n8n executed to a success, once it has executed so many, and no more come."""
    wait_until(lambda: flow.counts()["success"] >= count, 60, f"{count} executions in n8n")
    time.sleep(0.3)
    assert set(flow.counts()) == {"success"}
    return [execution.headers["webhook-id"] for execution in flow.executions()]


# What arrives.


@pytest.mark.parametrize(
    ("mode", "count", "answer"),
    [
        ("onReceived", 200, '{"message":"Workflow was started"}'),
        ("lastNode", 100, '"operation":"INSERT"'),
        ("responseNode", 100, "done"),
    ],
)
def test_n8n_executes_each_message_once_whichever_way_it_responds(n8n: N8n, run, users, worker, mode, count, answer):
    flow = n8n.add(workflow(mode))
    run("create", "users", "--url", flow.url, "--attach", "public.users")
    worker("--all")
    users(count)
    delivered = settled(run, count)
    ids = executed(flow, count)
    assert sorted(ids) == sorted(message["webhook_id"] for message in delivered)
    bodies = [execution.body for execution in flow.executions()]
    assert sorted(body["record"]["id"] for body in bodies) == list(range(1, count + 1))
    assert {(body["operation"], body["schema"], body["table"]) for body in bodies} == {("INSERT", "public", "users")}
    assert all(body["record"]["name"].startswith('Zoë "') for body in bodies)
    assert all(answer in message["response"] for message in delivered)


def test_when_n8n_responds_at_once_a_failing_workflow_is_still_delivered(n8n: N8n, run, users, worker):
    flow = n8n.add(workflow("onReceived", code="throw new Error('no such customer');"))
    run("create", "users", "--url", flow.url, "--attach", "public.users")
    worker("--all")
    users(5)
    settled(run, 5)
    wait_until(lambda: flow.counts() == {"error": 5}, 30, "5 failed executions")


@pytest.mark.parametrize("mode", ["lastNode", "responseNode"])
def test_when_n8n_responds_at_the_end_a_failing_workflow_is_tried_again_until_it_works(
    n8n: N8n, run, users, worker, mode
):
    # Each message fails once: n8n remembers in the workflow's own data which it saw.
    code = """
const seen = $getWorkflowStaticData('global');
const id = $input.first().json.headers['webhook-id'];
if (!seen[id]) { seen[id] = true; throw new Error('no such customer'); }
return $input.all();
"""
    flow = n8n.add(workflow(mode, code=code))
    run(
        "create",
        "users",
        "--url",
        flow.url,
        "--attach",
        "public.users",
        "--retry",
        "1s,1s,1s,1s,1s,1s",
        "--concurrency",
        "1",
    )
    worker("--all")
    users(3)
    delivered = settled(run, 3)
    assert flow.counts()["success"] == 3
    assert flow.counts()["error"] >= 3
    assert all(message["attempts"] >= 2 for message in delivered)
    first = json.loads(run("show", f"users/{delivered[0]['msg_id']}", "-o", "json"))[0]["attempt_log"][0]
    assert (first["outcome"], first["status_code"]) == ("retrying", 500)
    assert first["response"] == '{"message":"Error in workflow"}'


def test_a_respond_node_that_says_422_ends_the_retries(n8n: N8n, run, users, worker):
    flow = n8n.add(workflow("responseNode", status=422))
    run("create", "users", "--url", flow.url, "--attach", "public.users", "--retry", ",".join(["1s"] * 60))
    worker("--all")
    users(1)
    wait_until(lambda: messages(run)[0]["state"] == "dead", 30, "a dead letter")
    (dead,) = messages(run)
    assert (dead["reason"], dead["status_code"], dead["attempts"]) == ("rejected", 422, 3)
    assert flow.counts() == {"success": 3}


# Who may deliver.


def test_the_option_ignore_bots_takes_qctl_for_one(n8n: N8n, run, users, worker):
    flow = n8n.add(workflow("onReceived", ignoreBots=True))
    run("create", "users", "--url", flow.url, "--attach", "public.users", "--retry", ",".join(["1s"] * 60))
    worker("--all")
    users(1)
    wait_until(lambda: messages(run, "--status-code", "403"), 30, "a message refused")
    assert flow.post(b"{}", {"User-Agent": "pg_net/0.14.0"})[0] == 403
    assert (
        flow.post(b"{}", {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0"})[0]
        == 200
    )


def test_header_auth_refuses_without_the_header_and_takes_with_it(n8n: N8n, run, users, worker):
    credential = n8n.header_credential("X-Qctl-Token", "s3cret of the test")
    flow = n8n.add(workflow("onReceived", credential=credential))
    run("create", "users", "--url", flow.url, "--attach", "public.users", "--retry", ",".join(["1s"] * 60))
    worker("--all")
    users(10)
    refused = lambda: messages(run, "--status-code", "403")  # noqa: E731
    wait_until(lambda: len(refused()) == 10, 30, "10 messages refused")
    assert {(message["state"], message["response"]) for message in refused()} <= {
        ("retrying", "Authorization data is wrong!"),
        ("in_flight", "Authorization data is wrong!"),
        ("ready", "Authorization data is wrong!"),
    }
    status = json.loads(run("status", "-o", "json"))[0]
    assert (status["health"], status["last_error"], status["dead"]) == ("endpoint_failing", "HTTP 403", 0)
    assert not flow.counts()
    run("secret", "set", "n8n", "env:N8N_TOKEN", N8N_TOKEN="s3cret of the test")
    run("set", "-q", "users", "--header", "X-Qctl-Token: secret:n8n")
    delivered = settled(run, 10)
    assert sorted(executed(flow, 10)) == sorted(message["webhook_id"] for message in delivered)
    assert "s3cret" not in run("describe", "users") + run("show", "users/1", "--payload")


def imported(n8n: N8n, secret: str = SECRET) -> Flow:
    """The file of the docs as a user has it after importing it and putting the secret in; on a path of its own."""
    file = json.loads(IMPORTED.read_text())
    webhook = next(node for node in file["nodes"] if node["name"] == "Webhook")
    webhook["parameters"]["path"] += f"-{uuid4().hex[:12]}"
    code = next(node for node in file["nodes"] if node["name"] == CODE)["parameters"]
    assert code["jsCode"].count("whsec_REPLACE_ME") == 1
    code["jsCode"] = code["jsCode"].replace("whsec_REPLACE_ME", secret)
    return n8n.add(file)


def signed(body: bytes, secret: str = SECRET, *, name: str = "msg_1", age_s: float = 0) -> dict[str, str]:
    """The headers of Standard Webhooks for this body, by its own library."""
    when = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=age_s)
    return {
        "webhook-id": name,
        "webhook-timestamp": str(int(when.timestamp())),
        "webhook-signature": Webhook(secret).sign(name, when, body.decode()),
    }


@pytest.fixture(scope="module")
def checking(n8n: N8n) -> Flow:
    return imported(n8n)


def test_the_file_of_the_docs_is_imported_by_n8ns_command_line_and_refuses_until_it_has_a_secret(n8n: N8n):
    file = json.loads(IMPORTED.read_text())
    assert "id" not in file
    assert not any({"id", "credentials"} & set(node) for node in file["nodes"])
    n8n.command_line("import:workflow", "--separate", f"--input={IMPORTED.parent}")
    with psycopg.connect(n8n.dsn) as connection:
        (flow_id,) = connection.execute("select id from workflow_entity where name = %s", (file["name"],)).fetchone()
    flow = n8n.activated(flow_id)
    status, _ = flow.post(b"{}", signed(b"{}"))
    assert status == 500
    assert "Put your signing secret" in flow.errors()[0]


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        # Sent on by a parser it would be other bytes: spaces, an exponent, escapes, a key twice.
        b'{"b": 1.0,  "a":1e2, "c":"\\u00e9", "a":2}',
        '{"name":"Zoë 🙂 \u2028"}'.encode(),
        *(b'{"x":"' + b"y" * length + b'"}' for length in (*range(40), 1000, 50_000, 600_000)),
    ],
    ids=lambda body: str(len(body)),
)
def test_a_signed_request_is_taken(checking: Flow, body):
    assert checking.post(body, signed(body)) == (200, b"done")


FORGED = {
    "another secret": lambda body: signed(body, "whsec_" + "A" * 32),
    "another body": lambda body: signed(body + b" "),
    "another id": lambda body: {**signed(body), "webhook-id": "msg_2"},
    "another timestamp": lambda body: {**signed(body), "webhook-timestamp": signed(body, age_s=5)["webhook-timestamp"]},
    "too old": lambda body: signed(body, age_s=310),
    "too far ahead": lambda body: signed(body, age_s=-310),
    "nothing": lambda _: {},
    "no id": lambda body: {k: v for k, v in signed(body).items() if k != "webhook-id"},
    "no timestamp": lambda body: {k: v for k, v in signed(body).items() if k != "webhook-timestamp"},
    "no signature": lambda body: {k: v for k, v in signed(body).items() if k != "webhook-signature"},
    "an empty signature": lambda body: {**signed(body), "webhook-signature": "v1,"},
    "half a signature": lambda body: {**signed(body), "webhook-signature": signed(body)["webhook-signature"][:20]},
    "another version": lambda body: {**signed(body), "webhook-signature": "v2" + signed(body)["webhook-signature"][2:]},
    "not a number": lambda body: {**signed(body), "webhook-timestamp": "NaN"},
    "the placeholder": lambda body: signed(body, "whsec_REPLACEMEx=="),
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_a_forged_request_is_refused(checking: Flow, forged):
    body = b'{"record":{"id":1}}'
    status, reason = checking.post(body, forged(body))
    assert status == 401
    assert b"webhook-" in reason or reason == b"no signature matches"


def test_one_of_several_signatures_is_enough_and_so_is_one_of_two_secrets(n8n: N8n, checking: Flow):
    body = b'{"record":{"id":1}}'
    other = "whsec_" + "B" * 40
    mine, others = signed(body), signed(body, other)
    both = f"v2,xxx {others['webhook-signature']} {mine['webhook-signature']}"
    assert checking.post(body, {**mine, "webhook-signature": both})[0] == 200
    assert checking.post(body, others)[0] == 401
    changing = imported(n8n, f"{SECRET}', '{other}")
    assert changing.post(body, mine)[0] == 200
    assert changing.post(body, others)[0] == 200
    assert changing.post(body, signed(body, "whsec_" + "C" * 40))[0] == 401


KEY = bytes(range(128, 160))
HMAC = hmac.new(KEY, b"abc", "sha256").hexdigest()
REQUIRES = f"""
const crypto = require('crypto');
const key = Buffer.from('{base64.b64encode(KEY).decode()}', 'base64');
return [{{ json: {{ data: crypto.createHmac('sha256', key).update('abc').digest('hex') }} }}];
"""


def made_by_the_crypto_node(n8n: N8n, secret: str) -> tuple[int, bytes]:
    work = node(
        "Work", "crypto", 1, 220, action="hmac", type="SHA256", value="abc", encoding="hex",
        dataPropertyName="data", secret=secret,
    )  # fmt: skip
    return n8n.add(workflow("lastNode", work=work)).post(b"{}", {})


def test_n8ns_crypto_node_takes_the_key_as_bytes_of_an_expression_and_not_as_text(n8n: N8n):
    status, answer = made_by_the_crypto_node(n8n, f"={{{{ new Uint8Array({list(KEY)}) }}}}")
    assert (status, json.loads(answer)["data"]) == (200, HMAC)
    status, answer = made_by_the_crypto_node(n8n, base64.b64encode(KEY).decode())
    assert status == 200
    assert json.loads(answer)["data"] != HMAC


def test_a_code_node_requires_crypto_only_where_a_variable_allows_it(n8n: N8n, allowing_crypto: N8n):
    flow = n8n.add(workflow("lastNode", code=REQUIRES))
    assert flow.post(b"{}", {})[0] == 500
    assert "Cannot find module 'crypto'" in flow.errors()[0]
    status, answer = allowing_crypto.add(workflow("lastNode", code=REQUIRES)).post(b"{}", {})
    assert (status, json.loads(answer)["data"]) == (200, HMAC)


def test_what_qctl_signs_is_taken_and_what_it_does_not_sign_is_not(n8n: N8n, run, users, worker):
    flow = imported(n8n, "whsec_" + "D" * 40)
    run("create", "users", "--url", flow.url, "--attach", "public.users", "--retry", ",".join(["1s"] * 60))
    worker("--all")
    users(20)
    wait_until(lambda: len(messages(run, "--status-code", "401")) == 20, 30, "20 messages refused")
    secret = json.loads(run("secret", "rotate", "-q", "users", "-o", "json"))[0]["secret"]
    good = imported(n8n, secret)
    run("set", "-q", "users", "--url", good.url)
    delivered = settled(run, 20)
    assert sorted(executed(good, 20)) == sorted(message["webhook_id"] for message in delivered)


# When n8n is not there for it.


def test_what_a_deactivated_workflow_refuses_waits_and_is_delivered_once_it_is_active_again(
    n8n: N8n, run, users, worker
):
    flow = n8n.add(workflow("onReceived"))
    run("create", "users", "--url", flow.url, "--attach", "public.users", "--retry", ",".join(["1s"] * 60))
    worker("--all")
    users(10)
    settled(run, 10)
    flow.deactivate()
    users(20)
    wait_until(lambda: len(messages(run, "--status-code", "404")) == 20, 30, "20 messages refused")
    status = json.loads(run("status", "-o", "json"))[0]
    assert (status["depth"], status["dead"], status["last_error"]) == (20, 0, "HTTP 404")
    assert all("is not registered" in message["response"] for message in messages(run, "--status-code", "404"))
    assert flow.counts() == {"success": 10}
    flow.activate()
    delivered = settled(run, 30)
    assert sorted(executed(flow, 30)) == sorted(message["webhook_id"] for message in delivered)


def test_the_test_url_is_404_where_nobody_listens_in_the_editor(n8n: N8n, run, users, worker):
    flow = n8n.add(workflow("onReceived"))
    url = flow.url.replace("/webhook/", "/webhook-test/")
    run("create", "users", "--url", url, "--attach", "public.users", "--retry", ",".join(["1s"] * 60))
    worker("--all")
    users(1)
    wait_until(lambda: messages(run, "--status-code", "404"), 30, "a message refused")
    assert "Click the 'Test workflow' button" in messages(run, "--status-code", "404")[0]["response"]
    run("set", "-q", "users", "--url", flow.url)
    settled(run, 1)


def test_a_200_of_an_n8n_that_migrates_its_database_is_no_delivery(mortal: N8n, run, users, worker):
    """n8n listens before its database is migrated, answers 200 to whatever comes then, and executes nothing."""
    flow = mortal.add(workflow("onReceived"))
    run("create", "users", "--url", flow.url, "--attach", "public.users", "--retry", ",".join(["1s"] * 60))
    worker("--all")
    users(10)
    settled(run, 10)
    mortal.close()
    with psycopg.connect(mortal.dsn) as holder:
        # As long as this lasts, n8n is where a long migration has it.
        holder.execute("lock table migrations in access exclusive mode")
        mortal.start()
        wait_until(lambda: mortal.request("GET", "/healthz")[0] == 200, 60, "n8n to listen")
        assert mortal.request("POST", flow.path, b"{}") == (200, b"n8n is starting up. Please wait")
        assert mortal.request("GET", "/healthz/readiness")[0] == 503
        users(20)
        wait_until(lambda: len(messages(run, "--response", "n8n is starting up")) == 20, 30, "20 such answers")
        assert not [m for m in messages(run, "--response", "n8n is starting up") if m["state"] == "delivered"]
    flow.wait()
    delivered = settled(run, 30)
    assert sorted(executed(flow, 30)) == sorted(message["webhook_id"] for message in delivered)


WAITING = "await new Promise((go) => setTimeout(go, {ms}));\nreturn $input.all();"


def test_what_n8n_works_on_when_it_is_killed_comes_again_where_it_responds_at_the_end(mortal: N8n, run, users, worker):
    flow = mortal.add(workflow("lastNode", code=WAITING.format(ms=3000)))
    run("create", "users", "--url", flow.url, "--attach", "public.users", "--retry", ",".join(["1s"] * 60))
    worker("--all")
    users(5)
    wait_until(lambda: flow.counts()["running"] == 5, 30, "5 executions under way")
    mortal.kill()
    mortal.start()
    flow.wait()
    delivered = settled(run, 5)
    wait_until(lambda: flow.counts() == {"success": 5, "crashed": 5}, 30, "what was killed to be known as crashed")
    done = [one.headers["webhook-id"] for one in flow.executions()]
    assert sorted(done) == sorted(message["webhook_id"] for message in delivered)


def test_what_n8n_works_on_when_it_is_killed_is_lost_in_n8n_where_it_responds_at_once(mortal: N8n, run, users, worker):
    """Not qctl's fault, and what docs/n8n.md says of that mode."""
    flow = mortal.add(workflow("onReceived", code=WAITING.format(ms=3000)))
    run("create", "users", "--url", flow.url, "--attach", "public.users")
    worker("--all")
    users(5)
    settled(run, 5)
    assert flow.counts() == {"running": 5}
    mortal.kill()
    mortal.start()
    flow.wait()
    wait_until(lambda: flow.counts() == {"crashed": 5}, 30, "what was killed to be known as crashed")


def test_a_workflow_that_takes_longer_than_the_timeout_is_executed_again_under_the_same_id(
    n8n: N8n, run, users, worker
):
    flow = n8n.add(workflow("lastNode", code=WAITING.format(ms=2500)))
    retry = ",".join(["1s"] * 60)
    run("create", "users", "--url", flow.url, "--attach", "public.users", "--retry", retry, "--timeout", "1s")
    worker("--all")
    users(1)
    wait_until(lambda: messages(run)[0]["attempts"] >= 2, 30, "two attempts")
    assert messages(run)[0]["error"] == "no complete answer within 1000 ms"
    run("set", "-q", "users", "--timeout", "10s")
    (delivered,) = settled(run, 1)
    ids = executed(flow, delivered["attempts"])
    assert len(ids) == delivered["attempts"] >= 3
    assert set(ids) == {delivered["webhook_id"]}
