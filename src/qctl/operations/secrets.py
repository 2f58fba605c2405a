"""Secrets: keys that sign requests, and values that are put into headers. On their way in no log of the server sees them."""

from datetime import timedelta

from qctl import db
from qctl.db import files
from qctl.models import HeaderSecretGone, HeaderSecretSet, RevokedSecret, RotatedSecret, Secret


def _hand_over(connection: db.Connection, value: str | None) -> None:
    """Puts a secret where the next statement reads it. What COPY carries is never logged, unlike parameters of a statement."""
    connection.execute("create temporary table qctl_secret (value text) on commit drop")
    with connection.cursor() as cursor, cursor.copy("copy pg_temp.qctl_secret (value) from stdin") as copy:
        copy.write_row([value])


def rotate(connection: db.Connection, queue: str, given: str | None, overlap_s: float) -> RotatedSecret:
    """A new signing secret for a queue; older ones sign beside it for a while.

    Args:
        connection: to the database.
        queue: its name.
        given: a secret of ``whsec_…``; None makes one.
        overlap_s: seconds that older ones go on.

    Raises:
        QctlError: what is given is no secret (2), the queue is unknown (6) or signs with it already (7).
    """
    with db.transaction(connection), db.translating():
        _hand_over(connection, given)
        values = {"queue": queue, "overlap": timedelta(seconds=overlap_s)}
        return db.fetch(connection, RotatedSecret, files.query("secret_rotate"), values)[0]


def revoke(connection: db.Connection, queue: str, secret_id: int | None, *, unsigned: bool) -> list[RevokedSecret]:
    """Ends one signing secret, or all but the newest; the last one only if the queue may go on unsigned."""
    return db.call(
        connection, RevokedSecret, "revoke_secret", queue=queue, secret_id=secret_id, unsigned=unsigned
    )  # fmt: skip


def listed(connection: db.Connection, queue: str | None) -> list[Secret]:
    """Which secrets there are, of one queue or of all; never the secrets."""
    return db.fetch(connection, Secret, files.query("secrets"), {"queue": queue})


def set_header(connection: db.Connection, name: str, value: str) -> HeaderSecretSet:
    """Keeps the value of a header under a name.

    Raises:
        QctlError: a name or value that cannot be (2).
    """
    with db.transaction(connection), db.translating():
        _hand_over(connection, value)
        return db.fetch(connection, HeaderSecretSet, files.query("secret_set"), {"name": name})[0]


def unset_header(connection: db.Connection, name: str) -> HeaderSecretGone:
    """Forgets the value of a header.

    Raises:
        QctlError: there is none of that name (6), or a queue sends it (7).
    """
    return db.call(connection, HeaderSecretGone, "drop_header_secret", name=name)[0]
