"""The SQL files that come with qctl: where they are, what they are called, their checksums."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from psycopg import sql

from qctl.errors import ExitCode, QctlError

_MIGRATION_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_NAME = re.compile(r':"([a-z_]+)"')
_VARIABLE = re.compile(rb":'([a-z_]+)'")


@dataclass(frozen=True, slots=True)
class SqlFile:
    """One file: its name without ``.sql``, its bytes, for a migration its number, for a routine file its folder."""

    name: str
    text: bytes
    version: int = 0
    folder: str = "."

    @property
    def place(self) -> str:
        """Its path below ``sql``."""
        if self.version:
            return f"migrations/{self.version:04d}_{self.name}.sql"
        return str(Path("routines", self.folder, f"{self.name}.sql"))

    @property
    def checksum(self) -> str:
        """SHA-256 of the bytes, in hex."""
        return hashlib.sha256(self.text).hexdigest()


@cache
def root() -> Path:
    """The folder ``sql``: inside the package when installed from a wheel, at the top of a checkout otherwise."""
    packaged = Path(str(files("qctl"))) / "sql"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "sql"


@cache
def query(name: str, folder: str = "queries") -> bytes:
    """The text of ``sql/<folder>/<name>.sql`` with psql's ``:'variable'`` turned into psycopg's ``%(variable)s``."""
    text = (root() / folder / f"{name}.sql").read_bytes()
    return _VARIABLE.sub(rb"%(\1)s", text.replace(b"%", b"%%"))


def statement(name: str, names: Mapping[str, str]) -> str:
    """The statement in ``sql/queries/<name>.sql`` with names in place of psql's ``:"variable"``, without comments."""
    text = "\n".join(line for line in query(name).decode().splitlines() if not line.startswith("--"))
    return _NAME.sub(lambda match: sql.Identifier(names[match[1]]).as_string(None), text)


def read(name: str) -> bytes:
    """The text of ``sql/<name>.sql``."""
    return (root() / f"{name}.sql").read_bytes()


def migrations(folder: Path | None = None) -> list[SqlFile]:
    """All migrations in order.

    Raises:
        QctlError: a file name that is not valid, a gap in the numbers or an empty file (exit 1: the package is broken).
    """
    return list(_migrations(folder or root() / "migrations"))


def _migrations(folder: Path) -> Iterator[SqlFile]:
    for number, path in enumerate(sorted(folder.glob("*.sql")), start=1):
        match = _MIGRATION_NAME.fullmatch(path.name)
        if not match or int(match[1]) != number:
            raise QctlError(f"migration {path.name} should be number {number:04d}", code=ExitCode.BUG)
        text = path.read_bytes()
        if not text.strip():
            raise QctlError(f"migration {path.name} is empty", code=ExitCode.BUG)
        yield SqlFile(match[2], text, number)


def routines(folder: Path | None = None) -> list[SqlFile]:
    """All routine files in the order in which they are applied: by name, except ``views``, last because it reads the functions.

    The folders below ``sql/routines`` only group them: a file is known by its name alone.
    """
    key: Callable[[Path], tuple[bool, str]] = lambda path: (path.stem == "views", path.stem)  # noqa: E731
    top = folder or root() / "routines"
    return [
        SqlFile(path.stem, path.read_bytes(), folder=str(path.parent.relative_to(top)))
        for path in sorted(top.rglob("*.sql"), key=key)
    ]


def line_of(text: str, position: int) -> int:
    """Line number, from 1, of a character position, from 1, as PostgreSQL reports it."""
    return text.count("\n", 0, position - 1) + 1
