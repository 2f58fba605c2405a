"""Fixtures: one embedded server for the session, one template database, a clone of it per test; endpoints."""

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from processes import Endpoint, WorkerProcess
from qctl import db
from qctl.config import Database
from qctl.operations import migrate
from servers import GivenServer, Server, start_embedded

for name in [n for n in os.environ if n.startswith(("QCTL_", "PG")) or n in ("DATABASE_URL", "NO_COLOR")]:
    if not name.startswith("QCTL_TEST_"):
        del os.environ[name]

_numbers = itertools.count(1)

# What waits for full minutes or breaks servers takes longest, so it begins first, beside all the rest.
_LONGEST = ("test_backend_crashes.py", "test_job_incidents.py", "test_delivery.py")
_LONGEST_FIRST = ("scheduler", "chaos", "hosts", "e2e", "shells", "pg_net", "worker")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts tests that wait at the beginning."""

    def rank(item: pytest.Item) -> int:
        if item.path.name in _LONGEST:
            return _LONGEST.index(item.path.name) - len(_LONGEST)
        folder = item.path.parent.name
        return _LONGEST_FIRST.index(folder) if folder in _LONGEST_FIRST else len(_LONGEST_FIRST)

    items.sort(key=rank)
    # pytest-xdist hands each process two tests at once, the second of which waits for the first: beside a longest, a short one.
    longest = [item for item in items if rank(item) < 0]
    rest = items[len(longest) :]
    short = ([item for item in rest if item.path.parent.name == "unit"] or rest)[: len(longest)]
    pairs = [item for pair in itertools.zip_longest(longest, short) for item in pair if item]
    items[:] = [*pairs, *(item for item in rest if item not in short)]


@pytest.fixture(scope="session")
def server() -> Server:
    """The session's server: QCTL_TEST_DSN's, or an embedded one."""
    given = os.environ.get("QCTL_TEST_DSN")
    return GivenServer(given) if given else start_embedded()


@pytest.fixture(scope="session")
def template(server: Server) -> str:
    """Name of a database with qctl installed."""
    name = f"qctl_template_{os.getpid()}"
    with psycopg.connect(server.uri(), autocommit=True) as admin:
        admin.execute(f'create database "{name}"')
    with db.connect(Database(server.uri(name), "test"), application="test") as connection:
        if older_pgmq := os.environ.get("QCTL_TEST_PGMQ"):
            connection.execute(Path(older_pgmq).read_bytes())
        migrate.apply(connection)
    return name


@contextmanager
def _clone(server: Server, template: str) -> Iterator[str]:
    name = f"qctl_test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(server.uri(), autocommit=True) as admin:
        admin.execute(f'create database "{name}" template "{template}"')
    # A clone is a copy, and a copy stays silent until it is armed.
    with psycopg.connect(server.uri(name), autocommit=True) as connection:
        connection.execute("select qctl.arm()")
    yield server.uri(name)
    with psycopg.connect(server.uri(), autocommit=True) as admin:
        admin.execute(f'drop database "{name}" with (force)')


@pytest.fixture
def dsn(server: Server, template: str) -> Iterator[str]:
    """A database of its own with qctl installed."""
    with _clone(server, template) as uri:
        yield uri


@pytest.fixture(scope="module")
def shared_dsn(server: Server, template: str) -> Iterator[str]:
    """One for all tests of a file, where none disturbs another."""
    with _clone(server, template) as uri:
        yield uri


@pytest.fixture
def empty_dsn(server: Server) -> Iterator[str]:
    """A database of its own with nothing in it."""
    name = f"qctl_empty_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(server.uri(), autocommit=True) as admin:
        admin.execute(f'create database "{name}" template template0')
    yield server.uri(name)
    with psycopg.connect(server.uri(), autocommit=True) as admin:
        admin.execute(f'drop database "{name}" with (force)')


@pytest.fixture
def conn(dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
def other(dsn: str) -> Iterator[psycopg.Connection]:
    """A second session in the same database."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="qctl-test-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def endpoint(tmp_path) -> Iterator[Callable[..., Endpoint]]:
    """Starts endpoints that are gone after the test."""
    started: list[Endpoint] = []

    def start(*options: str) -> Endpoint:
        started.append(Endpoint(tmp_path, *options))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def worker(dsn: str) -> Iterator[Callable[..., WorkerProcess]]:
    """Starts workers that are gone after the test."""
    started: list[WorkerProcess] = []

    def start(*arguments: str, at: str = dsn) -> WorkerProcess:
        started.append(WorkerProcess(at, *arguments))
        return started[-1]

    yield start
    for one in started:
        one.close()
