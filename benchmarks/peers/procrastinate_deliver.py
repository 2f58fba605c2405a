"""procrastinate posting to an endpoint: ``URL COUNT`` with PGHOST and so on set; prints seconds from start to empty queue."""

import asyncio
import logging
import sys
import time

import aiohttp
import procrastinate

BODY = {"record": {"id": 1, "name": "x" * 300}, "operation": "INSERT"}
logging.getLogger("procrastinate").setLevel(logging.ERROR)
app = procrastinate.App(connector=procrastinate.PsycopgConnector())
session: aiohttp.ClientSession


@app.task(name="deliver")
async def deliver(url: str, body: dict) -> None:
    """One POST."""
    async with session.post(url, json=body) as answer:
        answer.raise_for_status()
        await answer.read()


async def main(url: str, count: int) -> None:
    """Fills the queue, then works it off."""
    global session
    async with app.open_async(), aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=100)) as session:
        if not await app.check_connection_async():
            await app.schema_manager.apply_schema_async()
        for start in range(0, count, 1000):
            size = min(1000, count - start)
            await deliver.batch_defer_async(*({"url": url, "body": BODY} for _ in range(size)))
        started = time.perf_counter()
        await app.run_worker_async(concurrency=100, wait=False, install_signal_handlers=False)
        print(time.perf_counter() - started)


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
