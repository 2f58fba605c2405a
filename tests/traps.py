"""Code that tells as whom it ran: what an attacker would plant, to see whether anybody else runs it."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

# Several signatures of one function, for which one of them is taken depends on the types it is called with. What does not
# write itself, an immutable function say, may call what does.
SPRING = """
create table public.ran (how text, as_whom text);
grant select, insert, delete on public.ran to public;
create function public.spring(how text) returns void language plpgsql as
  $$ begin insert into public.ran values (how, current_user); end $$;
create function public.konst(how text) returns integer language plpgsql immutable as
  $$ begin perform public.spring(how); return 1; end $$;
"""


@contextmanager
def attacker(dsn: str) -> Iterator[psycopg.Connection]:
    """A session of a role that may make things in schema public, with the traps' spring in place."""
    with psycopg.connect(dsn, autocommit=True) as admin:
        name = f"mallory_{admin.info.dbname}"
        admin.execute(f"create role {name} login; grant usage, create on schema public to {name}")
        admin.execute(f'grant create on database "{admin.info.dbname}" to {name}')
        with psycopg.connect(dsn, user=name, autocommit=True) as session:
            session.execute(SPRING)
            yield session
        admin.execute(f"set search_path = pg_catalog; drop owned by {name} cascade; drop role {name}")


def caught(dsn: str) -> set[tuple[str, str]]:
    """Which traps ran as whom since the last time. In a session where no planted name is seen."""
    with psycopg.connect(dsn, autocommit=True, options="-c search_path=pg_catalog") as observer:
        return set(observer.execute("delete from public.ran returning how, as_whom").fetchall())
