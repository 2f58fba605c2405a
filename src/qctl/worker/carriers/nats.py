"""NATS JetStream by nats-py: a publish counts when a stream has acknowledged it."""

import asyncio
import re
import ssl
from typing import Any

from nats import errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js import errors as js_errors

from qctl.worker.carriers import place, tls
from qctl.worker.carriers.broker import Destination, HandoverError, Outgoing
from qctl.worker.carriers.order_key import order_header, subject_token

_PORT = 4222
_LAST = ".{key}"
# What header lines take beside their names and values.
_LINE_OCTETS = 4
_DENIED = re.compile("uthorization|uthentication|ermissions|redentials|nkeys|signature")


class _SecureClient(Client):
    """Says nothing to a server that offers no TLS. nats-py by itself goes on in plain text."""

    def _connect_command(self) -> bytes:
        # nats-py has secured the connection by now if the server asked for it, and sends the credentials next.
        info: dict[str, Any] = self._server_info
        if not info.get("tls_required"):
            raise errors.Error("the server offers no TLS; for a server without it: nats+plain://")
        return super()._connect_command()


class NatsConnection:
    """A subject of JetStream. Where the URL ends with ``.{key}``, the order key is the last token of the subject."""

    most = 500

    def __init__(self, client: Client, subject: str, timeout_s: float) -> None:
        self._client = client
        untyped: Any = client
        self._stream: JetStreamContext = untyped.jetstream(timeout=timeout_s)
        self._subject = subject
        self._timeout_s = timeout_s

    async def publish(self, messages: list[Outgoing]) -> list[str | HandoverError]:
        """Publishes all at once, each with its own acknowledgement."""
        return await asyncio.gather(*(self._publish(message) for message in messages))

    async def close(self) -> None:
        """Closes the connection."""
        await self._client.close()

    async def _publish(self, message: Outgoing) -> str | HandoverError:
        subject = self._subject
        if subject.endswith(_LAST):
            subject = f"{subject.removesuffix(_LAST)}.{subject_token(message.order_key)}"
        headers = {**message.headers, "Nats-Msg-Id": message.webhook_id}
        if message.order_key is not None:
            headers["order-key"] = order_header(message.order_key)
        size = len(message.body) + sum(len(f"{name}{value}".encode()) + _LINE_OCTETS for name, value in headers.items())
        most = self._client.max_payload
        if size > most:
            return HandoverError(HandoverError.TOO_LARGE, f"{size} bytes with the headers; the server takes {most}")
        try:
            ack = await self._stream.publish(subject, message.body, timeout=self._timeout_s, headers=headers)
        except js_errors.NoStreamResponseError:
            return await self._without_stream(subject)
        except errors.MaxPayloadError as error:
            return HandoverError(HandoverError.TOO_LARGE, error)
        except js_errors.APIError as error:
            # Such as a full stream with discard new: another attempt may succeed.
            too_large = "size exceeds" in str(error.description)
            kind = HandoverError.TOO_LARGE if too_large else HandoverError.UNCONFIRMED
            return HandoverError(kind, error.description or error)
        except errors.TimeoutError:
            return HandoverError(HandoverError.UNCONFIRMED, f"no acknowledgement within {self._timeout_s:g} s")
        except (errors.Error, OSError) as error:
            return _told(error, "the connection ended before the acknowledgement")
        except (ValueError, TypeError) as error:
            return HandoverError(HandoverError.REFUSED, error)
        return f"{ack.stream} {ack.seq}" + (", a duplicate" if ack.duplicate else "")

    async def _without_stream(self, subject: str) -> HandoverError:
        """Nobody answers for a subject without a stream, nor for a stream that has no leader at the moment."""
        try:
            stream = await self._stream.find_stream_name_by_subject(subject)
        except js_errors.NotFoundError:
            return HandoverError(HandoverError.MISSING, f"no stream takes subject {subject}")
        except (errors.Error, OSError) as error:
            return HandoverError(HandoverError.AWAY, f"no stream answers for subject {subject}: {error}")
        return HandoverError(HandoverError.AWAY, f"stream {stream} does not answer; it may have no leader")


async def connect(destination: Destination) -> NatsConnection:
    """Connects to one of the servers.

    Raises:
        HandoverError: none can be reached, offers TLS or takes the credentials.
    """
    there, options = place.of(destination.url), destination.options
    secure = there.scheme == "nats"
    servers: list[str] = []
    for host, port in there.hosts:
        # Without TLS, which proves the name, the addresses that were checked are those to connect to.
        for name in [host] if secure else destination.addresses[host]:
            servers.append(f"{'tls' if secure else 'nats'}://{place.written(name, port or _PORT)}")
    trouble: list[Exception] = []

    async def note(error: Exception) -> None:
        trouble.append(error)

    client = _SecureClient() if secure else Client()
    untyped: Any = client
    try:
        await untyped.connect(
            servers,
            name="qctl",
            error_cb=note,
            # qctl itself connects again, so that no message waits in a buffer of the client.
            allow_reconnect=False,
            max_reconnect_attempts=1,
            connect_timeout=5,
            tls=tls.context(options) if secure else None,
            user=options.get("username"),
            password=options.get("password"),
            token=options.get("token"),
            user_credentials=options.get("credentials"),
        )
    except (errors.Error, OSError, ssl.SSLError, ValueError) as error:
        raise _told(trouble[-1] if trouble else error, "no connection") from None
    return NatsConnection(client, there.path, destination.timeout_s)


def _told(error: Exception, what: str) -> HandoverError:
    text = f"{error}".strip() or type(error).__name__
    if _DENIED.search(text):
        return HandoverError(HandoverError.DENIED, text)
    return HandoverError(HandoverError.AWAY, f"{what}: {text}")
