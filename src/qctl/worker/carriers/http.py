"""Posts requests concurrently in a thread of its own, with libcurl's multi interface."""

import math
import os
import resource
import select
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pycurl

from qctl.worker.clock import clock
from qctl.worker.request import Answer, Egress, Handle, Request

_SLACK_S = 0.5
_LARGE = 65536
# What libcurl says when the endpoint closed kept connections one after another before it read a byte, as it does at a reload.
_ALL_DEAD = "Connection died, tried "
# After so many failures in a row, fewer than open the breaker, an endpoint may have moved to another address.
FRESH_AFTER = 5
# Of the same values as epoll's.
_TROUBLE = select.POLLERR | select.POLLHUP
_IN, _OUT = pycurl.CSELECT_IN, pycurl.CSELECT_OUT


class _Poll:
    """Stands for epoll where there is none, as on macOS. A closed socket stays in the set until it is found to be none."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self.register, self.modify = self._poll.register, self._poll.modify

    def unregister(self, fd: int) -> None:
        with suppress(KeyError):
            self._poll.unregister(fd)

    def poll(self, timeout_s: float | None, _most: int) -> list[tuple[int, int]]:
        return self._poll.poll(None if timeout_s is None else math.ceil(timeout_s * 1000))


@dataclass(slots=True)
class _Line:
    """A queue's requests: those that wait for a free slot, and how many are under way."""

    limit: int
    waiting: deque[Request] = field(default_factory=deque)
    active: int = 0
    failures: int = 0


class Sender:
    """Starts requests, so many at once per queue, and collects answers; safe to use from one other thread.

    Each request is checked right before it starts: its lease must outlive its timeout, the worker must have been heard
    of lately (:attr:`alive_until`), and the request must have been claimed under its present registration
    (:attr:`valid_since`); otherwise another worker may hold the message by now.
    """

    def __init__(self, wake: Any, egress: Egress) -> None:
        """``wake`` is called from the sender's thread when answers are there to collect.

        ``most`` is how many requests may be under way in all: each takes an open file, and a look-up of a name two more.
        """
        self.most = max(8, (_open_files() - 64) // 3)
        self.alive_until = 0.0
        self.valid_since = 0.0
        self.failure: BaseException | None = None
        self._wake = wake
        self._egress = egress
        self._inbox: deque[tuple[str, int, list[Request]]] = deque()
        self._lines: dict[str, _Line] = {}
        self._handing_back = False
        self._answers: deque[Answer] = deque()
        self._idle: list[Handle] = []
        self._busy: dict[pycurl.Curl, Handle] = {}
        self._deadline: float | None = None
        self._halted = False
        self._poller: Any = getattr(select, "epoll", _Poll)()
        self._wanted: dict[int, int] = {}
        self._wakeup_out, self._wakeup_in = os.pipe()
        os.set_blocking(self._wakeup_in, False)
        os.set_blocking(self._wakeup_out, False)
        self._poller.register(self._wakeup_out, select.POLLIN)
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._on_socket)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._on_timer)
        self._multi.setopt(pycurl.M_MAXCONNECTS, self.most)
        self._thread = threading.Thread(target=self._run, name="qctl-sender", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def submit(self, queue: str, requests: list[Request], limit: int) -> None:
        """Hands over requests of a queue, which sends at most ``limit`` at once."""
        self._inbox.append((queue, limit, requests))
        self._poke()

    def set_limit(self, queue: str, limit: int) -> None:
        """Lets so many requests of a queue be under way at once from now on; those that are more come to their end."""
        self._inbox.append((queue, limit, []))
        self._poke()

    def hand_back(self) -> None:
        """Starts nothing more: what waits comes back as unsent."""
        self._handing_back = True
        self._poke()

    def collect(self) -> list[Answer]:
        """Takes the answers that have come so far."""
        answers: list[Answer] = []
        while self._answers:
            answers.append(self._answers.popleft())
        return answers

    def close(self) -> None:
        """Ends the thread; requests under way are cut."""
        self._halted = True
        if self._thread.is_alive():
            self._poke()
            self._thread.join(timeout=5)

    def _poke(self) -> None:
        with suppress(BlockingIOError):
            os.write(self._wakeup_in, b"x")

    def _run(self) -> None:
        try:
            while not self._halted:
                self._start_submitted()
                self._wait_and_act()
                self._finish()
        except BaseException as error:
            self.failure = error
            self._wake()

    def _start_submitted(self) -> None:
        while self._inbox:
            queue, limit, requests = self._inbox.popleft()
            line = self._lines.setdefault(queue, _Line(limit))
            line.limit = limit
            line.waiting.extend(requests)
        for line in self._lines.values():
            while line.waiting and ((line.active < line.limit and len(self._busy) < self.most) or self._handing_back):
                self._start(line, line.waiting.popleft())

    def _start(self, line: _Line, request: Request) -> None:
        if not self._may_start(request):
            self._give(Answer(request, sent=False))
            return
        try:
            handle = self._idle.pop() if self._idle else Handle(self._egress)
            handle.prepare(request, fresh=line.failures >= FRESH_AFTER)
            if request.size > _LARGE:
                # libcurl has its own copy now.
                handle.request = request._replace(message=request.message._replace(body=""))
        except (pycurl.error, UnicodeError, ValueError, TypeError) as error:
            self._give(Answer(request, sent=True, error=f"the request cannot be made: {error}"))
            return
        line.active += 1
        handle.at_once = line.active
        self._busy[handle.curl] = handle
        self._multi.add_handle(handle.curl)

    def _give(self, answer: Answer) -> None:
        """Puts an answer out to be collected; wakes the other thread if it may have taken all that was there."""
        self._answers.append(answer)
        if len(self._answers) == 1:
            self._wake()

    def _may_start(self, request: Request) -> bool:
        now = clock()
        return (
            not self._handing_back
            and now + request.message.timeout_ms / 1000 + _SLACK_S <= request.lease_ends
            and now <= self.alive_until
            and request.claimed_at >= self.valid_since
        )

    def _wait_and_act(self) -> None:
        timeout = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
        socket_action, wanted = self._multi.socket_action, self._wanted
        for fd, events in self._poller.poll(timeout, 1024):
            if events & _TROUBLE:
                events |= wanted.get(fd, 0)
            if fd == self._wakeup_out:
                os.read(fd, 65536)
            elif wanted.get(fd):
                socket_action(fd, (_IN if events & select.POLLIN else 0) | (_OUT if events & select.POLLOUT else 0))
            else:
                self._wanted.pop(fd, None)
                with suppress(OSError):
                    self._poller.unregister(fd)
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self._deadline = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)

    def _finish(self) -> None:
        while True:
            waiting, succeeded, failed = self._multi.info_read()
            for curl in succeeded:
                self._end(curl, None, "")
            for curl, code, text in failed:
                self._end(curl, code, text)
            if not waiting:
                break

    def _end(self, curl: pycurl.Curl, code: int | None, text: str) -> None:
        handle = self._busy[curl]
        if text.startswith(_ALL_DEAD) and not handle.fresh and self._may_start(handle.request):
            self._multi.remove_handle(curl)
            handle.renew()
            self._multi.add_handle(curl)
            return
        answer = self._recycle(curl).answer(code, text)
        line = self._lines[answer.request.queue]
        line.failures = 0 if answer.status is not None and answer.status < 400 else line.failures + 1
        self._give(answer)

    def _recycle(self, curl: pycurl.Curl) -> Handle:
        self._multi.remove_handle(curl)
        handle = self._busy.pop(curl)
        self._idle.append(handle)
        self._lines[handle.request.queue].active -= 1
        return handle

    def _on_socket(self, what: int, fd: int, _multi: Any, _data: Any) -> None:
        """Notes what libcurl waits for on a socket.

        At the end of each request it wants nothing of a kept connection any more, and soon wants the same again, so a
        socket stays in the set until an event comes that nobody wants. By then it may be another socket of that number:
        the kernel forgets a closed one by itself.
        """
        if what == pycurl.POLL_REMOVE:
            self._wanted[fd] = 0
            return
        events = (select.POLLIN if what & pycurl.POLL_IN else 0) | (select.POLLOUT if what & pycurl.POLL_OUT else 0)
        try:
            if fd in self._wanted:
                self._poller.modify(fd, events)
            else:
                self._poller.register(fd, events)
        except FileNotFoundError:
            self._poller.register(fd, events)
        except FileExistsError:
            self._poller.modify(fd, events)
        self._wanted[fd] = events

    def _on_timer(self, timeout_ms: int) -> None:
        self._deadline = None if timeout_ms < 0 else time.monotonic() + timeout_ms / 1000


def _open_files() -> int:
    """How many files this process may have open, after asking for as many as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return 1_000_000 if soft == resource.RLIM_INFINITY else min(soft, 1_000_000)
