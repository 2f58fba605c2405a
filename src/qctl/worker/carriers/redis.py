"""Redis streams by redis-py: an entry counts when XADD has replied, and is as durable then as appendfsync makes it."""

from typing import Any

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from qctl.worker.carriers import place, tls
from qctl.worker.carriers.broker import Destination, HandoverError, Outgoing
from qctl.worker.carriers.order_key import order_header

_PORT = 6379
_DENIED = (exceptions.AuthenticationError, exceptions.AuthorizationError, exceptions.NoPermissionError)
# The server is there but does not serve now, or another one does: connecting again may find that.
_AWAY = (
    exceptions.BusyLoadingError,
    exceptions.ReadOnlyError,
    exceptions.ClusterDownError,
    exceptions.TryAgainError,
    exceptions.MovedError,
    exceptions.AskError,
)


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
                fields["order-key"] = order_header(message.order_key)
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
            making = f"XGROUP CREATE {self._stream} GROUP $ MKSTREAM makes it"
            return HandoverError(HandoverError.MISSING, f"there is no stream {self._stream}; {making}")
        return reply.decode() if isinstance(reply, bytes) else str(reply)


async def connect(destination: Destination) -> RedisConnection:
    """Connects.

    Raises:
        HandoverError: the server is away or refuses the credentials.
    """
    there, options = place.of(destination.url), destination.options
    database, _, stream = there.path.rpartition("/")
    secured: dict[str, Any] = {}
    if there.scheme == "rediss":
        tls.context(options)
        secured = {
            "ssl": True,
            "ssl_ca_certs": options.get("ca") or tls.certifi.where(),
            "ssl_certfile": options.get("cert"),
            "ssl_keyfile": options.get("key"),
        }
    failure = HandoverError(HandoverError.AWAY, "it has no address")
    # Without TLS, which proves the name, the addresses that were checked are those to connect to.
    for host in [there.host] if secured else destination.addresses[there.host]:
        client: Any = Redis(
            host=host,
            port=there.port(_PORT),
            db=int(database or 0),
            username=options.get("username"),
            password=options.get("password"),
            socket_timeout=destination.timeout_s,
            socket_connect_timeout=5,
            # qctl itself tries again: a retry here would add an entry twice.
            retry=Retry(NoBackoff(), 0),
            **secured,
        )
        try:
            await client.ping()
        except exceptions.NoPermissionError:
            # Who may only add entries has logged in all the same.
            return RedisConnection(client, stream)
        except (exceptions.RedisError, OSError) as error:
            await client.aclose()
            told = _told(error)
            # Nothing was sent yet.
            failure = told if told.kind == HandoverError.DENIED else HandoverError(HandoverError.AWAY, error)
        else:
            return RedisConnection(client, stream)
    raise failure


def _told(error: Exception) -> HandoverError:
    text = str(error)
    if isinstance(error, _DENIED):
        return HandoverError(HandoverError.DENIED, text)
    if "WRONGTYPE" in text or "wrong kind of value" in text:
        return HandoverError(HandoverError.MISSING, f"the key is no stream: {text}")
    if isinstance(error, _AWAY):
        return HandoverError(HandoverError.AWAY, text)
    if isinstance(error, exceptions.OutOfMemoryError | exceptions.TimeoutError):
        return HandoverError(HandoverError.UNCONFIRMED, text)
    if isinstance(error, exceptions.ConnectionError | OSError):
        return HandoverError(HandoverError.AWAY, text)
    return HandoverError(HandoverError.TOO_LARGE if "bulk length" in text else HandoverError.UNCONFIRMED, text)
