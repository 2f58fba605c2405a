"""Install qctl into a database."""

from qctl.cli import options, schema


def command(
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
    dry_run: options.DryRun = False,
    sql: options.AsSql = False,
    verbose: options.Verbose = False,
) -> None:
    """Install qctl into a database; where it is already installed, bring it up to date.

    Creates schema qctl, and pgmq where it is missing: as an extension if the server offers it, else as plain SQL.
    One transaction; running it again does nothing.

    Example: qctl install --dsn postgresql://postgres@localhost/app
    """
    schema.apply("install", dsn, profile, output, dry_run=dry_run, sql=sql, verbose=verbose)
