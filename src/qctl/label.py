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


def set_to(connection: db.Connection, text: str | None, *, protected: bool | None) -> LabelSet:
    """Names the database, or with None takes its name away; ``protected`` None leaves that as it is.

    Raises:
        QctlError: no such label can be (2).
    """
    function, arguments = setting(text, protected=protected)
    return db.call(connection, LabelSet, function, **arguments)[0]


def setting(text: str | None, *, protected: bool | None) -> tuple[str, dict[str, object]]:
    """The SQL function and arguments of :func:`set_to`."""
    return "set_label", {"label": text, "protected": protected}
