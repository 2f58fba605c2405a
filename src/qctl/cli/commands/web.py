"""A window for a browser: web."""

import ipaddress
from typing import Annotated

import typer

from qctl import config, db
from qctl.cli import missing_right, named_connection, options, secret_source
from qctl.cli.console import say
from qctl.errors import ExitCode, QctlError, UsageError
from qctl.operations import label, migrate

_PATIENCE_S = 20.0


def command(
    port: Annotated[int, typer.Option("--port", help="The port; 0 takes a free one.", min=0, max=65535)] = 8080,
    bind: Annotated[str, typer.Option("--bind", help="The address to listen on.", metavar="ADDRESS")] = "127.0.0.1",
    host: Annotated[
        list[str] | None,
        typer.Option(
            "--host", help="A name under which it answers, besides this machine's; may be repeated.", metavar="NAME"
        ),
    ] = None,
    token: Annotated[
        str | None, typer.Option("--token", help="Let in who has this token.", metavar="-|@FILE|env:NAME")
    ] = None,
    trust_header: Annotated[
        str | None,
        typer.Option(
            "--trust-header", help="Let in whom a proxy in front names in this header, and no one else.", metavar="NAME"
        ),
    ] = None,
    allow_acts: Annotated[
        bool, typer.Option("--allow-acts", help="Let people replay, discard, pause, resume and test.")
    ] = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
) -> None:
    """Show queues, messages, dead letters, workers and findings in a browser.

    The pages ask what the commands ask and show the equal command to copy. They only read unless --allow-acts is given; an act
    shows its count first and wants a reason, which the audit keeps. It listens on this machine. Beyond it --token or
    --trust-header is needed, and a proxy that speaks TLS, because browsers keep its cookie only there; name that as --host.
    Payloads are shown as far as the role may see them.

    Example: qctl web --port 8080
    """
    here = _is_loopback(bind)
    if token and trust_header:
        raise UsageError("--token and --trust-header exclude each other")
    if not here and not (token or trust_header):
        raise UsageError(
            f"{bind} is reached by other machines, so somebody has to say who gets in",
            hint="qctl web --token @FILE, or --trust-header X-Forwarded-User behind a proxy that sets it",
        )
    try:
        from qctl.web.access import Rules
        from qctl.web.app import Site
        from qctl.web.server import names, serve
    except ImportError as error:
        raise QctlError(
            f"{error.name} is not installed here", hint="pip install 'qctl[web]'", code=ExitCode.SERVER_UNFIT
        ) from None
    secret = None if token is None else secret_source.read(token, "token")
    if secret is not None and len(secret) < 16:
        raise UsageError("the token is shorter than 16 characters", hint="openssl rand -hex 32")
    named_connection.remember(dsn, profile)
    database = config.database(dsn, profile)

    def connect() -> db.Connection:
        connection = db.connect(database, application="web")
        connection.patience_s = _PATIENCE_S
        db.end_statements_after(connection, _PATIENCE_S - 5)
        return connection

    with missing_right.explained(database, "operate" if allow_acts else "read"):
        first = connect()
        try:
            migrate.require_installed(first)
            known = label.current(first)
            name = "" if known is None else known.label
            site = Site(name, db.where(first), allow_acts, named_connection.carried, named_connection.in_sentence)
        finally:
            first.close()

    def rules(found: int) -> Rules:
        return Rules(names(bind, found, host or []), secret, trust_header, f"qctl-{found}")

    def tell(found: int) -> None:
        place = "localhost" if here else (host or [bind])[0]
        how = "acts are allowed" if allow_acts else "it only reads"
        say(f"http://{place}:{found}/ shows {site.where}; {how}; Ctrl-C ends")

    serve(connect, site, bind, port, rules, tell)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        raise UsageError(f"'{address[:60]}' is not an address", hint="for example 127.0.0.1, ::1 or 0.0.0.0") from None
