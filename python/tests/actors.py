"""Other processes, as tests need them: programs of a few lines, and functions for multiprocessing."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import procession

LONG = 60.0
"""Seconds after which something has gone wrong."""


class Actor:
    """A Python program that says a line when it has come to a point."""

    def __init__(self, code: str, *arguments: str) -> None:
        # What a shell has started in the background has Ctrl-C ignored, and Python leaves it so.
        preamble = textwrap.dedent(
            """
            import os, signal, sys, threading, time
            import procession
            signal.signal(signal.SIGINT, signal.default_int_handler)
            say = lambda *w: print(*w, flush=True)
            """
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", preamble + textwrap.dedent(code), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def says(self) -> str:
        """The next line it says; what it wrote to stderr if it has ended instead."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            _, errors = self.process.communicate(timeout=LONG)
            raise AssertionError(f"the other process ended with {self.process.returncode}:\n{errors}")
        return line.strip()

    def told(self, line: str = "") -> None:
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(LONG)

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def ends(self, code: int = 0) -> tuple[str, str]:
        """What it wrote until its end."""
        out, errors = self.process.communicate(timeout=LONG)
        assert self.process.returncode == code, errors
        return out, errors


@contextmanager
def actor(code: str, *arguments: str) -> Iterator[Actor]:
    """Another process, which is killed at the end if it has not ended."""
    other = Actor(code, *arguments)
    try:
        yield other
    finally:
        if other.process.poll() is None:
            other.kill()
        for pipe in (other.process.stdin, other.process.stdout, other.process.stderr):
            close(pipe)


def close(pipe: IO[str] | None) -> None:
    if pipe:
        try:
            pipe.close()
        except BrokenPipeError:
            pass


def context(method: str) -> Any:
    """What multiprocessing has for a start method; its stubs do not say that this has a Process."""
    return multiprocessing.get_context(method)


def until_asleep(pid: int) -> None:
    """Wait until the main thread of a process sleeps in the kernel: it has come to where it waits."""
    import time

    end = time.monotonic() + LONG
    quiet = 0
    while quiet < 3:
        with open(f"/proc/{pid}/task/{pid}/stat") as stat:
            state = stat.read().rsplit(")", 1)[1].split()[0]
        quiet = quiet + 1 if state == "S" else 0
        assert time.monotonic() < end, "the other process does not sleep"
        time.sleep(0.005)


# What children of multiprocessing run: functions of a module, which each start method finds.


def count_under(lock: Any, counter: Any, times: int) -> None:
    for _ in range(times):
        with lock:
            counter.value += 1


def die_holding(lock: Any) -> None:
    lock.acquire()
    os.kill(os.getpid(), signal.SIGKILL)


def use_all(objects: dict[str, Any]) -> None:
    """Do a little with each kind of object."""
    with objects["lock"], objects["rlock"], objects["rlock"]:
        pass
    with objects["rwlock"].reading():
        pass
    with objects["rwlock"].writing():
        pass
    with objects["semaphore"]:
        pass
    with objects["bounded"]:
        pass
    objects["signal"].release()
    with objects["condition"] as _:
        objects["condition"].notify_all()
    objects["event"].set()
    objects["latch"].arrive()
    assert objects["once"].run(lambda: None)
    objects["barrier"].wait(LONG)


def make_all() -> dict[str, Any]:
    return {
        "lock": procession.Lock(),
        "rlock": procession.RLock(),
        "rwlock": procession.RwLock(),
        "semaphore": procession.Semaphore(2),
        "bounded": procession.BoundedSemaphore(2),
        "signal": procession.Semaphore(0, handoff=True),
        "condition": procession.Condition(),
        "event": procession.Event(),
        "latch": procession.Latch(1),
        "once": procession.Once(),
        "barrier": procession.Barrier(2),
    }


def echo(there: procession.Queue, back: procession.Queue) -> None:
    while (item := there.get()) is not None:
        back.put(item)


def put_all(queue: procession.Queue, count: int, then_die: bool) -> None:
    for item in range(count):
        queue.put(item)
    if then_die:
        os.kill(os.getpid(), signal.SIGKILL)


def work_until_none(queue: procession.JoinableQueue) -> None:
    while queue.get() is not None:
        queue.task_done()
    queue.task_done()


def echo_by_pipe(end: procession.Connection) -> None:
    while (item := end.recv()) is not None:
        end.send(item)
    end.close()


def send_and_die(end: procession.Connection) -> None:
    end.send("last words")
    os.kill(os.getpid(), signal.SIGKILL)


def add_to_all(
    memory: procession.SharedMemory, value: procession.Value, array: procession.Array, raw: procession.RawArray, times: int
) -> None:
    memory.buf[0] = 1
    for _ in range(times):
        with value.get_lock():
            value.value += 1
        with array.update() as numbers:
            for index in range(len(numbers)):
                numbers[index] += 1
        raw[0] += 1


def work_on_all(
    jobs: procession.JoinableQueue,
    done: procession.Queue,
    lock: procession.Lock,
    permits: procession.Semaphore,
    totals: procession.Array,
) -> None:
    while True:
        with jobs.lease() as job:
            with lock, permits:
                pass
            with totals.update() as numbers:
                numbers[0] += 1
                numbers[1] += 1
            done.put(job)
