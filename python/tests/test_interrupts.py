"""Ctrl-C ends every wait, and a handler that raises nothing ends none."""

from __future__ import annotations

import time

import pytest
from actors import actor, until_asleep

# For each call that waits: what it waits for, with nobody to come.
WAITS = {
    "Lock.acquire": "o = procession.Lock(); held_elsewhere(o)",
    "Lock.recover": "o = procession.Lock(); held_elsewhere(o); call = o.recover",
    "RLock.acquire": "o = procession.RLock(); held_elsewhere(o)",
    "Lock.acquire its own, with a timeout": "o = procession.Lock(); o.acquire(); call = lambda: o.acquire(timeout=600)",
    "with Lock": "o = procession.Lock(); held_elsewhere(o); call = o.__enter__",
    "RwLock.acquire_read": "o = procession.RwLock(); held_elsewhere(o, o.acquire_write); call = o.acquire_read",
    "RwLock.acquire_write": "o = procession.RwLock(); held_elsewhere(o, o.acquire_read); call = o.acquire_write",
    "Semaphore.acquire": "o = procession.Semaphore(0)",
    "Semaphore.acquire many": "o = procession.Semaphore(1); call = lambda: o.acquire(n=2)",
    "Condition.wait": "o = procession.Condition(); o.acquire(); call = o.wait",
    "Condition.wait with a Lock": "o = procession.Condition(procession.Lock()); o.acquire(); call = o.wait",
    "Condition.wait_for": "o = procession.Condition(); o.acquire(); call = lambda: o.wait_for(lambda: False)",
    "Event.wait": "o = procession.Event(); call = o.wait",
    "Event.wait with a timeout": "o = procession.Event(); call = lambda: o.wait(600)",
    "Event.wait_cleared": "o = procession.Event(); o.set(); call = o.wait_cleared",
    "Latch.wait": "o = procession.Latch(1); call = o.wait",
    "Barrier.wait": "o = procession.Barrier(2); call = o.wait",
    "BarrierMember.wait": "o = procession.Barrier(2).join(); call = o.wait",
    "Queue.get": "o = procession.Queue(); call = o.get",
    "Queue.get with a timeout": "o = procession.Queue(); call = lambda: o.get(timeout=600)",
    "Queue.put": "o = procession.Queue(1); o.put(1); call = lambda: o.put(2)",
    "Queue.put of much": "o = procession.Queue(1); o.put(1); call = lambda: o.put(b'x' * 100_000)",
    "Queue.get_many": "o = procession.Queue(); call = lambda: o.get_many(5)",
    "Queue.put_many": "o = procession.Queue(1); call = lambda: o.put_many([1, 2])",
    "Queue.get_bytes": "o = procession.Queue(codec='bytes'); call = o.get_bytes",
    "Queue.get_bytes_into": "o = procession.Queue(codec='bytes'); call = lambda: o.get_bytes_into(bytearray(9))",
    "JoinableQueue.get": "o = procession.JoinableQueue(); call = o.get",
    "JoinableQueue.lease": "o = procession.JoinableQueue(); call = o.lease",
    "JoinableQueue.put": "o = procession.JoinableQueue(1); o.put(1); call = lambda: o.put(2)",
    "JoinableQueue.put_many": "o = procession.JoinableQueue(1); call = lambda: o.put_many([1, 2])",
    "JoinableQueue.get_many": "o = procession.JoinableQueue(); call = lambda: o.get_many(5)",
    "JoinableQueue.get_bytes": "o = procession.JoinableQueue(codec='bytes'); call = o.get_bytes",
    "JoinableQueue.get_bytes_into": "o = procession.JoinableQueue(codec='bytes'); call = lambda: o.get_bytes_into(bytearray(9))",
    "JoinableQueue.join": "o = procession.JoinableQueue(); o.put(1); call = o.join",
    "Connection.recv": "o, other = procession.Pipe(); call = o.recv",
    "Connection.poll": "o, other = procession.Pipe(); call = lambda: o.poll(None)",
    "Connection.send": "o, other = procession.Pipe(bytes=64); call = lambda: o.send(bytes(100_000))",
    "Array.update": "o = procession.Array('i', 1); held_elsewhere(o.get_lock()); call = o.update().__enter__",
    "Connection.recv_bytes": "o, other = procession.Pipe(); call = o.recv_bytes",
    "Connection.recv_bytes_into": "o, other = procession.Pipe(); call = lambda: o.recv_bytes_into(bytearray(9))",
    "Connection.send_bytes": "o, other = procession.Pipe(bytes=64); call = lambda: o.send_bytes(bytes(100_000))",
    "Queue.put_bytes": "o = procession.Queue(1, codec='bytes'); o.put_bytes(b'x'); call = lambda: o.put_bytes(b'x')",
    "JoinableQueue.put_bytes": "o = procession.JoinableQueue(1, codec='bytes'); o.put_bytes(b'x'); call = lambda: o.put_bytes(b'x')",
    "RLock.recover": "o = procession.RLock(); held_elsewhere(o); call = o.recover",
    "RwLock.recover": "o = procession.RwLock(); held_elsewhere(o, o.acquire_read); call = o.recover",
    "RwLock.reading": "o = procession.RwLock(); held_elsewhere(o, o.acquire_write); call = lambda: o.reading().__enter__()",
    "RwLock.writing": "o = procession.RwLock(); held_elsewhere(o, o.acquire_read); call = lambda: o.writing().__enter__()",
    "BoundedSemaphore.acquire": "o = procession.BoundedSemaphore(1); o.acquire()",
    "with Semaphore": "o = procession.Semaphore(0); call = o.__enter__",
    "Value.acquire": "o = procession.Value('i'); held_elsewhere(o)",
    "with Value": "o = procession.Value('i'); held_elsewhere(o); call = o.__enter__",
    "Value.update": "import ctypes\nclass P(ctypes.Structure): _fields_ = [('x', ctypes.c_int)]\no = procession.Value(P); held_elsewhere(o.get_lock()); call = o.update().__enter__",
    "Array.acquire": "o = procession.Array('i', 1); held_elsewhere(o)",
    "wait": "o = procession.Queue(); call = lambda: procession.wait([o, procession.Event()])",
    "Once.run": "o = procession.Once(); held_elsewhere(o, lambda: o.run(forever)); call = lambda: o.run(forever)",
}

PREAMBLE = """
call = None
def forever(): time.sleep(600)
def held_elsewhere(o, take=None):
    taken = threading.Event()
    def hold():
        if take:
            taken.set()
            take()
        else:
            o.acquire()
            taken.set()
        time.sleep(600)
    threading.Thread(target=hold, daemon=True).start()
    taken.wait()
    time.sleep(0.05 if take else 0)
"""

REST = """
call = call or o.acquire
say("ready")
try:
    call()
except KeyboardInterrupt:
    say("interrupted")
# Nothing of it is left.
if hasattr(o, "release") and isinstance(o, procession.Condition):
    o.release()
    try:
        o.release()
    except procession.NotHeld:
        say("held once")
say("end")
os._exit(0)
"""


@pytest.mark.parametrize("which", WAITS)
def test_ctrl_c_ends_the_wait(which: str) -> None:
    with actor(PREAMBLE + WAITS[which] + REST) as other:
        assert other.says() == "ready"
        until_asleep(other.pid)
        other.interrupt()
        assert other.says() == "interrupted"
        if which.startswith("Condition"):
            assert other.says() == "held once"
        assert other.says() == "end"


def test_a_handler_that_raises_nothing_leaves_the_wait_and_its_deadline() -> None:
    code = """
        signal.signal(signal.SIGINT, lambda *_: say("handled"))
        event = procession.Event()
        say("ready")
        began = time.monotonic()
        assert event.wait(0.5) is False
        assert time.monotonic() - began >= 0.5
        say("over")
    """
    with actor(code) as other:
        other.says()
        until_asleep(other.pid)
        for _ in range(3):
            other.interrupt()
            assert other.says() == "handled"
        assert other.says() == "over"


def test_a_barrier_is_not_broken_by_one_who_is_interrupted() -> None:
    code = """
        barrier = procession.Barrier(2)
        def other():
            say(barrier.wait())
        thread = threading.Thread(target=other)
        thread.start()
        while barrier.n_waiting < 1: time.sleep(0.001)
        big = procession.Barrier(3)
        threading.Thread(target=big.wait, daemon=True).start()
        while big.n_waiting < 1: time.sleep(0.001)
        say("ready")
        try:
            big.wait()
        except KeyboardInterrupt:
            # The other arrives again: its own wait goes on.
            while big.n_waiting < 1: time.sleep(0.001)
            say(big.n_waiting, big.broken)
        barrier.wait()
        thread.join()
        os._exit(0)
    """
    with actor(code) as other:
        assert other.says() == "ready"
        until_asleep(other.pid)
        other.interrupt()
        assert other.says() == "1 False"


def test_an_interpreter_ends_although_its_threads_wait() -> None:
    code = """
        event = procession.Event()
        for _ in range(4):
            threading.Thread(target=event.wait, daemon=True).start()
        time.sleep(0.3)
        say("end")
    """
    with actor(code) as other:
        other.says()
        began = time.monotonic()
        other.ends()
        assert time.monotonic() - began < 30
