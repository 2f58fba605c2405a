"""A written file, which carries its shape in it, so that a later one can be compared with it."""

import json
import re
from typing import Any

from qctl.payload_types import breaking, json_schema, sample, typescript, zod
from qctl.payload_types.shape import Payload

_MARK = "qctl-shape"
# Of the shapes in the files.
_VERSION = 1
_HEAD = "// Made by qctl types; qctl types --check FILE says whether what is sent still fits.\n\n"


def write(payload: Payload, form: str, version: str) -> str:
    """The text of a file.

    Args:
        payload: what a queue sends.
        form: ts, zod, json-schema, asyncapi or sample.
        version: of qctl.
    """
    match form:
        case "ts":
            return _HEAD + typescript.write(payload) + _marked(payload, form)
        case "zod":
            return _HEAD + zod.write(payload) + _marked(payload, form)
        case "json-schema":
            return _json(json_schema.document(payload) | {f"x-{_MARK}": _as_data(payload, form)})
        case "asyncapi":
            return _json(json_schema.async_api(payload, version) | {f"x-{_MARK}": _as_data(payload, form)})
        case _:
            return _json(sample.of(payload))


def read(text: str) -> tuple[Payload, str] | None:
    """The shape of a file that :func:`write` made, and the form of the file; None if it has none of this version."""
    found = re.search(rf"^// {_MARK} (.*)$", text, re.MULTILINE)
    try:
        data = json.loads(found[1]) if found else json.loads(text)[f"x-{_MARK}"]
        payload = Payload(data["queue"], data["root"], data["types"], [])
        # What cannot be compared with itself was not made by this version, or by hand.
        if data["version"] != _VERSION or breaking.changes(payload, payload):
            return None
        return payload, data["form"]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def _marked(payload: Payload, form: str) -> str:
    return f"\n\n// {_MARK} {json.dumps(_as_data(payload, form), separators=(',', ':'))}\n"


def _as_data(payload: Payload, form: str) -> dict[str, Any]:
    return {"version": _VERSION, "form": form, "queue": payload.queue, "root": payload.root, "types": payload.types}


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
