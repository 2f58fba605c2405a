"""Sends copies to an endpoint as a worker would send the messages, signed with a secret of its own."""

import ipaddress
import math
import socket
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import SplitResult, urlsplit

from qctl.errors import ExitCode, QctlError, UsageError
from qctl.listening import signature
from qctl.models import Claimed, Copy
from qctl.worker.carriers.http import Sender
from qctl.worker.clock import clock
from qctl.worker.request import Answer, Egress, Request

TIMEOUT_MS = 30_000
AT_ONCE = 20
# So many copies wait in memory at most; the others wait in the database.
MOST_WAITING = 1000


@dataclass(frozen=True, slots=True)
class Forwarded:
    """A copy that was sent, and what came back."""

    at: datetime
    queue_name: str
    msg_id: int
    webhook_id: str
    status: int | None
    duration_ms: int | None
    error: str | None
    body: str


class Forwarder:
    """Sends copies of a queue's messages to one URL, at most :data:`AT_ONCE` at a time."""

    def __init__(self, queue: str, url: str, secret: str) -> None:
        self._queue = queue
        self._url = url
        self._key = signature.key_of(secret)
        self._woken = threading.Event()
        self._sender = Sender(self._woken.set, Egress())
        self._sender.alive_until = math.inf
        self.waiting = 0

    def start(self) -> None:
        """Starts its thread."""
        self._sender.start()

    def close(self) -> None:
        """Ends it; requests under way are cut."""
        self._sender.close()

    def send(self, copies: Iterable[Copy]) -> None:
        """Sends these."""
        requests = [self._request(copy, copy.body) for copy in copies if copy.body is not None]
        self.waiting += len(requests)
        if requests:
            self._sender.submit(self._queue, requests, AT_ONCE)

    def collect(self, within_s: float) -> list[Forwarded]:
        """What has come back; waits at most so long for the first."""
        self._woken.wait(within_s)
        self._woken.clear()
        answers = self._sender.collect()
        self.waiting -= len(answers)
        if self._sender.failure is not None:
            raise self._sender.failure
        return [self._forwarded(answer) for answer in answers]

    def _request(self, copy: Copy, body: str) -> Request:
        now = int(time.time())
        headers = {
            **copy.headers,
            "webhook-id": copy.webhook_id,
            "webhook-timestamp": str(now),
            "webhook-signature": signature.sign(self._key, copy.webhook_id, now, body.encode()),
        }
        message = Claimed(copy.msg_id, copy.webhook_id, 0, 1, 1, self._url, TIMEOUT_MS, headers, body)
        return Request(self._queue, 0, message, clock(), math.inf, len(body), allowed=None)

    def _forwarded(self, answer: Answer) -> Forwarded:
        message = answer.request.message
        return Forwarded(
            datetime.now(UTC), self._queue, message.msg_id, message.lease, answer.status, answer.duration_ms, answer.error,
            message.body,
        )  # fmt: skip


def refuse_production(url: str, endpoints: dict[str, str], *, allow_remote: bool) -> None:
    """Refuses to send copies where queues deliver, or to another machine unasked.

    Args:
        url: where copies would go.
        endpoints: the URL of each queue by its name.
        allow_remote: other machines than this one are fine.

    Raises:
        UsageError: not an http or https URL.
        QctlError: it is another machine, or where a queue delivers (7).
    """
    there = urlsplit(url)
    try:
        port = there.port
    except ValueError:
        port = -1
    if there.scheme not in ("http", "https") or not there.hostname or port == -1:
        raise UsageError(
            f"'{url[:200]}' is not an http or https URL", hint="for example --to http://localhost:3000/hook"
        )
    here = _is_this_machine(there.hostname)
    for name, endpoint in endpoints.items():
        other = urlsplit(endpoint)
        if _place(other) == _place(there) and (not here or other.path.rstrip("/") == there.path.rstrip("/")):
            raise QctlError(
                f"{there.scheme}://{there.netloc} is where queue {name} delivers: it would get each message twice",
                code=ExitCode.REFUSED,
                hint="send copies to another port or host: --to http://localhost:3000/hook",
            )
    if not here and not allow_remote:
        raise QctlError(
            f"{there.hostname} is not this machine", code=ExitCode.REFUSED, hint="if that is meant: --allow-remote"
        )


def _place(url: SplitResult) -> tuple[str | None, int | None]:
    try:
        port = url.port or {"http": 80, "https": 443}.get(url.scheme)
    except ValueError:
        return None, None
    return url.hostname, port


def _is_this_machine(host: str) -> bool:
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except OSError:
        return host == "localhost"
    return bool(found) and all(ipaddress.ip_address(str(one).split("%")[0]).is_loopback for one in found)
