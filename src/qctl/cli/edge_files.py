"""Files of the Edge Function: its source, never over what a person changed, and its secrets, which only their owner reads."""

import json
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from qctl import __version__
from qctl.errors import ExitCode, QctlError, UsageError
from qctl.operations import edge

_WRITTEN = "qctl.json"
# The lines that qctl writes; those of other forms are somebody else's.
_LINE = re.compile(r'(?P<name>QCTL_[A-Z_]+)="?(?P<value>[^"]*)"?$')


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a file: ``written``, ``updated`` or ``unchanged``."""

    file: str
    done: str


def write_function(folder: Path, *, force: bool) -> list[Written]:
    """Writes the function's files, and which ones it wrote, so that the next version knows what a person changed.

    Raises:
        QctlError: a file is not as qctl wrote it, and ``force`` is not given (7); nothing is written then.
        UsageError: the folder cannot be written to.
    """
    texts = edge.function_files()
    try:
        known = _known(folder)
        there = {name: (folder / name).read_text("utf-8") for name in texts if (folder / name).exists()}
        changed = [name for name, text in there.items() if text != texts[name] and edge.digest(text) != known.get(name)]
        if changed and not force:
            raise QctlError(
                f"not as qctl wrote it: {', '.join(str(folder / name) for name in changed)}",
                hint=f"keep your changes elsewhere, then: qctl edge init --dir {folder} --force",
                code=ExitCode.REFUSED,
            )
        folder.mkdir(parents=True, exist_ok=True)
        done: list[Written] = []
        for name, text in texts.items():
            if there.get(name) != text:
                (folder / name).write_text(text, "utf-8")
            done.append(
                Written(
                    str(folder / name),
                    "written" if name not in there else "unchanged" if there[name] == text else "updated",
                )
            )
        for name in sorted(set(known) - set(texts)):
            old = folder / name
            if old.exists() and edge.digest(old.read_text("utf-8")) == known[name]:
                old.unlink()
                done.append(Written(str(old), "removed"))
        manifest = {"version": __version__, "files": {name: edge.digest(text) for name, text in texts.items()}}
        (folder / _WRITTEN).write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"cannot write the function to {folder}: {getattr(error, 'strerror', None) or error}"
        ) from None
    return done


def _known(folder: Path) -> dict[str, str]:
    try:
        return dict(json.loads((folder / _WRITTEN).read_text("utf-8"))["files"])
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return {}


def read_secrets(path: Path) -> dict[str, str]:
    """Names and values of an environment file; nothing where there is none.

    Raises:
        UsageError: it cannot be read.
    """
    pairs = (_LINE.match(line) for line in _lines(path))
    return {found["name"]: found["value"] for found in pairs if found}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None


def write_secrets(path: Path, values: dict[str, str]) -> None:
    """Puts values into an environment file that only its owner may read and git ignores; its other lines stay.

    All of it is written or nothing.

    Raises:
        UsageError: it cannot be written.
    """
    kept = [line for line in _lines(path) if not ((found := _LINE.match(line)) and found["name"] in values)]
    if not kept:
        kept = ["# Secrets of the Edge Function, written by qctl edge wake. Keep them out of version control."]
    text = "".join(f"{line}\n" for line in [*kept, *(f'{name}="{value}"' for name, value in values.items())])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _ignore(path)
        # mkstemp makes it with mode 0600.
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).replace(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None


def _ignore(path: Path) -> None:
    """Names the file in the .gitignore beside it."""
    ignored, line = path.parent / ".gitignore", f"/{path.name}".encode()
    before = ignored.read_bytes() if ignored.exists() else b""
    if line not in before.splitlines():
        ignored.write_bytes(before + (b"\n" if before and not before.endswith(b"\n") else b"") + line + b"\n")
