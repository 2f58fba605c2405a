"""Schemas that somebody else made beforehand: who owns one can put code into it that the installer's session calls."""

import psycopg
import pytest

from qctl import db
from qctl.config import Database
from qctl.errors import ExitCode, QctlError
from qctl.operations import migrate


@pytest.fixture
def maker(empty_dsn):
    """The installer's connection; role schema_maker may create schemas in this database."""
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        conn.execute("do $$begin create role schema_maker; exception when duplicate_object then null; end$$")
        conn.execute(f'grant create on database "{conn.info.dbname}" to schema_maker')
        yield conn
        conn.execute("reset role; drop owned by schema_maker cascade")


@pytest.mark.parametrize("schema", ["qctl", "pgmq"])
def test_install_refuses_a_schema_that_another_role_owns(maker, empty_dsn, schema):
    maker.execute(f"set role schema_maker; create schema {schema}; reset role")
    with db.connect(Database(empty_dsn, "test"), application="test") as connection, pytest.raises(QctlError) as refused:
        migrate.apply(connection)
    assert refused.value.code is ExitCode.REFUSED
    assert f"schema {schema} belongs to schema_maker" in refused.value.message
    assert maker.execute("select to_regclass('qctl.queue')").fetchone() == (None,)


def test_upgrade_refuses_a_schema_that_was_given_away(maker, empty_dsn):
    with db.connect(Database(empty_dsn, "test"), application="test") as connection:
        migrate.apply(connection)
        connection.execute("alter schema qctl owner to schema_maker")
        with pytest.raises(QctlError, match="schema qctl belongs to schema_maker"):
            migrate.apply(connection)
        connection.execute("alter schema qctl owner to current_user")
        migrate.apply(connection)


def test_an_empty_schema_of_the_installer_is_no_obstacle(maker, empty_dsn):
    maker.execute("create schema qctl")
    with db.connect(Database(empty_dsn, "test"), application="test") as connection:
        migrate.apply(connection)
    assert maker.execute("select to_regclass('qctl.queue') is not null").fetchone() == (True,)
