"""A written file, which carries its shape in it, so that a later one can be compared with it."""

import json
import re
from typing import Any

from qctl.payload_types import json_schema, sample, typescript, zod
from qctl.payload_types.shape import Payload

_MARK = "qctl-shape"
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
            return _HEAD + typescript.write(payload) + _marked(payload)
        case "zod":
            return _HEAD + zod.write(payload) + _marked(payload)
        case "json-schema":
            return _json(json_schema.document(payload) | {f"x-{_MARK}": _as_data(payload)})
        case "asyncapi":
            return _json(json_schema.async_api(payload, version) | {f"x-{_MARK}": _as_data(payload)})
        case _:
            return _json(sample.of(payload))


def read(text: str) -> Payload | None:
    """The shape of a file that :func:`write` made; None if it has none."""
    found = re.search(rf"^// {_MARK} (.*)$", text, re.MULTILINE)
    try:
        data = json.loads(found[1]) if found else json.loads(text)[f"x-{_MARK}"]
        return Payload(data["queue"], data["root"], data["types"], [])
    except (ValueError, KeyError, TypeError):
        return None


def _marked(payload: Payload) -> str:
    return f"\n\n// {_MARK} {json.dumps(_as_data(payload), separators=(',', ':'))}\n"


def _as_data(payload: Payload) -> dict[str, Any]:
    return {"queue": payload.queue, "root": payload.root, "types": payload.types}


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
