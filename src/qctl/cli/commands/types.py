"""The types of a queue's payloads: types."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

import qctl
from qctl import models
from qctl.cli import options
from qctl.cli.console import say
from qctl.cli.session import session
from qctl.errors import ExitCode, NotFoundError, QctlError, UsageError
from qctl.operations import payload_types as catalogue
from qctl.operations import queues
from qctl.output import Column, Format, render
from qctl.output.columns import yes_no
from qctl.payload_types import breaking, file, shape

_COLUMNS = [
    Column("relation", "table"),
    Column("column", "column"),
    Column("type", "type"),
    Column("json", "JSON"),
    Column("nullable", "may be null", yes_no),
]


# Stands for a payload that is no row.
_OF_BODY: dict[str, Any] = {"name": "what --body makes", "type": {"name": "unknown", "json": "any", "null": True}}


@dataclass(frozen=True, slots=True)
class _ColumnType:
    """A column and the JSON that it becomes."""

    relation: str
    column: str
    type: str
    json: str
    nullable: bool


def command(
    queue: options.Queue = None,
    ts: Annotated[bool, typer.Option("--ts", help="Write types for TypeScript.")] = False,
    zod: Annotated[bool, typer.Option("--zod", help="Write schemas for zod.")] = False,
    schema: Annotated[bool, typer.Option("--json-schema", help="Write a JSON Schema (2020-12).")] = False,
    asyncapi: Annotated[bool, typer.Option("--asyncapi", help="Write an AsyncAPI 3.0 document.")] = False,
    sample: Annotated[
        bool, typer.Option("--sample", help="Write a payload that nobody sent, with made-up values.")
    ] = False,
    check: Annotated[
        Path | None,
        typer.Option("--check", help="Compare with a file that this command wrote.", metavar="FILE"),
    ] = None,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """Show or write the types of a queue's payloads, from the tables that are attached to it.

    Without an option it lists the columns and the JSON that each becomes. --check exits 8 if what is sent now could break a
    receiver that was written for FILE: a column is gone, may be null, has another type, an enum has a new value. Numbers that
    JSON.parse would round are named on stderr. What --body makes is unknown: PostgreSQL does not say its type.

    Example: qctl types -q users --ts
    """
    asked = [
        name
        for name, wanted in (
            ("ts", ts),
            ("zod", zod),
            ("json-schema", schema),
            ("asyncapi", asyncapi),
            ("sample", sample),
        )
        if wanted
    ]
    if len(asked) + (check is not None) > 1:
        raise UsageError(
            f"{', '.join(f'--{name}' for name in [*asked, *(['check'] if check else [])])} exclude each other"
        )
    before = None if check is None else _read(check)
    with session(dsn, profile, "types") as connection:
        name = queues.the_one(connection, queue)
        attached = catalogue.attached(connection, name)
    if not attached:
        raise NotFoundError(f"no table is attached to queue '{name}'", hint=f"qctl attach SCHEMA.TABLE -q {name}")
    if not asked and before is None:
        _list(attached, output)
        return
    payload = shape.payload(name, attached)
    if before is not None and check is not None:
        _compare(*before, payload, check)
        return
    for warning in payload.warnings:
        say(f"Warning: {warning}")
    typer.echo(file.write(payload, asked[0], qctl.__version__), nl=False)


def _list(attached: "list[models.PayloadTypes]", output: Format | None) -> None:
    rows = [
        _ColumnType(
            table.relation, field["name"], field["type"]["name"], _json(field["type"]), field["type"].get("null", False)
        )
        for table in attached
        for field in (table.columns if not table.has_body else [_OF_BODY])
    ]
    render(rows, _COLUMNS, output)


def _json(type_: dict[str, object]) -> str:
    name = "enum" if "enum" in type_ else str(type_["json"])
    return f"{name}, rounded by JSON.parse" if type_.get("rounded") else name


def _read(path: Path) -> tuple[shape.Payload, str]:
    try:
        found = file.read(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"cannot read {path}: {reason}", hint="qctl types -q QUEUE --ts writes one") from None
    if found is None:
        raise UsageError(
            f"{path} was not written by qctl types, or by another version of it",
            hint="qctl types -q QUEUE --ts writes one",
        )
    return found


def _compare(before: shape.Payload, form: str, now: shape.Payload, path: Path) -> None:
    found = breaking.changes(before, now)
    for change in found:
        typer.echo(change)
    if found:
        raise QctlError(
            f"{len(found)} changes break receivers that were written for {path}"
            if len(found) > 1
            else f"a change breaks receivers that were written for {path}",
            code=ExitCode.CHECK_FAILED,
            detail="tell those who receive it, then write the file again",
            hint=f"qctl types -q {now.queue} --{form} > {shlex.quote(str(path))}",
        )
    same = (before.types, before.root) == (now.types, now.root)
    say("nothing has changed" if same else "what has changed breaks no receiver; the file can be written again")
