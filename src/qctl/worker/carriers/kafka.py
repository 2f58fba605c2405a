"""Kafka by confluent-kafka: an idempotent producer with acks=all; the order key is the key of the message."""

import asyncio
import threading
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from confluent_kafka import KafkaError, KafkaException, Producer

from qctl.worker.carriers.broker import Destination, HandoverError, Outgoing
from qctl.worker.carriers.publisher import hosts
from qctl.worker.carriers.tls import certifi

# librdkafka looks once a second for messages that it gives up.
_SOONER_MS = 2000
_PORTS = {"kafka": 9093, "kafka+plain": 9092}
_DENIED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError._AUTHENTICATION,
    KafkaError._SSL,
}
_MISSING = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError.TOPIC_EXCEPTION,
    KafkaError._UNKNOWN_PARTITION,
}
_TOO_LARGE = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE}
_AWAY = {KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._RESOLVE}
_REFUSED = {KafkaError.INVALID_MSG, KafkaError.INVALID_RECORD, KafkaError.POLICY_VIOLATION}


class KafkaConnection:
    """A topic. librdkafka keeps its connections, and calls back from :meth:`poll`, which runs in a thread."""

    most = 1000

    def __init__(self, settings: dict[str, Any], topic: str) -> None:
        self._errors: list[KafkaError] = []
        self._producer = Producer({**settings, "error_cb": self._errors.append})
        self._topic = topic
        self._loop = asyncio.get_running_loop()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="qctl-kafka", daemon=True)
        self._thread.start()

    async def publish(self, messages: list[Outgoing]) -> list[str | HandoverError]:
        """Produces all, and waits until each is acknowledged by all in-sync replicas, or has failed."""
        waiting: list[asyncio.Future[str | HandoverError]] = []
        for message in messages:
            future: asyncio.Future[str | HandoverError] = self._loop.create_future()
            waiting.append(future)
            headers: list[tuple[str, str | bytes | None]] = [(n, v.encode()) for n, v in message.headers.items()]
            key = None if message.order_key is None else message.order_key.encode()
            try:
                self._producer.produce(
                    self._topic, message.body, key, headers=headers, on_delivery=partial(self._on_delivery, future)
                )
            except BufferError as error:
                future.set_result(HandoverError(HandoverError.UNCONFIRMED, error))
            except KafkaException as error:
                future.set_result(self._failure(error.args[0]))
        return list(await asyncio.gather(*waiting))

    async def close(self) -> None:
        """Gives up what is not acknowledged, and ends the thread."""
        self._ended.set()
        await asyncio.to_thread(self._thread.join, 2)
        self._producer.purge()

    def _poll(self) -> None:
        while not self._ended.is_set():
            self._producer.poll(0.2)

    def _on_delivery(
        self, future: "asyncio.Future[str | HandoverError]", error: KafkaError | None, message: Any
    ) -> None:
        result = (
            f"{message.topic()} {message.partition()} {message.offset()}" if error is None else self._failure(error)
        )
        self._loop.call_soon_threadsafe(_set, future, result)

    def _failure(self, error: KafkaError) -> HandoverError:
        code, last = error.code(), self._errors[-1].code() if self._errors else None
        if code == KafkaError._MSG_TIMED_OUT:
            # librdkafka tells why in the errors of its connections; without one the broker took it and did not answer.
            kind = (
                HandoverError.DENIED
                if last in _DENIED
                else HandoverError.AWAY
                if last in _AWAY
                else HandoverError.UNCONFIRMED
            )
            return HandoverError(kind, f"{error.str()}" + (f": {self._errors[-1].str()}" if self._errors else ""))
        for codes, kind in (
            (_DENIED, HandoverError.DENIED),
            (_MISSING, HandoverError.MISSING),
            (_TOO_LARGE, HandoverError.TOO_LARGE),
            (_AWAY, HandoverError.AWAY),
            (_REFUSED, HandoverError.REFUSED),
        ):
            if code in codes:
                return HandoverError(kind, error.str())
        return HandoverError(HandoverError.UNCONFIRMED, error.str())


def _set(future: "asyncio.Future[str | HandoverError]", result: "str | HandoverError") -> None:
    # Whoever waited may have been cut by its timeout.
    if not future.done():
        future.set_result(result)


async def connect(destination: Destination) -> KafkaConnection:
    """Makes a producer, and asks for the topic.

    Raises:
        HandoverError: no broker can be reached, or the topic does not exist.
    """
    parts, options = urlsplit(destination.url), destination.options
    secure, sasl = parts.scheme == "kafka", options.get("sasl") or ("PLAIN" if "username" in options else None)
    places = [
        f"{f'[{host}]' if ':' in host else host}:{port or _PORTS[parts.scheme]}"
        for host, port in hosts(destination.url)
    ]
    settings: dict[str, Any] = {
        "bootstrap.servers": ",".join(places),
        "client.id": "qctl",
        "enable.idempotence": True,
        "acks": "all",
        "linger.ms": 5,
        # No message is given up later than its lease, and none is tried again by librdkafka after that.
        "message.timeout.ms": max(500, round(destination.timeout_s * 1000) - _SOONER_MS),
        "security.protocol": ("SASL_SSL" if sasl else "SSL") if secure else ("SASL_PLAINTEXT" if sasl else "PLAINTEXT"),
    }
    if secure:
        settings["ssl.ca.location"] = options.get("ca") or certifi.where()
        settings |= {
            name: options[option]
            for name, option in (("ssl.certificate.location", "cert"), ("ssl.key.location", "key"))
            if option in options
        }
    if sasl:
        settings |= {
            "sasl.mechanism": sasl,
            "sasl.username": options.get("username", ""),
            "sasl.password": options.get("password", ""),
        }
    try:
        return KafkaConnection(settings, parts.path.removeprefix("/"))
    except KafkaException as error:
        raise HandoverError(HandoverError.DENIED, error.args[0].str()) from None
