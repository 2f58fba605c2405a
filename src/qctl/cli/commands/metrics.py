"""The state of all queues for Prometheus."""

import sys
from typing import Annotated

import typer

from qctl import config, http_server
from qctl.cli import missing_right, named_connection, options
from qctl.cli.console import say
from qctl.cli.metrics_page import scrapes


def command(
    port: Annotated[
        str | None,
        typer.Option("--port", help="Serve GET /metrics on this port until Ctrl-C.", metavar="[HOST:]PORT"),
    ] = None,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
) -> None:
    """The state of all queues for Prometheus: once to stdout, or with --port for its scrapes.

    Attempts of all workers are counted in the database, since each queue was made or the upgrade to 0.7.0: scrape one
    endpoint, not every worker. A restart or a purge does not set the counters back. Needs pip install 'qctl[metrics]', and a
    role with grant --as read.

    Example: qctl metrics --port 9187
    """
    named_connection.remember(dsn, profile)
    database = config.database(dsn, profile)
    page = scrapes(database)
    if port is None:
        with missing_right.explained(database, "read"):
            sys.stdout.write(page().body.decode())
        return
    with http_server.serving({http_server.address(port): {"/metrics": page}}) as ports:
        say(f"GET /metrics on port {ports[0]}; Ctrl-C stops")
        http_server.until_told()
