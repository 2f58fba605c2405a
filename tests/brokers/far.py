"""The far side of each broker, for tests: makes the destination, and reads what came, by the broker's own library."""

import asyncio
import hashlib
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aio_pika
import boto3
import confluent_kafka
import nats
import pytest
import redis
from botocore.config import Config
from broker_processes import MISSING, Broker, Kafka, Moto, Nats, Rabbit, Redis


@dataclass
class Received:
    """A message as a consumer has it."""

    webhook_id: str
    body: bytes
    headers: dict[str, str]
    key: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


class Far(ABC):
    """One broker with one destination, ``orders``."""

    name: str
    broker: Any

    def __init__(self, folder: Path) -> None:
        self.start(folder)
        self.prepare()

    @abstractmethod
    def start(self, folder: Path) -> None: ...

    @property
    @abstractmethod
    def url(self) -> str: ...

    @abstractmethod
    def prepare(self) -> None: ...

    @abstractmethod
    def read(self) -> list[Received]:
        """Everything that is there now, in order, taken off where the broker does that."""

    def clear(self) -> None:
        """Leaves nothing of an earlier test to be read."""
        self.read()

    def close(self) -> None:
        self.broker.close()


class FarRabbit(Far):
    name = "rabbitmq"

    def start(self, folder: Path) -> None:
        self.broker: Broker = Rabbit(folder).start()

    @property
    def url(self) -> str:
        return f"amqp://127.0.0.1:{self.broker.port}/?queue=orders"

    async def connect(self, **login: str) -> Any:
        return await aio_pika.connect(host="127.0.0.1", port=self.broker.port, **login)

    def run(self, step: Any) -> Any:
        """Runs ``step(channel)``."""

        async def go() -> Any:
            connection = await self.connect()
            try:
                return await step(await connection.channel())
            finally:
                await connection.close()

        return asyncio.run(go())

    def prepare(self) -> None:
        self.run(lambda channel: channel.declare_queue("orders", durable=True, arguments={"x-queue-type": "quorum"}))

    def read(self, queue: str = "orders") -> list[Received]:
        async def take(channel: Any) -> list[Received]:
            found: list[Received] = []
            await channel.set_qos(1000)
            taken = await channel.get_queue(queue, ensure=False)
            while (message := await taken.get(no_ack=True, fail=False)) is not None:
                headers = {name: str(value) for name, value in message.headers.items()}
                facts = {
                    "mode": message.delivery_mode,
                    "type": message.content_type,
                    "routing_key": message.routing_key,
                }
                found.append(Received(message.message_id, message.body, headers, headers.get("order-key"), facts))
            return found

        return self.run(take)


class FarNats(Far):
    name = "nats"

    def start(self, folder: Path) -> None:
        self.broker: Broker = Nats(folder).start()

    @property
    def url(self) -> str:
        return f"nats+plain://127.0.0.1:{self.broker.port}/orders"

    def run(self, step: Any) -> Any:
        """Runs ``step(stream)``."""

        async def go() -> Any:
            client = await nats.connect(f"nats://127.0.0.1:{self.broker.port}")
            try:
                return await step(client.jetstream())
            finally:
                await client.close()

        return asyncio.run(go())

    def clear(self) -> None:
        self.run(lambda stream: stream.purge_stream("ORDERS"))

    def prepare(self) -> None:
        self.run(lambda stream: stream.add_stream(name="ORDERS", subjects=["orders", "orders.>"]))

    def read(self) -> list[Received]:
        async def take(stream: Any) -> list[Received]:
            info = await stream.stream_info("ORDERS")
            found: list[Received] = []
            if not info.state.messages:
                return found
            pulled = await stream.pull_subscribe(">", stream="ORDERS")
            while len(found) < info.state.messages:
                for message in await pulled.fetch(min(1000, info.state.messages - len(found)), timeout=10):
                    headers = dict(message.headers or {})
                    facts = {"subject": message.subject}
                    found.append(
                        Received(headers["webhook-id"], message.data, headers, headers.get("order-key"), facts)
                    )
                    await message.ack()
            return found

        return self.run(take)


class FarRedis(Far):
    name = "redis"

    def start(self, folder: Path) -> None:
        self.broker: Broker = Redis(folder).start()
        self.client = redis.Redis(port=self.broker.port)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.broker.port}/orders"

    def prepare(self) -> None:
        self.client.xgroup_create("orders", "deliver", mkstream=True)

    def clear(self) -> None:
        self.client.xtrim("orders", maxlen=0, approximate=False)

    def read(self, stream: str = "orders") -> list[Received]:
        found: list[Received] = []
        for number, fields in self.client.xrange(stream):
            texts = {name.decode(): value for name, value in fields.items()}
            body = texts.pop("body")
            headers = {name: value.decode() for name, value in texts.items()}
            found.append(
                Received(headers["webhook-id"], body, headers, headers.get("order-key"), {"id": number.decode()})
            )
        return found

    def close(self) -> None:
        self.client.close()
        super().close()


class FarSqs(Far):
    name = "sqs"
    account = "123456789012"

    def start(self, folder: Path) -> None:
        self.broker: Broker = Moto(folder).start()
        self.client: Any = boto3.client(
            "sqs",
            endpoint_url=f"http://127.0.0.1:{self.broker.port}",
            region_name="eu-west-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}),
        )

    @property
    def url(self) -> str:
        return f"sqs+http://127.0.0.1:{self.broker.port}/{self.account}/orders"

    def prepare(self) -> None:
        self.make("orders")

    def make(self, name: str) -> str:
        fifo = {"FifoQueue": "true"} if name.endswith(".fifo") else {}
        return self.client.create_queue(QueueName=name, Attributes=fifo)["QueueUrl"]

    def read(self, name: str = "orders") -> list[Received]:
        url = self.client.get_queue_url(QueueName=name)["QueueUrl"]
        found: list[Received] = []
        while messages := self.client.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], AttributeNames=["All"]
        ).get("Messages"):
            for message in messages:
                headers = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
                assert message["MD5OfBody"] == hashlib.md5(message["Body"].encode(), usedforsecurity=False).hexdigest()
                found.append(
                    Received(
                        headers["webhook-id"],
                        message["Body"].encode(),
                        headers,
                        headers.get("order-key"),
                        message["Attributes"],
                    )
                )
                self.client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return found

    def close(self) -> None:
        self.client.close()
        super().close()


class FarKafka(Far):
    name = "kafka"

    def start(self, folder: Path) -> None:
        self.broker: Kafka = Kafka(folder)
        self._seen: set[tuple[int, int]] = set()

    @property
    def url(self) -> str:
        return f"kafka+plain://{self.broker.place}/orders"

    def prepare(self) -> None:
        pass

    def read(self) -> list[Received]:
        consumer = confluent_kafka.Consumer(
            {"bootstrap.servers": self.broker.place, "group.id": "consumers", "auto.offset.reset": "earliest"}
        )
        found: list[Received] = []
        partitions = consumer.list_topics("orders", timeout=10).topics["orders"].partitions
        places = [confluent_kafka.TopicPartition("orders", number, 0) for number in partitions]
        count = sum(consumer.get_watermark_offsets(place)[1] for place in places)
        consumer.assign(places)
        while len(found) < count and (message := consumer.poll(10)) is not None:
            assert message.error() is None, message.error()
            headers = {name: value.decode() for name, value in message.headers()}
            key = message.key()
            facts = {"partition": message.partition(), "offset": message.offset()}
            found.append(Received(headers["webhook-id"], message.value(), headers, key and key.decode(), facts))
        consumer.close()
        return [message for message in found if (message.facts["partition"], message.facts["offset"]) not in self._seen]

    def clear(self) -> None:
        self._seen |= {(message.facts["partition"], message.facts["offset"]) for message in self.read()}


FARS: dict[str, type[Far]] = {far.name: far for far in (FarRabbit, FarNats, FarRedis, FarSqs, FarKafka)}


def missing(name: str) -> str | None:
    """Why a broker cannot be had here, or None."""
    return MISSING[name]() if name in MISSING else None


needs_all = pytest.mark.skipif(
    not os.environ.get("QCTL_TEST_BROKERS"),
    reason="make test-brokers runs it; make test hands over once to each broker",
)
