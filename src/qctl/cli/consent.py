"""Asking before something is given up."""

import typer

from qctl import config, db, label
from qctl.errors import ExitCode, QctlError

_AGREE = "--yes agrees; --dry-run, where there is one, only shows"


def consent(connection: "db.Connection", what: str, *, yes: bool, agree: str = _AGREE) -> None:
    """Goes on if the person agrees, or has agreed with ``--yes``; in a protected database by typing its label.

    Args:
        connection: to the database that it happens in.
        what: what is about to happen, with its numbers.
        yes: ``--yes`` was given.
        agree: the hint for who cannot be asked.

    Raises:
        QctlError: there is nobody to ask, or the answer is no (7).
    """
    if not yes:
        here = label.current(connection)
        _ask(what, here.label if here is not None and here.protected else None, agree)


def consent_if_protected(connection: "db.Connection", what: str, *, yes: bool) -> None:
    """Like :func:`consent`, for what needs no agreement but in a protected database."""
    if not yes:
        here = label.current(connection)
        if here is not None and here.protected:
            _ask(what, here.label, _AGREE)


def _ask(what: str, protected: str | None, agree: str) -> None:
    if not config.can_ask():
        where = f", on {protected}, which is protected" if protected else ""
        raise QctlError(f"{what}{where}", hint=agree, code=ExitCode.REFUSED)
    if protected is None:
        agreed = typer.confirm(f"{what}. Go on?", err=True)
    else:
        answer = typer.prompt(
            f"{what}. This is {protected}: type its name to go on", err=True, default="", show_default=False
        )
        agreed = answer.strip() == protected
    if not agreed:
        raise QctlError("nothing was done", code=ExitCode.REFUSED)
