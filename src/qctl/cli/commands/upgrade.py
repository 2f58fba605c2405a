"""Bring the schema in a database up to date."""

from typing import Annotated

import typer

from qctl.cli import options, schema


def command(
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Apply every function again; make missing tables and triggers of queues again.",
        ),
    ] = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
    dry_run: options.DryRun = False,
    sql: options.AsSql = False,
    verbose: options.Verbose = False,
) -> None:
    """Bring the schema in a database up to this version of qctl.

    Upgrade the database first and the workers after it: running workers go on with the upgraded schema. A database without
    qctl is refused. --repair is for a database that was restored, or whose extension pgmq was dropped: it makes missing
    tables of pgmq and missing triggers again, keeps all settings, and says what cannot come back.

    Example: qctl upgrade --dry-run
    """
    schema.apply("upgrade", dsn, profile, output, dry_run=dry_run, sql=sql, verbose=verbose, repair=repair)
