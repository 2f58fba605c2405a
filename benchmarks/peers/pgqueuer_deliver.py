"""PgQueuer posting to an endpoint: ``URL COUNT`` with PGHOST and so on set; prints seconds from start to empty queue."""

import sys
import time

import aiohttp
import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.domain.types import QueueExecutionMode
from pgqueuer.models import Job
from pgqueuer.queries import Queries

BODY = b'{"record": {"id": 1, "name": "' + b"x" * 300 + b'"}, "operation": "INSERT"}'


async def main(url: str, count: int) -> None:
    connection = await asyncpg.connect()
    queries = Queries(AsyncpgDriver(connection))
    for start in range(0, count, 1000):
        size = min(1000, count - start)
        await queries.enqueue(["deliver"] * size, [BODY] * size, [0] * size)
    pgq = PgQueuer(AsyncpgDriver(connection))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=100)) as session:

        @pgq.entrypoint("deliver")
        async def deliver(job: Job) -> None:
            async with session.post(url, data=job.payload, headers={"content-type": "application/json"}) as answer:
                answer.raise_for_status()
                await answer.read()

        started = time.perf_counter()
        await pgq.qm.run(batch_size=100, mode=QueueExecutionMode.drain)
        print(time.perf_counter() - started)


uvloop.run(main(sys.argv[1], int(sys.argv[2])))
