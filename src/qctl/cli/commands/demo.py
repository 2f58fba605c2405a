"""Show the whole pipeline."""

import signal
from typing import Annotated

import typer

from qctl.cli.console import say
from qctl.errors import ExitCode, QctlError
from qctl.output import table


def command(
    count: Annotated[int, typer.Option("--messages", "-n", help="Rows to insert.", min=1)] = 2000,
    fail_rate: Annotated[
        float, typer.Option("--fail-rate", help="Share of requests that the endpoint fails.", min=0, max=0.9)
    ] = 0.1,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the database and the endpoint running to look around.")
    ] = False,
    dsn: Annotated[
        str | None,
        typer.Option(
            "--dsn", help="Server on which to make a throw-away database (default: an embedded one).", metavar="DSN"
        ),
    ] = None,
) -> None:
    """Show the whole pipeline on a throw-away PostgreSQL: a table, a queue, a bad endpoint, and a proof of delivery.

    Exits 1 if the endpoint's own ledger and the database do not agree.

    Example: qctl demo --messages 5000 --fail-rate 0.3
    """
    from qctl.demo import pipeline

    # SIGTERM must stop PostgreSQL and the endpoint as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with table.progress() as progress:
        result = pipeline.run(count, fail_rate, keep=keep, dsn=dsn, talk=say, on_progress=progress)
    table.write_pairs(result.lines())
    for line in result.advice:
        say(line)
    if not result.agrees:
        raise QctlError(
            "the endpoint's ledger and the database do not agree",
            detail=result.disagreement,
            hint="this is a bug in qctl: please report it",
            code=ExitCode.BUG,
        )
