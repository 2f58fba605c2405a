"""Commands about secrets: rotate, revoke, set, unset, list."""

import sys
from typing import Annotated

import typer

from qctl import db, models
from qctl.cli import options, secret_source
from qctl.cli.command import Command
from qctl.cli.confirm import confirm, confirm_if_protected
from qctl.cli.console import say
from qctl.cli.session import session
from qctl.operations import queues, secrets
from qctl.output import Column, Format, chosen, render
from qctl.output.columns import counted, instant, words, yes_no

_SOURCE_HELP = "Source of the secret: - (stdin), @FILE or env:NAME (default: ask)."


def rotate(
    queue: options.Queue = None,
    overlap: Annotated[
        str, typer.Option("--overlap", help="Time for which older secrets also sign.", metavar="DURATION")
    ] = "24h",
    given: Annotated[
        str | None,
        typer.Option(
            "--given", help="Use this whsec_… instead of a new one: - (stdin), @FILE or env:NAME.", metavar="SOURCE"
        ),
    ] = None,
    yes: options.Yes = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """Sign a queue's requests with a new secret. It is shown only now.

    Standard Webhooks, v1: give the whsec_… to the receiver. While older secrets overlap, each request has a signature by
    every secret, so that receivers can change over without losing a request. docs/receivers.md shows how they verify.

    Example: qctl secret rotate -q orders --overlap 24h
    """
    overlap_s = options.duration(overlap)
    text = (
        None
        if given is None
        else secret_source.read(given, "the signing secret", hint="give - for stdin, @FILE or env:NAME")
    )
    with session(dsn, profile, "secret rotate", changes=True) as connection:
        name = queues.the_one(connection, queue)
        if overlap_s == 0:
            confirm_if_protected(
                connection, f"receivers of {name} will refuse every request until they know the new secret", yes=yes
            )
        # Shown before the commit: a secret that nobody saw must not sign.
        with db.transaction(connection):
            row = secrets.rotate(connection, name, text, overlap_s)
            if chosen(output) in (Format.TABLE, Format.PLAIN):
                # Alone and whole, to be copied or piped.
                typer.echo(row.secret)
            else:
                render([row], [], output)
            sys.stdout.flush()
    say(
        f"{name} is signed with secret {row.secret_id} (mark {row.mark}) from the next attempt on; it is not shown again"
    )
    if row.replaced_until is not None and overlap_s:
        say(f"{counted(row.replaced, 'older secret')} also sign until {instant(row.replaced_until)}")
        say(f"Next: give it to the receiver; then qctl secret revoke -q {name} --now")
    elif row.replaced:
        say("older secrets no longer sign: give it to the receiver now")


def revoke(
    secret_id: Annotated[
        int | None, typer.Argument(help="Number of the secret (default: all but the newest).", metavar="[SECRET]")
    ] = None,
    queue: options.Queue = None,
    now: Annotated[
        bool, typer.Option("--now", "--yes", "-y", help="Agree without being asked: it stops signing at once.")
    ] = False,
    unsigned: Annotated[
        bool, typer.Option("--unsigned", help="Revoke the last secret too: requests go out unsigned.")
    ] = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """End a signing secret at once, after a leak or when every receiver has changed over.

    Receivers that know only that one refuse what comes after. The last secret of a queue goes only with --unsigned.

    Example: qctl secret revoke -q orders --now
    """
    with session(dsn, profile, "secret revoke", changes=True) as connection:
        name = queues.the_one(connection, queue)
        known = [row for row in secrets.listed(connection, name) if row.kind == "signing"]
        ending = known[1:] if secret_id is None else [row for row in known if row.secret_id == secret_id]
        left = [row for row in known if row.there and row not in ending]
        # What the database refuses in any case needs no question.
        if ending and (left or unsigned):
            which = ", ".join(f"{row.secret_id} ({row.mark})" for row in ending)
            confirm(connection, f"signing secret {which} of {name} will no longer sign", yes=now, agree="--now agrees")
        rows = secrets.revoke(connection, name, secret_id, unsigned=unsigned)
    columns = [
        Column("queue_name", "queue"),
        Column("secret_id", "secret", right=True),
        Column("mark", "mark"),
        Column("left_signing", "left signing", right=True),
    ]
    render(rows, columns, output)
    if not rows:
        say(f"{name} has no older signing secret")


def set_(
    name: Annotated[str, typer.Argument(help="Letters, digits, _, . and -.", metavar="NAME")],
    source: Annotated[str | None, typer.Argument(help=_SOURCE_HELP, metavar="[SOURCE]")] = None,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """Keep the value of an HTTP header, for queues whose headers say secret:NAME.

    It is put in when a message is claimed, so a new value counts at once. A queue whose secret is missing sends nothing.
    In Supabase a queue can name a secret of Vault instead: vault:NAME.

    Example: qctl secret set n8n env:N8N_TOKEN && qctl set -q orders --header 'Authorization: secret:n8n'
    """
    value = secret_source.read(source, f"the value of {name}")
    with session(dsn, profile, "secret set", changes=True) as connection:
        row: models.HeaderSecretSet = secrets.set_header(connection, name, value)
    columns = [Column("name", "name"), Column("changed", "changed", yes_no), Column("used_by", "sent by", words)]
    render([row], columns, output)
    if not row.used_by:
        say(f"Next: qctl set -q QUEUE --header 'Authorization: secret:{name}'")


def unset(
    name: Annotated[str, typer.Argument(help="Name of the secret.", metavar="NAME")],
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """Forget the value of an HTTP header. Refused while a queue sends it.

    Example: qctl secret unset old_token
    """
    with session(dsn, profile, "secret unset", changes=True) as connection:
        gone = secrets.unset_header(connection, name)
    render([gone], [Column("name", "name")], output)


def _there(value: bool) -> str:
    return "yes" if value else "no"


def list_(
    queue: options.Queue = None,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """Which secrets there are, since when, and which queues use them. Never the secrets.

    Example: qctl secret list
    """
    with session(dsn, profile, "secret list") as connection:
        rows = secrets.listed(connection, queue)
    columns = [
        Column("kind", "kind"),
        Column("name", "name"),
        Column("secret_id", "secret", right=True),
        Column("mark", "mark"),
        Column("created_at", "since", instant),
        Column("expires_at", "until", instant),
        Column("there", "there", _there, style=lambda value: "" if value else "bold red"),
        Column("used_by", "used by", words),
    ]
    render(rows, columns, output)
    if not rows:
        say(
            "no secret exists; to sign a queue: qctl secret rotate -q QUEUE; to keep a header's value: qctl secret set NAME"
        )


group = typer.Typer(no_args_is_help=True, help="Secrets: keys that sign requests, values of HTTP headers.")
for _name, _function in (("rotate", rotate), ("revoke", revoke), ("set", set_), ("unset", unset), ("list", list_)):
    group.command(_name, cls=Command)(_function)
