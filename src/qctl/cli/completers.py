"""Names and ids that a shell offers at TAB, from the database; none if it does not answer."""

import re
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice

import typer

from qctl import config, db
from qctl.errors import QctlError
from qctl.operations import attachments, messages, queues

_SHOWN = 20
# A shell puts the offered words into commands, so words that mean more to a shell are not offered.
_WORD = re.compile(r"[A-Za-z0-9_.@%+/-]+", re.ASCII)

Offer = Callable[[typer.Context, str], list[str]]


def queue_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Queues."""
    return _offered(ctx, incomplete, lambda connection: (queue.queue_name for queue in queues.listed(connection)))


def attached_tables(ctx: typer.Context, incomplete: str) -> list[str]:
    """Tables that are attached."""
    return _offered(ctx, incomplete, lambda connection: (one.relation for one in attachments.listed(connection, None)))


def message_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    """The newest dead letters; for discard the newest unfinished messages."""
    states = ["ready", "delayed", "in_flight", "retrying"] if ctx.info_name == "discard" else ["dead"]
    return _offered(ctx, incomplete, lambda connection: _ids(connection, states))


def profiles(incomplete: str) -> list[str]:
    """Profiles of config.toml."""
    with suppress(QctlError):
        return _words(config.profile_names(), incomplete)
    return []


def _ids(connection: "db.Connection", states: list[str]) -> Iterator[str]:
    names = [queue.queue_name for queue in queues.listed(connection)]
    found = messages.listed(connection, names, messages.Filter(states=states), page=_SHOWN)
    return (f"{row.queue_name}/{row.msg_id}" for row in islice(found, _SHOWN))


def _offered(ctx: typer.Context, incomplete: str, ask: "Callable[[db.Connection], Iterable[str]]") -> list[str]:
    with suppress(QctlError), _connected(ctx) as connection:
        return _words(ask(connection), incomplete)
    return []


def _words(found: Iterable[str], incomplete: str) -> list[str]:
    return sorted({word for word in found if word.startswith(incomplete) and _WORD.fullmatch(word)})


@contextmanager
def _connected(ctx: typer.Context) -> "Generator[db.Connection]":
    """The database that the words before the cursor choose."""
    given = {
        name: ctx.params.get(name) or (ctx.parent.params.get(name) if ctx.parent else None)
        for name in ("dsn", "profile")
    }
    database = config.database(given["dsn"], given["profile"])
    connection = db.connect(database, application="completion", connect_timeout=2, tcp_user_timeout=2000)
    connection.patience_s = 2.0
    try:
        with db.hurried(connection):
            yield connection
    finally:
        connection.close()
