"""Normalised pg_dump of a database: for ``sql/schema.sql``, for frozen dumps of releases, and to compare schemas."""

import subprocess
from pathlib import Path

from qctl.demo import embedded


def _dump(uri: str, *options: str) -> str:
    command = [str(embedded.binaries() / "pg_dump"), "--no-owner", "--no-privileges", *options, uri]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    noise = (
        "\\restrict",
        "\\unrestrict",
        "-- Dumped",
        "SET transaction_timeout",
        "SET ",
        "SELECT pg_catalog.set_config",
    )
    return "\n".join(line for line in text.splitlines() if not line.startswith(noise)) + "\n"


def schema(uri: str) -> str:
    """The objects of schema qctl, without blank runs and banners."""
    lines: list[str] = []
    for line in _dump(uri, "--schema=qctl", "--schema-only").splitlines():
        if line in ("--", "") and (not lines or lines[-1] == ""):
            continue
        lines.append("" if line == "--" else line)
    return "\n".join(lines).strip() + "\n"


def whole(uri: str) -> str:
    """Everything, rows included, so that it can be restored."""
    return "set check_function_bodies = false;\n" + _dump(uri)


def restore(uri: str, dump: Path) -> None:
    """Restores a dump made by :func:`whole`."""
    command = [str(embedded.binaries() / "psql"), "-q", "-v", "ON_ERROR_STOP=1", "-f", str(dump), uri]
    subprocess.run(command, check=True, capture_output=True, text=True)
