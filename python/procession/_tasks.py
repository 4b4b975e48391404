"""What is awaited: the library's own futures, polled by ``asyncio``."""

from __future__ import annotations

import asyncio
from typing import Any

from ._native import _Task


async def drive(task: _Task) -> Any:
    """Wait for what ``task`` waits for."""
    loop = asyncio.get_running_loop()
    try:
        while True:
            woken = asyncio.Event()

            def wake(woken: asyncio.Event = woken) -> None:
                try:
                    loop.call_soon_threadsafe(woken.set)
                except RuntimeError:
                    # The loop is closed.
                    pass

            done = task.poll(wake)
            if done is not None:
                return done[0]
            await woken.wait()
    finally:
        task.cancel()
