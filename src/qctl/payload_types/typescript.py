"""Types for TypeScript."""

import json
import re

from qctl.payload_types.shape import Payload, Shape


def write(payload: Payload) -> str:
    """A module that exports each type."""
    return "\n\n".join(f"export type {name} = {_type(shape, 0)};" for name, shape in payload.types.items())


def key(name: str) -> str:
    """A property's name, quoted where it has to be."""
    return name if re.fullmatch(r"[A-Za-z_$][A-Za-z0-9_$]*", name) else json.dumps(name)


def comment(text: str) -> str:
    """A text inside a comment, which it cannot end."""
    return re.sub(r"\s+", " ", text.replace("*/", "*\\/"))


def _type(shape: Shape, depth: int) -> str:
    match shape["kind"]:
        case "integer" | "number":
            return "number"
        case "absent":
            return "undefined"
        case "any":
            return "unknown"
        case "literal":
            return json.dumps(shape["value"])
        case "enum":
            return " | ".join(map(json.dumps, shape["values"])) or "never"
        case "named":
            return shape["name"]
        case "array":
            return f"Array<{_type(shape['items'], depth)}>"
        case "object":
            return _object(shape, depth)
        case "union":
            return _union(shape, depth)
        case kind:
            return kind


def _union(shape: Shape, depth: int) -> str:
    of = shape["of"]
    if any(part["kind"] == "any" for part in of):
        return "unknown"
    if all(part["kind"] == "object" for part in of):
        return "".join(f"\n{'  ' * depth}  | {_type(part, depth + 1)}" for part in of)
    return " | ".join(_type(part, depth) for part in of)


def _object(shape: Shape, depth: int) -> str:
    inner = "  " * (depth + 1)
    lines: list[str] = []
    for name, field in shape["fields"].items():
        if note := _note(field):
            lines.append(f"{inner}/** {comment(note)} */")
        lines.append(f"{inner}{key(name)}{'?' if name in shape['optional'] else ''}: {_type(field, depth + 1)};")
    return "{\n" + "\n".join(lines) + f"\n{'  ' * depth}}}" if lines else "Record<string, never>"


def _note(shape: Shape) -> str | None:
    if "note" in shape:
        return shape["note"]
    return next((part["note"] for part in shape.get("of", []) if "note" in part), None)
