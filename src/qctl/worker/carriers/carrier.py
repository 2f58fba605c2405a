"""What every carrier does: HTTP, and each broker behind the publisher."""

from typing import Protocol

from qctl.worker.request import Answer, Request


class Carrier(Protocol):
    """Sends requests in a thread of its own, so many at once per queue, and collects answers; safe to use from one other thread.

    Each request is checked right before it is sent: its lease must outlive its timeout, the worker must have been heard of
    lately (:attr:`alive_until`), and it must have been claimed under the present registration (:attr:`valid_since`).
    """

    @property
    def alive_until(self) -> float:
        """Until when the worker counts as alive without another heartbeat."""
        ...

    @alive_until.setter
    def alive_until(self, until: float, /) -> None: ...

    @property
    def valid_since(self) -> float:
        """Since when the present registration holds."""
        ...

    @valid_since.setter
    def valid_since(self, since: float, /) -> None: ...

    @property
    def failure(self) -> BaseException | None:
        """What ended the thread."""
        ...

    def start(self) -> None:
        """Starts the thread."""
        ...

    def submit(self, queue: str, requests: list[Request], limit: int) -> None:
        """Hands over requests of a queue, which sends at most ``limit`` at once."""
        ...

    def set_limit(self, queue: str, limit: int) -> None:
        """Lets so many requests of a queue be under way at once from now on."""
        ...

    def hand_back(self) -> None:
        """Starts nothing more: what waits comes back as unsent."""
        ...

    def collect(self) -> list[Answer]:
        """Takes the answers that have come so far."""
        ...

    def close(self) -> None:
        """Ends the thread; requests under way are cut."""
        ...
