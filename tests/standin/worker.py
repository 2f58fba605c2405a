"""The stand-in for pg_net's background worker: one serial process that takes a batch, does real HTTP, commits, waits a second.

    python worker.py DSN [--batch-size 200] [--early-commit]

Without ``--early-commit`` a batch is one transaction, as in pg_net up to 0.10 and from 0.18 on: rows stay visible in the
queue, and all answers appear together, dated at the batch's begin. With it requests are deleted and committed first and
each answer appears by itself, as in 0.11 to 0.17: a request under way is in neither table.
"""

import argparse
import io
import time
from collections.abc import Iterator

import psycopg
import pycurl
from psycopg.types.json import Jsonb

TTL = "6 hours"
TAKE = """
delete from net.http_request_queue
where id in (select id from net.http_request_queue order by id limit %s)
returning id, method, url, headers, body, timeout_milliseconds
"""
EXPIRE = """
delete from net._http_response
where ctid in (select ctid from net._http_response where created < now() - %s::interval order by created limit %s)
"""
ANSWER = """
insert into net._http_response (id, status_code, content_type, headers, content, timed_out, error_msg)
values (%s, %s, %s, %s, net._raw(%s, 1), %s, %s)
"""


class Transfer:
    """One request on one curl handle. After a redirect the headers are those of the first answer, all else of the last."""

    def __init__(self, row: tuple) -> None:
        self.id, method, url, headers, body, self._timeout_ms = row
        self._content = io.BytesIO()
        self._headers: dict[str, str] = {}
        self._status_lines = 0
        curl = self.curl = pycurl.Curl()
        curl.transfer = self
        curl.setopt(pycurl.URL, url)
        curl.setopt(pycurl.USERAGENT, "pg_net/stand-in")
        curl.setopt(pycurl.FOLLOWLOCATION, True)
        curl.setopt(pycurl.TIMEOUT_MS, max(0, self._timeout_ms))
        curl.setopt(pycurl.WRITEFUNCTION, self._content.write)
        curl.setopt(pycurl.HEADERFUNCTION, self._header)
        curl.setopt(pycurl.NOSIGNAL, True)
        lines = [f"{name}: {value}" for name, value in (headers or {}).items() if value is not None]
        if method == "POST":
            curl.setopt(pycurl.POSTFIELDS, bytes(body or b""))
        curl.setopt(pycurl.HTTPHEADER, [line.encode() for line in lines])

    def _header(self, line: bytes) -> None:
        text = line.decode("latin-1").strip()
        if text.startswith("HTTP/"):
            self._status_lines += 1
        elif ":" in text and self._status_lines == 1:
            name, _, value = text.partition(":")
            self._headers[name] = value.strip()

    def answer(self, code: int, text: str) -> tuple:
        """The row of ``net._http_response``."""
        if code:
            if code == pycurl.E_OPERATION_TIMEDOUT:
                took = self.curl.getinfo(pycurl.TOTAL_TIME) * 1000
                return (
                    self.id,
                    None,
                    None,
                    None,
                    None,
                    True,
                    f"Timeout of {self._timeout_ms} ms reached. Total time: {took:f} ms",
                )
            return (self.id, None, None, None, None, False, pycurl_message(code, text))
        content = self._content.getvalue().partition(b"\0")[0]
        kind = self.curl.getinfo(pycurl.CONTENT_TYPE)
        return (self.id, self.curl.getinfo(pycurl.RESPONSE_CODE), kind, Jsonb(self._headers), content, False, None)


def pycurl_message(code: int, text: str) -> str:
    return {
        pycurl.E_COULDNT_CONNECT: "Couldn't connect to server",
        pycurl.E_COULDNT_RESOLVE_HOST: "Couldn't resolve host name",
    }.get(code, text or f"curl error {code}")


def answers(rows: list[tuple]) -> Iterator[tuple]:
    """Runs all requests at once and gives each answer as it comes."""
    multi = pycurl.CurlMulti()
    transfers = [Transfer(row) for row in rows]
    for transfer in transfers:
        multi.add_handle(transfer.curl)
    left = len(transfers)
    while left:
        multi.perform()
        _, done, failed = multi.info_read()
        for curl in done:
            yield curl.transfer.answer(0, "")
        for curl, code, text in failed:
            yield curl.transfer.answer(code, text)
        for curl in [*done, *(item[0] for item in failed)]:
            multi.remove_handle(curl)
            curl.close()
            left -= 1
        if left and not (done or failed):
            multi.poll(0.1) if hasattr(multi, "poll") else multi.select(0.1)


def batch(connection: psycopg.Connection, size: int, *, early: bool) -> int:
    """One turn; returns how many requests it did."""
    if early:
        with connection.transaction():
            connection.execute(EXPIRE, (TTL, size))
            rows = connection.execute(TAKE, (size,)).fetchall()
        for answer in answers(rows):
            with connection.transaction():
                connection.execute(ANSWER, answer)
    else:
        with connection.transaction():
            connection.execute(EXPIRE, (TTL, size))
            rows = connection.execute(TAKE, (size,)).fetchall()
            got = list(answers(rows))
            if got:
                with connection.cursor() as cursor:
                    cursor.executemany(ANSWER, got)
    return len(rows)


def serve(dsn: str, size: int, *, early: bool) -> None:
    """One connection's life."""
    with psycopg.connect(dsn, autocommit=True, application_name="pg_net stand-in") as connection:
        connection.execute("listen pg_net_stand_in")
        while True:
            done = batch(connection, size, early=early)
            if done:
                time.sleep(1)
            else:
                for _ in connection.notifies(timeout=1, stop_after=1):
                    pass


def main() -> None:
    """Works until it is killed; comes back after a crash of the server, as a background worker does."""
    parser = argparse.ArgumentParser()
    parser.add_argument("dsn")
    parser.add_argument("--batch-size", type=int, default=200)
    parser.add_argument("--early-commit", action="store_true")
    options = parser.parse_args()
    while True:
        try:
            serve(options.dsn, options.batch_size, early=options.early_commit)
        except psycopg.Error:
            time.sleep(0.5)


if __name__ == "__main__":
    main()
