"""The command, and installing, run nothing that others planted in the session's search_path."""

import psycopg
import pytest

from processes import qctl
from traps import attacker, caught

PLANTED = """
create function public.trap(integer[], integer[]) returns boolean language plpgsql as
  $$ begin perform public.spring('<'); return false; end $$;
create operator public.< (leftarg = integer[], rightarg = integer[], function = public.trap);
create function public.format(text, name, name) returns text language plpgsql as
  $$ begin perform public.spring('format'); return 'x'; end $$;
create function public.cardinality(text[]) returns integer language plpgsql as
  $$ begin perform public.spring('cardinality'); return 1; end $$;
create function public.now() returns timestamptz language plpgsql as
  $$ begin perform public.spring('now'); return null; end $$;
"""
COMMANDS = [
    ("create", "orders", "--url", "https://example.com/"), ("attach", "public.t", "-q", "orders"), ("describe", "orders"),
    ("doctor",), ("upgrade",), ("uninstall", "--yes"),
]  # fmt: skip


@pytest.mark.parametrize("path", ['"$user", public', "public, pg_catalog"])
def test_the_command_runs_nothing_of_the_sessions_search_path(dsn, path):
    with attacker(dsn) as mallory, psycopg.connect(dsn, autocommit=True) as admin:
        mallory.execute(PLANTED)
        admin.execute(f"create table public.t (id int); alter database {admin.info.dbname} set search_path = {path}")
        with psycopg.connect(dsn, autocommit=True) as plain:
            plain.execute("select '{1}'::int[] < '{2}', cardinality('{}'::text[]), format('a', 'b'::name, 'c'::name)")
        assert {how for how, who in caught(dsn)} == {"<", "cardinality", "format"}
        for command in COMMANDS:
            ran = qctl(*command, dsn=dsn)
            assert (command, caught(dsn), ran.stderr if ran.returncode not in (0, 8) else "") == (command, set(), "")
