"""qctl install, and the first steps after it."""

import json

from helpers import URL, one
from processes import failing, ok
from qctl.db import files


def test_the_whole_way_from_an_empty_database(empty_dsn, conn, tmp_path):
    import psycopg

    dsn = empty_dsn
    with psycopg.connect(dsn, autocommit=True) as there:
        there.execute("create table public.users (id int primary key, name text)")
        installed = ok("install", dsn=dsn)
        assert "migration" in installed.stdout
        assert "Next: qctl create" in installed.stderr
        created = ok("create", "users", "--url", URL, "--attach", "public.users", "-H", "X-Tenant: acme", dsn=dsn)
        assert "Next: qctl worker -q users" in created.stderr
        there.execute("insert into users values (1, 'a'), (2, 'b')")
        (row,) = json.loads(ok("depth", "-o", "json", dsn=dsn).stdout)
        assert row == {
            "queue_name": "users", "depth": 2, "ready": 2, "delayed": 0, "in_flight": 0, "retrying": 0, "dead": 0,
            "exact": True, "estimate": 2,
        }  # fmt: skip
        described = json.loads(ok("describe", "users", "-o", "json", dsn=dsn).stdout)
        assert described["headers"] == {"x-tenant": "acme"}
        assert described["attachments"][0]["relation"] == "public.users"
        assert described["attachments"][0]["triggers"] == "ok"
        ok("detach", "public.users", dsn=dsn)
        there.execute("insert into users values (3, 'c')")
        assert one(there, "select count(*) from pgmq.q_users") == 2


def test_install_dry_run_changes_nothing(empty_dsn):
    count = len(files.migrations()) + len(files.routines())
    assert f"{count} files would be applied" in ok("install", "--dry-run", dsn=empty_dsn).stderr
    assert "not installed" in failing(5, "status", dsn=empty_dsn)
    ok("install", dsn=empty_dsn)
    again = ok("install", dsn=empty_dsn)
    assert "nothing to do" in again.stderr
    assert again.stdout == ""
