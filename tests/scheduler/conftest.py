"""A cluster of its own per test: Debian's PostgreSQL, real pg_cron, pg_net's stand-in."""

import contextlib
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import psycopg
import pytest

import standin
from qctl import db
from qctl.config import Database
from qctl.operations import migrate
from servers import DebianServer, debian_binaries
from standin import NetWorker


def install(dsn: str) -> None:
    with db.connect(Database(dsn, "test"), application="test") as connection:
        migrate.apply(connection)


@cache
def _prepared(qctl: bool) -> Path:
    """The data of a stopped cluster with everything a site begins with, made once per process; each site runs on a copy.

    Tests do not share a running cluster, because pg_cron's launcher (1.4.2) sometimes starts no job any more after its jobs
    were removed, and it runs again only with the server. A restart and a reset take as long as a copy.
    """
    server = DebianServer()
    server.start()
    if qctl:
        with psycopg.connect(server.uri(), autocommit=True) as connection:
            connection.execute("create extension pg_cron")
    standin.install(server.uri())
    if qctl:
        install(server.uri())
    server.stop()
    return server.data


class Site:
    """A running cluster with qctl in database postgres."""

    def __init__(self, *, qctl: bool = True, **settings: str) -> None:
        self.server = DebianServer(_prepared(qctl), **settings)
        self.server.start()
        self.dsn = self.server.uri()
        self._worker = NetWorker(self.dsn)
        # pg_cron runs jobs at the full minute; what a test does itself should not meet one.
        if (second := time.time() % 60) > 48:
            time.sleep(60.5 - second)

    def install(self) -> None:
        install(self.dsn)

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(self.dsn, autocommit=True)

    def close(self) -> None:
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
