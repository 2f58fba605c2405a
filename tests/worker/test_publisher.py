"""The carrier of brokers, with connections of the test's own: whatever these do, each message comes back once."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from processes import wait_until
from qctl.models import Claimed
from qctl.worker.carriers.broker import Destination, HandoverError, Outgoing
from qctl.worker.carriers.publisher import Publisher
from qctl.worker.carriers.threads import in_thread
from qctl.worker.clock import clock
from qctl.worker.request import Answer, Request

URL = "redis://127.0.0.1/orders"


class Connection:
    """Confirms everything, ``most`` at a time, after ``takes_s``."""

    def __init__(self, destination: Destination, takes_s: float = 0.0, most: int = 5) -> None:
        self.destination = destination
        self.takes_s = takes_s
        self.most = most
        self.published: list[list[Outgoing]] = []
        self.closed_with: int | None = None
        self.under_way = 0

    async def publish(self, messages: list[Outgoing]) -> list[str | HandoverError]:
        self.under_way += 1
        self.published.append(messages)
        await asyncio.sleep(self.takes_s)
        self.under_way -= 1
        return [f"receipt of {message.webhook_id}" for message in messages]

    async def close(self) -> None:
        self.closed_with = self.under_way


def request(number: int, url: str = URL, timeout_ms: int = 5000, lease_s: float = 30) -> Request:
    headers = {"webhook-id": f"msg_{number}", "webhook-timestamp": "1"}
    message = Claimed(number, "lease", int(lease_s * 1000), 1, 1, url, timeout_ms, headers, "{}")
    return Request("orders", 1, message, clock(), clock() + lease_s, 2, allowed=None)


class Rig:
    """A publisher whose connections the test makes."""

    def __init__(self, connect: Callable[[Destination], object]) -> None:
        self.connections: list[Connection] = []

        async def make(destination: Destination):
            made = connect(destination)
            made = await made if asyncio.iscoroutine(made) else made
            self.connections.append(made)
            return made

        self.publisher = Publisher(lambda: None, make)
        self.publisher.alive_until = clock() + 1000
        self.publisher.start()
        self.answers: list[Answer] = []

    def submit(self, *requests: Request, limit: int = 100, queue: str = "orders") -> None:
        self.publisher.submit(queue, list(requests), limit)

    def wait(self, count: int, within_s: float = 10) -> list[Answer]:
        def enough() -> bool:
            self.answers += self.publisher.collect()
            return len(self.answers) >= count

        wait_until(enough, within_s, f"{count} answers")
        time.sleep(0.1)
        self.answers += self.publisher.collect()
        assert len(self.answers) == count
        assert set(Counter(answer.request.message.msg_id for answer in self.answers).values()) == {1}
        return self.answers


@pytest.fixture
def rig() -> Iterator[Callable[..., Rig]]:
    made: list[Rig] = []

    def make(connect: Callable[[Destination], object] = Connection, *, configured: bool = True) -> Rig:
        made.append(Rig(connect))
        if configured:
            made[-1].publisher.configure("orders", URL, {}, 100)
        return made[-1]

    yield make
    for one in made:
        one.publisher.close()
        assert one.publisher.failure is None


def test_a_confirmation_is_a_success_with_the_receipt(rig):
    found = rig()
    found.submit(*map(request, range(12)))
    assert {(answer.status, answer.response) for answer in found.wait(12)} == {
        (202, f"receipt of msg_{number}".encode()) for number in range(12)
    }
    assert len(found.connections) == 1


def test_what_goes_elsewhere_than_was_set_up_comes_back_unsent(rig):
    found = rig(configured=False)
    found.submit(request(1))
    found.publisher.configure("orders", URL, {"password": "of the first"}, 100)
    found.submit(request(2, "redis://127.0.0.2/orders"), request(3))
    found.wait(3)
    assert {answer.request.message.msg_id for answer in found.answers if not answer.sent} == {1, 2}
    assert [connection.destination.url for connection in found.connections] == [URL]


def test_options_that_change_while_it_connects_leave_nobody_waiting(rig):
    async def slowly(destination: Destination) -> Connection:
        await asyncio.sleep(0.5)
        return Connection(destination)

    found = rig(slowly)
    found.submit(*map(request, range(20)))
    time.sleep(0.2)
    found.publisher.configure("orders", URL, {"username": "new"}, 100)
    found.submit(*map(request, range(20, 30)))
    assert all(answer.status == 202 for answer in found.wait(30))
    assert [connection.destination.options for connection in found.connections] == [{}, {"username": "new"}]


def test_an_old_connection_ends_after_its_last_batch(rig):
    found = rig(lambda destination: Connection(destination, takes_s=0.5))
    found.submit(request(1))
    wait_until(lambda: found.connections and found.connections[0].under_way, 5, "a publish")
    found.publisher.configure("orders", URL, {"username": "new"}, 100)
    found.submit(request(2))
    assert all(answer.status == 202 for answer in found.wait(2))
    wait_until(lambda: found.connections[0].closed_with is not None, 5, "its end")
    assert found.connections[0].closed_with == 0


def test_a_batch_has_one_timeout(rig):
    found = rig()
    found.submit(request(1), request(2, timeout_ms=9000), request(3, timeout_ms=9000))
    found.wait(3)
    timeouts = {connection.destination.timeout_s: connection.published for connection in found.connections}
    assert {timeout: [len(batch) for batch in batches] for timeout, batches in timeouts.items()} == {5.0: [1], 9.0: [2]}


def test_a_lease_that_would_end_first_is_not_sent(rig):
    found = rig()
    found.submit(request(1, lease_s=5), request(2))
    found.wait(2)
    assert {answer.request.message.msg_id: answer.sent for answer in found.answers} == {1: False, 2: True}


@pytest.mark.parametrize(
    ("connect", "error"),
    [
        (lambda _: (_ for _ in ()).throw(RuntimeError("odd")), "broker away: RuntimeError: odd"),
        (lambda _: (_ for _ in ()).throw(ImportError("nkeys")), "access denied: a library is not installed: nkeys"),
        (lambda _: (_ for _ in ()).throw(HandoverError(HandoverError.DENIED, "no")), "access denied: no"),
    ],
)
def test_a_connection_that_cannot_be_made_is_told_to_each(rig, connect, error):
    found = rig(connect)
    found.submit(*map(request, range(30)))
    assert {answer.error for answer in found.wait(30)} == {error}


def test_a_publish_that_fails_or_says_too_little_is_told_to_each(rig):
    class Odd(Connection):
        async def publish(self, messages):
            await super().publish(messages)
            if len(self.published) == 1:
                raise KeyError("odd")
            return []

    found = rig(Odd)
    found.submit(*map(request, range(30)))
    assert all(answer.error.startswith("not confirmed: ") for answer in found.wait(30))


def test_a_publish_without_an_end_ends_with_its_timeout_and_holds_up_no_other_queue(rig):
    hang = threading.Event()

    class Hanging(Connection):
        async def publish(self, messages):
            if "hang" in self.destination.url:
                await in_thread(hang.wait, 20)
            return await super().publish(messages)

    found = rig(Hanging)
    found.publisher.configure("slow", "redis://127.0.0.1/hang", {}, 500)
    found.submit(*(request(n, "redis://127.0.0.1/hang", timeout_ms=3000) for n in range(500)), queue="slow", limit=500)
    time.sleep(0.3)
    began = time.monotonic()
    found.submit(*map(request, range(1000, 1020)))
    wait_until(
        lambda: found.answers.extend(found.publisher.collect()) or len(found.answers) >= 20, 5, "the other queue"
    )
    assert time.monotonic() - began < 2
    assert all(answer.status == 202 for answer in found.answers)
    found.wait(520)
    assert Counter(answer.error for answer in found.answers if answer.error) == {
        "not confirmed: no confirmation within 3000 ms": 500
    }
    hang.set()


def test_what_waits_comes_back_unsent_at_the_end(rig):
    found = rig(lambda destination: Connection(destination, takes_s=0.5))
    found.submit(*map(request, range(50)), limit=5)
    wait_until(lambda: found.connections and found.connections[0].under_way, 5, "a publish")
    found.publisher.hand_back()
    found.wait(50)
    assert Counter(answer.sent for answer in found.answers) == {True: 5, False: 45}


def test_a_queue_that_is_forgotten_keeps_no_connection(rig):
    found = rig()
    found.submit(request(1))
    found.wait(1)
    found.publisher.forget("orders")
    wait_until(lambda: found.connections[0].closed_with == 0, 5, "its end")
    found.submit(request(2))
    assert [answer.sent for answer in found.wait(2)] == [True, False]
