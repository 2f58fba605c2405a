"""Commands that act on chosen messages: replay, discard."""

from collections import Counter
from collections.abc import Callable
from typing import Annotated

import typer

from qctl import config, db, messages, models
from qctl.cli import choice, options
from qctl.cli.choice import Chosen
from qctl.cli.consent import consent
from qctl.cli.guard import say
from qctl.cli.session import session
from qctl.errors import ExitCode, QctlError
from qctl.output import Column, Format, render, table
from qctl.output.columns import counted, seconds

_BATCH = 1000
_COLUMNS = [Column("queue_name", "queue"), Column("msg_id", "message", right=True)]
_TOLD = {
    "replayed": "replayed",
    "due_now": "waited, tried now",
    "ready": "were ready anyway",
    "in_flight": "in flight, left alone",
    "unknown": "unknown",
    "changed": "changed meanwhile, left alone",
}


def replay(
    ids: choice.Ids = None,
    queue: options.Queue = None,
    dead: choice.Dead = False,
    delivered: choice.Delivered = False,
    state: choice.State = None,
    retrying: choice.Retrying = False,
    since: choice.Since = None,
    until: choice.Until = None,
    captured_since: choice.CapturedSince = None,
    status_code: choice.StatusCode = None,
    error: choice.ErrorText = None,
    response: choice.Response = None,
    not_response: choice.NotResponse = None,
    where: choice.Where = None,
    new_id: Annotated[
        bool, typer.Option("--new-id", help="Under new webhook-ids, for receivers that acknowledged the old ones.")
    ] = False,
    rate: Annotated[str | None, typer.Option("--rate", help="Spread them: 50/s, 600/min.", metavar="RATE")] = None,
    reason: options.Reason = None,
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """Deliver messages again, delivered and dead ones alike: by id, or those that a filter finds.

    A replayed message keeps its id and, unless --new-id, its webhook-id, and has its attempts afresh. One that waits for a
    retry is tried now; one in flight is left alone. A filter says first how many there are, and wants --yes or a
    terminal. Filters are those of qctl messages.

    Example: qctl replay --dead --since 2h --rate 50/s --reason "n8n was down"
    """
    which = choice.criteria(
        dead=dead, delivered=delivered, state=state, retrying=retrying, since=since, until=until,
        captured_since=captured_since, status_code=status_code, error=error, response=response,
        not_response=not_response, where=where,
    )  # fmt: skip
    per_s = None if rate is None else options.per_second(rate)
    with session(dsn, profile, "replay", changes=not dry_run) as connection:
        chosen = choice.choose(connection, ids, queue, which)
        _warn(chosen, new_id=new_id)
        if which is not None and chosen.count and not dry_run:
            consent(
                connection, _what(chosen, "replayed", f"; their ids {'change' if new_id else 'stay'}", per_s), yes=yes
            )
        if dry_run:
            _show(connection, chosen, output)
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

            failed = _act(chosen, rows, act)
    _finish(chosen, rows, output, _TOLD, failed)


def discard(
    ids: choice.Ids = None,
    queue: options.Queue = None,
    state: choice.State = None,
    retrying: choice.Retrying = False,
    since: choice.Since = None,
    until: choice.Until = None,
    captured_since: choice.CapturedSince = None,
    status_code: choice.StatusCode = None,
    error: choice.ErrorText = None,
    response: choice.Response = None,
    not_response: choice.NotResponse = None,
    where: choice.Where = None,
    reason: options.Reason = None,
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """Give up on unfinished messages: by id, or those that a filter finds. They become dead letters and can be replayed.

    Says first how many there are, and wants --yes or a terminal.

    Example: qctl discard orders/1234 --reason "test data"
    """
    which = choice.criteria(
        state=state, retrying=retrying, since=since, until=until, captured_since=captured_since, status_code=status_code,
        error=error, response=response, not_response=not_response, where=where,
    )  # fmt: skip
    with session(dsn, profile, "discard", changes=not dry_run) as connection:
        chosen = choice.choose(connection, ids, queue, which)
        if dry_run:
            _show(connection, chosen, output)
            return
        if chosen.count:
            consent(connection, _what(chosen, "given up", "", None), yes=yes)
        rows: list[models.ReplayedMessage] = []

        def act(name: str, batch: list[int]) -> "list[models.Replayed]":
            return messages.discard(connection, name, batch, reason, chosen.seen_of(name, batch))

        failed = _act(chosen, rows, act)
    _finish(chosen, rows, output, {}, failed)


def _act(
    chosen: Chosen, rows: "list[models.ReplayedMessage]", act: "Callable[[str, list[int]], list[models.Replayed]]"
) -> QctlError | None:
    """Acts batch by batch and collects what was done. An error in the middle ends it, but does not hide that."""
    for name, batch in _batches(chosen):
        try:
            outcomes = act(name, batch)
        except QctlError as error:
            if not rows:
                raise
            return error
        rows += [models.ReplayedMessage(name, outcome.msg_id, outcome.outcome) for outcome in outcomes]
    return None


def _batches(chosen: Chosen) -> list[tuple[str, list[int]]]:
    return [(n, ids[at : at + _BATCH]) for n, ids in chosen.by_queue.items() for at in range(0, len(ids), _BATCH)]


def _what(chosen: Chosen, done: str, more: str, per_s: float | None) -> str:
    states = ", ".join(f"{count:,} {state}" for state, count in chosen.states.most_common())
    spread = f", over {seconds(chosen.count / per_s)}" if per_s else ""
    detail = f" ({states}: {chosen.some()})" if states else f" ({chosen.some()})"
    return f"{counted(chosen.count, 'message')}{detail} to be {done}{more}{spread}"


def _warn(chosen: Chosen, *, new_id: bool) -> None:
    if chosen.states["delivered"] and not new_id:
        say(
            "Warning: a receiver that drops duplicates has seen the webhook-ids of delivered messages; --new-id gives new ones"
        )


def _show(connection: "db.Connection", chosen: Chosen, output: Format | None) -> None:
    """What would be acted on, and how each stands now."""
    rows: list[models.ReplayedMessage] = []
    missing = list(chosen.unknown)
    for name, ids in chosen.by_queue.items():
        known = messages.states(connection, name, ids)
        rows += [models.ReplayedMessage(name, msg_id, known[msg_id]) for msg_id in ids if msg_id in known]
        missing += [f"{name}/{m}" for m in ids if m not in known and (name, m) not in chosen.ranged]
    if rows or not missing:
        render(rows, [*_COLUMNS, Column("outcome", "state now")], output)
    say(f"nothing was changed; it would be about {counted(len(rows), 'message')}")
    choice.refuse_unknown(missing, chosen.asked)


def _finish(
    chosen: Chosen,
    rows: "list[models.ReplayedMessage]",
    output: Format | None,
    told: dict[str, str],
    failed: QctlError | None,
) -> None:
    holes = sum(row.outcome == "unknown" and (row.queue_name, row.msg_id) in chosen.ranged for row in rows)
    rows = [row for row in rows if row.outcome != "unknown" or (row.queue_name, row.msg_id) not in chosen.ranged]
    missing = [*chosen.unknown, *(f"{row.queue_name}/{row.msg_id}" for row in rows if row.outcome == "unknown")]
    if rows or not missing:
        render(rows, [*_COLUMNS, Column("outcome", "outcome")], output)
    if config.stderr_is_terminal():
        counts = Counter(row.outcome for row in rows)
        if parts := [f"{count:,} {told.get(outcome, outcome)}" for outcome, count in sorted(counts.items())]:
            say(", ".join(parts))
        if holes:
            say(f"{counted(holes, 'number')} of the range stand for no message")
    if holes and not rows and not missing:
        raise QctlError("no message has a number in that range", hint="qctl messages", code=ExitCode.NOT_FOUND)
    if not rows and not missing:
        say("no message matches")
    if failed is not None:
        raise QctlError(
            f"{len(rows)} of {chosen.count} done: {failed.message}",
            detail=failed.detail,
            hint="stdout says which; run it again for the others",
            code=ExitCode.PARTLY_DONE,
        )
    choice.refuse_unknown(missing, chosen.asked)


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for function in (replay, discard):
        app.command(function.__name__, rich_help_panel="Act")(function)
