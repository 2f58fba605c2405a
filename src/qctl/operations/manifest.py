"""Manifest: queues and attachments declared in one TOML file, and bringing a database in line with it."""

import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from psycopg.types.json import Jsonb

from qctl import db
from qctl.errors import UsageError
from qctl.models import PlannedChange, Undeclared
from qctl.operations import attachments, order_index, queues

# The settings in a table of a file as ``qctl.set_queue`` takes them; the text names the table in errors.
ParseSettings = Callable[[dict[str, Any], str], dict[str, Any]]

_ATTACH_KEYS = {
    "on", "when", "columns", "format", "payload", "body", "unchanged", "replicated", "on_error", "max_bytes", "as_me", "order_by",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class DeclaredQueue:
    """A queue as a file declares it: arguments of ``qctl.create_queue``, and of ``qctl.attach`` for each table."""

    name: str
    url: str
    headers: dict[str, str] | None
    settings: dict[str, Any]
    attachments: list[dict[str, Any]] = field(default_factory=list)


def read(path: Path, setting_keys: set[str], parse: ParseSettings) -> list[DeclaredQueue]:
    """The queues of a file.

    Args:
        path: of the file; ``-`` is standard input.
        setting_keys: the settings that a queue may have.
        parse: reads them.

    Raises:
        UsageError: it cannot be read, is not valid TOML, or has a key or a value that is not valid; says where.
    """
    try:
        text = sys.stdin.buffer.read().decode("utf-8-sig") if str(path) == "-" else path.read_text(encoding="utf-8-sig")
        content = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not valid TOML: {error}", hint="see docs/cli.md, apply") from None
    declared = _table(_table(content, {"queues"}, str(path)).get("queues", {}), None, f"{path}: queues")
    if not declared:
        raise UsageError(f"{path} declares no queue", hint="""[queues.orders]\n        url = "https://…\"""")
    return [
        _queue(name, value, f"{path}: queues.{name}", setting_keys=setting_keys, parse=parse)
        for name, value in declared.items()
    ]


def _table(value: Any, keys: set[str] | None, where: str) -> dict[str, Any]:
    """The value if it is a table of these keys, or of any."""
    if not isinstance(value, dict):
        raise UsageError(f"{where} is not a table")
    table = cast("dict[str, Any]", value)
    if keys is not None and (unknown := sorted(set(table) - keys)):
        raise UsageError(f"{where}: no such key: {', '.join(unknown)}", hint=f"there are {', '.join(sorted(keys))}")
    return table


def _texts(value: Any, where: str) -> list[str]:
    """The value if it is a list of texts."""
    items = cast("list[Any]", value) if isinstance(value, list) else None
    if items is None or not all(isinstance(item, str) for item in items):
        raise UsageError(f"{where} is not a list of texts", hint=f'{where.rpartition(".")[2]} = ["…"]')
    return items


def _queue(name: str, value: Any, where: str, *, setting_keys: set[str], parse: ParseSettings) -> DeclaredQueue:
    table = _table(value, {"url", "headers", "attach", *setting_keys}, where)
    if not isinstance(table.get("url"), str):
        raise UsageError(f"{where} has no url", hint='url = "https://…"')
    headers = None
    if "headers" in table:
        headers = _table(table["headers"], None, f"{where}.headers")
        if not all(isinstance(text, str) for text in headers.values()):
            raise UsageError(f"{where}.headers is not a table of texts", hint='headers = { "X-Tenant" = "acme" }')
        if len({header.lower() for header in headers}) < len(headers):
            raise UsageError(f"{where}.headers names one header twice", hint="capitals make no other header")
    captured = _table(table.get("attach", {}), None, f"{where}.attach")
    return DeclaredQueue(
        name,
        table["url"],
        headers,
        parse({key: given for key, given in table.items() if key in setting_keys}, where),
        [_attachment(relation, name, options, f"{where}.attach.{relation}") for relation, options in captured.items()],
    )


def _attachment(relation: str, queue: str, value: Any, where: str) -> dict[str, Any]:
    table = _table(value, _ATTACH_KEYS, where)
    for keys, kind in (
        ("when order_by format payload body on_error", str),
        ("unchanged as_me replicated", bool),
        ("max_bytes", int),
    ):
        for key in keys.split():
            _is(table, key, kind, where)
    if {"format", "payload"} <= table.keys():
        raise UsageError(f"{where} has a format twice", hint="payload is its older name: remove that line")
    arguments: dict[str, Any] = {
        "payload" if key == "format" else key: given for key, given in table.items() if key != "on"
    }
    if "on" in table:
        arguments["operations"] = [word.upper() for word in _texts(table["on"], f"{where}.on")]
    if "columns" in table:
        arguments["columns"] = _texts(table["columns"], f"{where}.columns")
    return {"relation": relation, "queue": queue, **arguments}


def _is(table: dict[str, Any], key: str, kind: type, where: str) -> None:
    """Refuses a value of another type; a whole number is accepted for a real one."""
    value = table.get(key)
    right = isinstance(value, (int, float)) if kind is float else isinstance(value, kind)
    if key in table and (not right or (isinstance(value, bool) and kind is not bool) or value != value):
        names = {str: "a text", bool: "true or false", int: "a whole number", float: "a number"}
        raise UsageError(f"{where}.{key}: {value} is not {names[kind]}")


def plan(connection: db.Connection, declared: list[DeclaredQueue]) -> list[PlannedChange]:
    """The differences between the database and the file: ``create``, ``change``, ``leave``; ``extra``: only in the database."""
    rows: list[PlannedChange] = []
    for queue in declared:
        differs = db.call_value(
            connection, "compare_queue", queue=queue.name, url=queue.url,
            headers=None if queue.headers is None else Jsonb(queue.headers), settings=Jsonb(queue.settings),
        )  # fmt: skip
        rows.append(PlannedChange(_action(differs), "queue", queue.name, queue.name, _detail(differs)))
        for arguments in queue.attachments:
            differs = db.call_value(connection, "compare_attachment", **arguments)
            rows.append(
                PlannedChange(_action(differs), "attachment", arguments["relation"], queue.name, _detail(differs))
            )
    pairs = [(arguments["relation"], queue.name) for queue in declared for arguments in queue.attachments]
    extra = db.call(
        connection, Undeclared, "undeclared", queues=[queue.name for queue in declared],
        relations=[relation for relation, _ in pairs], relation_queues=[name for _, name in pairs],
    )  # fmt: skip
    return rows + [
        PlannedChange("extra", row.kind, row.name, row.queue_name, "not in the file; unchanged") for row in extra
    ]


def _action(differs: list[str]) -> str:
    return "create" if differs == ["missing"] else "change" if differs else "leave"


def _detail(differs: list[str]) -> str:
    return "" if differs == ["missing"] else ", ".join(differs)


def apply(
    connection: db.Connection, declared: list[DeclaredQueue], planned: list[PlannedChange], talk: Callable[[str], None]
) -> None:
    """Does what was planned, in one transaction; what is extra stays.

    Raises:
        QctlError: as ``create``, ``set`` and ``attach`` do; nothing was changed then.
    """
    actions = {(row.kind, row.object, row.queue_name): row.action for row in planned}
    captures = [
        (actions["attachment", arguments["relation"], queue.name], arguments)
        for queue in declared
        for arguments in queue.attachments
    ]
    created = [arguments["relation"] for action, arguments in captures if action == "create"]
    changed = [arguments["relation"] for action, arguments in captures if action == "change"]

    for queue in declared:
        if queue.settings.get("ordered") or any("order_by" in arguments for arguments in queue.attachments):
            order_index.prepare(connection, queue.name)

    def run() -> None:
        with db.transaction(connection):
            db.call_value(connection, "_lock_captured", relations=created, exclusively=changed)
            for queue in declared:
                _apply_queue(connection, queue, actions["queue", queue.name, queue.name])
            for action, arguments in captures:
                if action in ("create", "change"):
                    db.call_value(connection, "set_attachment", **arguments)

    attachments.with_retries(run, talk)


def _apply_queue(connection: db.Connection, queue: DeclaredQueue, action: str) -> None:
    if action == "create":
        queues.create(queue.name, queue.url, queue.headers or {}, queue.settings).execute(connection)
    elif action == "change":
        headers: dict[str, str | None] = {}
        if queue.headers is not None:
            headers = {**dict.fromkeys(queues.described(connection, queue.name).headers), **_lowered(queue.headers)}
        queues.alter(connection, queue.name, queue.url, headers, queue.settings)


def _lowered(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
