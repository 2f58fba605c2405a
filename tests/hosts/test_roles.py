"""Roles as hosts give them: each installs, creates, delivers, drops and uninstalls, or is told at install what is missing."""

import contextlib
from collections.abc import Iterator

import psycopg
import pytest

from helpers import one
from processes import data, failing, ok, qctl
from servers import DebianServer, debian_binaries

ROLES = {
    "plain": "create role app login; grant usage on schema cron to app",
    "without pg_cron": "create role app login",
    "like RDS": "create role rds_superuser; grant pg_monitor, pg_signal_backend to rds_superuser with admin option;"
    " create role app login createdb createrole; grant rds_superuser to app with admin option;"
    " grant usage on schema cron to app; grant all on all functions in schema cron to app",
    "of the database": "create role app login bypassrls; grant usage on schema cron to app",
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[DebianServer]:
    if debian_binaries() is None:
        pytest.skip("no Debian PostgreSQL with pg_cron here: scripts/debian_parts.sh")
    with contextlib.closing(DebianServer()) as server:
        server.start()
        with psycopg.connect(server.uri(), autocommit=True) as admin:
            admin.execute("create extension pg_cron")
        yield server


@pytest.fixture(params=ROLES)
def role(cluster, request) -> Iterator[str]:
    """The database as a role of that kind; pg_cron is here, or in another database of the server."""
    with psycopg.connect(cluster.uri(), autocommit=True) as admin:
        admin.execute(
            f"{ROLES[request.param]}; grant create on database postgres to app; grant all on schema public to app"
        )
    yield cluster.uri(user="app")
    with psycopg.connect(cluster.uri(), autocommit=True) as admin:
        admin.execute("drop owned by app cascade; drop role app")
        if request.param == "like RDS":
            admin.execute("drop owned by rds_superuser; drop role rds_superuser")


def test_its_whole_life(role, endpoint):
    receiver = endpoint()
    installed = ok("install", dsn=role)
    ok("create", "orders", "--url", receiver.url, "--allow-private", "--transport", "http", dsn=role)
    with psycopg.connect(role, autocommit=True) as app:
        app.execute("create table public.things (id int primary key)")
    ok("attach", "public.things", "-q", "orders", dsn=role)
    with psycopg.connect(role, autocommit=True) as app:
        app.execute("insert into public.things values (1), (2)")
    ok("worker", "-q", "orders", "--drain", dsn=role)
    assert len(receiver.accepted()) == 2
    for command in (
        ["status"],
        ["doctor"],
        ["check"],
        ["verify"],
        ["show", "1"],
        ["scale"],
        ["purge", "--older-than", "1d"],
    ):
        assert qctl(*command, dsn=role).returncode in (0, 8), command
    assert installed.stderr
    ok("set", "--ordered", dsn=role)
    ok("replay", "1", dsn=role)
    ok("upgrade", "--repair", dsn=role)
    (row,) = data("drop", "orders", "--discard", "--yes", dsn=role)
    assert (row["discarded"], row["archived"]) == (1, 2)
    ok("uninstall", "--yes", dsn=role)
    with psycopg.connect(role, autocommit=True) as app:
        assert one(app, "select count(*) from pg_namespace where nspname = 'qctl'") == 0
        app.execute("drop table public.things; drop schema pgmq cascade")


def test_a_role_that_may_not_create_is_told_who_can_give_it(cluster):
    with psycopg.connect(cluster.uri(), autocommit=True) as admin:
        admin.execute("create role app login")
    try:
        told = failing(4, "install", dsn=cluster.uri(user="app"))
        assert "create" in told
        assert "grant create on database" in told
    finally:
        with psycopg.connect(cluster.uri(), autocommit=True) as admin:
            admin.execute("drop owned by app; drop role app")
