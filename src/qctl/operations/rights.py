"""What the role of a connection may do, and who can give it more."""

from qctl import db
from qctl.db import files
from qctl.errors import QctlError
from qctl.models import Rights


def current(connection: db.Connection) -> Rights | None:
    """The rights of the connection's role; None where qctl is not installed, or the connection is of no more use."""
    try:
        return next(iter(db.fetch(connection, Rights, files.query("rights"))), None)
    except QctlError:
        return None
