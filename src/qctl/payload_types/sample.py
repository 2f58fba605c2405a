"""A payload that nobody sent: of each type a value that it accepts."""

import re
from typing import Any

from qctl.payload_types.shape import Payload, Shape

# As PostgreSQL writes them; the first that a pattern accepts is taken.
_TEXTS = (
    "0b8b7c5e-1f4e-4a53-9d1b-6f2f3c9e8d10", "2026-11-30", "2026-11-30T02:17:27.5", "2026-11-30T02:17:27.5+00:00", "02:17:27",
    "02:17:27+00", "\\x00ff", "101",
)  # fmt: skip
_BY_TYPE = {
    "interval": "1 day 02:00:00", "inet": "192.0.2.1", "cidr": "192.0.2.0/24", "macaddr": "08:00:2b:01:02:03", "money": "$1.00",
    "xml": "<a/>",
}  # fmt: skip


def of(payload: Payload) -> Any:
    """One payload of a queue."""
    return _value(payload.types[payload.root], payload, "")


def _value(shape: Shape, payload: Payload, name: str) -> Any:
    match shape["kind"]:
        case "union":
            return _value(shape["of"][0], payload, name)
        case "named":
            return _value(payload.types[shape["name"]], payload, name)
        case "object":
            return {
                key: _value(field, payload, key) for key, field in shape["fields"].items() if field["kind"] != "absent"
            }
        case "array":
            return [_value(shape["items"], payload, name)]
        case "enum":
            return shape["values"][0] if shape["values"] else None
        case "literal":
            return shape["value"]
        case "boolean":
            return True
        case "integer":
            return 1
        case "number":
            return 1.5
        case "any":
            return {}
        case _:
            return _text(shape, name)


def _text(shape: Shape, name: str) -> str:
    if "pattern" in shape:
        return next((text for text in _TEXTS if re.search(shape["pattern"], text)), "")
    text = _BY_TYPE.get(shape.get("note", ""), name or "text")
    return text[: shape["longest"]] if "longest" in shape else text
