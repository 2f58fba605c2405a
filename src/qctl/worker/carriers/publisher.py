"""Hands messages over to brokers, in a thread of its own with an event loop; a broker's module knows how."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from qctl.worker.carriers import destination
from qctl.worker.carriers.broker import Connection, Destination, HandoverError, Outgoing
from qctl.worker.carriers.destination import RefusedAddressError
from qctl.worker.clock import clock
from qctl.worker.request import Answer, Request

Connect = Callable[[Destination], Awaitable[Connection]]

# What stands for a broker's confirmation where an endpoint has a status: accepted.
CONFIRMED = 202
_SLACK_S = 0.5
_CONNECT_WITHIN_S = 10.0
_ORDER_KEY = ":order-key"
# After these the connection is made anew.
_ENDED = (HandoverError.AWAY, HandoverError.DENIED)


@dataclass(slots=True, eq=False)
class _Link:
    """A connection that is made once, used by several batches, and closed after the last of them once it is retired."""

    made_for: tuple[object, ...]
    opening: "asyncio.Task[Connection]"
    users: int = 0
    retired: bool = False

    def connection(self) -> Connection | None:
        """The connection, once it is there."""
        done = self.opening.done() and not self.opening.cancelled() and self.opening.exception() is None
        return self.opening.result() if done else None

    def has_failed(self) -> bool:
        """Whether there never will be one."""
        return self.opening.done() and self.connection() is None


@dataclass(slots=True)
class _Line:
    """A queue's messages: those that wait, how many are under way, where they go, and over which connection."""

    limit: int
    waiting: deque[Request] = field(default_factory=deque[Request])
    active: int = 0
    url: str | None = None
    options: dict[str, str] = field(default_factory=dict[str, str])
    link: _Link | None = None


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
        """Hands over messages of a queue, of which at most ``limit`` are under way at once.

        What goes to another URL than the one that :meth:`configure` named comes back as unsent: the options belong to that.
        """
        self._later(self._take, queue, requests, limit)

    def set_limit(self, queue: str, limit: int) -> None:
        """Lets so many messages of a queue be under way at once from now on."""
        self._later(self._take, queue, [], limit)

    def configure(self, queue: str, url: str, options: dict[str, str], limit: int) -> None:
        """Says where a queue's messages go, and with which options; others than before make a new connection."""
        self._later(self._set_up, queue, url, options, limit)

    def forget(self, queue: str) -> None:
        """Closes the connection of a queue that is not delivered here any more."""
        self._later(self._drop, queue)

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
            self._loop.set_exception_handler(self._on_exception)
            self._loop.run_forever()
        except BaseException as error:
            self.failure = error
            self._wake()
        finally:
            with suppress(RuntimeError):
                self._loop.close()

    def _on_exception(self, _loop: asyncio.AbstractEventLoop, _context: dict[str, object]) -> None:
        """Leaves unsaid what the tasks of libraries end with: whoever waits for a confirmation is told."""

    def _stop(self) -> None:
        async def end() -> None:
            links = [line.link for line in self._lines.values() if line.link is not None]
            for task in [*self._tasks, *(link.opening for link in links)]:
                task.cancel()
            for link in links:
                await self._end(link)
            self._loop.stop()

        self._ending = self._loop.create_task(end())

    def _take(self, queue: str, requests: list[Request], limit: int) -> None:
        line = self._lines.setdefault(queue, _Line(limit))
        line.limit = limit
        line.waiting.extend(requests)
        self._pump(line)

    def _set_up(self, queue: str, url: str, options: dict[str, str], limit: int) -> None:
        line = self._lines.setdefault(queue, _Line(limit))
        line.url, line.options, line.limit = url, options, limit
        self._pump(line)

    def _drop(self, queue: str) -> None:
        line = self._lines.get(queue)
        if line is not None:
            line.url = None
            self._retire(line, line.link)
            self._pump(line)

    def _pump_all(self) -> None:
        for line in self._lines.values():
            self._pump(line)

    def _pump(self, line: _Line) -> None:
        """Starts what may start, in batches of one connection; what may not comes back."""
        while line.waiting and (line.active < line.limit or self._handing_back):
            first = line.waiting[0]
            if not self._may_start(line, first):
                self._give(Answer(line.waiting.popleft(), sent=False))
                continue
            link = self._link(line, first)
            connection = link.connection()
            most = min(connection.most if connection is not None else 10, line.limit - line.active)
            batch: list[Request] = []
            while line.waiting and len(batch) < most and _alike(line.waiting[0], first):
                if not self._may_start(line, line.waiting[0]):
                    break
                batch.append(line.waiting.popleft())
            line.active += len(batch)
            link.users += 1
            self._keep(self._loop.create_task(self._publish(line, link, batch, line.active)))

    def _keep(self, task: "asyncio.Task[None]") -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _may_start(self, line: _Line, request: Request) -> bool:
        now = clock()
        return (
            not self._handing_back
            and request.message.url == line.url
            and now + request.message.timeout_ms / 1000 + _SLACK_S <= request.lease_ends
            and now <= self.alive_until
            and request.claimed_at >= self.valid_since
        )

    def _give(self, answer: Answer) -> None:
        self._answers.append(answer)
        if len(self._answers) == 1:
            self._wake()

    async def _publish(self, line: _Line, link: _Link, batch: list[Request], at_once: int) -> None:
        """Publishes a batch over a connection; whatever happens, each of it gets an answer."""
        began = time.monotonic()
        timeout_ms = batch[0].message.timeout_ms
        results: list[str | Exception] = [HandoverError(HandoverError.UNCONFIRMED, "cut off")] * len(batch)
        connected = False
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                connection = await asyncio.shield(link.opening)
                connected = True
                found = await connection.publish([_outgoing(request) for request in batch])
            if len(found) != len(batch):
                raise RuntimeError(f"{len(found)} results of {len(batch)} messages")
            results = [*found]
        except (HandoverError, RefusedAddressError) as failure:
            results = [failure] * len(batch)
        except TimeoutError:
            kind, what = (HandoverError.UNCONFIRMED, "confirmation")
            if not connected:
                kind, what = (HandoverError.AWAY, "connection")
            results = [HandoverError(kind, f"no {what} within {timeout_ms} ms")] * len(batch)
            self._retire(line, link)
        except Exception as error:
            results = [HandoverError(HandoverError.UNCONFIRMED, f"{type(error).__name__}: {error}")] * len(batch)
            self._retire(line, link)
        finally:
            took_ms = round((time.monotonic() - began) * 1000)
            line.active -= len(batch)
            link.users -= 1
            for request, result in zip(batch, results, strict=True):
                if isinstance(result, str):
                    self._give(Answer(request, True, CONFIRMED, None, result.encode(), took_ms, at_once=at_once))
                else:
                    self._give(Answer(request, True, None, str(result), None, took_ms, at_once=at_once))
            if any(isinstance(result, HandoverError) and result.kind in _ENDED for result in results):
                self._retire(line, link)
            if link.retired and not link.users:
                self._keep(self._loop.create_task(self._end(link)))
            self._pump(line)

    def _link(self, line: _Line, request: Request) -> _Link:
        """The connection for a message: the one that is there, unless it was made for something else or has failed."""
        made_for = (request.message.url, line.options, request.allowed, request.message.timeout_ms)
        link = line.link
        if link is None or link.made_for != made_for or link.has_failed():
            self._retire(line, link)
            opening = self._loop.create_task(self._open(line.options, request))
            # A failure is told to those who wait; without any it need not be.
            opening.add_done_callback(lambda task: task.cancelled() or task.exception())
            link = line.link = _Link(made_for, opening)
        return link

    def _retire(self, line: _Line, link: _Link | None) -> None:
        """Lets nothing more use a connection, which ends with the last batch that does."""
        if link is None:
            return
        if line.link is link:
            line.link = None
        if not link.retired:
            link.retired = True
            if not link.users:
                self._keep(self._loop.create_task(self._end(link)))

    async def _end(self, link: _Link) -> None:
        with suppress(Exception, asyncio.CancelledError):
            connection = await link.opening
            async with asyncio.timeout(2):
                await connection.close()

    async def _open(self, options: dict[str, str], request: Request) -> Connection:
        url = request.message.url
        try:
            async with asyncio.timeout(_CONNECT_WITHIN_S):
                timeout_s = request.message.timeout_ms / 1000
                return await self._connect(await destination.of(url, options, request.allowed, timeout_s))
        except TimeoutError:
            raise HandoverError(HandoverError.AWAY, f"no connection within {_CONNECT_WITHIN_S:.0f} s") from None
        except (HandoverError, RefusedAddressError):
            raise
        except ImportError as error:
            raise HandoverError(HandoverError.DENIED, f"a library is not installed: {error}") from None
        except Exception as error:
            # Nothing was sent, so it costs no attempt.
            raise HandoverError(HandoverError.AWAY, f"{type(error).__name__}: {error}") from None


def _alike(request: Request, first: Request) -> bool:
    """Whether two messages may go in one batch."""
    return (
        request.message.url == first.message.url
        and request.message.timeout_ms == first.message.timeout_ms
        and request.allowed is first.allowed
    )


def _outgoing(request: Request) -> Outgoing:
    headers = {"content-type": "application/json", **request.message.headers}
    key = headers.pop(_ORDER_KEY, None)
    return Outgoing(headers["webhook-id"], key, headers, request.message.body.encode())
