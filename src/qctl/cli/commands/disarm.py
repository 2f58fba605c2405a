"""Stop this database from delivering."""

from qctl.cli import options
from qctl.cli.confirm import confirm_if_protected
from qctl.cli.console import print_calls, say
from qctl.cli.session import session
from qctl.operations import arming
from qctl.output import Column, render
from qctl.output.columns import yes_no

_COLUMNS = [Column("armed", "armed", yes_no), Column("changed", "changed", yes_no), Column("database", "database")]


def command(
    yes: options.Yes = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
    sql: options.AsSql = False,
) -> None:
    """Stop this database from delivering, whatever the transport. Capture goes on; messages in flight settle.

    Example: qctl disarm
    """
    call = arming.disarm()
    if sql:
        print_calls([call])
        return
    with session(dsn, profile, "disarm", changes=True) as connection:
        confirm_if_protected(connection, "nothing will be delivered any more", yes=yes)
        row = call.one(connection)
    render([row], _COLUMNS, output)
    say("Next: qctl arm, when it is to deliver again")
