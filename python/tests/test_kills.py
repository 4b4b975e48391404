"""Workers are killed wherever they are, again and again: nothing hangs, and nothing is lost."""

from __future__ import annotations

import random
import signal
import time
from typing import Any

import procession
import pytest
from actors import LONG, context, work_on_all

ROUNDS = 40


@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_workers_that_are_killed_anywhere(method: str) -> None:
    jobs, done = procession.JoinableQueue(), procession.Queue(bytes=1 << 22)
    lock, permits = procession.Lock(on_owner_death="ignore"), procession.Semaphore(2)
    totals = procession.Array("q", 2)
    count = 300
    jobs.put_many(range(count))
    workers: list[Any] = []
    chance = random.Random(7)
    for _ in range(ROUNDS):
        while len(workers) < 2:
            worker = context(method).Process(target=work_on_all, args=(jobs, done, lock, permits, totals))
            worker.start()
            workers.append(worker)
        time.sleep(chance.uniform(0, 0.02))
        victim = workers.pop(chance.randrange(len(workers)))
        victim.kill()
        victim.join(LONG)
        assert victim.exitcode == -signal.SIGKILL
    # Two that are left alone do the rest.
    while len(workers) < 2:
        worker = context(method).Process(target=work_on_all, args=(jobs, done, lock, permits, totals))
        worker.start()
        workers.append(worker)
    assert jobs.join(LONG)
    assert jobs.unfinished == 0 and not jobs.dead_letters()
    # At least once each: what was done and not acknowledged is done again.
    assert set(done.get_many(10**6)) == set(range(count))
    # A change is whole, or was not made.
    first, second = totals[:]
    assert first == second >= count
    for worker in workers:
        worker.kill()
        worker.join(LONG)
    assert permits.acquire(timeout=LONG, n=2) and lock.acquire(timeout=LONG)
    permits.release(2)
    lock.release()
