"""The command that writes a running set-up as the file of apply: export."""

import shlex
from typing import Annotated, Any

import tomli_w
import typer

from qctl.cli import completers, options, queue_file
from qctl.cli.console import say
from qctl.cli.session import session
from qctl.operations import attachments, queues


def command(
    queue: Annotated[
        list[str] | None,
        typer.Option(
            "--queue",
            "-q",
            help="Write this queue; may be repeated (default: all).",
            metavar="QUEUE",
            autocompletion=completers.queue_names,
        ),
    ] = None,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
) -> None:
    """Write the queues with their settings and attachments as the TOML file that apply reads.

    Secrets are not part of it: a header or option that refers to one is written as the reference. A queue with a header
    whose value looks like a secret is written without headers, which leaves them as they are, and that is said.

    Example: qctl export > qctl.toml
    """
    with session(dsn, profile, "export") as connection:
        names = queue or [row.queue_name for row in queues.listed(connection)]
        written: dict[str, Any] = {}
        hidden: dict[str, list[str]] = {}
        for name in names:
            row = queues.described(connection, name)
            written[name], hidden[name] = queue_file.table(row, attachments.listed(connection, name))
    typer.echo(tomli_w.dumps({"queues": written}), nl=False)
    for name, headers in hidden.items():
        for header in headers:
            referring = shlex.quote(f"{header}: secret:NAME")
            say(
                f"queue {name}: header {header} holds a value that looks like a secret, so no header of this queue is written;"
                f" to refer to it by a name: qctl secret set NAME && qctl set -q {name} --header {referring}"
            )
    if not written:
        say("there is no queue to write")
