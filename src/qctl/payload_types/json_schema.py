"""JSON Schema, draft 2020-12, and AsyncAPI 3.0, which holds schemas of draft 7."""

from typing import Any

from qctl.payload_types.shape import Payload, Shape

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def document(payload: Payload) -> dict[str, Any]:
    """A schema that accepts what the queue sends."""
    definitions = {name: schema(shape, "#/$defs/") for name, shape in payload.types.items()}
    return {
        "$schema": DRAFT,
        "title": f"Payloads of queue {payload.queue}",
        "$ref": f"#/$defs/{payload.root}",
        "$defs": definitions,
    }


def schema(shape: Shape, prefix: str) -> dict[str, Any]:
    """The schema of a shape; ``prefix`` stands before the name of another type in a ``$ref``."""
    note = {"description": shape["note"]} if "note" in shape else {}
    match shape["kind"]:
        case "absent":
            return {"not": {}}
        case "any":
            return note
        case "literal":
            return {"const": shape["value"]} | note
        case "enum":
            allowed: dict[str, Any] = {"enum": shape["values"]} if shape["values"] else {"not": {}}
            return allowed | note
        case "named":
            return {"$ref": prefix + shape["name"]}
        case "array":
            return {"type": "array", "items": schema(shape["items"], prefix)} | note
        case "object":
            fields = {name: schema(field, prefix) for name, field in shape["fields"].items()}
            return {
                "type": "object", "properties": fields, "required": [name for name in fields if name not in shape["optional"]],
            } | note  # fmt: skip
        case "union":
            return {"anyOf": [schema(part, prefix) for part in shape["of"]]} | note
        case kind:
            words = {"pattern": "pattern", "longest": "maxLength", "least": "minimum", "most": "maximum"}
            return {"type": kind} | {word: shape[name] for name, word in words.items() if name in shape} | note


def async_api(payload: Payload, version: str) -> dict[str, Any]:
    """An AsyncAPI document of what qctl sends to the endpoint of a queue."""
    text = {"type": "string"}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": f"Webhooks of queue {payload.queue}",
            "version": "1.0.0",
            "description": f"Sent by qctl {version}. Each message is posted until it is answered with 2xx, and signed as"
            " Standard Webhooks says.",
        },
        "defaultContentType": "application/json",
        "channels": {
            payload.root: {
                "address": None,
                "title": payload.queue,
                "messages": {payload.root: {"$ref": f"#/components/messages/{payload.root}"}},
            }
        },
        "operations": {
            f"send{payload.root}": {
                "action": "send",
                "channel": {"$ref": f"#/channels/{payload.root}"},
                "messages": [{"$ref": f"#/channels/{payload.root}/messages/{payload.root}"}],
            }
        },
        "components": {
            "messages": {
                payload.root: {
                    "name": payload.root,
                    "contentType": "application/json",
                    "headers": {
                        "type": "object",
                        "properties": {
                            "webhook-id": text | {"description": "the same in each attempt: drop what was seen"},
                            "webhook-timestamp": text | {"description": "seconds since 1970, of this attempt"},
                            "webhook-signature": text | {"description": "v1,BASE64 for each signing secret"},
                        },
                        "required": ["webhook-id", "webhook-timestamp"],
                    },
                    "payload": {"$ref": f"#/components/schemas/{payload.root}"},
                }
            },
            "schemas": {name: schema(shape, "#/components/schemas/") for name, shape in payload.types.items()},
        },
    }
