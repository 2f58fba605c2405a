"""Debian's PostgreSQL with pg_partman, one cluster for the module; a database of its own for each test."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from qctl import db
from qctl.config import Database
from qctl.operations import migrate
from servers import DebianServer, debian_binaries

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def debian() -> Iterator[DebianServer]:
    binaries = debian_binaries()
    if binaries is None:
        pytest.skip("no Debian PostgreSQL here: scripts/debian_parts.sh")
    if not list(Path("/usr/share/postgresql").glob("*/extension/pg_partman.control")):
        pytest.skip("no pg_partman here: scripts/debian_parts.sh")
    server = DebianServer()
    server.start()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def dsn(debian) -> Iterator[str]:
    """A database with qctl in it; pg_cron's own database is another one, so a worker does the maintenance."""
    name = f"part_{next(_numbers)}"
    with psycopg.connect(debian.uri(), autocommit=True) as admin:
        admin.execute(f"create database {name}")
        dsn = make_conninfo(debian.uri(), dbname=name)
        with db.connect(Database(dsn, "test"), application="test") as connection:
            migrate.apply(connection)
        yield dsn
        admin.execute(f"drop database {name} with (force)")


@pytest.fixture
def conn(dsn) -> Iterator[psycopg.Connection]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield connection
