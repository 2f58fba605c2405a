"""Take back what grant gave."""

from qctl.cli import options
from qctl.cli.console import print_calls
from qctl.cli.session import session
from qctl.operations import grants
from qctl.output import Column, render
from qctl.output.columns import yes_no


def command(
    role: options.Role,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
    sql: options.AsSql = False,
) -> None:
    """Take back what grant gave.

    Example: qctl revoke colleague
    """
    call = grants.revoke(role)
    if sql:
        print_calls([call])
        return
    with session(dsn, profile, "revoke", changes=True) as connection:
        row = call.one(connection)
    render([row], [Column("role_name", "role"), Column("changed", "changed", yes_no)], output)
