"""An endpoint of known capacity: so many places, each taking a while for a request; who finds none free waits in line.

``python places.py LEDGER PLACES SERVICE_MS [--fail-rate R] [--port P]`` prints its port and writes a line for each request
when it is answered: time, status, body. Failed requests take as long.
"""

import argparse
import asyncio
import json
import random
import time
from pathlib import Path


async def serve(options: argparse.Namespace) -> None:
    """Serves until it is killed."""
    places = asyncio.Semaphore(options.places)
    choose = random.Random(1)
    with options.ledger.open("a", buffering=1) as ledger:

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
                )
                body = await reader.readexactly(length)
                async with places:
                    await asyncio.sleep(options.service_ms / 1000)
                status = 500 if choose.random() < options.fail_rate else 200
                ledger.write(json.dumps([time.time(), status, json.loads(body)]) + "\n")
                writer.write(b"HTTP/1.1 %d x\r\ncontent-length: 2\r\n\r\nok" % status)

        async def quietly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await handle(reader, writer)
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()

        server = await asyncio.start_server(quietly, "127.0.0.1", options.port)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ledger", type=Path)
    parser.add_argument("places", type=int)
    parser.add_argument("service_ms", type=float)
    parser.add_argument("--fail-rate", type=float, default=0.0)
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
