"""Kafka by confluent-kafka: an idempotent producer with acks=all; the order key is the key of the message."""

import asyncio
import logging
import threading
import time
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from qctl.worker.carriers import place
from qctl.worker.carriers.broker import Destination, HandoverError, Outgoing
from qctl.worker.carriers.threads import in_thread
from qctl.worker.carriers.tls import certifi

# librdkafka looks once a second for messages that it gives up.
_SOONER_MS = 2000
_RECENT_S = 30.0
_LOGGER = logging.getLogger("qctl.kafka")
_LOGGER.addHandler(logging.NullHandler())
_LOGGER.propagate = False
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
        self._trouble: tuple[float, KafkaError] | None = None
        self._producer = Producer({**settings, "error_cb": self._on_error, "logger": _LOGGER})
        self._waiting: set[asyncio.Future[str | HandoverError]] = set()
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
            self._waiting.add(future)
            future.add_done_callback(self._waiting.discard)
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
        self._producer.purge()
        # What was purged is told by the thread, which goes on until then.
        until = time.monotonic() + 1
        while self._waiting and time.monotonic() < until:
            await asyncio.sleep(0.05)
        self._ended.set()
        for future in list(self._waiting):
            _set(future, HandoverError(HandoverError.AWAY, "the connection ended before the acknowledgement"))
        await in_thread(self._thread.join, 1)

    def _poll(self) -> None:
        while not self._ended.is_set():
            self._producer.poll(0.2)

    def _on_error(self, error: KafkaError) -> None:
        self._trouble = (time.monotonic(), error)

    def _on_delivery(
        self, future: "asyncio.Future[str | HandoverError]", error: KafkaError | None, message: Any
    ) -> None:
        result = (
            f"{message.topic()} {message.partition()} {message.offset()}" if error is None else self._failure(error)
        )
        self._loop.call_soon_threadsafe(_set, future, result)

    def _failure(self, error: KafkaError) -> HandoverError:
        code = error.code()
        if code in (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT):
            return HandoverError(HandoverError.AWAY, "the connection ended before the acknowledgement")
        if code == KafkaError._MSG_TIMED_OUT:
            # librdkafka tells why in the errors of its connections; without a recent one the broker took it and did not answer.
            at, trouble = self._trouble or (0.0, None)
            if trouble is None or time.monotonic() - at > _RECENT_S:
                return HandoverError(HandoverError.UNCONFIRMED, error.str())
            last = trouble.code()
            kind = HandoverError.UNCONFIRMED
            kind = HandoverError.DENIED if last in _DENIED else HandoverError.AWAY if last in _AWAY else kind
            return HandoverError(kind, f"{error.str()}: {trouble.str()}")
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
    """Makes a producer, which connects by itself.

    Raises:
        HandoverError: its settings cannot be used, such as a certificate.
    """
    there, options = place.of(destination.url), destination.options
    secure, sasl = there.scheme == "kafka", options.get("sasl") or ("PLAIN" if "username" in options else None)
    places = [place.written(host, port or _PORTS[there.scheme]) for host, port in there.hosts]
    settings: dict[str, Any] = {
        "bootstrap.servers": ",".join(places),
        "client.id": "qctl",
        "enable.idempotence": True,
        "acks": "all",
        "linger.ms": 5,
        # No message is given up later than its lease, and none is tried again by librdkafka after that.
        # A topic that is not there is told within this, not as a message that timed out.
        "topic.metadata.propagation.max.ms": 2000,
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
        return KafkaConnection(settings, there.path)
    except KafkaException as error:
        raise HandoverError(HandoverError.DENIED, error.args[0].str()) from None
