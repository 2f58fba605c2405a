"""Arming: whether this database, rather than a copy of it, may deliver."""

from qctl import db
from qctl.models import Arming, ArmingPreview, ArmingState, Disarming, WouldSend


def arm(*, survive_failover: bool | None) -> db.Call[Arming]:
    """Lets this database deliver.

    Args:
        survive_failover: deliver also after a standby of it was promoted; None leaves that as it is.
    """
    return db.Call("arm", db.known(survive_failover=survive_failover), Arming)


def preview(connection: db.Connection) -> ArmingPreview:
    """What arming would send from this database, and whether it is a copy. Reads only."""
    rows = db.call(connection, WouldSend, "would_send")
    (state,) = db.call(connection, ArmingState, "arming_state")
    return ArmingPreview(state.armed, state.is_copy, state.state, rows)


def disarm() -> db.Call[Disarming]:
    """Stops all claiming, whatever the transport."""
    return db.Call("disarm", {}, Disarming)
