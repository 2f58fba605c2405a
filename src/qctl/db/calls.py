"""Calls of the SQL functions in schema ``qctl``, queries of ``sql/queries``, and scripts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, LiteralString, TypeVar

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow, args_row, class_row

from qctl.db.connection import Connection, own_formats
from qctl.db.errors import of_one_version, translating

Row = TypeVar("Row")


def fetch(connection: Connection, model: type[Row], text: bytes, values: Mapping[str, Any] | None = None) -> list[Row]:
    """Runs one query of ``sql/queries`` and returns its rows as models."""
    with (
        translating(),
        of_one_version(),
        own_formats(connection),
        connection.cursor(row_factory=class_row(model)) as cursor,
    ):
        cursor.execute(text, values or {})
        return cursor.fetchall()


def fetch_tuples(
    connection: Connection, model: Callable[..., Row], text: bytes, values: Mapping[str, Any]
) -> list[Row]:
    """Like :func:`fetch` for a model made from positions: for rows that come by the thousand."""
    with translating(), own_formats(connection), connection.cursor(row_factory=args_row(model)) as cursor:
        cursor.execute(text, values)
        return cursor.fetchall()


def call(connection: Connection, model: type[Row], function: str, /, **arguments: Any) -> list[Row]:
    """Calls a set-returning function ``qctl.<function>(p_<name> => value, …)`` and returns its rows as models."""
    with (
        translating(),
        of_one_version(),
        own_formats(connection),
        connection.cursor(row_factory=class_row(model)) as cursor,
    ):
        cursor.execute(_call(function, tuple(arguments)), list(arguments.values()))
        return cursor.fetchall()


def call_tuples(connection: Connection, model: Callable[..., Row], function: str, /, **arguments: Any) -> list[Row]:
    """Like :func:`call` for a model made from positions: for rows that come by the thousand."""
    with translating(), connection.cursor(row_factory=args_row(model)) as cursor:
        cursor.execute(_call(function, tuple(arguments)), list(arguments.values()))
        return cursor.fetchall()


def call_value(connection: Connection, function: str, /, **arguments: Any) -> list[Any]:
    """Calls a function of one column, which is no instant, and returns that column."""
    with translating(), connection.cursor() as cursor:
        cursor.execute(_call(function, tuple(arguments)), list(arguments.values()))
        return [row[0] for row in cursor.fetchall()]


def call_procedure(connection: Connection, procedure: str, /, **arguments: Any) -> None:
    """Calls ``qctl.<procedure>(p_<name> => value, …)``, which may commit as it goes."""
    with translating():
        connection.execute(_call(procedure, tuple(arguments), verb="call"), list(arguments.values()))


@dataclass(frozen=True, slots=True)
class Call(Generic[Row]):
    """One call of a set-returning function ``qctl.<function>(p_<name> => value, …)``, to be run or printed as SQL.

    An argument that is missing takes the function's default; None is passed as null.
    """

    function: str
    arguments: dict[str, Any]
    model: type[Row]

    def run(self, connection: Connection) -> list[Row]:
        """Calls the function and returns its rows as models.

        Raises:
            QctlError: whatever the function raises, with its exit code.
        """
        return call(connection, self.model, self.function, **self.arguments)

    def one(self, connection: Connection) -> Row:
        """The first row of :meth:`run`, for functions that always return one."""
        return self.run(connection)[0]

    def execute(self, connection: Connection) -> None:
        """Calls the function and leaves its rows unread."""
        call_value(connection, self.function, **self.arguments)

    def as_sql(self) -> str:
        """The call as a statement with its values in it, for migration files and SQL editors."""
        shown = sql.SQL(", ").join(
            sql.SQL("{} => {}").format(sql.Identifier(f"p_{name}"), sql.Literal(value))
            for name, value in self.arguments.items()
        )
        return sql.SQL("select * from {}({});").format(sql.Identifier("qctl", self.function), shown).as_string(None)


def known(**arguments: Any) -> dict[str, Any]:
    """The arguments that have a value: those left out take the function's defaults."""
    return {name: value for name, value in arguments.items() if value is not None}


@cache
def _call(function: str, names: tuple[str, ...], verb: LiteralString = "select * from") -> bytes:
    named = sql.SQL(", ").join(sql.SQL("{} => {}").format(sql.Identifier(f"p_{n}"), sql.Placeholder()) for n in names)
    return sql.SQL("{} {}({})").format(sql.SQL(verb), sql.Identifier("qctl", function), named).as_bytes(None)


def execute_script(connection: Connection, script: bytes) -> Sequence[TupleRow]:
    """Runs a script that has its own begin and commit; returns the rows of its last query.

    An error leaves the database as it was and is raised as psycopg's own, for the caller knows the script.
    """
    try:
        with connection.cursor() as cursor:
            cursor.execute(script)
            rows: Sequence[TupleRow] = []
            while True:
                if cursor.description:
                    rows = cursor.fetchall()
                if not cursor.nextset():
                    return rows
    except psycopg.Error:
        if not connection.closed:
            connection.rollback()
        raise
