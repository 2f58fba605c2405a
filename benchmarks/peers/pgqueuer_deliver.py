"""PgQueuer posting to an endpoint, with PGHOST and so on set.

``URL COUNT`` enqueues so many jobs, posts them and prints the seconds from start to empty queue. ``URL idle`` waits for jobs
until SIGTERM, and puts a job's number, which is its payload, into the header webhook-id.
"""

import asyncio
import signal
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


async def main(url: str, count: int | None) -> None:
    """Enqueues and works off, or waits."""
    connection = await asyncpg.connect()
    queries = Queries(AsyncpgDriver(connection))
    for start in range(0, count or 0, 1000):
        size = min(1000, count - start)
        await queries.enqueue(["deliver"] * size, [BODY] * size, [0] * size)
    pgq = PgQueuer(AsyncpgDriver(connection))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=100)) as session:

        @pgq.entrypoint("deliver")
        async def deliver(job: Job) -> None:
            headers = {"content-type": "application/json"}
            if count is None and job.payload:
                headers["webhook-id"] = job.payload.decode()
            async with session.post(url, data=job.payload, headers=headers) as answer:
                answer.raise_for_status()
                await answer.read()

        if count is None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, pgq.qm.shutdown.set)
            await pgq.qm.run()
            return
        started = time.perf_counter()
        await pgq.qm.run(batch_size=100, mode=QueueExecutionMode.drain)
        print(time.perf_counter() - started)


uvloop.run(main(sys.argv[1], None if sys.argv[2] == "idle" else int(sys.argv[2])))
