"""Cheaper codecs than psycopg's own for what a worker reads and writes by the thousand."""

import codecs
from functools import cache
from typing import Any

import psycopg
from psycopg.adapt import Dumper
from psycopg.rows import TupleRow
from psycopg.types.json import set_json_loads
from psycopg.types.string import TextLoader

from qctl import exact_json


class _ArrayDumper(Dumper):
    """Flat arrays as one literal, whose type PostgreSQL takes from the function that is called.

    psycopg's own looks up a dumper for each element, which was a tenth of the worker's cost of a delivery.
    """

    def dump(self, obj: list[Any]) -> bytes:
        """The literal; of numbers, texts, bytes and nulls."""
        text = "{" + ",".join([_element(value) for value in obj]) + "}"
        # One odd character, or one that the database's encoding lacks, must not keep a whole batch of answers from being settled.
        encoding = self.connection.info.parameter_status("server_encoding") if self.connection else None
        if encoding not in (None, "UTF8"):
            known = _python_name(encoding)
            text = text.encode(known, "replace").decode(known)
        return text.encode("utf-8", "replace")


@cache
def _python_name(encoding: str) -> str:
    """Python's name for an encoding of PostgreSQL; ASCII for those that Python does not know."""
    try:
        return codecs.lookup(encoding.lower().replace("win", "cp")).name
    except LookupError:
        return "ascii"


def _element(value: int | str | bytes | None) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, int):
        return str(value)
    text = "\\x" + value.hex() if isinstance(value, bytes) else value.replace("\0", "")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _loads(data: str | bytes) -> Any:
    return exact_json.loads(data if isinstance(data, str) else data.decode())


def adapt(connection: psycopg.Connection[TupleRow]) -> None:
    """Lets a connection read and write so; a uuid stays text."""
    connection.adapters.register_dumper(list, _ArrayDumper)
    connection.adapters.register_loader("uuid", TextLoader)
    set_json_loads(_loads, connection)
