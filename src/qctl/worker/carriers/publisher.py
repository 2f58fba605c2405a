"""Hands messages over to brokers, in a thread of its own with an event loop; a broker's module knows how."""

import asyncio
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from qctl import config, ssrf
from qctl.worker.carriers.broker import Connection, Destination, HandoverError, Outgoing
from qctl.worker.clock import clock
from qctl.worker.request import REFUSED, Answer, Request

Connect = Callable[[Destination], Awaitable[Connection]]

# What stands for a broker's confirmation where an endpoint has a status: accepted.
CONFIRMED = 202
_SLACK_S = 0.5
_THREADS = 32
_CONNECT_WITHIN_S = 10.0
_ORDER_KEY = ":order-key"
# After these the connection is made anew.
_ENDED = (HandoverError.AWAY, HandoverError.DENIED)


@dataclass(slots=True)
class _Line:
    """A queue's messages: those that wait, how many are under way, and the connection they go over."""

    limit: int
    waiting: deque[Request] = field(default_factory=deque[Request])
    active: int = 0
    options: dict[str, str] = field(default_factory=dict[str, str])
    opened_for: tuple[object, ...] | None = None
    opening: "asyncio.Task[Connection] | None" = None


class Publisher:
    """The carrier of all brokers.

    Args:
        wake: called from this thread when answers are there to collect.
        connect: how to connect to the broker of a URL.
    """

    def __init__(self, wake: Callable[[], None], connect: Connect) -> None:
        self.alive_until = 0.0
        self.valid_since = 0.0
        self.failure: BaseException | None = None
        self._wake = wake
        self._connect = connect
        self._lines: dict[str, _Line] = {}
        self._answers: deque[Answer] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._handing_back = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="qctl-publisher", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def submit(self, queue: str, requests: list[Request], limit: int) -> None:
        """Hands over messages of a queue, of which at most ``limit`` are under way at once."""
        self._later(self._take, queue, requests, limit, None)

    def set_limit(self, queue: str, limit: int) -> None:
        """Lets so many messages of a queue be under way at once from now on."""
        self._later(self._take, queue, [], limit, None)

    def configure(self, queue: str, options: dict[str, str], limit: int) -> None:
        """Sets the options of the connection of a queue; others than before open a new one."""
        self._later(self._take, queue, [], limit, options)

    def hand_back(self) -> None:
        """Starts nothing more: what waits comes back as unsent."""
        self._handing_back = True
        self._later(self._pump_all)

    def collect(self) -> list[Answer]:
        """Takes the answers that have come so far."""
        answers: list[Answer] = []
        while self._answers:
            answers.append(self._answers.popleft())
        return answers

    def close(self) -> None:
        """Ends the thread; what is under way is cut."""
        if self._thread.is_alive():
            self._later(self._stop)
            self._thread.join(timeout=5)

    def _later(self, step: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(step, *arguments)

    def _run(self) -> None:
        try:
            asyncio.set_event_loop(self._loop)
            # Libraries that block have a thread for each publish.
            self._loop.set_default_executor(ThreadPoolExecutor(_THREADS, "qctl-publish"))
            self._loop.run_forever()
        except BaseException as error:
            self.failure = error
            self._wake()
        finally:
            with suppress(RuntimeError):
                self._loop.close()

    def _stop(self) -> None:
        async def end() -> None:
            for task in self._tasks:
                task.cancel()
            for line in self._lines.values():
                await _close(line.opening)
            self._loop.stop()

        self._ending = self._loop.create_task(end())

    def _take(self, queue: str, requests: list[Request], limit: int, options: dict[str, str] | None) -> None:
        line = self._lines.setdefault(queue, _Line(limit))
        line.limit = limit
        if options is not None:
            line.options = options
        line.waiting.extend(requests)
        self._pump(line)

    def _pump_all(self) -> None:
        for line in self._lines.values():
            self._pump(line)

    def _pump(self, line: _Line) -> None:
        while line.waiting and (line.active < line.limit or self._handing_back):
            most = _most(line.opening)
            batch: list[Request] = []
            url = line.waiting[0].message.url
            while line.waiting and len(batch) < min(most, max(1, line.limit - line.active)):
                request = line.waiting[0]
                if not self._may_start(request):
                    self._give(Answer(line.waiting.popleft(), sent=False))
                elif request.message.url == url:
                    batch.append(line.waiting.popleft())
                else:
                    break
            if batch:
                line.active += len(batch)
                self._keep(self._loop.create_task(self._publish(line, batch, line.active)))

    def _keep(self, task: "asyncio.Task[None]") -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _may_start(self, request: Request) -> bool:
        now = clock()
        return (
            not self._handing_back
            and now + request.message.timeout_ms / 1000 + _SLACK_S <= request.lease_ends
            and now <= self.alive_until
            and request.claimed_at >= self.valid_since
        )

    def _give(self, answer: Answer) -> None:
        self._answers.append(answer)
        if len(self._answers) == 1:
            self._wake()

    async def _publish(self, line: _Line, batch: list[Request], at_once: int) -> None:
        began = time.monotonic()
        timeout_s = batch[0].message.timeout_ms / 1000
        results: list[str | Exception]
        connection: Connection | None = None
        try:
            async with asyncio.timeout(timeout_s):
                connection = await self._connection(line, batch[0])
                results = [*await connection.publish([_outgoing(request) for request in batch])]
            if len(results) != len(batch):
                raise RuntimeError(f"{len(results)} results of {len(batch)} messages")
        except (HandoverError, _RefusedAddressError) as failure:
            results = [failure] * len(batch)
        except TimeoutError:
            kind, what = (HandoverError.AWAY, "connection")
            if connection is not None:
                kind, what = (HandoverError.UNCONFIRMED, "confirmation")
                await self._forget(line, connection)
            results = [HandoverError(kind, f"no {what} within {batch[0].message.timeout_ms} ms")] * len(batch)
        except Exception as error:
            results = [HandoverError(HandoverError.UNCONFIRMED, f"{type(error).__name__}: {error}")] * len(batch)
            await self._forget(line, connection)
        if any(isinstance(result, HandoverError) and result.kind in _ENDED for result in results):
            await self._forget(line, connection)
        took_ms = round((time.monotonic() - began) * 1000)
        line.active -= len(batch)
        for request, result in zip(batch, results, strict=True):
            if isinstance(result, str):
                self._give(Answer(request, True, CONFIRMED, None, result.encode(), took_ms, at_once=at_once))
            else:
                self._give(Answer(request, True, None, str(result), None, took_ms, at_once=at_once))
        self._pump(line)

    async def _connection(self, line: _Line, request: Request) -> Connection:
        wanted = (request.message.url, line.options, request.allowed)
        if line.opening is None or line.opened_for != wanted or _has_failed(line.opening):
            outdated, line.opening = line.opening, None
            if outdated is not None:
                self._keep(self._loop.create_task(_close(outdated)))
            line.opened_for = wanted
            line.opening = self._loop.create_task(self._open(line.options, request))
        return await asyncio.shield(line.opening)

    async def _open(self, options: dict[str, str], request: Request) -> Connection:
        url = request.message.url
        try:
            async with asyncio.timeout(_CONNECT_WITHIN_S):
                destination = Destination(
                    url,
                    _from_environment(options),
                    await _checked(url, request.allowed),
                    request.message.timeout_ms / 1000,
                )
                return await self._connect(destination)
        except TimeoutError:
            raise HandoverError(HandoverError.AWAY, f"no connection within {_CONNECT_WITHIN_S:.0f} s") from None

    async def _forget(self, line: _Line, connection: Connection | None) -> None:
        """Ends a connection, unless it was replaced meanwhile."""
        opening = line.opening
        if connection is not None and opening is not None and not _has_failed(opening):
            if opening.done() and opening.result() is connection:
                line.opening = None
            await _end(connection)


class _RefusedAddressError(Exception):
    """An address that the queue does not allow."""


def _most(opening: "asyncio.Task[Connection] | None") -> int:
    if opening is None or not opening.done() or opening.cancelled() or opening.exception() is not None:
        return 10
    return opening.result().most


def _has_failed(opening: "asyncio.Task[Connection]") -> bool:
    return opening.done() and (opening.cancelled() or opening.exception() is not None)


async def _close(opening: "asyncio.Task[Connection] | None") -> None:
    if opening is None:
        return
    if not opening.done():
        opening.cancel()
    with suppress(Exception, asyncio.CancelledError):
        await _end(await opening)


async def _end(connection: Connection) -> None:
    with suppress(Exception):
        async with asyncio.timeout(2):
            await connection.close()


def _outgoing(request: Request) -> Outgoing:
    headers = {"content-type": "application/json", **request.message.headers}
    key = headers.pop(_ORDER_KEY, None)
    return Outgoing(headers["webhook-id"], key, headers, request.message.body.encode())


def _from_environment(options: dict[str, str]) -> dict[str, str]:
    """Options as they are, with the values of ``env:NAME``."""
    found = dict(options)
    for name, value in options.items():
        if value.startswith("env:"):
            variable = value.removeprefix("env:")
            given = config.variable(variable)
            if not given:
                what = f"the worker has no environment variable {variable}, which {name} names"
                raise HandoverError(HandoverError.DENIED, what)
            found[name] = given
    return found


def hosts(url: str) -> list[tuple[str, int | None]]:
    """The hosts of a URL, several of which may be separated by commas, and their ports."""
    found: list[tuple[str, int | None]] = []
    for place in urlsplit(url).netloc.split(","):
        parts = re.fullmatch(r"(\[[^\]]+\]|[^:]+)(?::(\d+))?", place)
        if parts is not None:
            found.append((parts[1].strip("[]"), int(parts[2]) if parts[2] else None))
    return found


async def _checked(url: str, allowed: tuple[ssrf.Network, ...] | None) -> dict[str, list[str]]:
    """The addresses of each host, all of which the queue allows."""
    found: dict[str, list[str]] = {}
    for host, port in hosts(url):
        try:
            infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise HandoverError(HandoverError.AWAY, f"{host}: {error.strerror or error}") from None
        found[host] = list(dict.fromkeys(str(info[4][0]) for info in infos))
        for address in found[host]:
            if allowed is not None and (why := ssrf.refusal(address, allowed)) is not None:
                raise _RefusedAddressError(f"{REFUSED}{why}")
    return found
