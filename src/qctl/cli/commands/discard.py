"""Give up on unfinished messages."""

from qctl import models
from qctl.cli import bulk_action, options, selection
from qctl.cli.confirm import confirm
from qctl.cli.session import session
from qctl.operations import criteria, messages


def command(
    ids: selection.Ids = None,
    queue: options.Queue = None,
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
    reason: options.Reason = None,
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
    verbose: options.Verbose = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """Give up on unfinished messages: by id, or those that a filter finds. They become dead letters and can be replayed.

    The number of messages is shown first, and --yes or a terminal must agree.

    Example: qctl discard orders/1234 --reason "test data"
    """
    which = criteria.read(
        state=state, retrying=retrying, attempted=attempted, since=since, until=until, captured_since=captured_since,
        status_code=status_code, error=error, response=response, not_response=not_response, where=where,
    )  # fmt: skip
    with session(dsn, profile, "discard", changes=not dry_run) as connection:
        chosen = selection.choose(connection, ids, queue, which)
        if dry_run:
            bulk_action.show(connection, chosen, "discarded", output, verbose=verbose)
            return
        if chosen.count:
            confirm(connection, bulk_action.what(chosen, "discarded", "", None), yes=yes)
        rows: list[models.ReplayedMessage] = []

        def act(name: str, batch: list[int]) -> "list[models.Replayed]":
            return messages.discard(connection, name, batch, reason, chosen.seen_of(name, batch))

        failed = bulk_action.act(chosen, rows, act)
    bulk_action.finish(chosen, rows, output, {}, failed, verbose=verbose)
