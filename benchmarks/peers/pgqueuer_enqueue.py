"""Enqueues single jobs for PgQueuer: as many as there are pauses, in seconds, on stdin; prints when each was begun, as JSON."""

import asyncio
import json
import sys
import time

import asyncpg
from pgqueuer.db import AsyncpgDriver
from pgqueuer.queries import Queries


async def main(pauses: list[float]) -> None:
    """One after another."""
    connection = await asyncpg.connect()
    queries, begun = Queries(AsyncpgDriver(connection)), []
    for number, pause in enumerate(pauses):
        await asyncio.sleep(pause)
        begun.append(time.time())
        await queries.enqueue("deliver", str(number).encode())
    await connection.close()
    print(json.dumps(begun))


asyncio.run(main(json.load(sys.stdin)))
