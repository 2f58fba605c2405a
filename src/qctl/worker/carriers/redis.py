"""Redis streams by redis-py: an entry counts when XADD has replied, and is as durable then as appendfsync makes it."""

import re
from typing import Any
from urllib.parse import urlsplit

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from qctl.worker.carriers import tls
from qctl.worker.carriers.broker import Destination, HandoverError, Outgoing

_PORT = 6379
# proto-max-bulk-len as it is unless somebody changed it.
_MOST_BYTES = 512 << 20
_DENIED = re.compile("NOAUTH|WRONGPASS|NOPERM|invalid username|Authentication|AUTH ")
_AWAY = re.compile("LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|NOREPLICAS|BUSY|TRYAGAIN")


class RedisConnection:
    """A stream, or with ``{key}`` in its name one for each order key. Entries are never trimmed: that would lose unread ones."""

    most = 500

    def __init__(self, client: Redis, stream: str) -> None:
        self._client = client
        self._stream = stream

    async def publish(self, messages: list[Outgoing]) -> list[str | HandoverError]:
        """Adds entries in one pipeline, which is no transaction: each has its own reply."""
        keyed = "{key}" in self._stream
        pipeline = self._client.pipeline(transaction=False)
        for message in messages:
            fields: dict[Any, Any] = {**message.headers, "body": message.body}
            if message.order_key is not None:
                fields["order-key"] = message.order_key
            # What a stream takes that no consumer has made would never be read. One for each key is made by its first entry.
            stream = self._stream.replace("{key}", message.order_key or "")
            pipeline.xadd(stream, fields, nomkstream=not keyed)
        try:
            replies: list[Any] = await pipeline.execute(raise_on_error=False)
        except (exceptions.RedisError, OSError) as error:
            raise _told(error) from None
        return [self._result(reply) for reply in replies]

    async def close(self) -> None:
        """Closes the connection."""
        await self._client.aclose()

    def _result(self, reply: Any) -> str | HandoverError:
        if isinstance(reply, Exception):
            return _told(reply)
        if reply is None:
            return HandoverError(
                HandoverError.MISSING,
                f"there is no stream {self._stream}; XGROUP CREATE {self._stream} GROUP $ MKSTREAM makes it",
            )
        return reply.decode() if isinstance(reply, bytes) else str(reply)


async def connect(destination: Destination) -> RedisConnection:
    """Connects, and says who it is.

    Raises:
        HandoverError: the server is away or refuses the credentials.
    """
    parts, options = urlsplit(destination.url), destination.options
    host, secure = parts.hostname or "", parts.scheme == "rediss"
    database, _, stream = parts.path.removeprefix("/").rpartition("/")
    secured: dict[str, Any] = {}
    if secure:
        tls.context(options)
        secured = {
            "ssl": True,
            "ssl_ca_certs": options.get("ca") or tls.certifi.where(),
            "ssl_certfile": options.get("cert"),
            "ssl_keyfile": options.get("key"),
        }
    client: Any = Redis(
        # Without TLS, which proves the name, the address that was checked is the one to connect to.
        host=host if secure else destination.addresses[host][0],
        port=parts.port or _PORT,
        db=int(database or 0),
        username=options.get("username"),
        password=options.get("password"),
        socket_timeout=destination.timeout_s,
        socket_connect_timeout=5,
        # qctl itself tries again: a retry here would add an entry twice.
        retry=Retry(NoBackoff(), 0),
        client_name="qctl",
        **secured,
    )
    try:
        await client.ping()
    except (exceptions.RedisError, OSError) as error:
        await client.aclose()
        raise _told(error) from None
    return RedisConnection(client, stream)


def _told(error: Exception) -> HandoverError:
    text = str(error)
    if isinstance(error, exceptions.AuthenticationError | exceptions.NoPermissionError) or _DENIED.search(text):
        return HandoverError(HandoverError.DENIED, text)
    if "WRONGTYPE" in text:
        return HandoverError(HandoverError.MISSING, f"the key is no stream: {text}")
    if "OOM" in text or isinstance(error, exceptions.TimeoutError):
        return HandoverError(HandoverError.UNCONFIRMED, text)
    if isinstance(error, exceptions.ConnectionError | OSError) or _AWAY.search(text):
        return HandoverError(HandoverError.AWAY, text)
    return HandoverError(HandoverError.TOO_LARGE if "bulk length" in text else HandoverError.UNCONFIRMED, text)
