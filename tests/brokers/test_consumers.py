"""The consumers of docs/consumers.md as processes: table, broker, consumer, endpoint; each message delivered once."""

import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from far import FARS, Far, needs_all

from helpers import create, one
from processes import wait_until

pytestmark = [needs_all, pytest.mark.slow]
TOP = Path(__file__).parents[2]
PAGE = (TOP / "docs/consumers.md").read_text()
BLOCKS: dict[str, str] = dict(re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```$', PAGE, re.MULTILINE | re.DOTALL))
COUNT = 20


def surroundings(far: Far) -> dict[str, str]:
    """What each consumer is told by its environment."""
    port = getattr(far.broker, "port", 0)
    return {
        "rabbitmq": {"AMQP_URL": f"amqp://guest:guest@127.0.0.1:{port}/", "QUEUE": "orders"},
        "nats": {"NATS_URL": f"nats://127.0.0.1:{port}", "SUBJECT": "orders"},
        "redis": {"REDIS_URL": f"redis://127.0.0.1:{port}", "STREAM": "orders"},
        "kafka": {"KAFKA": getattr(far.broker, "place", ""), "TOPIC": "orders"},
        "sqs": {
            "SQS_ENDPOINT": f"http://127.0.0.1:{port}",
            "QUEUE_URL": f"http://127.0.0.1:{port}/123456789012/orders",
        },
    }[far.name]


def handed_over(conn, worker, far: Far) -> str:
    """Hands over messages from a table, one of them twice, and one that somebody without the secret put there; the secret."""
    create(conn, url=far.url, allow_networks=["127.0.0.0/8"])
    conn.execute("select qctl.set_queue('orders', p_headers => '{\"x-tenant\": \"acme\"}')")
    conn.execute("create table public.users (id int primary key, name text)")
    conn.execute("select qctl.attach('public.users', 'orders')")
    conn.execute("insert into public.users select n, 'é' from generate_series(1, %s) n", (COUNT,))
    assert worker("-q", "orders", "--drain").end()[0] == 0, "unsigned"
    secret = one(conn, "select secret from qctl.rotate_secret('orders')")
    conn.execute("insert into public.users select n, 'é' from generate_series(101, 100 + %s) n", (COUNT,))
    assert worker("-q", "orders", "--drain").end()[0] == 0
    conn.execute("select qctl.replay('orders', array[(select max(msg_id) from pgmq.a_orders)])")
    assert worker("-q", "orders", "--drain").end()[0] == 0
    return secret


@contextmanager
def running(folder: Path, command: list[str], **extra: str) -> Iterator[Path]:
    """A consumer in its folder; its log."""
    for name, code in BLOCKS.items():
        (folder / name).write_text(code)
    log = folder / "log"
    with log.open("wb") as said:
        env = {**os.environ, **extra, "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=said, stderr=subprocess.STDOUT)
    try:
        yield log
    except AssertionError as error:
        raise AssertionError(f"{error}; the consumer said: {log.read_text()[-2000:]}") from None
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("own_far", FARS, indirect=True)
def test_a_consumer_delivers_each_message_once_and_drops_what_is_not_signed(
    conn, worker, endpoint, tmp_path, own_far: Far
):
    receiver = endpoint()
    secret = handed_over(conn, worker, own_far)
    command = [sys.executable, f"{own_far.name}_consumer.py"]
    with running(tmp_path, command, **surroundings(own_far), WEBHOOK_SECRET=secret, ENDPOINT=receiver.url) as log:
        wait_until(lambda: len(receiver.accepted()) == COUNT, 40, "delivery")
        wait_until(lambda: log.read_text().count("dropped: its signature") == COUNT, 20, "what is not signed")
    assert set(receiver.accepted().values()) == {1}
    if own_far.name == "redis":
        assert own_far.client.xlen("orders") <= 1


@pytest.mark.parametrize("own_far", ["redis"], indirect=True)
def test_a_message_whose_endpoint_failed_comes_again(conn, worker, endpoint, tmp_path, own_far: Far):
    receiver = endpoint()
    receiver.close()
    secret = handed_over(conn, worker, own_far)
    there = surroundings(own_far)
    with running(
        tmp_path, [sys.executable, "redis_consumer.py"], **there, WEBHOOK_SECRET=secret, ENDPOINT=receiver.url
    ) as log:
        wait_until(lambda: "refused" in log.read_text(), 20, "a failure")
    assert own_far.client.xlen("orders") >= COUNT
    again = endpoint()
    with running(tmp_path, [sys.executable, "redis_consumer.py"], **there, WEBHOOK_SECRET=secret, ENDPOINT=again.url):
        # What the first one had taken is free after 30 s.
        wait_until(lambda: len(again.accepted()) == COUNT, 60, "delivery")


@pytest.mark.parametrize("own_far", ["sqs"], indirect=True)
def test_the_lambda_function_tells_which_messages_failed(conn, worker, endpoint, tmp_path, own_far: Far, monkeypatch):
    receiver = endpoint()
    secret = handed_over(conn, worker, own_far)
    for name, code in BLOCKS.items():
        (tmp_path / name).write_text(code)
    for name, value in {
        "WEBHOOK_SECRET": secret,
        "ENDPOINT": receiver.url,
        "INBOX": str(tmp_path / "inbox.db"),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(tmp_path)
    handler = runpy.run_path(str(tmp_path / "lambda_function.py"))["handler"]
    records = [
        {
            "messageId": message.webhook_id,
            "body": message.body.decode(),
            "messageAttributes": {name: {"stringValue": value} for name, value in message.headers.items()},
        }
        for message in own_far.read()
    ]
    assert handler({"Records": records}, None) == {"batchItemFailures": []}
    assert set(receiver.accepted().values()) == {1} and len(receiver.accepted()) == COUNT
    receiver.close()
    sys.modules["deliver"].inbox.execute("delete from inbox")
    failed = handler({"Records": records}, None)["batchItemFailures"]
    assert len({item["itemIdentifier"] for item in failed}) == COUNT
    sys.modules.pop("deliver").inbox.close()


@pytest.mark.parametrize("own_far", ["sqs"], indirect=True)
def test_the_consumer_for_node_delivers_each_message_once(conn, worker, endpoint, tmp_path, own_far: Far):
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not installed")
    cache = TOP / ".venv/npm-consumers"
    cache.mkdir(exist_ok=True)
    done = subprocess.run(
        [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "@aws-sdk/client-sqs@3"],
        cwd=cache, capture_output=True, text=True, check=False, timeout=110,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"npm install @aws-sdk/client-sqs failed: {done.stderr.strip()[-200:]}")
    (tmp_path / "node_modules").symlink_to(cache / "node_modules")
    receiver = endpoint()
    secret = handed_over(conn, worker, own_far)
    told = {**surroundings(own_far), "WEBHOOK_SECRET": secret, "ENDPOINT": receiver.url, "AWS_REGION": "eu-west-1"}
    with running(tmp_path, [node, "consumer.mjs"], **told):
        wait_until(lambda: len(receiver.accepted()) == COUNT, 60, "delivery")
        wait_until(lambda: own_far.read() == [], 20, "an empty queue")
    assert set(receiver.accepted().values()) == {1}
