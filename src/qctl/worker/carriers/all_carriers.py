"""The carriers of one worker, as one: each queue's requests go to the one that its URL needs."""

from collections.abc import Callable

from qctl.worker import carriers
from qctl.worker.carriers.carrier import Carrier
from qctl.worker.carriers.http import Sender
from qctl.worker.carriers.publisher import Publisher
from qctl.worker.request import Answer, Egress, Request


class AllCarriers:
    """HTTP, and a publisher for brokers that starts with the first queue that needs it. Fills :class:`Carrier` itself."""

    def __init__(self, wake: Callable[[], None], egress: Egress) -> None:
        self._wake = wake
        self._http = Sender(wake, egress)
        self._publisher: Publisher | None = None
        self._handed_over: set[str] = set()
        self._valid_since = 0.0
        self._handing_back = False

    @property
    def most(self) -> int:
        """How many HTTP requests may be under way in all."""
        return self._http.most

    @property
    def alive_until(self) -> float:
        """Until when, on :func:`qctl.worker.clock.clock`, the worker counts as alive without another heartbeat."""
        return self._http.alive_until

    @alive_until.setter
    def alive_until(self, until: float) -> None:
        for carrier in self._all():
            carrier.alive_until = until

    @property
    def valid_since(self) -> float:
        """Since when the present registration holds."""
        return self._valid_since

    @valid_since.setter
    def valid_since(self, since: float) -> None:
        self._valid_since = since
        for carrier in self._all():
            carrier.valid_since = since

    @property
    def failure(self) -> BaseException | None:
        """What ended a carrier's thread."""
        return next((carrier.failure for carrier in self._all() if carrier.failure is not None), None)

    def start(self) -> None:
        """Starts the thread of HTTP."""
        self._http.start()

    def configure(self, queue: str, url: str, options: dict[str, str], limit: int) -> None:
        """Says where a queue's requests go, and with which options a broker is connected to."""
        if carriers.of(url) == carriers.HTTP:
            self.forget(queue)
            return
        self._handed_over.add(queue)
        self._brokers().configure(queue, url, options, limit)

    def forget(self, queue: str) -> None:
        """Ends what is kept of a queue that is not handed over here any more."""
        if queue in self._handed_over:
            self._handed_over.discard(queue)
            self._brokers().forget(queue)

    def submit(self, queue: str, requests: list[Request], limit: int) -> None:
        """Hands over requests of a queue, which sends at most ``limit`` at once."""
        by_http = carriers.of(requests[0].message.url) == carriers.HTTP
        (self._http if by_http else self._brokers()).submit(queue, requests, limit)

    def set_limit(self, queue: str, limit: int) -> None:
        """Lets so many requests of a queue be under way at once from now on."""
        (self._brokers() if queue in self._handed_over else self._http).set_limit(queue, limit)

    def hand_back(self) -> None:
        """Starts nothing more: what waits comes back as unsent."""
        self._handing_back = True
        for carrier in self._all():
            carrier.hand_back()

    def collect(self) -> list[Answer]:
        """Takes the answers that have come so far."""
        return [answer for carrier in self._all() for answer in carrier.collect()]

    def close(self) -> None:
        """Ends the threads; requests under way are cut."""
        for carrier in self._all():
            carrier.close()

    def _brokers(self) -> Publisher:
        if self._publisher is None:
            self._publisher = Publisher(self._wake, carriers.connect)
            self._publisher.alive_until, self._publisher.valid_since = self.alive_until, self._valid_since
            self._publisher.start()
            if self._handing_back:
                self._publisher.hand_back()
        return self._publisher

    def _all(self) -> list[Carrier]:
        return [self._http] if self._publisher is None else [self._http, self._publisher]
