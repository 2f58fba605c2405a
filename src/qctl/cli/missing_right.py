"""A right that a command lacked: who can give it, and what they type."""

import re
import shlex
from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

from qctl import config, db
from qctl.errors import QctlError
from qctl.operations import rights

_LACKED = "42501"
_PAYLOADS = re.compile(r"function (messages_where|payloads|purge_preview)$")

Level = Literal["read", "operate", "work", "install"]


@contextmanager
def explained(database: "config.Database", level: Level) -> Generator[None]:
    """Adds to an error of the block that is a lack of rights who can give them.

    Args:
        database: where the block works.
        level: what the command needs: an access level of ``qctl grant``, or ``install``, which no grant gives.
    """
    try:
        yield
    except QctlError as error:
        if error.sqlstate == _LACKED and (hint := _who_gives(database, level, error.message)):
            error.detail = error.message
            needed = "it did not install qctl" if level == "install" else f"it needs level {level}"
            error.message = f"this role may not do that: {needed}"
            error.hint, error.hint_is_for_another = hint, True
        raise


def _who_gives(database: "config.Database", level: Level, message: str) -> str | None:
    """What to do; None where the right is not one of qctl's own."""
    try:
        connection = db.connect(database, application="help")
    except QctlError:
        return None
    try:
        has = rights.current(connection)
    finally:
        connection.close()
    if has is None or has.owns:
        return None
    if level == "install":
        return f"connect as {has.owner}, who installed qctl; no grant allows this"
    role, payloads, replaced = shlex.quote(has.role_name), "", ""
    if _PAYLOADS.search(message):
        if has.works and not has.operates:
            return "a role with level work cannot read payloads: use another role"
        level, payloads = "operate" if has.operates or level == "operate" else "read", " --payloads"
    elif {"read": has.reads, "operate": has.operates, "work": has.works}[level]:
        return None
    elif has.operates or has.works:
        replaced = f" (a role has one level, and {has.role_name} has {'operate' if has.operates else 'work'})"
    return f"as {has.owner}, who installed qctl{replaced}: qctl grant {role} --as {level}{payloads}"
