"""What Prometheus scrapes: metrics, and the page that a worker serves."""

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from qctl import config, db, serving
from qctl.cli import options
from qctl.cli.guard import say
from qctl.errors import ExitCode, QctlError


def metrics(
    port: Annotated[
        str | None,
        typer.Option("--port", help="Serve GET /metrics on this port until Ctrl-C.", metavar="[HOST:]PORT"),
    ] = None,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
) -> None:
    """The state of all queues for Prometheus: once to stdout, or with --port for its scrapes.

    Attempts count from a minute before it began. Whatever delivers is counted, for the database is asked: scrape one, not
    every worker. Wants pip install 'qctl[metrics]', and a role with grant --as read.

    Example: qctl metrics --port 9187
    """
    page = scrapes(config.database(dsn, profile))
    if port is None:
        sys.stdout.write(page().body.decode())
        return
    with serving.serving({serving.address(port): {"/metrics": page}}) as ports:
        say(f"GET /metrics on port {ports[0]}; Ctrl-C stops")
        serving.until_told()


def scrapes(database: "config.Database") -> "Callable[[], serving.Page]":
    """The page ``/metrics`` of a database.

    Raises:
        QctlError: the extra ``metrics`` is not installed (4).
    """
    try:
        from qctl.metrics import CONTENT_TYPE, Metrics
    except ImportError:
        raise QctlError(
            "the official Prometheus client is not installed",
            hint="pip install 'qctl[metrics]'",
            code=ExitCode.SERVER_UNFIT,
        ) from None
    measures = Metrics(lambda: db.connect(database, application="metrics"))
    return lambda: serving.Page(200, measures.scrape(), CONTENT_TYPE)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("metrics", rich_help_panel="Look")(metrics)
