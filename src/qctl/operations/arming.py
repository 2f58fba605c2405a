"""Arming: whether this database, rather than a copy of it, may deliver."""

from qctl import db
from qctl.models import Arming, Disarming


def arm(*, survive_failover: bool | None) -> db.Call[Arming]:
    """Lets this database deliver.

    Args:
        survive_failover: deliver also after a standby of it was promoted; None leaves that as it is.
    """
    return db.Call("arm", db.known(survive_failover=survive_failover), Arming)


def disarm() -> db.Call[Disarming]:
    """Stops all claiming, whatever the transport."""
    return db.Call("disarm", {}, Disarming)
