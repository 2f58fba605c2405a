"""A bare HTTP client, no database: ``URL COUNT``; posts with 100 at once and prints the seconds it took.

The same library as qctl's worker, its multi interface on epoll, nothing looked at but the status.
"""

import os
import selectors
import sys
import time

import pycurl

AT_ONCE = 100
BODY = b'{"record": {"id": 1, "name": "' + b"x" * 300 + b'"}, "operation": "INSERT"}'


def main(url: str, count: int) -> None:
    selector, multi, left = selectors.DefaultSelector(), pycurl.CurlMulti(), count
    deadline: list[float | None] = [None]

    def on_socket(what: int, fd: int, _multi: object, _data: object) -> None:
        if fd in selector.get_map():
            selector.unregister(fd)
        if what != pycurl.POLL_REMOVE:
            events = (what & pycurl.POLL_IN and selectors.EVENT_READ) | (
                what & pycurl.POLL_OUT and selectors.EVENT_WRITE
            )
            selector.register(fd, events)

    def on_timer(timeout_ms: int) -> None:
        deadline[0] = None if timeout_ms < 0 else time.monotonic() + timeout_ms / 1000

    multi.setopt(pycurl.M_SOCKETFUNCTION, on_socket)
    multi.setopt(pycurl.M_TIMERFUNCTION, on_timer)
    multi.setopt(pycurl.M_MAXCONNECTS, AT_ONCE)
    sink = open(os.devnull, "wb")  # noqa: SIM115, PTH123
    handles = []
    for _ in range(min(AT_ONCE, count)):
        curl = pycurl.Curl()
        curl.setopt(pycurl.URL, url)
        curl.setopt(pycurl.POSTFIELDS, BODY)
        curl.setopt(pycurl.HTTPHEADER, ["content-type: application/json", "expect:"])
        curl.setopt(pycurl.WRITEDATA, sink)
        handles.append(curl)
    started = time.perf_counter()
    for curl in handles:
        multi.add_handle(curl)
    waiting = count - len(handles)
    while left:
        timeout = None if deadline[0] is None else max(0.0, deadline[0] - time.monotonic())
        for key, events in selector.select(timeout):
            mask = (events & selectors.EVENT_READ and pycurl.CSELECT_IN) | (
                events & selectors.EVENT_WRITE and pycurl.CSELECT_OUT
            )
            multi.socket_action(key.fd, mask)
        if deadline[0] is not None and time.monotonic() >= deadline[0]:
            deadline[0] = None
            multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        queued, done, failed = multi.info_read()
        assert not failed, failed
        while True:
            for curl in done:
                assert curl.getinfo(pycurl.RESPONSE_CODE) == 200
                multi.remove_handle(curl)
                left -= 1
                if waiting:
                    waiting -= 1
                    multi.add_handle(curl)
            if not queued:
                break
            queued, done, failed = multi.info_read()
            assert not failed, failed
    print(time.perf_counter() - started)


main(sys.argv[1], int(sys.argv[2]))
