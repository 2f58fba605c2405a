"""Which database: where it is named, and the error when it cannot be reached."""

import pytest

from helpers import create
from processes import failing, ok


@pytest.mark.parametrize("flag", ["before", "after", "env", "database_url"])
def test_where_the_database_may_be_named(conn, dsn, flag):
    create(conn)
    wrong = "postgresql://nobody@/nowhere?host=/nonexistent"
    match flag:
        case "before":
            ok("--dsn", dsn, "queues", QCTL_DSN=wrong)
        case "after":
            ok("--dsn", wrong, "queues", "--dsn", dsn, QCTL_DSN=wrong)
        case "env":
            ok("queues", QCTL_DSN=dsn, DATABASE_URL=wrong)
        case "database_url":
            ok("queues", DATABASE_URL=dsn, PGHOST="/nonexistent")


def test_no_server(tmp_path):
    talk = failing(3, "status", "--dsn", f"postgresql://someone:hush@/db?host={tmp_path}")
    assert "cannot connect" in talk
    assert "--dsn" in talk
    assert "hush" not in talk


def test_a_dsn_that_is_none():
    assert "cannot be read" in failing(2, "status", "--dsn", "this is = no dsn at all")
    assert "empty" in failing(2, "status", "--dsn", " ")


def test_a_database_that_does_not_exist(server):
    talk = failing(3, "status", "--dsn", server.uri("nosuchdb"))
    assert 'database "nosuchdb" does not exist' in talk
