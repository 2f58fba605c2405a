"""Purging: delivered history, dead letters, and what else of ours is old."""

import contextlib
import fcntl
import gzip
import json
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from psycopg import sql

from qctl import db
from qctl.errors import ExitCode, QctlError
from qctl.models import ArchiveSize, Exported, Leftovers, Purgeable, Purged, PurgedBatch, PurgedSome
from qctl.operations import partitions

BATCH = 5000
_MARK = "qctl_export"


def preview(connection: db.Connection, name: str, older_than_s: float, *, dead: bool) -> Purged:
    """What a purge of a queue would delete in all, with its bytes. Reads all of it."""
    function = "purgeable_dead" if dead else "purgeable"
    found = db.call(connection, Purgeable, function, queue=name, older_than=f"{older_than_s} s")[0]
    return Purged(name, _kind(dead), found.messages, found.attempts, found.bytes)


def _kind(dead: bool) -> str:
    return "dead" if dead else "delivered"


def delivered(connection: db.Connection, name: str, older_than_s: float, tell: Callable[[int], None]) -> Purged:
    """Deletes delivered messages older than that: whole partitions, where the archive has such, and then batch by batch.

    ``tell`` is called with the count so far; that of partitions is the planner's estimate.
    """
    messages = attempts = 0
    dropped = partitions.drop_old(connection, name, older_than_s)
    if dropped:
        messages += dropped.messages
        tell(messages)
    place: dict[str, Any] = {}
    while True:
        batch = db.call(
            connection, PurgedBatch, "purge", queue=name, older_than=f"{older_than_s} s", limit=BATCH, **place
        )[0]
        messages += batch.messages
        attempts += batch.attempts
        tell(messages)
        if batch.next_after is None:
            break
        place = {"after": batch.next_after, "after_id": batch.next_after_id}
    # Last, for a partition of the log goes when no message is left of its time.
    if dropped and dropped.partitions:
        attempts += partitions.forget_attempts(connection, name, dropped)
    return Purged(name, "delivered", messages, attempts, None)


def dead_letters(connection: db.Connection, name: str, older_than_s: float, tell: Callable[[int], None]) -> Purged:
    """Deletes dead letters older than that, batch by batch."""
    messages = attempts = 0
    while True:
        batch = db.call(connection, PurgedSome, "purge_dead", queue=name, older_than=f"{older_than_s} s", limit=BATCH)[
            0
        ]
        messages += batch.messages
        attempts += batch.attempts
        tell(messages)
        if not batch.messages:
            return Purged(name, "dead", messages, attempts, None)


def leftovers(connection: db.Connection, older_than_s: float) -> list[Leftovers]:
    """Deletes old statistics, runs of our jobs, and attempts whose message is gone."""
    return db.call(connection, Leftovers, "purge_leftovers", older_than=f"{older_than_s} s")


def _sync_folder(path: Path) -> None:
    """Makes the name of a new file safe, too."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _whole_bytes(path: Path) -> int:
    """Where the last whole member of a gzip file ends: a run that was killed may have left the beginning of one behind it.

    Raises:
        QctlError: the file is something else (2).
    """
    whole = at = 0
    member = zlib.decompressobj(wbits=31)
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            while part:
                try:
                    member.decompress(part)
                except zlib.error:
                    if whole == 0:
                        raise QctlError(
                            f"{path} is not a gzip file", hint="--export FILE.jsonl.gz", code=ExitCode.USAGE
                        ) from None
                    return whole
                if not member.eof:
                    at += len(part)
                    break
                at += len(part) - len(member.unused_data)
                whole, part = at, member.unused_data
                member = zlib.decompressobj(wbits=31)
    return whole


def archive_size(connection: db.Connection, name: str) -> ArchiveSize:
    """What a queue's delivered history takes on disk."""
    return db.call(connection, ArchiveSize, "archive_size", queue=name)[0]


class Export:
    """A gzip file of JSON lines to which messages are written, safe on disk, before they are deleted.

    Each batch adds a member to the file, so that one that was interrupted stays readable. The message is kept as text, for
    PostgreSQL reads numbers more exactly than others do.
    """

    def __init__(self, path: Path) -> None:
        """Opens the file for adding to it.

        Raises:
            QctlError: it cannot be written (2).
        """
        self.path = path
        try:
            new = not path.exists()
            # Payloads are nobody's but who exported them.
            self._file: BinaryIO = os.fdopen(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600), "ab")
            # Two runs that write to one file would cut off what the other is writing.
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._file.truncate(_whole_bytes(path))
            if new:
                _sync_folder(path)
        except BlockingIOError:
            raise QctlError(
                f"another purge writes to {path}", hint="name another file, or wait", code=ExitCode.BUSY
            ) from None
        except OSError as error:
            raise QctlError(
                f"cannot write {path}: {error.strerror}", hint="--export FILE.jsonl.gz", code=ExitCode.USAGE
            ) from None

    def close(self) -> None:
        """Closes the file."""
        # What could not be written was told when it was tried.
        with contextlib.suppress(OSError):
            self._file.close()

    def _write(self, name: str, kind: str, rows: list[Exported]) -> None:
        lines = (
            json.dumps(
                {
                    _MARK: 1,
                    "queue": name,
                    "state": kind,
                    "msg_id": row.msg_id,
                    "enqueued_at": row.enqueued_at,
                    "finished_at": row.finished_at,
                    "headers": row.headers,
                    "message": row.message,
                },
                ensure_ascii=False,
            )
            for row in rows
        )
        try:
            self._file.write(gzip.compress(("\n".join(lines) + "\n").encode()))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise QctlError(
                f"cannot write {self.path}: {error.strerror}",
                detail="what was not written was not deleted",
                hint="free some space, and run the command again with the same file",
                code=ExitCode.PARTLY_DONE,
            ) from None

    def purge(
        self, connection: db.Connection, name: str, older_than_s: float, tell: Callable[[int], None], *, dead: bool
    ) -> Purged:
        """Writes and deletes batch by batch; a batch is deleted when it is safely written, so none is lost."""
        messages = attempts = 0
        place: dict[str, Any] = {}
        while True:
            with db.transaction(connection):
                rows = db.call(
                    connection, Exported, "purge_preview",
                    queue=name, older_than=f"{older_than_s} s", dead=dead, limit=BATCH, **place,
                )  # fmt: skip
                if rows:
                    self._write(name, _kind(dead), rows)
                    done = db.call(
                        connection, PurgedSome, "purge_these", queue=name, msg_ids=[row.msg_id for row in rows],
                        enqueued_at=[row.enqueued_at for row in rows], dead=dead,
                    )[0]  # fmt: skip
                    messages += done.messages
                    attempts += done.attempts
            tell(messages)
            if not rows:
                return Purged(name, _kind(dead), messages, attempts, None)
            place = {"after": rows[-1].finished_at, "after_id": rows[-1].msg_id}


def exported_body(line: str) -> str:
    """The message of a line that :class:`Export` wrote, exactly as PostgreSQL had it; any other line as it is."""
    if not line.startswith(f'{{"{_MARK}"'):
        return line
    value = cast("dict[str, Any]", json.loads(line))
    message = value.get("message", 0)
    return "null" if message is None else message if isinstance(message, str) else line


def lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, plain or gzip.

    Raises:
        QctlError: it cannot be read (2).
    """
    try:
        with path.open("rb") as start:
            packed = start.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            yield from cast("Iterator[bytes]", file)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise QctlError(
            f"cannot read {path}: {reason}", hint="give a file of JSON lines", code=ExitCode.USAGE
        ) from None


def vacuum(connection: db.Connection, names: list[str], *, dead: bool) -> None:
    """Gives the room of what was deleted back to the tables, and refreshes their statistics."""
    tables = (
        [("pgmq", f"a_{name}") for name in names] + [("qctl", "attempt")] + ([("qctl", "dead_letter")] if dead else [])
    )
    with db.translating():
        for table in tables:
            connection.execute(sql.SQL("vacuum (analyze) {}").format(sql.Identifier(*table)))
