"""NATS JetStream by nats-py: a publish counts when a stream has acknowledged it."""

import asyncio
import ssl
from typing import Any
from urllib.parse import urlsplit

import nats
from nats import errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js import errors as js_errors

from qctl.worker.carriers import tls
from qctl.worker.carriers.broker import Destination, HandoverError, Outgoing
from qctl.worker.carriers.publisher import hosts
from qctl.worker.carriers.short_id import subject_token

_PORT = 4222
_LAST = ".{key}"
# What header lines take beside their names and values.
_LINE_OCTETS = 4


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
            headers["order-key"] = message.order_key
        size = len(message.body) + sum(len(f"{name}{value}".encode()) + _LINE_OCTETS for name, value in headers.items())
        if size > self._client.max_payload:
            return HandoverError(
                HandoverError.TOO_LARGE,
                f"{size} bytes with the headers; the server takes at most {self._client.max_payload}",
            )
        try:
            ack = await self._stream.publish(subject, message.body, timeout=self._timeout_s, headers=headers)
        except js_errors.NoStreamResponseError:
            return HandoverError(HandoverError.MISSING, f"no stream takes subject {subject}")
        except errors.MaxPayloadError as error:
            return HandoverError(HandoverError.TOO_LARGE, error)
        except js_errors.APIError as error:
            # Such as a full stream with discard new: another attempt may succeed.
            kind = HandoverError.TOO_LARGE if "size exceeds" in str(error.description) else HandoverError.UNCONFIRMED
            return HandoverError(kind, error.description or error)
        except errors.TimeoutError:
            return HandoverError(HandoverError.UNCONFIRMED, f"no acknowledgement within {self._timeout_s:g} s")
        except (errors.Error, OSError) as error:
            return _told(error, "the connection ended before the acknowledgement")
        return f"{ack.stream} {ack.seq}" + (", a duplicate" if ack.duplicate else "")


async def connect(destination: Destination) -> NatsConnection:
    """Connects to one of the servers.

    Raises:
        HandoverError: none can be reached, or they refuse the credentials.
    """
    parts, options = urlsplit(destination.url), destination.options
    secure = parts.scheme == "nats"
    servers: list[str] = []
    for host, port in hosts(destination.url):
        # Without TLS, which proves the name, the address that was checked is the one to connect to.
        place = host if secure else destination.addresses[host][0]
        servers.append(f"{'tls' if secure else 'nats'}://{f'[{place}]' if ':' in place else place}:{port or _PORT}")
    trouble: list[Exception] = []

    async def note(error: Exception) -> None:
        trouble.append(error)

    try:
        untyped: Any = nats
        client: Client = await untyped.connect(
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
    except (errors.Error, OSError, ssl.SSLError) as error:
        raise _told(trouble[-1] if trouble else error, "no connection") from None
    return NatsConnection(client, parts.path.removeprefix("/"), destination.timeout_s)


def _told(error: Exception, what: str) -> HandoverError:
    text = f"{error}".strip() or type(error).__name__
    if "uthorization" in text or "uthentication" in text or "ermissions" in text:
        return HandoverError(HandoverError.DENIED, text)
    return HandoverError(HandoverError.AWAY, f"{what}: {text}")
