"""A database with pg_net, or its stand-in, and its worker."""

from collections.abc import Callable, Iterator

import psycopg
import pytest

import standin
from standin import NetWorker


@pytest.fixture
def net(conn, dsn) -> psycopg.Connection:
    """The database with schema ``net`` in it; nobody does its requests."""
    standin.install(dsn)
    return conn


@pytest.fixture
def net_worker(net, dsn) -> Iterator[Callable[..., NetWorker]]:
    """Starts pg_net's worker."""
    started: list[NetWorker] = []

    def start(*options: str) -> NetWorker:
        started.append(NetWorker(dsn, *options))
        return started[-1]

    yield start
    for one in started:
        one.close()
