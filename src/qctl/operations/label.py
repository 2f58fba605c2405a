"""The label: what people call a database, and whether it is protected."""

from qctl import db
from qctl.errors import QctlError
from qctl.models import Label, LabelSet


def current(connection: db.Connection) -> Label | None:
    """The label; None where there is none, or where this database, or this role, cannot tell."""
    try:
        return next(iter(db.call(connection, Label, "label")), None)
    except QctlError:
        return None


def set_to(text: str | None, *, protected: bool | None) -> db.Call[LabelSet]:
    """Names the database, or with None takes its name away; ``protected`` None leaves that as it is.

    Raises:
        QctlError: when it is run: the text cannot be a label (2).
    """
    return db.Call("set_label", {"label": text, **db.known(protected=protected)}, LabelSet)
