"""The shape of a payload: types as a small tree, made from what the database says of its columns. All is written from it.

A shape is a dict with ``kind``: string (``pattern``, ``longest``), number, integer (``least``, ``most``), boolean, any, literal
(``value``), enum (``values``), array (``items``), object (``fields``: name → shape, ``optional``: names), union (``of``), named
(``name``), absent (never there; tells two objects of a union apart).
``note`` is a comment for people.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qctl.models import PayloadTypes

Shape = dict[str, Any]

ANY: Shape = {"kind": "any"}
NULL: Shape = {"kind": "literal", "value": None}
ABSENT: Shape = {"kind": "absent"}
_ROUNDED = "JSON.parse rounds values of more than 15 digits"


@dataclass(frozen=True, slots=True)
class Payload:
    """All that a queue sends: ``types`` by name, each after those that it uses, and the name of the whole."""

    queue: str
    root: str
    types: dict[str, Shape]
    warnings: list[str]


def literal(value: str | bool | None) -> Shape:
    """A type of one value."""
    return {"kind": "literal", "value": value}


def obj(fields: dict[str, Shape], optional: Iterable[str] = ()) -> Shape:
    """An object with these fields and maybe others."""
    return {"kind": "object", "fields": fields, "optional": sorted(optional)}


def union(*of: Shape) -> Shape:
    """One of several; one alone is itself."""
    return of[0] if len(of) == 1 else {"kind": "union", "of": list(of)}


def named(name: str) -> Shape:
    """One of the payload's types."""
    return {"kind": "named", "name": name}


def column(type_: dict[str, Any]) -> Shape:
    """The shape of a value of a column."""
    found = _column(type_)
    return union(found, NULL) if type_.get("null") else found


def _column(type_: dict[str, Any]) -> Shape:
    note = {"note": type_["name"]} if "name" in type_ else {}
    match type_["json"]:
        case "any":
            return ANY | note
        case "array":
            return {"kind": "array", "items": column(type_["items"]), **note}
        case "object":
            return obj({field["name"]: column(field["type"]) for field in type_["fields"]}) | note
        case "string" if "enum" in type_:
            return {"kind": "enum", "values": type_["enum"] or [], **note}
        case "string":
            return {"kind": "string", **{key: type_[key] for key in ("pattern", "longest") if key in type_}, **note}
        case kind:
            found: Shape = {"kind": kind, **{key: type_[key] for key in ("least", "most") if key in type_}, **note}
            if type_.get("rounded"):
                found |= {"note": f"{type_['name']}: {_ROUNDED}", "rounded": True}
            if "texts" in type_:
                return union(found, {"kind": "enum", "values": type_["texts"]})
            return found


def payload(queue: str, attached: "list[PayloadTypes]") -> Payload:
    """The shape of all that the tables attached to a queue send."""
    types: dict[str, Shape] = {}
    warnings: list[str] = []
    events: list[Shape] = []
    for table in attached:
        name = _unused(_pascal(table.table_name), types)
        events.append(named(_add_table(name, table, types, warnings)))
    root = _unused(_pascal(queue) + "Payload", types)
    types[root] = union(*events) if events else ANY
    return Payload(queue, root, types, warnings)


def _add_table(name: str, table: "PayloadTypes", types: dict[str, Shape], warnings: list[str]) -> str:
    row = f"{name}Row"
    types[row] = obj({field["name"]: column(field["type"]) for field in table.columns})
    warnings += [
        f"{table.relation}.{field['name']} is {field['type']['name']}: {_ROUNDED}; read it with a parser that keeps them"
        for field in table.columns
        if _is_rounded(field["type"])
    ]
    kind = "type" if table.format == "supabase" else "operation"
    types[f"{name}Event"] = union(*_events(table, row, kind))
    if table.format in ("slack", "discord"):
        types[f"{name}Message"] = _chat(table)
        return f"{name}Message"
    if table.has_body:
        types[f"{name}Body"] = ANY
        warnings.append(
            f"the payload of {table.relation} is what its --body makes, whose type PostgreSQL does not know: unknown"
        )
    if table.format == "cloudevents":
        some = _some_columns(table)
        whole, either = union(named(row), NULL), union(named(row), some, NULL)
        data = union(
            obj({"record": whole, "old_record": whole, "truncated": ABSENT}, ("truncated",)),
            obj({"record": either, "old_record": either, "truncated": literal(True)}),
            obj({"record": some, "old_record": NULL, "truncated": ABSENT}, ("truncated",)),
        )
        types[f"{name}CloudEvent"] = _cloud_event(table, named(f"{name}Body") if table.has_body else data)
        return f"{name}CloudEvent"
    return f"{name}Body" if table.has_body else f"{name}Event"


def _events(table: "PayloadTypes", row: str, kind: str) -> list[Shape]:
    always = {"table": literal(table.table_name), "schema": literal(table.schema_name)}
    whole = named(row)
    key = obj({field["name"]: column(field["type"]) for field in table.columns if field["name"] in table.key_columns})
    # READ is what a backfill sends, of any attached table.
    held = {"INSERT": (1, 0), "UPDATE": (1, 1), "DELETE": (0, 1), "READ": (1, 0), "TRUNCATE": (0, 0)}
    found: list[Shape] = []
    for operation in [*table.operations, "READ"]:
        has_record, has_old = held[operation]
        for one, truncated in ((whole, {}), (key, {"truncated": literal(True)})):
            if truncated and operation == "TRUNCATE":
                continue
            # What is too large is sent by its key, in both rows or in one.
            side = union(whole, one) if truncated and operation == "UPDATE" else one
            if operation == "READ" and not truncated:
                # qctl backfill --columns leaves out others than the key and the order key.
                side = union(whole, _some_columns(table))
            found.append(
                obj(
                    {
                        kind: literal(operation),
                        "record": side if has_record else NULL,
                        "old_record": side if has_old else NULL,
                        **always,
                        "truncated": truncated.get("truncated", ABSENT),
                    },
                    () if truncated else ("truncated",),
                )
            )
    return found


def _some_columns(table: "PayloadTypes") -> Shape:
    fields = {field["name"]: column(field["type"]) for field in table.columns}
    return obj(fields, [name for name in fields if name not in table.key_columns])


def _chat(table: "PayloadTypes") -> Shape:
    message = obj({"text" if table.format == "slack" else "content": {"kind": "string"}})
    return union(message, ANY) if table.has_body else message


def _cloud_event(table: "PayloadTypes", data: Shape) -> Shape:
    text: Shape = {"kind": "string"}
    return obj(
        {
            "specversion": literal("1.0"),
            "id": text,
            "source": text,
            "type": {"kind": "enum", "values": [
                f"{table.schema_name}.{table.table_name}.{operation.lower()}" for operation in [*table.operations, "READ"]
            ]},
            "time": text,
            "datacontenttype": literal("application/json"),
            "data": data,
        }
    )  # fmt: skip


def _is_rounded(type_: dict[str, Any]) -> bool:
    inner = [field["type"] for field in type_.get("fields", [])] + ([type_["items"]] if "items" in type_ else [])
    return bool(type_.get("rounded")) or any(map(_is_rounded, inner))


def _pascal(name: str) -> str:
    words = re.findall(r"[A-Za-z0-9]+", name)
    found = "".join(word[0].upper() + word[1:] for word in words)
    return found if found and not found[0].isdigit() else f"T{found}"


def _unused(name: str, types: dict[str, Shape]) -> str:
    number, found = 1, name
    while any(other.startswith(found) for other in types):
        number += 1
        found = f"{name}{number}"
    return found
