"""Carriers: how a worker sends. The scheme of a queue's URL picks one; another broker is one file and one line here."""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from qctl.worker.carriers.broker import Connection, Destination

HTTP = "http"


class _Broker(NamedTuple):
    """A broker: the schemes of its URLs, the module here that connects to it, and the library that the module needs."""

    schemes: tuple[str, ...]
    module: str
    library: str


_BROKERS = {
    "sqs": _Broker(("sqs", "sqs+http"), "sqs", "boto3"),
    "rabbitmq": _Broker(("amqps", "amqp"), "rabbitmq", "aio_pika"),
    "nats": _Broker(("nats", "nats+plain"), "nats", "nats"),
    "redis": _Broker(("rediss", "redis"), "redis", "redis"),
    "kafka": _Broker(("kafka", "kafka+plain"), "kafka", "confluent_kafka"),
}
_BY_SCHEME = {scheme: name for name, broker in _BROKERS.items() for scheme in broker.schemes}


def of(url: str) -> str:
    """The carrier of a URL, by its scheme."""
    return _BY_SCHEME.get(url.partition("://")[0].lower(), HTTP)


def available() -> list[str]:
    """The carriers whose library is installed."""
    return [HTTP, *(name for name, broker in _BROKERS.items() if find_spec(broker.library) is not None)]


async def connect(destination: "Destination") -> "Connection":
    """Connects to the broker of a URL.

    Raises:
        HandoverError: it cannot.
    """
    module = import_module(f"{__name__}.{_BROKERS[of(destination.url)].module}")
    return await module.connect(destination)
