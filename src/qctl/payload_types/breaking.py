"""What a receiver that was written for one shape would not understand of another."""

import re
from collections.abc import Iterator

from qctl.payload_types.shape import Payload, Shape


def changes(before: Payload, now: Payload) -> list[str]:
    """Sentences, one for each change that breaks receivers; nothing where they understand all that is sent now."""
    return list(dict.fromkeys(_Comparison(before, now).root()))


class _Comparison:
    def __init__(self, before: Payload, now: Payload) -> None:
        self._before = before
        self._now = now

    def root(self) -> Iterator[str]:
        yield from self._compare(self._before.types[self._before.root], self._now.types[self._now.root], "")

    def _compare(self, before: Shape, now: Shape, place: str) -> Iterator[str]:
        befores, nows = _parts(before, self._before), _parts(now, self._now)
        if any(part["kind"] == "any" for part in befores):
            # What was unknown stays so; what is known beside it is compared all the same.
            befores, nows = ([part for part in parts if part["kind"] != "any"] for parts in (befores, nows))
            if not befores:
                return
        for part in nows:
            if any(not list(self._part(known, part, place)) for known in befores):
                continue
            alike = _alike(befores, part)
            if part["kind"] == "literal" and part["value"] is None:
                yield f"{place or 'payload'} may be null now"
            elif len(alike) == 1:
                yield from self._part(alike[0], part, place)
            else:
                yield f"{place or 'payload'}: {_said(part)} is new"

    def _part(self, before: Shape, now: Shape, place: str) -> Iterator[str]:
        kind = before["kind"]
        if kind in ("number", "integer") and now.get("rounded") and not before.get("rounded"):
            yield f"{place}: {now['note']}"
        if kind == "number" and now["kind"] == "integer":
            return
        if kind == "string" and now["kind"] in ("enum", "literal"):
            texts = now.get("values", [now.get("value")])
            longest = before.get("longest", float("inf"))
            if "pattern" in before or not all(isinstance(text, str) and len(text) <= longest for text in texts):
                yield f"{place}: {_said(now)} and was {_said(before)}"
            return
        if kind in ("enum", "literal") and now["kind"] in ("enum", "literal"):
            known = before.get("values", [before.get("value")])
            for value in now.get("values", [now.get("value")]):
                if value not in known:
                    yield f"{place}: the value {value!r} is new"
            return
        if kind != now["kind"]:
            yield f"{place}: is {_said(now)} and was {_said(before)}"
        elif kind == "object":
            yield from self._object(before, now, place)
        elif kind == "array":
            yield from self._compare(before["items"], now["items"], f"{place}[]")
        elif kind == "string":
            if ("pattern" in before and before["pattern"] != now.get("pattern")) or _family(before) != _family(now):
                yield f"{place}: is {_said(now)} and was {_said(before)}"
            elif "longest" in before and now.get("longest", float("inf")) > before["longest"]:
                yield f"{place}: may be longer than {before['longest']}"
        elif kind == "integer" and (now["least"] < before["least"] or now["most"] > before["most"]):
            yield f"{place}: is {_said(now)} and was {_said(before)}"

    def _object(self, before: Shape, now: Shape, place: str) -> Iterator[str]:
        for name, field in before["fields"].items():
            inner = f"{place}.{name}" if place else name
            if name not in now["fields"]:
                if name not in before["optional"]:
                    yield f"{inner} is gone"
            else:
                yield from self._compare(field, now["fields"][name], inner)


def _family(shape: Shape) -> str:
    """The kind of text that a text is: what a column of one holds another may hold."""
    name = re.sub(r"\(\d+\)", "", str(shape.get("note", "")))
    return (
        "text"
        if name in ("text", "character varying", "character", "name", '"char"') or name.endswith("citext")
        else name
    )


def _parts(shape: Shape, payload: Payload) -> list[Shape]:
    if shape["kind"] == "named":
        return _parts(payload.types[shape["name"]], payload)
    if shape["kind"] == "union":
        return [part for one in shape["of"] for part in _parts(one, payload)]
    return [shape]


def _alike(befores: list[Shape], now: Shape) -> list[Shape]:
    """What a part of a union was before: the same event, the same kind, or the only thing that it could be."""
    known = [part for part in befores if not (part["kind"] == "literal" and part["value"] is None)]
    texts = ("enum", "literal")
    same = [part for part in known if part["kind"] == now["kind"] or (part["kind"] in texts and now["kind"] in texts)]
    if now["kind"] == "object" or any(part["kind"] == "object" for part in known):
        return [part for part in same if _marks(part) == _marks(now)]
    return same or [part for part in known if part["kind"] not in texts][:1] or known[:1]


def _marks(shape: Shape) -> dict[str, object]:
    fields = shape.get("fields", {})
    return {
        name: field["value"]
        for name, field in fields.items()
        if field["kind"] == "literal" and field["value"] is not None
    }


def _said(shape: Shape) -> str:
    if shape["kind"] == "literal":
        return "null" if shape["value"] is None else repr(shape["value"])
    marks = _marks(shape)
    if marks:
        return " ".join(str(marks[name]) for name in ("operation", "type", "schema", "table") if name in marks) + (
            " truncated" if marks.get("truncated") else ""
        )
    return shape.get("note") or shape["kind"]
