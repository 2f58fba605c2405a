"""Access: what roles other than the one that installed qctl may do."""

from qctl import db
from qctl.models import Granted, Revoked


def grant(connection: db.Connection, role: str, level: str, *, payloads: bool) -> Granted:
    """Lets a role look (read), act (operate) or deliver (work), with ``payloads`` see payloads, too.

    Raises:
        QctlError: no such level (2) or role (6).
    """
    function, arguments = granting(role, level, payloads=payloads)
    return db.call(connection, Granted, function, **arguments)[0]


def granting(role: str, level: str, *, payloads: bool) -> tuple[str, dict[str, object]]:
    """The SQL function and arguments of :func:`grant`."""
    return "grant_role", {"role": role, "as": level, "payloads": payloads}


def revoke(connection: db.Connection, role: str) -> Revoked:
    """Takes back what :func:`grant` gave."""
    function, arguments = revoking(role)
    return db.call(connection, Revoked, function, **arguments)[0]


def revoking(role: str) -> tuple[str, dict[str, object]]:
    """The SQL function and arguments of :func:`revoke`."""
    return "revoke_role", {"role": role}
