"""What the endpoint sends, and what producers put into a queue: any bytes give an answer, and harm nobody else."""

import os
import socket
import threading
from uuid import uuid4

import psycopg
import pytest
from bounded import bounded
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from helpers import claim, create, one, settle
from qctl.models import Claimed
from qctl.worker.carriers.http import Sender
from qctl.worker.clock import clock
from qctl.worker.request import JUDGED_BYTES, Egress, Request

texts = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=40)


class Wire:
    """An endpoint that reads a request and sends what it is told."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/"
        self.answer = b""
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            with client:
                try:
                    client.recv(65536)
                    client.sendall(self.answer)
                except OSError:
                    pass


@pytest.fixture(scope="module")
def wire():
    running = Wire()
    yield running
    running.listener.close()


@pytest.fixture(scope="module")
def sender():
    answered = threading.Event()
    running = Sender(answered.set, Egress())
    running.start()
    running.answered = answered
    yield running
    running.close()


near_answers = st.builds(
    lambda status, name, value, body: b"HTTP/1.1 %d x\r\n%s: %s\r\n\r\n%s" % (status, name, value, body),
    st.integers(0, 1200),
    st.sampled_from([b"retry-after", b"content-length", b"location", b"transfer-encoding", b"x"]),
    st.binary(max_size=40),
    st.binary(max_size=100),
)


@bounded
@given(st.one_of(st.binary(max_size=300), near_answers))
@example(b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n")
@example(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n")
@example(b"HTTP/0.9 nonsense")
@example(b"HTTP/2 200\r\n\r\n")
def test_any_answer_is_an_answer(wire, sender, data):
    wire.answer = data
    now = clock()
    sender.alive_until = now + 60
    message = Claimed(1, uuid4(), 15000, 1, 1, wire.url, 2000, {"x": "y"}, "{}")
    sender.answered.clear()
    sender.submit("q", [Request("q", 1, message, now, now + 60, len(message.body), JUDGED_BYTES, None)], 1)
    assert sender.answered.wait(10)
    [answer] = sender.collect()
    assert sender.failure is None
    assert answer.sent
    assert (answer.status is None) != (answer.error is None)
    assert answer.retry_after_s is None or 0 <= answer.retry_after_s < 2**31
    assert len(answer.response) <= JUDGED_BYTES


@pytest.fixture(scope="module")
def queue(server, template):
    """One database for all cases of this file."""
    name = f"qctl_fuzz_{os.getpid()}"
    with psycopg.connect(server.uri(), autocommit=True) as admin:
        admin.execute(f'create database "{name}" template "{template}"')
        with psycopg.connect(server.uri(name), autocommit=True) as conn:
            conn.execute("select qctl.arm()")
            create(conn, breaker_after=0, ordered=True, max_in_flight=100000)
            yield conn
        admin.execute(f'drop database "{name}" with (force)')


@bounded
@given(
    st.integers(100, 599),
    st.binary(max_size=200),
    st.one_of(st.none(), texts),
    st.one_of(st.none(), st.integers(-(2**31), 2**31 - 1)),
)
def test_any_answer_is_settled(queue, status, response, error, retry_after):
    if not (claimed := claim(queue, 1)):
        queue.execute("select qctl.send('orders', array_agg(to_jsonb(n))) from generate_series(1, 500) n")
        claimed = claim(queue, 1)
    settled = settle(queue, claimed, status, error=error, response=response, retry_after=retry_after)
    assert sum(settled.values()) >= 1
    assert "failed" not in settled
    queue.execute("update qctl.gate set paused_at = null, gone = false")


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**62), 2**62), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=5,
)


owned = st.sampled_from(["x-pgmq-group", "qctl", "host", "webhook-id", "Webhook-Signature", "content-length", "x-a"])
near_headers = st.dictionaries(st.one_of(owned, texts), json_values, max_size=4)


@bounded
@given(json_values, st.one_of(st.none(), json_values, near_headers))
def test_anything_in_a_queue_is_claimed_or_harms_only_itself(queue, message, headers):
    queue.execute("truncate pgmq.q_orders; delete from qctl.in_flight; delete from qctl.retry")
    queue.execute(
        "insert into pgmq.q_orders (vt, message, headers) values (now(), %s, %s)", (Jsonb(message), Jsonb(headers))
    )
    queue.execute("insert into pgmq.q_orders (vt, message) values (now(), '\"good\"')")
    claimed = claim(queue, 10)
    assert {'"good"'} <= {one_claim.body for one_claim in claimed}
    for one_claim in claimed:
        for name, value in one_claim.headers.items():
            assert isinstance(value, str)
            assert not set(name + value) & {"\r", "\n", "\0"}
            assert name not in ("host", "content-length")
        assert one_claim.headers["webhook-id"].startswith("msg_")
        assert "webhook-signature" not in {name.lower() for name in one_claim.headers}
    assert sum(settle(queue, claimed, 200).values()) == len(claimed)


@bounded
@given(st.text("0123456789abcdefxX.[]:-", max_size=30))
def test_sql_reads_addresses_as_the_c_library_does(queue, host):
    try:
        ours = one(queue, "select host(qctl._literal_address(%s))", host.lower())
    except psycopg.Error as error:  # pragma: no cover
        raise AssertionError(host) from error
    try:
        theirs = socket.inet_ntoa(socket.inet_aton(host)) if host and not host.endswith(".") else None
    except OSError:
        theirs = None
    # What the C library takes for an address must be known as one; the other way round does no harm.
    if theirs is not None:
        assert ours == theirs, host


@bounded
@given(
    st.one_of(
        texts,
        st.binary(max_size=80).map(lambda data: data.hex()),
        st.from_regex(r"(v1,)?whsec_[A-Za-z0-9+/=]{0,100}", fullmatch=True),
    )
)
def test_any_text_is_a_secret_or_is_refused(queue, text):
    try:
        key = one(queue, "select qctl._key_of(%s)", text)
    except psycopg.Error as error:
        assert error.sqlstate == "QC002"
    else:
        assert 24 <= len(key) <= 64


@bounded
@given(st.one_of(texts, st.datetimes().map(lambda t: t.strftime("%a, %d %b %Y %H:%M:%S GMT")), st.integers().map(str)))
def test_retry_after_in_sql(queue, text):
    seconds = one(queue, "select qctl._retry_after_s(%s, now())", Jsonb({"Retry-After": text}))
    assert seconds is None or 0 <= seconds < 2**31
