"""Asking before something is given up."""

import typer

from qctl import config
from qctl.errors import ExitCode, QctlError


def consent(what: str, *, yes: bool) -> None:
    """Goes on if the person agrees, or has agreed with ``--yes``.

    Args:
        what: what is about to happen, with its numbers.
        yes: ``--yes`` was given.

    Raises:
        QctlError: there is nobody to ask, or the answer is no (7).
    """
    if yes:
        return
    if not config.can_ask():
        raise QctlError(what, hint="--yes agrees; --dry-run only shows", code=ExitCode.REFUSED)
    if not typer.confirm(f"{what}. Go on?", err=True):
        raise QctlError("nothing was done", code=ExitCode.REFUSED)
