"""What the messages of a queue hold, by the catalogue."""

from qctl import db
from qctl.models import PayloadTypes


def attached(connection: db.Connection, queue: str) -> list[PayloadTypes]:
    """The tables that are attached to a queue, each with its columns.

    Raises:
        QctlError: no such queue (6).
    """
    return db.call(connection, PayloadTypes, "payload_types", queue=queue)
