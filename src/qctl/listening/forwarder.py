"""Sends copies to an endpoint as a worker would send the messages, signed with a secret of its own."""

import ipaddress
import math
import socket
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import SplitResult, unquote, urlsplit

from qctl.errors import ExitCode, QctlError, UsageError
from qctl.listening import signature
from qctl.models import Claimed, Copy
from qctl.worker.carriers.http import Sender
from qctl.worker.clock import clock
from qctl.worker.request import Answer, Egress, Request

TIMEOUT_MS = 30_000
AT_ONCE = 20
# So many copies, and bytes of them, wait in memory at most; the others wait in the database.
MOST_WAITING = 1000
_MOST_WAITING_BYTES = 16 << 20


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
    copy: Copy


class Forwarder:
    """Sends copies of a queue's messages to one URL, at most :data:`AT_ONCE` at a time."""

    def __init__(self, queue: str, url: str, secret: str) -> None:
        self._queue = queue
        self._url = url
        self._key = signature.key_of(secret)
        self._woken = threading.Event()
        self._sender = Sender(self._woken.set, Egress())
        self._sender.alive_until = math.inf
        # libcurl's side forgets large bodies once they are sent.
        self._copies: dict[int, list[Copy]] = {}
        self._bytes = 0
        self.waiting = 0

    @property
    def has_room(self) -> bool:
        """Whether more copies may be read."""
        return self.waiting < MOST_WAITING and self._bytes < _MOST_WAITING_BYTES

    def start(self) -> None:
        """Starts its thread."""
        self._sender.start()

    def close(self) -> None:
        """Ends it; requests under way are cut."""
        self._sender.close()

    def send(self, copies: Iterable[Copy]) -> None:
        """Sends these."""
        requests: list[Request] = []
        for copy in copies:
            if copy.body is not None:
                requests.append(self._request(copy, copy.body))
                self._copies.setdefault(copy.msg_id, []).append(copy)
                self._bytes += len(copy.body)
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
        copy = self._copies[message.msg_id].pop()
        if not self._copies[message.msg_id]:
            del self._copies[message.msg_id]
        self._bytes -= len(copy.body or "")
        return Forwarded(
            datetime.now(UTC), self._queue, message.msg_id, copy.webhook_id, answer.status, answer.duration_ms, answer.error, copy
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
    here = _is_this_machine(_host(there))
    for name, endpoint in endpoints.items():
        other = urlsplit(endpoint)
        if here and _is_this_machine(_host(other)):
            same = _port(there) == _port(other) and there.path.rstrip("/") == other.path.rstrip("/")
        else:
            same = _host(there) == _host(other)
        if same:
            raise QctlError(
                f"{_host(there)} is where queue {name} delivers: it would get each message twice",
                code=ExitCode.REFUSED,
                hint="send copies to another port, path or host: --to http://localhost:3000/hook",
            )
    if not here and not allow_remote:
        raise QctlError(
            f"{_host(there)} is not this machine", code=ExitCode.REFUSED, hint="if that is meant: --allow-remote"
        )


def shown(url: str) -> str:
    """A URL without user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{_host(parts)}:{_port(parts)}{parts.path}"


def _host(url: SplitResult) -> str:
    return unquote(url.hostname or "").rstrip(".").lower()


def _port(url: SplitResult) -> int | None:
    try:
        return url.port or {"http": 80, "https": 443}.get(url.scheme)
    except ValueError:
        return None


def _is_this_machine(host: str) -> bool:
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except OSError:
        return host == "localhost"
    return bool(found) and all(ipaddress.ip_address(str(one).split("%")[0]).is_loopback for one in found)
