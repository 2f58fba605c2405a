"""A cluster of its own per test: Debian's PostgreSQL, real pg_cron, pg_net's stand-in."""

import contextlib
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

import standin
from qctl import db, migrate
from qctl.config import Database
from servers import DebianServer, debian_binaries
from standin import NetWorker


class Site:
    """A running cluster with qctl in database postgres."""

    def __init__(self, *, qctl: bool = True, net: bool = True, **settings: str) -> None:
        self.server = DebianServer(**settings)
        self.server.start()
        self.dsn = self.server.uri()
        if qctl:
            with self.connect() as connection:
                connection.execute("create extension pg_cron")
        if net:
            standin.install(self.dsn)
        if qctl:
            self.install()
        self._worker = NetWorker(self.dsn) if net else None
        # pg_cron runs jobs at the full minute; what a test does itself should not meet one.
        if (second := time.time() % 60) > 48:
            time.sleep(60.5 - second)

    def install(self) -> None:
        with db.connect(Database(self.dsn, "test"), application="test") as connection:
            migrate.apply(connection)

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(self.dsn, autocommit=True)

    def close(self) -> None:
        if self._worker:
            self._worker.close()
        self.server.close()


@pytest.fixture
def sites() -> Iterator[Callable[..., Site]]:
    """Starts clusters that are gone after the test."""
    if debian_binaries() is None:
        pytest.skip("no Debian PostgreSQL with pg_cron here: scripts/debian_parts.sh")
    with contextlib.ExitStack() as stack:

        def start(**settings) -> Site:
            site = Site(**settings)
            stack.callback(site.close)
            return site

        yield start


@pytest.fixture
def site(sites) -> Site:
    return sites()


@pytest.fixture
def cron(site) -> Iterator[psycopg.Connection]:
    with site.connect() as connection:
        yield connection
