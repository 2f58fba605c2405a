"""Deliver messages again."""

from typing import Annotated

import typer

from qctl import models
from qctl.cli import bulk_action, options, selection
from qctl.cli.confirm import confirm
from qctl.cli.console import say
from qctl.cli.selection import Chosen
from qctl.cli.session import session
from qctl.operations import criteria, messages
from qctl.output import table

_OUTCOMES = {
    "replayed": "replayed",
    "due_now": "waiting, now due",
    "ready": "already ready",
    "in_flight": "in flight, left alone",
    "unknown": "unknown",
    "changed": "changed by someone else, left alone",
}


def command(
    ids: selection.Ids = None,
    queue: options.Queue = None,
    dead: selection.Dead = False,
    delivered: selection.Delivered = False,
    state: selection.State = None,
    retrying: selection.Retrying = False,
    attempted: selection.Attempted = False,
    since: selection.Since = None,
    until: selection.Until = None,
    captured_since: selection.CapturedSince = None,
    status_code: selection.StatusCode = None,
    error: selection.ErrorText = None,
    response: selection.Response = None,
    not_response: selection.NotResponse = None,
    where: selection.Where = None,
    new_id: Annotated[
        bool, typer.Option("--new-id", help="Use new webhook-ids, for receivers that acknowledged the old ones.")
    ] = False,
    rate: Annotated[
        str | None, typer.Option("--rate", help="Spread the messages: 50/s, 600/min.", metavar="RATE")
    ] = None,
    reason: options.Reason = None,
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
    verbose: options.Verbose = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """Deliver messages again, whether delivered or dead: by id, or those that a filter finds.

    A replayed message keeps its id and, unless --new-id, its webhook-id, and gets all its attempts again. A message that
    waits for a retry becomes due now; a message in flight is left alone. With a filter the number of messages is shown first,
    and --yes or a terminal must agree. The filters are those of qctl messages.

    Example: qctl replay --dead --since 2h --rate 50/s --reason "n8n was down"
    """
    which = criteria.read(
        dead=dead, delivered=delivered, state=state, retrying=retrying, attempted=attempted, since=since, until=until,
        captured_since=captured_since, status_code=status_code, error=error, response=response,
        not_response=not_response, where=where,
    )  # fmt: skip
    per_s = None if rate is None else options.per_second(rate)
    with session(dsn, profile, "replay", changes=not dry_run) as connection:
        chosen = selection.choose(connection, ids, queue, which)
        _warn(chosen, new_id=new_id)
        if which is not None and chosen.count and not dry_run:
            confirm(
                connection,
                bulk_action.what(chosen, "replayed", f"; their webhook-ids {'change' if new_id else 'stay'}", per_s),
                yes=yes,
            )
        if dry_run:
            bulk_action.show(connection, chosen, "replayed", output, verbose=verbose)
            return
        rows: list[models.ReplayedMessage] = []
        with table.progress() as tell:

            def act(name: str, batch: list[int]) -> "list[models.Replayed]":
                tell("replaying", len(rows), chosen.count)
                after_s = len(rows) / per_s if per_s else 0.0
                seen = chosen.seen_of(name, batch)
                return messages.replay(
                    connection, name, batch, reason, new_id=new_id, per_s=per_s, after_s=after_s, seen=seen
                )

            failed = bulk_action.act(chosen, rows, act)
    bulk_action.finish(chosen, rows, output, _OUTCOMES, failed, verbose=verbose)


def _warn(chosen: Chosen, *, new_id: bool) -> None:
    if chosen.states["delivered"] and not new_id:
        say(
            "Warning: a receiver that drops duplicates knows the webhook-ids of delivered messages; --new-id gives new ones"
        )
