"""A wheel tried on one Python: ``python try_wheel.py``, where it is installed, with nothing else.

Locks, a queue and numbers go to children of each start method, one of which is killed; at the end nothing is left.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import signal
import tempfile
from pathlib import Path
from typing import Any

NAMESPACE = os.environ.setdefault("PROCESSION_NAMESPACE", f"wheel-{os.getpid()}")

import procession  # noqa: E402

LONG = 60.0


def count(lock: procession.Lock, value: procession.Value, jobs: procession.Queue, done: procession.Queue) -> None:
    while (job := jobs.get(timeout=LONG)) is not None:
        with lock:
            value.value += job
        done.put(job)


def die(lock: procession.Lock) -> None:
    lock.acquire()
    os.kill(os.getpid(), signal.SIGKILL)


def try_method(method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    lock, value, jobs, done = procession.Lock(), procession.Value("i", 0), procession.Queue(), procession.Queue()
    children = [context.Process(target=count, args=(lock, value, jobs, done)) for _ in range(2)]
    for child in children:
        child.start()
    jobs.put_many([*range(100), None, None])
    for child in children:
        child.join(LONG)
        assert child.exitcode == 0, child.exitcode
    assert value.value == sum(range(100)) and sorted(done.get_many(100)) == list(range(100))
    victim = context.Process(target=die, args=(lock,))
    victim.start()
    victim.join(LONG)
    try:
        lock.acquire(timeout=LONG)
    except procession.OwnerDied as died:
        assert died.pid == victim.pid
    else:
        raise AssertionError("nobody said that the holder was killed")
    assert lock.recover(timeout=LONG)
    lock.release()


def main() -> None:
    methods = multiprocessing.get_all_start_methods()
    for method in methods:
        try_method(method)
    procession.gc()
    left = [name for name in os.listdir("/dev/shm") if NAMESPACE in name and not name.endswith((".registry", NAMESPACE))]
    assert not left, left
    where = Path(procession.__file__).parent
    print(f"CPython {platform.python_version()}: {', '.join(methods)}: the wheel works ({where})")


if __name__ == "__main__":
    os.chdir(tempfile.gettempdir())
    main()
