"""Amazon SQS by boto3: batches of ten, credentials and regions by its own chain."""

import asyncio
import json
import re
import time
from typing import Any

import boto3
from botocore import exceptions
from botocore.config import Config

from qctl.worker.carriers import place
from qctl.worker.carriers.broker import Destination, HandoverError, Outgoing
from qctl.worker.carriers.order_key import order_header, short_id
from qctl.worker.carriers.threads import in_thread

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
_ENTRIES = 10
_BATCH_BYTES = 262_144
_MOST_BYTES = 1_048_576
_ATTRIBUTES = 10
_GROUP_CHARACTERS = 128
# What SQS takes in a body: #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF.
_NOT_TAKEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ATTRIBUTE_NAME = re.compile(r"(?!aws\.|amazon\.|\.)[a-z0-9_.-]{1,256}", re.IGNORECASE)
_GROUP = re.compile(r"[\w!\"#$%&'()*+,./:;<=>?@\[\\\]^`{|}~-]{1,128}", re.ASCII)
_FIRST = ("webhook-id", "webhook-timestamp", "webhook-signature", "content-type")
_DENIED = re.compile(
    "AccessDenied|InvalidClientTokenId|SignatureDoesNotMatch|Expired|UnrecognizedClient|InvalidAccessKey|OptIn|NotAuthorized"
    "|KmsAccessDenied|MissingAuthentication|InvalidSecurity"
)
_MISSING = re.compile("NonExistentQueue|QueueDoesNotExist|InvalidAddress")
_TOO_LARGE_CODE = re.compile("BatchRequestTooLong|MessageTooLong")
_TOO_LARGE_TEXT = re.compile("shorter than|too long|maximum message", re.IGNORECASE)
_CALLS = 32
_UNKNOWN_CALLER = (
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.CredentialRetrievalError,
    exceptions.SSOError,
    exceptions.TokenRetrievalError,
    exceptions.NoAuthTokenError,
    exceptions.ConfigNotFound,
    exceptions.ProfileNotFound,
)


class SqsConnection:
    """A queue of SQS. A batch is a call in a thread, so at most as many run at once as the pool of connections has places."""

    most = _ENTRIES

    def __init__(self, client: Any, url: str, timeout_s: float) -> None:
        self._client = client
        self._url = url
        self._timeout_s = timeout_s
        self._calls = asyncio.Semaphore(_CALLS)
        self._fifo = url.endswith(".fifo")

    async def publish(self, messages: list[Outgoing]) -> list[str | HandoverError]:
        """Sends messages in as few calls as the limits of SQS allow, one after another."""
        ends = time.monotonic() + self._timeout_s
        results: dict[int, str | HandoverError] = {}
        batch: list[dict[str, Any]] = []
        held = 0
        for number, message in enumerate(messages):
            try:
                entry, size = self._entry(number, message)
            except HandoverError as failure:
                results[number] = failure
                continue
            if batch and (len(batch) == _ENTRIES or held + size > _BATCH_BYTES):
                results |= await self._call(batch, ends)
                batch, held = [], 0
            batch.append(entry)
            held += size
        if batch:
            results |= await self._call(batch, ends)
        return [results[place] for place in range(len(messages))]

    async def close(self) -> None:
        """Closes the pool of connections."""
        await in_thread(self._client.close)

    async def _call(self, entries: list[dict[str, Any]], ends: float) -> dict[int, str | HandoverError]:
        async with self._calls:
            return await in_thread(self._send, entries, ends)

    def _entry(self, place: int, message: Outgoing) -> tuple[dict[str, Any], int]:
        body = message.body.decode()
        if bad := _NOT_TAKEN.search(body):
            raise HandoverError(HandoverError.REFUSED, f"SQS takes no U+{ord(bad[0]):04X} in a body")
        attributes = _attributes(message)
        size = len(message.body) + sum(
            len(name) + len(value["DataType"]) + len(value["StringValue"].encode())
            for name, value in attributes.items()
        )
        if size > _MOST_BYTES:
            raise HandoverError(
                HandoverError.TOO_LARGE, f"{size} bytes with the headers; SQS takes at most {_MOST_BYTES}"
            )
        entry: dict[str, Any] = {"Id": str(place), "MessageBody": body, "MessageAttributes": attributes}
        if self._fifo:
            entry["MessageGroupId"] = short_id(message.order_key or message.webhook_id, _GROUP_CHARACTERS, _GROUP)
            entry["MessageDeduplicationId"] = message.webhook_id
        return entry, size

    def _send(self, entries: list[dict[str, Any]], ends: float) -> dict[int, str | HandoverError]:
        places = [int(entry["Id"]) for entry in entries]
        if time.monotonic() > ends:
            # By now the lease may be another worker's.
            return dict.fromkeys(places, HandoverError(HandoverError.AWAY, "SQS was too slow for it to be sent"))
        try:
            answer = self._client.send_message_batch(QueueUrl=self._url, Entries=entries)
        except exceptions.ClientError as error:
            failure = _of_client(error)
            # One entry that SQS does not take makes it refuse the whole batch.
            if failure.kind in (HandoverError.TOO_LARGE, HandoverError.REFUSED) and len(entries) > 1:
                return {number: result for entry in entries for number, result in self._send([entry], ends).items()}
            return dict.fromkeys(places, failure)
        except _UNKNOWN_CALLER as error:
            return dict.fromkeys(places, HandoverError(HandoverError.DENIED, error))
        except (exceptions.ReadTimeoutError, exceptions.ConnectionClosedError) as error:
            return dict.fromkeys(places, HandoverError(HandoverError.UNCONFIRMED, error))
        except (exceptions.ConnectionError, exceptions.HTTPClientError) as error:
            return dict.fromkeys(places, HandoverError(HandoverError.AWAY, error))
        except exceptions.BotoCoreError as error:
            return dict.fromkeys(places, HandoverError(HandoverError.UNCONFIRMED, error))
        results: dict[int, str | HandoverError] = {
            int(sent["Id"]): f"message {sent['MessageId']}"
            + (f", sequence {sent['SequenceNumber']}" if "SequenceNumber" in sent else "")
            for sent in answer.get("Successful", ())
        }
        for failed in answer.get("Failed", ()):
            results[int(failed["Id"])] = _of_entry(failed)
        # What SQS tells nothing of may have been taken or not.
        return {
            place: results.get(place, HandoverError(HandoverError.UNCONFIRMED, "SQS answered without it"))
            for place in places
        }


async def connect(destination: Destination) -> SqsConnection:
    """Makes a client; nothing is sent yet.

    Raises:
        HandoverError: a profile does not exist, or a certificate cannot be read.
    """
    there, options = place.of(destination.url), destination.options
    host = there.host
    if plain := there.scheme == "sqs+http":
        # Without TLS, which proves the name, an address that was checked is the one to connect to.
        host = destination.addresses[host][0]
    endpoint = f"{'http' if plain else 'https'}://{place.written(host, there.hosts[0][1])}"
    told = re.match(r"sqs\.([a-z0-9-]+)\.amazonaws\.com", there.host)

    def make() -> Any:
        session: Any = boto3.Session(
            profile_name=options.get("profile"),
            region_name=options.get("region") or (told[1] if told else None),
            aws_access_key_id=options.get("access_key_id"),
            aws_secret_access_key=options.get("secret_access_key"),
            aws_session_token=options.get("session_token"),
        )
        return session.client(
            "sqs",
            endpoint_url=endpoint,
            region_name=session.region_name or "us-east-1",
            verify=options.get("ca") or True,
            config=Config(
                connect_timeout=3,
                read_timeout=destination.timeout_s,
                # qctl itself tries again, by the schedule of the queue.
                retries={"total_max_attempts": 1},
                max_pool_connections=_CALLS,
                proxies={} if plain else None,
            ),
        )

    try:
        client = await in_thread(make)
    except (exceptions.BotoCoreError, ValueError, OSError) as error:
        raise HandoverError(HandoverError.DENIED, error) from None
    return SqsConnection(client, f"{endpoint}/{there.path}", destination.timeout_s)


def _attributes(message: Outgoing) -> dict[str, dict[str, str]]:
    """Headers as attributes, of which SQS takes ten; what does not fit into them goes into one, ``headers``, as JSON."""
    headers = dict(message.headers)
    if message.order_key is not None:
        headers["order-key"] = order_header(message.order_key)
    fitting = [name for name in (*_FIRST, "order-key", *headers) if name in headers and _fits(name, headers[name])]
    values = {name: headers[name] for name in fitting}
    packed = {name: value for name, value in headers.items() if name not in values}
    if len(values) + bool(packed) > _ATTRIBUTES:
        for name in list(values)[_ATTRIBUTES - 1 :]:
            packed[name] = values.pop(name)
    if packed:
        values["headers"] = json.dumps(packed)
    return {name: {"DataType": "String", "StringValue": value} for name, value in values.items()}


def _fits(name: str, value: str) -> bool:
    return bool(value and name != "headers" and _ATTRIBUTE_NAME.fullmatch(name) and not _NOT_TAKEN.search(value))


def _of_client(error: exceptions.ClientError) -> HandoverError:
    response: Any = error.response
    told = response.get("Error", {})
    code, text = str(told.get("Code", "")), str(told.get("Message", ""))
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    kind = _kind(code, text)
    if kind is None:
        kind = HandoverError.REFUSED if status == 400 and code.startswith("Invalid") else HandoverError.UNCONFIRMED
    return HandoverError(kind, f"{code}: {text}")


def _of_entry(failed: dict[str, Any]) -> HandoverError:
    code, text = str(failed.get("Code", "")), str(failed.get("Message", ""))
    kind = _kind(code, text) or (HandoverError.REFUSED if failed.get("SenderFault") else HandoverError.UNCONFIRMED)
    return HandoverError(kind, f"{code}: {text}")


def _kind(code: str, text: str) -> str | None:
    if _DENIED.search(code):
        return HandoverError.DENIED
    if _MISSING.search(code):
        return HandoverError.MISSING
    if _TOO_LARGE_CODE.search(code) or (code.startswith("Invalid") and _TOO_LARGE_TEXT.search(text)):
        return HandoverError.TOO_LARGE
    return None
