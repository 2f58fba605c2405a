"""Arming: whether this database, rather than a copy of it, may deliver."""

from qctl import db
from qctl.models import Arming, Disarming


def arming(*, survive_failover: bool | None) -> tuple[str, dict[str, bool]]:
    """The SQL function and arguments that arm; see :func:`arm`."""
    return "arm", _given(survive_failover=survive_failover)


def arm(connection: db.Connection, *, survive_failover: bool | None) -> Arming:
    """Lets this database deliver.

    Args:
        connection: to it.
        survive_failover: deliver also after a standby of it was promoted; None leaves that as it is.
    """
    function, arguments = arming(survive_failover=survive_failover)
    return db.call(connection, Arming, function, **arguments)[0]


def disarm(connection: db.Connection) -> Disarming:
    """Stops all claiming, of every transport."""
    return db.call(connection, Disarming, "disarm")[0]


def _given(**arguments: bool | None) -> dict[str, bool]:
    return {name: value for name, value in arguments.items() if value is not None}
