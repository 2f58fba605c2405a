"""Reads a secret from where the person says."""

import os
import sys
from pathlib import Path

import typer

from qctl import config
from qctl.errors import UsageError

_HINT = "give - for stdin, @FILE or env:NAME, or nothing to be asked"


def read(source: str | None, what: str, hint: str = _HINT) -> str:
    """A secret from where the person says; without a source it is asked for at a terminal.

    Raises:
        UsageError: a literal, which would stand in the shell's history, a source that cannot be read, or no text.
    """
    if source is None or (source == "-" and config.can_ask()):
        if not config.can_ask():
            raise UsageError(f"{what} is missing, and there is no terminal to ask for it", hint=hint)
        return typer.prompt(f"{what[0].upper()}{what[1:]}", hide_input=True, err=True).strip()
    if source == "-":
        data = sys.stdin.buffer.read()
    elif source.startswith("env:"):
        found = config.variable(source[4:])
        if found is None:
            raise UsageError(f"environment variable '{source[4:104]}' is not set", hint=hint)
        data = os.fsencode(found)
    elif source.startswith("@"):
        try:
            data = Path(source[1:]).read_bytes()
        except OSError as error:
            raise UsageError(f"cannot read {source[1:201]}: {error.strerror}", hint=hint) from None
    else:
        raise UsageError(f"{what} would show in the shell's history and the process list", hint=hint)
    try:
        text = data.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise UsageError(
            f"{what} is not UTF-8 text", hint="write a key of arbitrary bytes as whsec_ and its base64"
        ) from None
    if "\0" in text:
        raise UsageError(f"{what} contains a NUL", hint="a header's value is one line of text")
    return text
