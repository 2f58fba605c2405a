"""Serving the pages with waitress, which reads whole requests before a thread has anything to do with them."""

import logging
import socket
from collections.abc import Callable

from waitress.server import create_server

from qctl import db, lazy
from qctl.errors import UsageError
from qctl.web.access import Rules
from qctl.web.app import Application, Site
from qctl.web.database import Shared

_THREADS = 16
_MOST_CONNECTIONS = 200
# A connection that says nothing for so long is closed, in the middle of a request too.
_SILENT_S = 20


def names(bind: str, port: int, more: list[str]) -> frozenset[str]:
    """The Host headers that are right: this machine's own names, the address it is bound to, and those that were given."""
    own = ["localhost", "127.0.0.1", "[::1]", f"[{bind}]" if ":" in bind else bind]
    found = {f"{name}:{port}" for name in own}
    for name in more:
        found |= {name.lower(), f"{name}:{port}".lower()}
    return frozenset(found | (set(own) if port == 80 else set()))


def serve(
    connect: Callable[[], db.Connection],
    site: Site,
    bind: str,
    port: int,
    rules: Callable[[int], Rules],
    tell: Callable[[int], None],
) -> None:
    """Serves until it is interrupted.

    Args:
        connect: makes a connection to the database.
        site: what the pages say of themselves.
        bind: the address to listen on.
        port: the port; 0 takes a free one.
        rules: who gets in, for the port that it has.
        tell: called with the port once it listens.

    Raises:
        UsageError: the address cannot be had.
    """
    # All that the pages may use; the other one belongs to another extra.
    used = (name for name in lazy.modules_in("qctl.operations") if name != "qctl.operations.metrics")
    lazy.read("qctl.config", "qctl.db", "qctl.exact_json", "qctl.ssrf", *used)
    logging.getLogger("waitress").setLevel(logging.ERROR)
    listener = socket.socket(socket.AF_INET6 if ":" in bind else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((bind, port))
    except OSError as error:
        listener.close()
        raise UsageError(
            f"cannot listen on {bind}:{port}: {error.strerror}", hint="name another --port or --bind"
        ) from None
    port = listener.getsockname()[1]
    database = Shared(connect)
    server = create_server(
        Application(database, site, rules(port)), sockets=[listener], threads=_THREADS, connection_limit=_MOST_CONNECTIONS,
        channel_timeout=_SILENT_S, cleanup_interval=5, max_request_header_size=16384, max_request_body_size=65536, ident=None,
        expose_tracebacks=False, clear_untrusted_proxy_headers=True,
    )  # fmt: skip
    tell(port)
    try:
        server.run()
    finally:
        server.close()
        listener.close()
        database.close()
