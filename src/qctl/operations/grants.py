"""Grants: what roles other than the one that installed qctl may do."""

from qctl import db
from qctl.models import Granted, Revoked


def grant(role: str, level: str, *, payloads: bool) -> db.Call[Granted]:
    """Lets a role look (read), act (operate) or deliver (work); with ``payloads`` it sees payloads too.

    Raises:
        QctlError: when it is run: no such level (2) or role (6).
    """
    return db.Call("grant_role", {"role": role, "as": level, "payloads": payloads}, Granted)


def revoke(role: str) -> db.Call[Revoked]:
    """Takes back what :func:`grant` gave."""
    return db.Call("revoke_role", {"role": role}, Revoked)
