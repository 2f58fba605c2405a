"""RabbitMQ by aio-pika: persistent messages with publisher confirms; what no queue takes comes back and is a failure."""

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange
from aiormq import exceptions
from pamqp.commands import Basic

from qctl.worker.carriers import place, tls
from qctl.worker.carriers.broker import Destination, HandoverError, Outgoing
from qctl.worker.carriers.order_key import order_header

_PORTS = {"amqps": 5671, "amqp": 5672}
_KEY_OCTETS = 255
# What has no confirm is told before the carrier ends the whole batch.
_SOONER_S = 0.3
# aiormq raises RuntimeError for a connection that ended while nothing used it.
_LOST = (exceptions.AMQPError, RuntimeError, OSError)
# What is said there without being asked is told as the failure of the messages.
logging.getLogger("aiormq").addHandler(logging.NullHandler())
logging.getLogger("aio_pika").addHandler(logging.NullHandler())


class _ChannelClosedError(Exception):
    """RabbitMQ closed the channel because of one message, and does not say of which."""


class RabbitConnection:
    """An exchange of RabbitMQ, or its default one for a URL that names a queue."""

    most = 500

    def __init__(self, connection: AbstractConnection, to: "_To", timeout_s: float) -> None:
        self._connection = connection
        self._timeout_s = timeout_s
        self._to = to
        self._channel: AbstractChannel | None = None

    async def publish(self, messages: list[Outgoing]) -> list[str | HandoverError]:
        """Publishes all at once, each with its own confirm; one at a time what shared a channel with a message that closed it."""
        channel = self._channel = await self._open(self._channel)
        exchange = await self._exchange(channel)
        tasks = [asyncio.ensure_future(self._publish(exchange, message)) for message in messages]
        late: set[asyncio.Task[str | HandoverError]] = set()
        try:
            _, late = await asyncio.wait(tasks, timeout=max(0.1, self._timeout_s - _SOONER_S))
        finally:
            for task in tasks:
                task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        unconfirmed = await self._unconfirmed() if late else None
        results: list[str | HandoverError] = []
        for message, result in zip(messages, found, strict=True):
            if isinstance(result, _ChannelClosedError):
                channel = self._channel = await self._open(channel)
                exchange = await self._exchange(channel)
                try:
                    results.append(await self._publish(exchange, message))
                except _ChannelClosedError as error:
                    results.append(_of_message(error))
            elif isinstance(result, asyncio.CancelledError) and unconfirmed is not None:
                results.append(unconfirmed)
            elif isinstance(result, str | HandoverError):
                results.append(result)
            else:
                results.append(HandoverError(HandoverError.UNCONFIRMED, result))
        return results

    async def close(self) -> None:
        """Closes the connection."""
        await self._connection.close()

    async def _unconfirmed(self) -> HandoverError:
        """Why messages have no confirm: the broker takes nothing while it is short of memory or disk space, and says so."""
        transport: Any = self._connection.transport
        try:
            async with asyncio.timeout(0.05):
                await transport.connection.ready()
        except TimeoutError:
            return HandoverError(HandoverError.AWAY, "it takes no messages now; look for its alarms")
        return HandoverError(HandoverError.UNCONFIRMED, f"no confirm within {self._timeout_s:g} s")

    async def _open(self, channel: AbstractChannel | None) -> AbstractChannel:
        if channel is not None and not channel.is_closed:
            return channel
        try:
            return await self._connection.channel(publisher_confirms=True, on_return_raises=True)
        except _LOST as error:
            raise HandoverError(HandoverError.AWAY, error) from None

    async def _exchange(self, channel: AbstractChannel) -> AbstractExchange:
        return (
            await channel.get_exchange(self._to.exchange, ensure=False)
            if self._to.exchange
            else channel.default_exchange
        )

    async def _publish(self, exchange: AbstractExchange, message: Outgoing) -> str | HandoverError:
        key = self._to.routing_key(message)
        if len(key.encode()) > _KEY_OCTETS:
            return HandoverError(HandoverError.REFUSED, f"the routing key has more than {_KEY_OCTETS} bytes")
        headers: dict[str, Any] = {name: value for name, value in message.headers.items() if name != "content-type"}
        if message.order_key is not None:
            headers["order-key"] = order_header(message.order_key)
        content_type = message.headers.get("content-type", "")
        try:
            confirm = await exchange.publish(
                aio_pika.Message(
                    message.body,
                    headers=headers,
                    content_type=content_type if len(content_type.encode()) <= _KEY_OCTETS else None,
                    message_id=message.webhook_id,
                    timestamp=datetime.fromtimestamp(int(message.headers["webhook-timestamp"]), UTC),
                    delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                ),
                key,
                mandatory=True,
            )
        except exceptions.DeliveryError as error:
            # The frame is the broker's nack, or what it returned because no queue takes it.
            if isinstance(error.frame, Basic.Nack):
                return HandoverError(HandoverError.UNCONFIRMED, "the broker answered with a nack")
            if self._to.queue is not None:
                return HandoverError(HandoverError.MISSING, f"there is no queue {self._to.queue}")
            return HandoverError(HandoverError.UNROUTABLE, f"no queue is bound to {self._to.exchange} for {key!r}")
        except exceptions.ChannelNotFoundEntity as error:
            return HandoverError(HandoverError.MISSING, error)
        except exceptions.ChannelAccessRefused as error:
            return HandoverError(HandoverError.DENIED, error)
        except exceptions.ChannelPreconditionFailed as error:
            raise _ChannelClosedError(str(error)) from None
        except (TypeError, ValueError) as error:
            return HandoverError(HandoverError.REFUSED, error)
        except _LOST as error:
            return HandoverError(HandoverError.AWAY, f"the connection ended before the confirmation: {error}")
        if not isinstance(confirm, Basic.Ack):
            return HandoverError(HandoverError.UNCONFIRMED, f"the broker answered with {type(confirm).__name__}")
        return f"confirm {confirm.delivery_tag}"


def _of_message(error: Exception) -> HandoverError:
    too_large = "larger than" in str(error) or "max size" in str(error)
    return HandoverError(HandoverError.TOO_LARGE if too_large else HandoverError.REFUSED, error)


class _To:
    """Where a URL leads: a queue, or an exchange with a routing key in which ``{key}`` stands for the order key."""

    def __init__(self, query: dict[str, str]) -> None:
        self.queue = query.get("queue")
        self.exchange = query.get("exchange", "")
        self._routing_key = query.get("routing_key", "{key}")

    def routing_key(self, message: Outgoing) -> str:
        """The routing key of a message."""
        return self.queue or self._routing_key.replace("{key}", message.order_key or "")


async def connect(destination: Destination) -> RabbitConnection:
    """Connects, and opens a channel with confirms.

    Raises:
        HandoverError: the broker is away, refuses the credentials, or has no such exchange or virtual host.
    """
    there, options = place.of(destination.url), destination.options
    secure = there.scheme == "amqps"
    failure = HandoverError(HandoverError.AWAY, "it has no address")
    # Without TLS, which proves the name, the addresses that were checked are those to connect to.
    for host in [there.host] if secure else destination.addresses[there.host]:
        try:
            connection = await aio_pika.connect(
                host=host,
                port=there.port(_PORTS[there.scheme]),
                login=options.get("username", "guest"),
                password=options.get("password", "guest"),
                virtualhost=there.path or "/",
                ssl=secure,
                ssl_context=tls.context(options) if secure else None,
                client_properties={"connection_name": "qctl"},
            )
        except (exceptions.ProbableAuthenticationError, exceptions.AuthenticationError) as error:
            raise HandoverError(HandoverError.DENIED, error) from None
        except exceptions.AMQPError as error:
            failure = _not_opened(error, there.path or "/")
        except OSError as error:
            failure = HandoverError(HandoverError.AWAY, error)
        else:
            return RabbitConnection(connection, _To(there.query), destination.timeout_s)
    raise failure


def _not_opened(error: Exception, virtual_host: str) -> HandoverError:
    """The broker closes the connection if it has no such virtual host, or if this user may not use it."""
    said = f"{error} {' '.join(str(getattr(part, 'reply_text', '')) for part in error.args)}"
    if "Connection.Close" not in said and "vhost" not in said:
        return HandoverError(HandoverError.AWAY, error)
    if "refused" in said:
        return HandoverError(HandoverError.DENIED, f"the user may not use virtual host {virtual_host}")
    return HandoverError(HandoverError.MISSING, f"there is no virtual host {virtual_host}, or the user may not use it")
