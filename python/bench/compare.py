"""procession beside its rivals, in one run: medians of interleaved rounds, and what each row is to reach.

    python bench/compare.py                    # all rows
    python bench/compare.py --quick python/q   # a short run of those whose names begin so

``make bench`` builds the wheel that is for others, installs the rivals, and runs this. What is not installed is a row without a
figure. Only ratios of one run count. ``--json FILE`` writes the rows, too.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import importlib
import json
import multiprocessing
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import procession

context: Any = multiprocessing.get_context("fork")
ROUNDS, QUICK_ROUNDS = 7, 3
LONG = 60.0

Measure = Callable[[float], float]
"""Seconds of one thing, for so many times the usual number of them."""


class Row(NamedTuple):
    name: str
    ours: Measure
    rival_name: str
    rival: Measure | None
    """None if it is not installed."""
    at_least: float
    unit: str = "ns/op"


UNITS = {"ns/op": 1e9, "us": 1e6, "ms": 1e3}


# What is measured


def times(usual: int, share: float) -> int:
    return max(10, round(usual * share))


def pairs(lock: Any, share: float) -> float:
    """An acquire and a release."""
    acquire, release, count = lock.acquire, lock.release, times(200_000, share)
    began = time.perf_counter()
    for _ in range(count):
        acquire()
        release()
    return (time.perf_counter() - began) / count


def blocks(lock: Any, share: float) -> float:
    """A ``with``."""
    count = times(200_000, share)
    began = time.perf_counter()
    for _ in range(count):
        with lock:
            pass
    return (time.perf_counter() - began) / count


def hammer(lock: Any, seconds: float, start: Any, counted: Any) -> None:
    acquire, release, count = lock.acquire, lock.release, 0
    start.wait()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in range(500):
            acquire()
            release()
        count += 500
    counted.put(count)


def hammered(make: Callable[[], Any], processes: int) -> Measure:
    """An acquire and a release, when so many processes do it at the same time."""

    def measure(share: float) -> float:
        lock, start, counted, seconds = make(), context.Barrier(processes), context.SimpleQueue(), max(0.1, 0.5 * share)
        workers = [context.Process(target=hammer, args=(lock, seconds, start, counted)) for _ in range(processes)]
        for worker in workers:
            worker.start()
        count = sum(counted.get() for _ in workers)
        for worker in workers:
            worker.join()
        return seconds / float(count)

    return measure


def produce(put: Callable[[Any], None], item: Any, count: int) -> None:
    for _ in range(count):
        put(item)


def through(make: Callable[[], tuple[Callable[[Any], None], Callable[[], Any]]], item: Any, usual: int) -> Measure:
    """An item from one process to another."""

    def measure(share: float) -> float:
        (put, get), count = make(), times(usual, share)
        worker = context.Process(target=produce, args=(put, item, count + 1))
        worker.start()
        get()
        began = time.perf_counter()
        for _ in range(count):
            get()
        took = (time.perf_counter() - began) / count
        worker.join()
        return took

    return measure


def echo(recv: Callable[[], Any], send: Callable[[Any], None]) -> None:
    while (item := recv()) is not None:
        send(item)


def there_and_back(pipe: Callable[[], tuple[Any, Any]], item: Any) -> Measure:
    """An item to another process and back."""

    def measure(share: float) -> float:
        (mine, its), count = pipe(), times(10_000, share)
        worker = context.Process(target=echo, args=(its.recv, its.send))
        worker.start()
        mine.send(item)
        mine.recv()
        began = time.perf_counter()
        for _ in range(count):
            mine.send(item)
            mine.recv()
        took = (time.perf_counter() - began) / count
        mine.send(None)
        worker.join()
        return took

    return measure


def same(n: int) -> int:
    return n


def tasks(make: Callable[[], Any]) -> Measure:
    """A task of nothing, of many."""

    def measure(share: float) -> float:
        count = times(2_000, share)
        with make() as executor:
            for future in [executor.submit(same, n) for n in range(20)]:
                future.result(LONG)
            began = time.perf_counter()
            for future in [executor.submit(same, n) for n in range(count)]:
                future.result(LONG)
            return (time.perf_counter() - began) / count

    return measure


def tasks_of_pool(share: float) -> float:
    count = times(2_000, share)
    with context.Pool(2) as pool:
        pool.map(same, range(20))
        began = time.perf_counter()
        for result in [pool.apply_async(same, (n,)) for n in range(count)]:
            result.get(LONG)
        return (time.perf_counter() - began) / count


def interrupted(wait: Callable[[], Any], ready: Any, when: Any) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    ready.set()
    try:
        wait()
    except KeyboardInterrupt:
        when.put(time.monotonic())


def ctrl_c(make: Callable[[], Callable[[], Any]]) -> Measure:
    """From SIGINT to the KeyboardInterrupt of a process that waits."""

    def measure(share: float) -> float:
        took = []
        for _ in range(times(20, share)):
            ready, when = context.Event(), context.SimpleQueue()
            worker = context.Process(target=interrupted, args=(make(), ready, when))
            worker.start()
            ready.wait()
            until_asleep(worker.pid)
            sent = time.monotonic()
            os.kill(worker.pid, signal.SIGINT)
            took.append(float(when.get()) - sent)
            worker.join()
        return statistics.median(took)

    return measure


def until_asleep(pid: int) -> None:
    quiet = 0
    while quiet < 3:
        with open(f"/proc/{pid}/stat") as stat:
            quiet = quiet + 1 if stat.read().rsplit(")", 1)[1].split()[0] == "S" else 0
        time.sleep(0.002)


def waits_for_lock() -> Callable[[], Any]:
    lock = procession.Lock()
    lock.acquire()
    return lambda: lock.acquire()


def waits_for_queue() -> Callable[[], Any]:
    queue = procession.Queue()
    return lambda: queue.get()


# Who is compared


def rival(module: str) -> Any:
    """A module that may not be installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return None


fast, posix, loky = rival("faster_fifo"), rival("posix_ipc"), rival("loky")


def our_queue(as_bytes: bool = False) -> tuple[Any, Any]:
    queue = procession.Queue(codec="bytes" if as_bytes else "pickle")
    return (queue.put_bytes, queue.get_bytes) if as_bytes else (queue.put, queue.get)


def mp_queue() -> tuple[Any, Any]:
    queue = context.Queue()
    return queue.put, queue.get


def fifo() -> tuple[Any, Any]:
    queue = fast.Queue(10_000_000)
    return lambda item: queue.put(item, timeout=LONG), lambda: queue.get(timeout=LONG)


def mp_pipe_bytes() -> tuple[Any, Any]:
    reader, writer = context.Pipe(duplex=False)
    return writer.send_bytes, reader.recv_bytes


def our_pipe_bytes() -> tuple[Any, Any]:
    reader, writer = procession.Pipe(duplex=False, codec="bytes")
    return writer.send_bytes, reader.recv_bytes


def posix_semaphore() -> Any:
    semaphore = posix.Semaphore(None, posix.O_CREX, initial_value=1)
    semaphore.unlink()
    return semaphore


def posix_queue() -> tuple[Any, Any]:
    queue = posix.MessageQueue(None, posix.O_CREX, max_messages=10, max_message_size=128)
    queue.unlink()
    return queue.send, lambda: queue.receive()[0]


def if_there(module: Any, measure: Measure) -> Measure | None:
    return measure if module else None


def rows() -> list[Row]:
    small, three, large = 7, {"a": 1, "b": "two", "c": 3.0}, b"x" * 65536

    def queues(name: str, ours: Measure, item: Any, usual: int, at_least: float) -> list[Row]:
        theirs = through(mp_queue, item, usual // 4)
        fifos = if_there(fast, through(fifo, item, usual // 4))
        return [
            Row(f"python/{name}", ours, "multiprocessing.Queue", theirs, at_least),
            Row(f"python/{name}", ours, "faster-fifo", fifos, at_least),
        ]

    ints, dicts = through(our_queue, small, 200_000), through(our_queue, three, 100_000)
    objects, octets = through(our_queue, large, 20_000), through(lambda: our_queue(True), large, 20_000)
    hundred = through(lambda: our_queue(True), b"x" * 100, 200_000)
    executor = tasks(lambda: procession.Executor(2))
    return [
        Row("python/lock-pair", lambda n: pairs(procession.Lock(), n), "multiprocessing.Lock", lambda n: pairs(context.Lock(), n), 0.85),
        Row("python/lock-pair", lambda n: pairs(procession.Lock(), n), "posix_ipc.Semaphore", if_there(posix, lambda n: pairs(posix_semaphore(), n)), 1.0),
        Row("python/lock-with", lambda n: blocks(procession.Lock(), n), "multiprocessing.Lock", lambda n: blocks(context.Lock(), n), 1.9),
        Row("python/lock-contended-2", hammered(procession.Lock, 2), "multiprocessing.Lock", hammered(context.Lock, 2), 3.0),
        Row("python/lock-contended-4", hammered(procession.Lock, 4), "multiprocessing.Lock", hammered(context.Lock, 4), 3.0),
        *queues("queue-int", ints, small, 200_000, 10.0),
        *queues("queue-dict", dicts, three, 100_000, 5.0),
        *queues("queue-64KiB", objects, large, 20_000, 2.0),
        *queues("queue-64KiB-bytes", octets, large, 20_000, 4.0),
        Row("python/queue-64KiB-bytes", octets, "Pipe.send_bytes", through(mp_pipe_bytes, large, 10_000), 4.0),
        Row("python/queue-100-bytes", hundred, "posix_ipc.MessageQueue", if_there(posix, through(posix_queue, b"x" * 100, 50_000)), 1.0),
        Row("python/pipe-64KiB-bytes", through(our_pipe_bytes, large, 10_000), "Pipe.send_bytes", through(mp_pipe_bytes, large, 10_000), 1.0),
        Row("python/pipe-there-and-back", there_and_back(procession.Pipe, small), "multiprocessing.Pipe", there_and_back(context.Pipe, small), 1.0, "us"),
        Row("python/executor", executor, "ProcessPoolExecutor", tasks(lambda: concurrent.futures.ProcessPoolExecutor(2)), 4.0, "us"),
        Row("python/executor", executor, "loky", if_there(loky, tasks(lambda: loky.ProcessPoolExecutor(2))), 4.0, "us"),
        Row("python/executor", executor, "Pool.apply_async", tasks_of_pool, 1.0, "us"),
        Row("python/ctrl-c-lock", ctrl_c(waits_for_lock), "5 ms", lambda _: 0.005, 1.0, "ms"),
        Row("python/ctrl-c-queue", ctrl_c(waits_for_queue), "5 ms", lambda _: 0.005, 1.0, "ms"),
    ]


# The table, as that of `procession-bench`


def line(case: str, ours: str, who: str, theirs: str, unit: str, better: str, at_least: str, met: str) -> None:
    print(f"{case:<29}{ours:>12}  {who:<22}{theirs:>12}  {unit:<6}{better:>13}{at_least:>10}  {met:<3}", flush=True)


def figure(value: float | None) -> str:
    """Four digits or all of the whole ones, in groups of three."""
    if value is None:
        return "-"
    digits = 3 if value < 10 else 2 if value < 100 else 1 if value < 1000 else 0
    return f"{value:,.{digits}f}".replace(",", " ")


def measured(row: Row, rounds: int, share: float) -> dict[str, Any]:
    """One row: the sides take turns, so that what else the machine does is in both."""
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(rounds):
        ours.append(row.ours(share))
        if row.rival:
            theirs.append(row.rival(share))
    mine, its = statistics.median(ours), statistics.median(theirs) if theirs else None
    better = its / mine if its is not None else None
    met = "-" if better is None else "yes" if better >= row.at_least else "NO"
    scale = UNITS[row.unit]
    shown = None if its is None else scale * its
    line(
        row.name, figure(scale * mine), row.rival_name, figure(shown), row.unit,
        "-" if better is None else f"{better:.2f}", f"{row.at_least:.2f}", met,
    )  # fmt: skip
    if row.rival is None:
        print(f"    {row.rival_name} is not installed (pip could not, or was not asked to)")
    return {"case": row.name, "ours": scale * mine, "rival": row.rival_name, "rival_value": shown, "unit": row.unit, "times_better": better}


def main() -> None:
    parser = argparse.ArgumentParser(description="procession beside its rivals, in Python")
    parser.add_argument("prefix", nargs="?", default="", help="the rows whose names begin so")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and shorter ones")
    parser.add_argument("--json", metavar="FILE", help="where to write the rows, too")
    asked = parser.parse_args()
    line("case", "ours", "rival", "rival's", "unit", "times better", "at least", "met")
    rounds, share = (QUICK_ROUNDS, 0.2) if asked.quick else (ROUNDS, 1.0)
    entries = [measured(row, rounds, share) for row in rows() if row.name.startswith(asked.prefix)]
    if not entries:
        sys.exit(f"no row begins with {asked.prefix!r}")
    if asked.json:
        os.makedirs(os.path.dirname(asked.json) or ".", exist_ok=True)
        with open(asked.json, "w") as file:
            json.dump(entries, file, indent=2)
            file.write("\n")


if __name__ == "__main__":
    main()
