"""Commands about secrets: rotate, revoke, set, unset, list."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from qctl import config, db, models, queues, secret
from qctl.cli import options
from qctl.cli.consent import consent, consent_if_protected
from qctl.cli.guard import say
from qctl.cli.session import session
from qctl.errors import UsageError
from qctl.output import Column, Format, chosen, render
from qctl.output.columns import counted, instant, words, yes_no

_SOURCE_HELP = "Where it comes from: - (stdin), @FILE or env:NAME; without it you are asked."


def rotate(
    queue: options.Queue = None,
    overlap: Annotated[
        str, typer.Option("--overlap", help="How long older secrets sign beside it.", metavar="DURATION")
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
    """Sign a queue's requests with a new secret. It is shown this once.

    Standard Webhooks, v1: give the whsec_… to the receiver. While older secrets overlap each request carries a signature of
    every one, so that receivers can change over without losing a request. docs/receivers.md shows how they verify.

    Example: qctl secret rotate -q orders --overlap 24h
    """
    overlap_s = options.duration(overlap)
    text = None if given is None else _read(given, "the signing secret", hint="give - for stdin, @FILE or env:NAME")
    with session(dsn, profile, "secret rotate", changes=True) as connection:
        name = queues.the_one(connection, queue)
        if overlap_s == 0:
            consent_if_protected(
                connection, f"receivers of {name} would refuse every request until they know it", yes=yes
            )
        # Shown before the commit: a secret that nobody saw must not sign.
        with db.transaction(connection):
            row = secret.rotate(connection, name, text, overlap_s)
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
        say(f"{counted(row.replaced, 'older one')} sign beside it until {instant(row.replaced_until)}")
        say(f"Next: give it to the receiver; then qctl secret revoke -q {name} --now")
    elif row.replaced:
        say("older ones sign no more: give it to the receiver now")


def revoke(
    secret_id: Annotated[
        int | None, typer.Argument(help="Which, by its number; without it all but the newest.", metavar="[SECRET]")
    ] = None,
    queue: options.Queue = None,
    now: Annotated[
        bool, typer.Option("--now", "--yes", "-y", help="Agree beforehand: it signs no more at once.")
    ] = False,
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Also the last one: requests go out unsigned.")] = False,
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
        known = [row for row in secret.listed(connection, name) if row.kind == "signing"]
        ending = known[1:] if secret_id is None else [row for row in known if row.secret_id == secret_id]
        left = [row for row in known if row.there and row not in ending]
        # What the database refuses in any case needs no question.
        if ending and (left or unsigned):
            which = ", ".join(f"{row.secret_id} ({row.mark})" for row in ending)
            consent(connection, f"signing secret {which} of {name} would sign no more", yes=now, agree="--now agrees")
        rows = secret.revoke(connection, name, secret_id, unsigned=unsigned)
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
    value = _read(source, f"the value of {name}")
    with session(dsn, profile, "secret set", changes=True) as connection:
        row: models.HeaderSecretSet = secret.set_header(connection, name, value)
    columns = [Column("name", "name"), Column("changed", "changed", yes_no), Column("used_by", "sent by", words)]
    render([row], columns, output)
    if not row.used_by:
        say(f"Next: qctl set -q QUEUE --header 'Authorization: secret:{name}'")


def unset(
    name: Annotated[str, typer.Argument(help="The name it was set by.", metavar="NAME")],
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """Forget the value of an HTTP header. Refused while a queue sends it.

    Example: qctl secret unset old_token
    """
    with session(dsn, profile, "secret unset", changes=True) as connection:
        gone = secret.unset_header(connection, name)
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
        rows = secret.listed(connection, queue)
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
        say("no secret yet: qctl secret rotate -q QUEUE signs, qctl secret set NAME keeps a header's value")


_HINT = "give - for stdin, @FILE or env:NAME, or nothing to be asked"


def _read(source: str | None, what: str, hint: str = _HINT) -> str:
    """A secret from where the person says; asked for at a terminal if they do not.

    Raises:
        UsageError: a literal, which would stand in the shell's history, a source that cannot be read, or no text.
    """
    if source is None or (source == "-" and config.can_ask()):
        if not config.can_ask():
            raise UsageError(f"{what} is missing, and there is nobody to ask", hint=hint)
        return typer.prompt(f"{what[0].upper()}{what[1:]}", hide_input=True, err=True).strip()
    if source == "-":
        data = sys.stdin.buffer.read()
    elif source.startswith("env:"):
        found = config.variable(source[4:])
        if found is None:
            raise UsageError(f"there is no variable {source[4:104]}", hint=hint)
        data = os.fsencode(found)
    elif source.startswith("@"):
        try:
            data = Path(source[1:]).read_bytes()
        except OSError as error:
            raise UsageError(f"cannot read {source[1:201]}: {error.strerror}", hint=hint) from None
    else:
        raise UsageError(f"{what} would stand in the shell's history and the process list", hint=hint)
    try:
        text = data.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise UsageError(
            f"{what} is no UTF-8 text", hint="a key of other bytes goes in as whsec_ and its base64"
        ) from None
    if "\0" in text:
        raise UsageError(f"{what} holds a NUL", hint="a header's value is one line of text")
    return text


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    group = typer.Typer(no_args_is_help=True, help="Secrets: keys that sign requests, values of HTTP headers.")
    for name, function in (("rotate", rotate), ("revoke", revoke), ("set", set_), ("unset", unset), ("list", list_)):
        group.command(name)(function)
    app.add_typer(group, name="secret", rich_help_panel="Set up")
