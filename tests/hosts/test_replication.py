"""A publication that carries qctl's own tables is found on both sides, and the printed commands end it."""

import contextlib
from collections.abc import Iterator

import psycopg
import pytest

from helpers import create
from processes import data, ok, wait_until
from servers import DebianServer, debian_binaries


@pytest.fixture
def logical() -> Iterator[DebianServer]:
    if debian_binaries() is None:
        pytest.skip("no Debian PostgreSQL with pg_cron here: scripts/debian_parts.sh")
    with contextlib.closing(DebianServer(wal_level="logical")) as server:
        server.start()
        yield server


def found(dsn: str, kind: str) -> list[dict]:
    return [row for row in data("doctor", dsn=dsn, code=8) if row["kind"] == kind]


def test_a_publication_of_all_tables(logical):
    with psycopg.connect(logical.uri(), autocommit=True) as admin:
        admin.execute("create database publisher")
        admin.execute("create database subscriber")
    here, there = logical.uri("publisher"), logical.uri("subscriber")
    for dsn in (here, there):
        ok("install", dsn=dsn)
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("create table public.users (id int primary key)")
            create(connection)
    with psycopg.connect(here, autocommit=True) as publisher, psycopg.connect(there, autocommit=True) as subscriber:
        publisher.execute("create publication everything for all tables")
        publisher.execute("select pg_create_logical_replication_slot('slot', 'pgoutput')")
        subscriber.execute(
            f"create subscription mine connection '{here}' publication everything"
            " with (create_slot = false, slot_name = 'slot', copy_data = false)"
        )
        (finding,) = found(here, "publication")
        (other,) = found(there, "subscription")
        assert "unique indexes" in finding["problem"]
        for statement in finding["fix"].removesuffix(";").split(";"):
            publisher.execute(statement)
        assert found(here, "publication") == []
        subscriber.execute(other["fix"].partition(";")[0])
        assert found(there, "subscription") == []
        publisher.execute("insert into users values (1)")
        wait_until(lambda: subscriber.execute("select from users").fetchall(), 30, "the row at the subscriber")
        subscriber.execute("drop subscription mine")
