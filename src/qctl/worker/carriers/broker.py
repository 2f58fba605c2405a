"""What a broker's module fills: one connection that publishes, and the failures it may tell."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol


class HandoverError(Exception):
    """Why a message was not handed over. ``kind`` begins the error of the attempt; qctl.settle decides by it."""

    AWAY = "broker away"
    DENIED = "access denied"
    MISSING = "destination missing"
    TOO_LARGE = "too large"
    UNROUTABLE = "unroutable"
    REFUSED = "not accepted"
    UNCONFIRMED = "not confirmed"

    def __init__(self, kind: str, what: object) -> None:
        self.kind = kind
        text = " ".join(str(what).split()) or type(what).__name__
        super().__init__(f"{kind}: {text[:400]}")


class Outgoing(NamedTuple):
    """A message to publish: the bytes that a POST would carry, its headers, and the key that it is ordered by, if any."""

    webhook_id: str
    order_key: str | None
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Destination:
    """Where to publish.

    Args:
        url: of the queue.
        options: of the connection, with the values of secrets.
        addresses: numeric addresses of each host of the URL, which were checked.
        timeout_s: how long a publish may take.
    """

    url: str
    options: dict[str, str]
    addresses: dict[str, list[str]]
    timeout_s: float


class Connection(Protocol):
    """A connection to a broker. ``most`` messages go into one publish; several may run at once."""

    most: int

    async def publish(self, messages: list[Outgoing]) -> list[str | HandoverError]:
        """Publishes and waits for the confirmations, in the order of ``messages``: the broker's receipt, or the failure.

        Raises:
            HandoverError: of all of them.
        """
        ...

    async def close(self) -> None:
        """Ends the connection."""
        ...
