"""The queues that a worker delivers: read anew with each heartbeat, because they come, go and change."""

from collections.abc import Callable, Iterator
from contextlib import suppress

from qctl.errors import ExitCode, NotFoundError, QctlError, UsageError
from qctl.models import WorkQueue
from qctl.ssrf import networks
from qctl.worker import carriers
from qctl.worker.carriers.all_carriers import AllCarriers
from qctl.worker.clock import clock
from qctl.worker.concurrency import ConcurrencyLimit
from qctl.worker.queue_state import QueueState
from qctl.worker.request import JUDGED_BYTES, KEPT_BYTES, REFUSED, Answer
from qctl.worker.session import WorkerSession


class QueueSet:
    """The queues of one worker.

    Args:
        session: reads them.
        sender: is told how many requests of each queue may be under way.
        names: the queues that were asked for, or None for every queue of the http transport.
        concurrency: simultaneous requests per queue; None for each queue's own setting.
        allow_private: send to any address.
        needs_arming: end with an error if the database is not armed, because nothing would ever be sent.
        talk: called with each line for people.
    """

    def __init__(
        self,
        session: WorkerSession,
        sender: AllCarriers,
        names: list[str] | None,
        concurrency: int | None,
        *,
        allow_private: bool,
        needs_arming: bool,
        talk: Callable[[str], None],
    ) -> None:
        self._session = session
        self._sender = sender
        self._names = names
        self._concurrency = concurrency
        self._allow_private = allow_private
        self._needs_arming = needs_arming
        self._talk = talk
        self._carriers = carriers.available()
        self._told_missing: set[str] = set()
        self._armed = True
        self._told_most = 0
        # What ends by itself has nothing to wait for.
        self._linger_s = 0.0 if needs_arming else None
        self._by_name: dict[str, QueueState] = {}
        self._read_at = 0.0

    def __iter__(self) -> Iterator[QueueState]:
        """Each queue; they may change meanwhile."""
        return iter(list(self._by_name.values()))

    @property
    def names(self) -> list[str]:
        """Their names, sorted."""
        return sorted(self._by_name)

    def find(self, name: str, queue_id: int) -> QueueState | None:
        """The queue, unless it was dropped, or dropped and created again."""
        queue = self._by_name.get(name)
        return queue if queue is not None and queue.queue_id == queue_id else None

    def read(self) -> None:
        """Takes over what has changed.

        Raises:
            QctlError: a queue is unknown (6) or has another transport (2), none is left (6), or the database is not armed (7).
        """
        self._read_at = clock()
        rows = self._session.queues(self._names)
        by_http = [row for row in rows if row.transport == "http"]
        found = {row.queue_name: row for row in by_http if self._is_carried(row)}
        moved = {row.queue_name: f"transport {row.transport}" for row in rows if row.transport != "http"}
        moved |= {row.queue_name: carriers.of(row.url) for row in by_http if row.queue_name not in found}
        self._look_at_arming(armed=all(row.armed for row in rows))
        if self._session.worker_id is None:
            self._require(set(self._names or []) - {row.queue_name for row in by_http}, moved)
        for queue in self:
            if queue.name in moved and queue.busy:
                queue.leaving = True
            elif queue.name not in found or found[queue.name].queue_id != queue.queue_id:
                self._forget(queue, f"has moved to {moved[queue.name]}" if queue.name in moved else "was dropped")
        for row in found.values():
            self._take_over(row)
        self._tell_most()
        if self._names and not self._by_name:
            raise NotFoundError(f"no queue is left to work on: {', '.join(self._names)}", hint="qctl queues")

    def read_again(self) -> None:
        """Takes over what has changed, if that can be read now; otherwise the next heartbeat does."""
        with suppress(QctlError):
            self.read()

    def is_outdated(self, queue: QueueState, answer: Answer) -> bool:
        """Whether an address was refused by settings that have changed meanwhile; then the message was not sent."""
        if answer.error is None or not answer.error.startswith(REFUSED):
            return False
        if self._read_at < answer.request.claimed_at:
            # An error must not keep the answers that came with this one from being settled.
            self.read_again()
        return queue.allowed != answer.request.allowed

    def tune(self, queue: QueueState, answer: Answer) -> None:
        """Lets the tuner of a queue learn from an answer."""
        if queue.tuner is not None:
            queue.tuner.note(answer.status, answer.duration_ms, answer.at_once)
            if queue.tuner.at_once != queue.concurrency:
                queue.concurrency = queue.tuner.at_once
                self._sender.set_limit(queue.name, queue.concurrency)

    def _require(self, missing: set[str], moved: dict[str, str]) -> None:
        for name in missing:
            self._session.require_queue(name)
            raise UsageError(
                f"queue {name} has {moved.get(name)}, so jobs in the database deliver it, not a worker process",
                hint=f"qctl set -q {name} --transport http",
            )

    def _is_carried(self, row: WorkQueue) -> bool:
        """Whether this worker has the carrier of a queue.

        Raises:
            QctlError: it has not, and was asked for this queue by name (4).
        """
        carrier = carriers.of(row.url)
        if carrier in self._carriers:
            return True
        what, hint = f"queue {row.queue_name} hands over to {carrier}", f"pip install 'qctl[{carrier}]'"
        # Later, when a queue moves to a broker, the others go on.
        if self._names is not None and self._session.worker_id is None:
            raise QctlError(f"{what}, whose library is not installed here", hint=hint, code=ExitCode.SERVER_UNFIT)
        if row.queue_name not in self._told_missing:
            self._told_missing.add(row.queue_name)
            self._talk(f"{what}, whose library is not installed here, so this worker leaves it out: {hint}")
        return False

    def _take_over(self, row: WorkQueue) -> None:
        name = row.queue_name
        queue = self._by_name.setdefault(name, QueueState(name, row.queue_id, row.concurrency, row.max_in_flight))
        queue.leaving = False
        queue.url = row.url
        queue.max_in_flight = row.max_in_flight
        queue.fixed_linger_s = self._linger_s if row.linger_ms is None else row.linger_ms / 1000
        queue.kept_bytes = JUDGED_BYTES if row.expects else KEPT_BYTES
        queue.allowed = None if self._allow_private else networks(row.allow_networks)
        if self._concurrency is None and row.concurrency_auto:
            queue.tuner = queue.tuner or ConcurrencyLimit(row.max_in_flight)
            queue.tuner.most = row.max_in_flight
            queue.concurrency = queue.tuner.at_once
        else:
            queue.tuner = None
            queue.concurrency = self._concurrency or row.concurrency
        queue.handed_over = carriers.of(row.url) != carriers.HTTP
        options = self._session.broker_options(name) if queue.handed_over else {}
        self._sender.configure(name, row.url, options, queue.concurrency)

    def _tell_most(self) -> None:
        """Says once that more is wanted than this process may have open."""
        wanted = sum(queue.concurrency for queue in self if not queue.handed_over)
        most = self._sender.most
        if wanted > most > self._told_most:
            self._told_most = most
            self._talk(f"at most {most} of {wanted} requests at once: this process may not open more files (ulimit -n)")

    def _look_at_arming(self, *, armed: bool) -> None:
        """Says once that this database is a copy; what would wait for ever ends instead."""
        if not armed and self._needs_arming:
            raise QctlError(
                "this database is not armed, so nothing is sent: it is a copy, or was disarmed",
                hint="leave a copy silent; where this is the database that is to deliver: qctl arm",
                code=ExitCode.REFUSED,
            )
        if armed is not self._armed:
            self._armed = armed
            silent = "this database is not armed, so nothing is sent; if it is the one that is to deliver: qctl arm"
            self._talk("armed again" if armed else silent)

    def _forget(self, queue: QueueState, why: str) -> None:
        """Goes on without a queue that was dropped or delivered otherwise."""
        self._talk(f"queue {queue.name} {why}; no longer working on it")
        del self._by_name[queue.name]
        self._sender.forget(queue.name)
        if queue.watched:
            self._session.wake_up([queue.queue_id])
