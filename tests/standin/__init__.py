"""pg_net's stand-in, for tests on servers that do not have pg_net."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from processes import environment

FOLDER = Path(__file__).parent


def install(dsn: str) -> None:
    """Makes schema ``net`` with pg_net's tables and functions."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute((FOLDER / "net.sql").read_bytes())


class NetWorker:
    """The process that does the HTTP."""

    def __init__(self, dsn: str, *options: str) -> None:
        self._process = subprocess.Popen([sys.executable, str(FOLDER / "worker.py"), dsn, *options], env=environment())
        self.pid = self._process.pid

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def calls(dsn: str) -> Iterator[None]:
    """CALLs of ``qctl.work`` one after another, as pg_cron would make them."""
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute("call qctl.work()")

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("update qctl.scheduler set workers = 0")
        thread.join(10)
