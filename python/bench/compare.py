"""procession beside its rivals, in one run: how long things take, and how many times better each is.

    python bench/compare.py            # all rows
    python bench/compare.py queue      # those whose names contain this

Rivals that are not installed (faster-fifo, posix_ipc) are left out, and named at the end. Only ratios of one run count.
"""

from __future__ import annotations

import importlib
import multiprocessing
import sys
import time
from collections.abc import Callable
from typing import Any

import procession

context: Any = multiprocessing.get_context("fork")
MISSING: set[str] = set()


def rival(module: str) -> Any:
    """A module that may not be installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        MISSING.add(module)
        return None


def best(work: Callable[[], float], times: int = 3) -> float:
    """The shortest of several runs."""
    return min(work() for _ in range(times))


def pairs(lock: Any, count: int = 200_000) -> float:
    """Seconds for an acquire and a release."""
    acquire, release = lock.acquire, lock.release
    began = time.perf_counter()
    for _ in range(count):
        acquire()
        release()
    return (time.perf_counter() - began) / count


def blocks(lock: Any, count: int = 200_000) -> float:
    """Seconds for a ``with``."""
    began = time.perf_counter()
    for _ in range(count):
        with lock:
            pass
    return (time.perf_counter() - began) / count


def hammer(lock: Any, count: int, start: Any, took: Any) -> None:
    start.wait()
    took.put(pairs(lock, count))


def hammered(lock: Any, processes: int, count: int = 50_000) -> float:
    """Seconds for an acquire and a release, when so many processes do it."""
    start, took = context.Barrier(processes), context.SimpleQueue()
    workers = [context.Process(target=hammer, args=(lock, count, start, took)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    slowest = max(float(took.get()) for _ in workers)
    for worker in workers:
        worker.join()
    return slowest / processes


def produce(put: Callable[[Any], None], item: Any, count: int) -> None:
    for _ in range(count):
        put(item)


def through(put: Callable[[Any], None], get: Callable[[], Any], item: Any, count: int) -> float:
    """Seconds for an item from one process to another."""
    worker = context.Process(target=produce, args=(put, item, count + 1))
    worker.start()
    get()
    began = time.perf_counter()
    for _ in range(count):
        get()
    took = (time.perf_counter() - began) / count
    worker.join()
    return took


def row(name: str, ours: float, **theirs: float) -> None:
    against = ", ".join(f"{who} {1e9 * took:,.0f} ns ({took / ours:.2f})" for who, took in theirs.items())
    print(f"{name}: {1e9 * ours:,.0f} ns; {against}", flush=True)


def fifo(size: int = 10_000_000) -> Any:
    module = rival("faster_fifo")
    return module and module.Queue(size)


def queue_row(name: str, item: Any, count: int, as_bytes: bool = False) -> None:
    ours = procession.Queue(codec="bytes" if as_bytes else "pickle")
    put, get = (ours.put_bytes, ours.get_bytes) if as_bytes else (ours.put, ours.get)
    theirs = context.Queue()
    others = {"mp.Queue": best(lambda: through(theirs.put, theirs.get, item, count // 4))}
    if (fast := fifo()) is not None:
        others["faster-fifo"] = best(lambda: through(fast.put, lambda: fast.get(timeout=60), item, count // 4))
    row(name, best(lambda: through(put, get, item, count)), **others)


def main() -> None:
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    rows: dict[str, Callable[[str], None]] = {
        "lock alone": lambda name: row(
            name, best(lambda: pairs(procession.Lock())), **{"mp.Lock": best(lambda: pairs(context.Lock()))}
        ),
        "lock with": lambda name: row(
            name, best(lambda: blocks(procession.Lock())), **{"mp.Lock": best(lambda: blocks(context.Lock()))}
        ),
        "lock hammered by 2": lambda name: row(
            name, best(lambda: hammered(procession.Lock(), 2)), **{"mp.Lock": best(lambda: hammered(context.Lock(), 2))}
        ),
        "lock hammered by 4": lambda name: row(
            name, best(lambda: hammered(procession.Lock(), 4)), **{"mp.Lock": best(lambda: hammered(context.Lock(), 4))}
        ),
        "queue of small int": lambda name: queue_row(name, 7, 200_000),
        "queue of dict of three": lambda name: queue_row(name, {"a": 1, "b": "two", "c": 3.0}, 100_000),
        "queue of 64 KiB": lambda name: queue_row(name, b"x" * 65536, 20_000),
        "queue of 64 KiB, as bytes": lambda name: queue_row(name, b"x" * 65536, 20_000, as_bytes=True),
    }
    for name, work in rows.items():
        if wanted in name:
            work(name)
    if MISSING:
        print("not installed:", ", ".join(sorted(MISSING)))


if __name__ == "__main__":
    main()
