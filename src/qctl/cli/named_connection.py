"""Printed commands carry the connection that was named, so that they act on the database of which they speak."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar, cast

Row = TypeVar("Row")

_options = ""
_lacks_password = False


def remember(dsn: str | None, profile: str | None) -> None:
    """Notes what ``--dsn`` or ``--profile`` said; a variable or a default profile holds for the next command anyway."""
    global _options, _lacks_password
    _options, _lacks_password = "", False
    if profile is not None:
        _options = f"--profile {shlex.quote(profile)} "
    elif dsn is not None:
        from qctl import db

        shown, _lacks_password = db.without_secrets(dsn)
        _options = f"--dsn {shlex.quote(shown)} " if shown else ""


def carried(text: str) -> str:
    """The text with the named connection in each command of qctl."""
    if not _options or "qctl " not in text or "--dsn" in text or "--profile" in text:
        return text
    return _command().sub(f"qctl {_options}".replace("\\", r"\\"), text)


def in_fixes(rows: Sequence[Row]) -> list[Row]:
    """Rows whose fields ``fix``, ``problem`` and ``reason`` carry the named connection in their commands."""
    return [_with_fix(row) for row in rows]


def _with_fix(row: Row) -> Row:
    texts: dict[str, Any] = {name: getattr(row, name, None) for name in ("problem", "reason")}
    changed = {name: in_sentence(text) for name, text in texts.items() if isinstance(text, str)}
    fix = getattr(row, "fix", None)
    if isinstance(fix, str):
        changed["fix"] = carried(fix)
    return cast("Row", replace(cast("Any", row), **changed))


def in_sentence(text: str) -> str:
    """A sentence with the named connection in its commands: what follows a colon is one, "no qctl worker serves it" is none."""
    return re.sub(r"(?<=: )qctl [^;()]*", lambda found: carried(found[0]), text)


def reminder(text: str) -> str | None:
    """What a carried command lacks, the first time that one is shown."""
    global _lacks_password
    if _lacks_password and _options.strip() in text:
        _lacks_password = False
        return "  (its password: PGPASSWORD or ~/.pgpass)"
    return None


@cache
def _command() -> re.Pattern[str]:
    folder = files("qctl.cli") / "commands"
    verbs = sorted(
        entry.name.removesuffix(".py").replace("_", "-")
        for entry in folder.iterdir()
        if entry.name.endswith(".py") and not entry.name.startswith("_")
    )
    return re.compile(rf"(?<![\w./-])qctl (?=(?:{'|'.join(verbs)})(?![\w-]))")
