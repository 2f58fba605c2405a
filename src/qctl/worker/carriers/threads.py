"""Calls that block, each in a thread of its own: none waits for another one's place, and none keeps the process from its end."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


async def in_thread(call: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
    """The result of a call, which goes on if nobody waits any more."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[R] = loop.create_future()

    def settle(step: Callable[[Any], None], value: Any) -> None:
        if not future.done():
            step(value)

    def run() -> None:
        try:
            step, value = future.set_result, call(*arguments, **named)
        except BaseException as error:
            step, value = future.set_exception, error
        try:
            loop.call_soon_threadsafe(settle, step, value)
        except RuntimeError:
            # The loop has ended meanwhile.
            return

    threading.Thread(target=run, name="qctl-publish", daemon=True).start()
    return await future
