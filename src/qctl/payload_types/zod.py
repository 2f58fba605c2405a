"""Schemas for zod, versions 3 and 4."""

import json

from qctl.payload_types.shape import Payload, Shape
from qctl.payload_types.typescript import comment, key


def write(payload: Payload) -> str:
    """A module that exports a schema and a type of each name."""
    parts = ['import { z } from "zod";']
    for name, shape in payload.types.items():
        parts.append(f"export const {name} = {_schema(shape, 0)};\nexport type {name} = z.infer<typeof {name}>;")
    return "\n\n".join(parts)


def _schema(shape: Shape, depth: int) -> str:
    match shape["kind"]:
        case "absent":
            return "z.undefined()"
        case "any":
            return "z.unknown()"
        case "literal":
            return "z.null()" if shape["value"] is None else f"z.literal({json.dumps(shape['value'])})"
        case "enum":
            return f"z.enum({json.dumps(shape['values'])})" if shape["values"] else "z.never()"
        case "named":
            return shape["name"]
        case "array":
            return f"z.array({_schema(shape['items'], depth)})"
        case "object":
            return _object(shape, depth)
        case "union":
            return f"z.union([{', '.join(_schema(part, depth) for part in shape['of'])}])"
        case "string":
            pattern = f".regex(new RegExp({json.dumps(shape['pattern'])}))" if "pattern" in shape else ""
            # JavaScript counts UTF-16 units and PostgreSQL characters, which have at most two.
            longest = f".max({2 * shape['longest']})" if "longest" in shape else ""
            return f"z.string(){pattern}{longest}"
        case "integer":
            # zod's int() takes only integers that JavaScript can count exactly.
            whole = (
                ".refine(Number.isInteger)"
                if shape["most"] > 2**53
                else f".int().min({shape['least']}).max({shape['most']})"
            )
            return f"z.number(){whole}"
        case kind:
            return f"z.{kind}()"


def _object(shape: Shape, depth: int) -> str:
    inner = "  " * (depth + 1)
    lines: list[str] = []
    for name, field in shape["fields"].items():
        if "note" in field:
            lines.append(f"{inner}/** {comment(field['note'])} */")
        optional = ".optional()" if name in shape["optional"] else ""
        written = '["__proto__"]' if name == "__proto__" else key(name)
        lines.append(f"{inner}{written}: {_schema(field, depth + 1)}{optional},")
    return "z.object({\n" + "\n".join(lines) + f"\n{'  ' * depth}}})" if lines else "z.object({})"
