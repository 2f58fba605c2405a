"""Asking before something that cannot be undone."""

import typer

from qctl import config, db
from qctl.errors import ExitCode, QctlError
from qctl.operations import label

_AGREE = "add --yes to agree"


def confirm(connection: "db.Connection", what: str, *, yes: bool, agree: str = _AGREE) -> None:
    """Continues if the person agrees, or agreed with ``--yes``; in a protected database by typing its label.

    Args:
        connection: to the database that it happens in.
        what: what is about to happen, with its numbers.
        yes: ``--yes`` was given.
        agree: the hint where nobody can be asked.

    Raises:
        QctlError: there is no terminal to ask, or the answer is no (7).
    """
    if not yes:
        here = label.current(connection)
        _ask(what, here.label if here is not None and here.protected else None, agree)


def confirm_if_protected(connection: "db.Connection", what: str, *, yes: bool) -> None:
    """Like :func:`confirm`, for what needs agreement only in a protected database."""
    if not yes:
        here = label.current(connection)
        if here is not None and here.protected:
            _ask(what, here.label, _AGREE)


def _ask(what: str, protected: str | None, agree: str) -> None:
    if not config.can_ask():
        where = f"; {protected} is protected" if protected else ""
        raise QctlError(f"{what}{where}", hint=agree, code=ExitCode.REFUSED)
    if protected is None:
        agreed = typer.confirm(f"{what}. Continue?", err=True)
    else:
        answer = typer.prompt(
            f"{what}. This is {protected}: type its name to continue", err=True, default="", show_default=False
        )
        agreed = answer.strip() == protected
    if not agreed:
        raise QctlError("nothing was done", code=ExitCode.REFUSED)
