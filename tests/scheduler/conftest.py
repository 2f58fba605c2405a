"""Debian's PostgreSQL with real pg_cron and pg_net's stand-in: one cluster for a module's tests, renewed for each of them.

A test that stops its cluster, or needs other settings, starts its own (``sites``).
"""

import contextlib
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

import standin
from helpers import one
from processes import wait_until
from qctl import db
from qctl.config import Database
from qctl.operations import migrate
from servers import DebianServer, debian_binaries
from standin import NetWorker

# What a cluster is rid of, in this order: each query gives the statements to execute.
_LEFT_OVER = (
    "select format('drop database %I with (force)', datname) from pg_database where datname !~ '^(postgres|template[01])$'",
    # With its jobs, their history and their numbers.
    "select 'drop extension pg_cron' from pg_extension where extname = 'pg_cron'",
    "select format('drop schema %I cascade', nspname) from pg_namespace where nspname !~ '^(pg_|information_schema$)'",
    "select format('drop owned by %1$I cascade; drop role %1$I', rolname) from pg_roles where rolname !~ '^(pg_|postgres$)'",
    """select 'alter database postgres reset all; create schema public authorization pg_database_owner;'
              ' grant usage on schema public to public; comment on schema public is $$standard public schema$$'""",
)


class Site:
    """A running cluster with qctl in database postgres."""

    def __init__(self, *, qctl: bool = True, **settings: str) -> None:
        self.server = DebianServer(**settings)
        self.server.start()
        self.dsn = self.server.uri()
        self._fill(qctl)
        self._worker = NetWorker(self.dsn)
        self._await_quiet()

    def renew(self, *, qctl: bool) -> None:
        """Makes it as it was after its start; pg_net's worker connects again within a second."""
        with self.connect() as connection:
            self._end_sessions(connection)
            for query in _LEFT_OVER:
                for (statement,) in connection.execute(query).fetchall():
                    connection.execute(statement)
        self._fill(qctl)
        self._await_quiet()

    def _end_sessions(self, connection: psycopg.Connection) -> None:
        """Ends all but pg_cron's launcher, because PostgreSQL does not start that again."""
        if scheduled := one(connection, "select to_regclass('cron.job') is not null"):
            connection.execute("delete from cron.job")
        ended = connection.execute(
            "select pid, pg_terminate_backend(pid, 20000) from pg_stat_activity"
            " where backend_type = 'client backend' and pid <> pg_backend_pid()"
        ).fetchall()
        if scheduled:
            going = (
                "select count(*) from cron.job_run_details where job_pid = any(%s) and status in ('sending', 'running')"
            )
            wait_until(lambda: not one(connection, going, [pid for pid, _ in ended]), 20, "that pg_cron noticed")

    def _fill(self, qctl: bool) -> None:
        if qctl:
            with self.connect() as connection:
                connection.execute("create extension pg_cron")
        standin.install(self.dsn)
        if qctl:
            self.install()

    def _await_quiet(self) -> None:
        """pg_cron runs jobs at the full minute; what a test does itself should not meet one."""
        if (second := time.time() % 60) > 48:
            time.sleep(60.5 - second)

    def install(self) -> None:
        with db.connect(Database(self.dsn, "test"), application="test") as connection:
            migrate.apply(connection)

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(self.dsn, autocommit=True)

    def close(self) -> None:
        self._worker.close()
        self.server.close()


def _needs_debian() -> None:
    if debian_binaries() is None:
        pytest.skip("no Debian PostgreSQL with pg_cron here: scripts/debian_parts.sh")


@pytest.fixture
def sites() -> Iterator[Callable[..., Site]]:
    """Starts clusters that are gone after the test."""
    _needs_debian()
    with contextlib.ExitStack() as stack:

        def start(**settings) -> Site:
            site = Site(**settings)
            stack.callback(site.close)
            return site

        yield start


@pytest.fixture(scope="module")
def renewed() -> Iterator[Callable[..., Site]]:
    """The module's cluster, started or renewed at each call."""
    _needs_debian()
    started: list[Site] = []

    def get(*, qctl: bool = True) -> Site:
        if started:
            started[0].renew(qctl=qctl)
        else:
            started.append(Site(qctl=qctl))
        return started[0]

    yield get
    for site in started:
        site.close()


@pytest.fixture
def site(renewed) -> Site:
    return renewed()


@pytest.fixture
def cron(site) -> Iterator[psycopg.Connection]:
    with site.connect() as connection:
        yield connection
