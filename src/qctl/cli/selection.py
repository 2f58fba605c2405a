"""Which messages or queues a command is about: ids as people write them, a filter, or --all."""

import re
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated

import typer

from qctl import config, db
from qctl.cli import completers
from qctl.errors import ExitCode, NotFoundError, QctlError, UsageError
from qctl.operations import messages, queues

_RANGE = re.compile(r"(?:([a-z_][a-z0-9_]{0,46})/)?([0-9]{1,18})\.\.([0-9]{1,18})")
_MOST_IN_RANGE = 1_000_000

Ids = Annotated[
    list[str] | None,
    typer.Argument(
        help="1234, orders/1234, 100..200, or - for ids on stdin.",
        metavar="MSG_ID...",
        autocompletion=completers.message_ids,
    ),
]
State = Annotated[
    list[str] | None,
    typer.Option(
        "--state", "-s", help="ready, delayed, in_flight, retrying, delivered, dead, archived; may be repeated."
    ),
]
Retrying = Annotated[bool, typer.Option("--retrying", help="Messages that wait for a retry; as --state retrying.")]
Attempted = Annotated[
    bool,
    typer.Option(
        "--attempted", help="Unfinished messages that have been attempted, whether waiting, due or in flight."
    ),
]
Since = Annotated[
    str | None, typer.Option("--since", help="Last attempt at or after this time: 15m back, or a time.", metavar="TIME")
]
Until = Annotated[str | None, typer.Option("--until", help="Last attempt before this time.", metavar="TIME")]
CapturedSince = Annotated[
    str | None, typer.Option("--captured-since", help="Enqueued at or after this time.", metavar="TIME")
]
StatusCode = Annotated[
    list[str] | None,
    typer.Option("--status-code", help="Status of the last answer: 404, 5xx; may be repeated.", metavar="CODE"),
]
ErrorText = Annotated[
    str | None, typer.Option("--error", help="Text that the last error contains, ignoring case.", metavar="TEXT")
]
Response = Annotated[str | None, typer.Option("--response", help="Text that the last answer contains.", metavar="TEXT")]
NotResponse = Annotated[
    str | None, typer.Option("--not-response", help="Text that the last answer does not contain.", metavar="TEXT")
]
Where = Annotated[
    str | None,
    typer.Option("--where", help="""JSON that the payload contains: '{"record": {"id": 7}}'.""", metavar="JSON"),
]
Dead = Annotated[bool, typer.Option("--dead", help="Dead letters; as --state dead.")]
Delivered = Annotated[bool, typer.Option("--delivered", help="Delivered ones; as --state delivered.")]


@dataclass
class Chosen:
    """Messages by queue. ``unknown`` are ids that no queue knows; ``ranged`` are those of ranges, which may have holes."""

    by_queue: dict[str, list[int]] = field(default_factory=dict)
    ranged: set[tuple[str, int]] = field(default_factory=set)
    unknown: list[str] = field(default_factory=list)
    states: Counter[str] = field(default_factory=Counter)
    seen: dict[tuple[str, int], tuple[str, int]] = field(default_factory=dict)
    asked: int = 0

    def seen_of(self, name: str, ids: list[int]) -> "messages.Seen | None":
        """How a filter saw these; None for ids that were named."""
        if not self.seen:
            return None
        known = [self.seen.get((name, msg_id), (None, None)) for msg_id in ids]
        return messages.Seen([state for state, _ in known], [number for _, number in known])

    @property
    def count(self) -> int:
        """How many messages."""
        return sum(len(ids) for ids in self.by_queue.values())

    def some(self, most: int = 3) -> str:
        """A few of them by name."""
        names = [f"{name}/{msg_id}" for name, ids in self.by_queue.items() for msg_id in ids[:most]][:most]
        return ", ".join(names) + (" …" if self.count > most else "")


def choose(
    connection: "db.Connection", ids: list[str] | None, queue: str | None, which: "messages.Filter | None"
) -> Chosen:
    """Finds what a command is about.

    Raises:
        UsageError: neither ids nor a filter, or both.
        QctlError: an unknown queue (6), an id that is none or known in two queues (2).
    """
    if bool(ids) == (which is not None):
        raise UsageError(
            "give ids or a filter" if not ids else "ids and filters exclude each other",
            hint="for example 1234, orders/1234, 100..200, -, or --dead --since 1h",
        )
    return _by_id(connection, _words(ids), queue) if ids else _by_filter(connection, queue, which or messages.Filter())


def _by_filter(connection: "db.Connection", queue: str | None, which: "messages.Filter") -> Chosen:
    found = Chosen()
    for row in messages.listed(connection, queues.some(connection, queue), which, page=5000):
        found.by_queue.setdefault(row.queue_name, []).append(row.msg_id)
        found.states[row.state] += 1
        found.seen[row.queue_name, row.msg_id] = (row.state, row.delivery_no)
    for ids in found.by_queue.values():
        ids.sort()
    found.asked = found.count
    return found


def _by_id(connection: "db.Connection", words: list[str], queue: str | None) -> Chosen:
    found = Chosen(asked=len(words))
    single = [word for word in words if ".." not in word]
    places, found.unknown = messages.resolve(connection, single, queue, look=False)
    for name, msg_id in places:
        found.by_queue.setdefault(name, []).append(msg_id)
    for word in words:
        if ".." in word:
            for name, msg_id in _range(connection, word, queue):
                if (name, msg_id) not in found.ranged:
                    found.ranged.add((name, msg_id))
                    found.by_queue.setdefault(name, []).append(msg_id)
    return found


def _range(connection: "db.Connection", word: str, queue: str | None) -> Iterable[tuple[str, int]]:
    match = _RANGE.fullmatch(word)
    if not match or int(match[2]) > int(match[3]):
        raise UsageError(f"'{word[:100]}' is not a range", hint="100..200 or orders/100..200")
    first, last = int(match[2]), int(match[3])
    if last - first >= _MOST_IN_RANGE:
        raise UsageError(f"{word} is more than a million numbers", hint="use a filter: --since, --state")
    name = queues.the_one(connection, match[1] or queue)
    return ((name, msg_id) for msg_id in range(first, last + 1))


def _words(ids: list[str]) -> list[str]:
    """The ids as written, those of stdin in the place of ``-``."""
    return [word for text in ids for word in (sys.stdin.read().split() if text == "-" else [text])]


def queue_names(connection: "db.Connection", queue: str | None, *, all_: bool) -> list[str]:
    """The queues of a verb that takes one queue or ``--all``.

    Raises:
        UsageError: both were given.
        QctlError: no queue was given and there is not exactly one (2, 6).
    """
    if all_ and queue is not None and queue != config.default_queue():
        raise UsageError("--all and -q exclude each other", hint="give one of the two")
    return queues.some(connection, None) if all_ else [queues.the_one(connection, queue)]


def refuse_unknown(missing: list[str], asked: int) -> None:
    """Ends with 6 if no queue knows any of the ids, with 9 if some were known."""
    if not missing:
        return
    names = ", ".join(missing[:10]) + (f" and {len(missing) - 10} more" if len(missing) > 10 else "")
    if len(missing) >= asked:
        raise NotFoundError(
            f"no queue knows {names}",
            hint="qctl tail lists recent ids; purged messages are gone, and so are delivered ones of a queue with --archive off",
        )
    raise QctlError(
        f"no queue knows {names}", code=ExitCode.PARTLY_DONE, hint="stdout lists what was done with the others"
    )
