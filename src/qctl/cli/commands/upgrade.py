"""Bring the schema in a database up to date."""

from typing import Annotated

import typer

from qctl.cli import options, schema


def command(
    repair: Annotated[bool, typer.Option("--repair", help="Apply every function and view again.")] = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
    dry_run: options.DryRun = False,
    sql: options.AsSql = False,
) -> None:
    """Bring the schema in a database up to this version of qctl.

    Upgrade the database first and the workers after it: running workers go on with the upgraded schema. A database without
    qctl is refused.

    Example: qctl upgrade --dry-run
    """
    schema.apply("upgrade", dsn, profile, output, dry_run=dry_run, sql=sql, repair=repair)
