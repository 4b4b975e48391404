from __future__ import annotations

import pickle
import threading
import time

import procession
import pytest
from actors import LONG, actor
from procession import Lock, RLock, RwLock

SHORT = 0.05


@pytest.mark.parametrize("kind", [Lock, RLock])
def test_acquire_release_and_what_they_answer(kind: type[Lock]) -> None:
    lock = kind()
    assert lock.acquire() is True
    assert lock.locked() and lock.holder() is not None
    elsewhere: list[bool] = []
    thread = threading.Thread(
        target=lambda: elsewhere.extend([lock.acquire(False), lock.acquire(True, SHORT), lock.acquire(timeout=-1)])
    )
    thread.start()
    thread.join()
    assert elsewhere == [False, False, False]
    assert lock.release() is None  # type: ignore[func-returns-value]
    with pytest.raises(ValueError, match="does not hold"):
        lock.release()
    with pytest.raises(AssertionError):
        lock.release()
    with lock as entered:
        assert entered is True
    assert not lock.locked() and lock.holder() is None and not lock.inconsistent


def test_a_thread_that_would_wait_for_itself_is_told() -> None:
    lock = Lock()
    lock.acquire()
    assert not lock.acquire(block=False)
    began = time.monotonic()
    assert not lock.acquire(timeout=SHORT)
    assert time.monotonic() - began >= SHORT
    with pytest.raises(procession.Deadlock, match="holds it already"):
        lock.acquire()
    lock.release()


def test_a_recursive_lock_is_released_as_often_as_acquired() -> None:
    lock = RLock()
    with lock, lock:
        assert lock.acquire(block=False)
        lock.release()
    assert not lock.locked()
    with pytest.raises(procession.NotHeld):
        lock.release()


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_a_killed_holder_is_reported_until_somebody_recovers(kind: str, name: str) -> None:
    lock: Lock | RLock = getattr(procession, kind)(name)
    with actor(f"lock = procession.{kind}(sys.argv[1]); lock.acquire(); say('held'); time.sleep(600)", name) as other:
        assert other.says() == "held"
        assert lock.acquire(timeout=0.01) is False
        holder = lock.holder()
        assert holder and holder.pid == other.pid and not holder.is_dead
        other.kill()
    for _ in range(2):
        with pytest.raises(procession.OwnerDied, match=name) as raised:
            lock.acquire()
        assert raised.value.pid == other.pid
    assert lock.inconsistent and not lock.locked()
    assert "died" in repr(lock)
    assert lock.recover(timeout=LONG)
    lock.release()
    with lock:
        assert lock.owner_deaths == 1


def test_a_waiter_is_told_of_the_death_while_it_waits(name: str) -> None:
    lock = Lock(name)
    with actor("lock = procession.Lock(sys.argv[1]); lock.acquire(); say('held'); time.sleep(600)", name) as other:
        other.says()
        timer = threading.Timer(SHORT, other.process.kill)
        timer.start()
        with pytest.raises(procession.OwnerDied):
            lock.acquire(timeout=LONG)
        timer.join()


def test_deaths_can_be_ignored(name: str) -> None:
    lock = Lock(name, on_owner_death="ignore")
    with actor("lock = procession.Lock(sys.argv[1]); lock.acquire(); say('held'); time.sleep(600)", name) as other:
        other.says()
        other.kill()
    assert lock.acquire(timeout=LONG)
    lock.release()
    with pytest.raises(ValueError, match="'report' or 'ignore'"):
        Lock(on_owner_death="shrug")  # type: ignore[arg-type]


def test_names_meet_or_are_refused(name: str) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        Lock(name, create=False)
    one = Lock(name, create=True)
    with pytest.raises(FileExistsError, match="exists already"):
        Lock(name, create=True)
    other = Lock(name)
    assert other.name == one.name == name
    with one:
        assert not other.acquire(block=False)
    with pytest.raises(procession.Mismatch, match="is a lock, not an event"):
        procession.Event(name)
    one.unlink()
    with pytest.raises(procession.NotFound):
        one.unlink()
    for bad in ("", "a/b", "x" * 300):
        with pytest.raises(procession.InvalidName):
            Lock(bad)
    with pytest.raises(ValueError):
        Lock(namespace="no such/thing")


def test_objects_are_pickled_as_what_they_are_called() -> None:
    lock = Lock()
    same: Lock = pickle.loads(pickle.dumps(lock))
    with lock:
        assert not same.acquire(block=False)
    message = pickle.dumps(lock)
    del lock, same
    with pytest.raises(procession.Gone):
        pickle.loads(message)


def test_readers_share_and_writers_do_not(name: str) -> None:
    lock = RwLock(name)
    code = "lock = procession.RwLock(sys.argv[1]); lock.acquire_{}(); say('held'); time.sleep(600)"
    with actor(code.format("read"), name) as reader:
        reader.says()
        with lock.reading():
            assert {holder.pid for holder in lock.readers()} >= {reader.pid}
        assert not lock.acquire_write(timeout=SHORT)
        reader.kill()
    assert lock.acquire_write(timeout=LONG)
    assert not Elsewhere(lambda: lock.acquire_read(block=False)).said
    lock.release()
    with actor(code.format("write"), name) as writer:
        writer.says()
        assert not lock.acquire_read(timeout=SHORT)
        found = lock.writer()
        assert found and found.pid == writer.pid
        writer.kill()
    with pytest.raises(procession.OwnerDied):
        lock.acquire_read()
    assert lock.recover()
    lock.release()
    with lock.writing():
        assert "written by" in repr(lock)
        # As with Lock: a thread that waits for itself is told so, or waits its time.
        assert not lock.acquire_write(block=False) and not lock.acquire_read(timeout=SHORT)
        assert not lock.acquire_write(timeout=SHORT) and not lock.recover(timeout=SHORT)
        with pytest.raises(procession.Deadlock):
            lock.acquire_write()
    with pytest.raises(procession.NotHeld):
        lock.release()


class Elsewhere:
    """What a function says in another thread."""

    def __init__(self, function: object) -> None:
        self.said: object = None

        def run() -> None:
            self.said = function()  # type: ignore[operator]

        thread = threading.Thread(target=run)
        thread.start()
        thread.join(LONG)


def hold_once(lock: Lock) -> None:
    with lock:
        pass


def test_other_threads_go_on_while_one_waits() -> None:
    lock = Lock()
    lock.acquire()
    waiting = threading.Thread(target=hold_once, args=(lock,))
    waiting.start()
    count = 0
    while count < 10_000:
        count += 1
    assert waiting.is_alive()
    lock.release()
    waiting.join(LONG)
    assert not waiting.is_alive()


def test_what_a_block_raises_counts() -> None:
    lock = Lock()
    with pytest.raises(KeyError):
        with lock:
            lock.release()
            raise KeyError("mine")
    with pytest.raises(KeyError):
        with lock:
            raise KeyError("released, and whole")
    assert not lock.inconsistent and not lock.locked()
    with pytest.raises(ValueError, match="NaN"):
        with lock:
            Elsewhere(lambda: None)
            lock.acquire(timeout=float("nan"))
