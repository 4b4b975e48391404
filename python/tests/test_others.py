from __future__ import annotations

import pickle
import threading
import time
from typing import Any

import procession
import pytest
from actors import LONG, actor
from procession import Barrier, BoundedSemaphore, BrokenBarrierError, Condition, Event, Latch, Lock, Once, RLock, Semaphore

SHORT = 0.05


def test_a_semaphore_counts() -> None:
    semaphore = Semaphore(2)
    assert semaphore.acquire() and semaphore.acquire() and semaphore.get_value() == 0 and semaphore.locked()
    assert not semaphore.acquire(False) and not semaphore.acquire(timeout=SHORT)
    [(holder, count)] = semaphore.holders()
    assert count == 2
    semaphore.release()
    semaphore.release()
    semaphore.release()
    assert semaphore.get_value() == 3
    assert semaphore.acquire(n=3) and not semaphore.acquire(False)
    semaphore.release(3)
    with semaphore:
        assert semaphore.get_value() == 2
    with pytest.raises(ValueError, match="max="):
        semaphore.acquire(n=5000)


def test_a_bounded_semaphore_is_exact() -> None:
    semaphore = BoundedSemaphore(1)
    with pytest.raises(ValueError, match="handoff=True"):
        semaphore.release()
    with semaphore:
        pass
    with pytest.raises(procession.ReleasedTooOften):
        semaphore.release()


def test_permits_of_the_dead_come_back(name: str) -> None:
    semaphore = Semaphore(1, name)
    with actor("s = procession.Semaphore(name=sys.argv[1]); s.acquire(); say('held'); time.sleep(600)", name) as other:
        other.says()
        assert not semaphore.acquire(block=False)
        threading.Timer(SHORT, other.process.kill).start()
        assert semaphore.acquire(timeout=LONG)
    semaphore.release()
    assert semaphore.get_value() == 1


def test_a_semaphore_as_a_signal_never_runs_dry(name: str) -> None:
    signal = Semaphore(0, name, handoff=True, max=4)
    code = """
        signal = procession.Semaphore(name=sys.argv[1], handoff=True)
        for _ in range(100): signal.acquire()
        say("done")
    """
    with actor(code, name) as other:
        for _ in range(100):
            while True:
                try:
                    signal.release()
                    break
                except procession.ReleasedTooOften:
                    time.sleep(0.001)
        assert other.says() == "done"
    same = pickle.loads(pickle.dumps(signal))
    assert same.handoff


@pytest.mark.parametrize("lock", [None, Lock, RLock])
def test_a_condition_wakes_as_many_as_it_is_told(lock: type[Lock] | None) -> None:
    condition = Condition(lock() if lock else None)
    woken: list[bool] = []

    def wait() -> None:
        with condition:
            woken.append(condition.wait(LONG))

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    while condition.waiters < 3:
        time.sleep(0.001)
    with condition:
        condition.notify(1)
    while len(woken) < 1:
        time.sleep(0.001)
    assert condition.waiters == 2
    with condition:
        condition.notify_all()
    for thread in threads:
        thread.join(LONG)
    assert woken == [True] * 3
    with condition:
        assert condition.wait(SHORT) is False
        assert condition.wait_for(lambda: 0, SHORT) == 0
        assert condition.wait_for(lambda: 7) == 7
    for call in (condition.notify, condition.notify_all, condition.wait):
        with pytest.raises(AssertionError):
            call()
    with pytest.raises(TypeError, match="procession.Lock"):
        Condition(threading.Lock())  # type: ignore[arg-type]


def test_a_recursive_lock_is_let_go_over_all_levels() -> None:
    condition = Condition()
    with condition, condition:
        def notify() -> None:
            with condition:
                condition.notify()

        notifier = threading.Thread(target=notify)
        notifier.start()
        assert condition.wait(LONG)
        notifier.join(LONG)
        condition.release()
        condition.acquire()
    assert not condition.lock.locked()


def test_the_death_of_who_would_notify_is_told(name: str) -> None:
    condition = Condition(name=name)
    code = """
        condition = procession.Condition(name=sys.argv[1])
        condition.acquire(); say("held"); time.sleep(600)
    """
    condition.acquire()
    with actor(code, name) as other:
        def kill() -> None:
            other.says()
            other.kill()

        threading.Thread(target=kill).start()
        with pytest.raises(procession.OwnerDied):
            with condition:
                condition.wait(LONG)
    # Taken twice by this thread, and all of it lost.
    with pytest.raises(procession.NotHeld):
        condition.release()


def test_an_event_is_set_and_cleared(name: str) -> None:
    event = Event(name)
    assert not event.wait(0) and not event.wait(SHORT) and not event.is_set()
    assert event.wait_cleared(0)
    with actor("e = procession.Event(sys.argv[1]); sys.stdin.readline(); e.set(); say('set')", name) as other:
        other.told()
        assert event.wait(LONG)
        other.says()
    assert event.is_set() and event.wait() and not event.wait_cleared(SHORT)
    event.clear()
    assert "unset" in repr(event)
    with actor("e = procession.Event(sys.argv[1]); e.set_owned(); say('set'); time.sleep(600)", name) as other:
        other.says()
        owner = event.owner()
        assert owner and owner.pid == other.pid
        with pytest.raises(procession.Error, match="as long as that lives"):
            event.set_owned()
        other.kill()
        assert event.wait_cleared(LONG)


def test_a_latch_opens_for_ever() -> None:
    latch = Latch(2)
    assert latch.arrive() == 0 and not latch.wait(SHORT) and not latch.is_open()
    threading.Timer(SHORT, latch.arrive).start()
    assert latch.wait() and latch.wait(0) and latch.arrived == latch.count == 2


def test_what_is_done_once_is_done_again_after_a_failure() -> None:
    once, calls = Once(), []

    def fails() -> None:
        calls.append("failed")
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        once.run(fails)
    assert not once.is_done()
    assert once.run(lambda: calls.append("done"), on_again=lambda: calls.append("again"))
    assert calls == ["failed", "again", "done"]
    assert not once.run(fails) and once.is_done()
    itself = Once()
    with pytest.raises(procession.Deadlock):
        itself.run(lambda: itself.run(fails))


def test_a_barrier_lets_all_go_or_none() -> None:
    actions: list[int] = []
    barrier = Barrier(2, action=lambda: actions.append(1), timeout=LONG)
    order: list[int] = []
    thread = threading.Thread(target=lambda: order.append(barrier.wait()))
    thread.start()
    order.append(barrier.wait())
    thread.join()
    assert sorted(order) == [0, 1] and actions == [1]
    with pytest.raises(threading.BrokenBarrierError) as raised:
        barrier.wait(SHORT)
    assert isinstance(raised.value, BrokenBarrierError) and raised.value.cause == "timed_out"
    assert barrier.broken and barrier.cause == "timed_out"
    barrier.reset()
    barrier.abort()
    with pytest.raises(BrokenBarrierError, match=r"abort\(\)"):
        barrier.wait()


def fails_in_action() -> None:
    raise KeyError("mine")


def test_what_an_action_raises_is_raised_where_it_ran() -> None:
    original = Barrier(1, action=fails_in_action)
    barrier = pickle.loads(pickle.dumps(original))
    with pytest.raises(KeyError, match="mine"):
        barrier.wait()
    assert barrier.cause == "action_failed"


def test_a_member_that_dies_breaks_the_barrier(name: str) -> None:
    barrier = Barrier(2, name=name)
    code = "b = procession.Barrier(2, name=sys.argv[1]); m = b.join(); say('joined'); time.sleep(600)"
    with actor(code, name) as other:
        other.says()
        with barrier.join() as member:
            with pytest.raises(procession.Error, match="places"):
                barrier.join()
            threading.Timer(SHORT, other.process.kill).start()
            with pytest.raises(BrokenBarrierError) as raised:
                member.wait()
            assert (raised.value.cause, raised.value.pid) == ("peer_died", other.pid)
    with pytest.raises(procession.NotHeld):
        member.wait()
    alone: Any = Barrier(1)
    with alone.join() as member:
        assert member.wait() == 0
