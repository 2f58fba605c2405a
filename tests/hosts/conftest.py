"""Servers and poolers as others host them."""

import contextlib
import shutil
from collections.abc import Callable, Iterator

import psycopg
import pytest

import standin
from servers import DebianServer, Pooler, debian_binaries
from standin import NetWorker

# What Supabase's after-create scripts give its role postgres, and no more.
_GRANTS = """
create role postgres login nosuperuser createdb createrole replication bypassrls;
alter role postgres set statement_timeout = '2min';
create role anon nologin; create role authenticated nologin; create role service_role nologin bypassrls;
grant anon, authenticated, service_role to postgres;
create extension pg_cron;
grant usage on schema cron to postgres with grant option;
grant all on all functions in schema cron to postgres with grant option;
grant all on all tables in schema cron to postgres with grant option;
revoke all on cron.job from postgres;
grant select on cron.job to postgres with grant option;
alter database postgres owner to postgres;
grant usage, create on schema public to postgres;
"""


class Supabase:
    """A server shaped like Supabase's: role ``postgres`` is no superuser, ``supabase_admin`` owns pg_cron and pg_net."""

    def __init__(self) -> None:
        self.server = DebianServer(superuser="supabase_admin")
        self.server.start()
        admin = self.server.uri()
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(_GRANTS)
        standin.install(admin)
        self._worker = NetWorker(admin)
        self.dsn = self.server.uri(user="postgres")

    def close(self) -> None:
        self._worker.close()
        self.server.close()


@pytest.fixture
def supabase() -> Iterator[Supabase]:
    if debian_binaries() is None:
        pytest.skip("no Debian PostgreSQL with pg_cron here: scripts/debian_parts.sh")
    with contextlib.closing(Supabase()) as site:
        yield site


@pytest.fixture
def pooler() -> Iterator[Callable[[str, str], str]]:
    """Puts PgBouncer before a database; returns the URI through it."""
    if shutil.which("pgbouncer", path="/usr/bin:/usr/sbin:/usr/local/bin") is None:
        pytest.skip("no pgbouncer here: scripts/debian_parts.sh")
    with contextlib.ExitStack() as stack:

        def start(target: str, mode: str = "transaction") -> str:
            return stack.enter_context(contextlib.closing(Pooler(target, mode))).uri

        yield start
