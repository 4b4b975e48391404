from __future__ import annotations

import asyncio
import multiprocessing
import os
import pickle
import queue
import select
import signal
import socket
import threading
from array import array
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any

import procession
import pytest
from actors import LONG, actor, context, echo, put_all, work_until_none
from procession import JoinableQueue, Queue, Semaphore, _native

SHORT = 0.05
METHODS = multiprocessing.get_all_start_methods()


@dataclass
class Job:
    id: int
    what: str


PLAINEST: list[Any] = [
    None, True, False, 0, 7, 255, 256, 65535, 65536, -1, -(2**31), 2**31 - 1, 2**31, -(2**31) - 1, 2**63, 0.0, -0.0, 1.5,
    float("inf"), float("nan"), 1e-310, "", b"", b"x", b"." * 300, "täxt", "x" * 300, "\ud800", "\0\U0001f600", b"\x80\x05K\x01.",
]  # fmt: skip


class Whole(int):
    """No plain number."""


@pytest.mark.parametrize("obj", [*PLAINEST, Whole(3), signal.SIGINT], ids=repr)
def test_the_plainest_pickles_are_those_of_pickle(obj: Any) -> None:
    written = _native._encode("pickle", obj)
    read = [pickle.loads(written), _native._decode("pickle", written)]
    read += [_native._decode("pickle", pickle.dumps(obj, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    for again in read:
        assert type(again) is type(obj) and repr(again) == repr(obj)
    if obj is None or isinstance(obj, bool):
        assert again is obj


def test_what_begins_as_a_small_pickle_and_is_none_is_refused() -> None:
    for wrong in (b"", b"\x80", b"\x80\x05.", b"\x80\x05K.", b"\x80\x05K\x01\x02.", b"\x80\x05J\x01\x02.", b"\x80\x06N", b"N", b"\x80\x05B\x02\0\0\0a.", b"\x80\x05X\x01\0\0\0\xff."):
        with pytest.raises((pickle.UnpicklingError, EOFError, IndexError, ValueError)):
            _native._decode("pickle", wrong)


OBJECTS: list[Any] = [None, 7, -(2**100), 1.5, True, "text", b"bytes", [1, "a"], (1, 2), {"a": [1, {"b": None}]}, {1, 2}]


def done(q: Queue | JoinableQueue, count: int = 1) -> None:
    """Say so of what was got, where that is to be said."""
    if isinstance(q, JoinableQueue):
        for _ in range(count):
            q.task_done()
        assert q.unfinished == q.qsize()


@pytest.mark.parametrize("kind", [Queue, JoinableQueue])
def test_objects_come_out_as_they_went_in(kind: type[Queue]) -> None:
    q = kind()
    for obj in [*OBJECTS, Job(1, "wash"), list(range(1000)), "x" * 100_000]:
        q.put(obj)
        assert q.qsize() == 1 and not q.empty()
        assert q.get() == obj
        if isinstance(q, JoinableQueue):
            q.task_done()
    assert q.empty() and not q.full() and q.codec == "pickle"


@pytest.mark.parametrize("kind", [Queue, JoinableQueue])
def test_all_ways_to_wait(kind: type[Queue]) -> None:
    q = kind(maxsize=2)
    assert q.maxsize == 2
    q.put(1)
    q.put(2, True, None)
    assert q.full()
    for how in ((False,), (False, 9), (True, SHORT), (True, -1)):
        with pytest.raises(queue.Full, match="2 of 2"):
            q.put(3, *how)
    with pytest.raises(queue.Full):
        q.put_nowait(3)
    assert [q.get(), q.get(timeout=LONG)] == [1, 2]
    for how in ((False,), (False, 9), (True, SHORT), (True, -1)):
        with pytest.raises(queue.Empty):
            q.get(*how)
    with pytest.raises(queue.Empty):
        q.get_nowait()
    threading.Timer(SHORT, q.put, [4]).start()
    assert q.get() == 4


def test_what_cannot_be_pickled_is_told_at_once_and_leaves_the_queue_alone() -> None:
    q = Queue()
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        q.put(lambda: None)
    q.put(1)
    assert q.get() == 1


@pytest.mark.parametrize("kind", [Queue, JoinableQueue])
def test_close_is_for_this_process_and_shutdown_for_all(kind: type[Queue], name: str) -> None:
    q, same = kind(name=name), kind(name=name)
    q.put(1)
    q.close()
    q.join_thread()
    q.cancel_join_thread()
    for call in (lambda: q.put(1), q.get):
        with pytest.raises(ValueError, match="closed in this process"):
            call()
    assert same.get() == 1
    done(same)
    same.put(2)
    assert same.shutdown() == 0 and same.is_shutdown and "shut down" in repr(same)
    with pytest.raises(procession.ShutDown):
        same.put(3)
    assert same.get() == 2
    done(same)
    with pytest.raises(procession.ShutDown):
        same.get(timeout=SHORT)
    if hasattr(queue, "ShutDown"):
        assert issubclass(procession.ShutDown, queue.ShutDown)
    same.reopen()
    same.put_many(range(3))
    assert same.shutdown(immediate=True) == 3
    with pytest.raises(procession.ShutDown):
        same.get(timeout=SHORT)


@pytest.mark.parametrize("kind", [Queue, JoinableQueue])
def test_many_at_a_time(kind: type[Queue]) -> None:
    q = kind(maxsize=5)
    q.put_many(range(3))
    assert q.get_many(0) == []
    assert q.get_many(2) == [0, 1] and q.get_many(10) == [2]
    with pytest.raises(queue.Full) as raised:
        q.put_many(range(10), block=False)
    assert raised.value.put == 5  # type: ignore[attr-defined]
    assert q.get_many(10) == [0, 1, 2, 3, 4]
    with pytest.raises(queue.Empty):
        q.get_many(10, timeout=SHORT)
    done(q, 8)


def fail() -> None:
    raise LookupError("not here")


class Unreadable:
    """What can be written and not read."""

    def __reduce__(self) -> Any:
        return (fail, ())


def test_what_cannot_be_read_loses_nothing_else() -> None:
    q = Queue()
    q.put_many(["a", Unreadable(), "b"])
    with pytest.raises(LookupError) as raised:
        q.get_many(10)
    assert raised.value.got == ["a", "b"]  # type: ignore[attr-defined]
    jobs = JoinableQueue(max_attempts=1)
    jobs.put_many(["a", Unreadable(), "b"])
    with pytest.raises(LookupError):
        jobs.get_many(10)
    assert jobs.get_many(10) == ["a", "b"]
    done(jobs, 2)
    [letter] = jobs.dead_letters()
    assert letter.attempts == 1 and jobs.join(LONG)
    jobs.put(Unreadable())
    with pytest.raises(LookupError):
        jobs.get()
    assert jobs.join(LONG) and len(jobs.dead_letters()) == 2


def test_shutdown_at_once_leaves_what_others_work_on() -> None:
    q = JoinableQueue()
    q.put_many("abc")
    lease = q.lease()
    assert q.shutdown(immediate=True) == 2 and q.unfinished == 1
    lease.task_done()
    assert q.join(LONG) and q.dead_letters() == []
    with pytest.raises(procession.ShutDown):
        q.get(timeout=LONG)


@pytest.mark.parametrize("kind", [Queue, JoinableQueue])
def test_bytes_are_bytes(kind: type[Queue]) -> None:
    q = kind(codec="bytes", bytes=1 << 23)
    q.put_bytes(array("i", [1, 2]))
    integers = array("i", 3 * [7])
    assert q.get_bytes_into(integers) == 8 and integers.tolist() == [1, 2, 7]
    for data in (b"", b"abc", bytearray(b"abc"), memoryview(b"abc"), b"x" * 3_000_000):
        q.put_bytes(data)
        assert q.get_bytes() == bytes(data)
    q.put(b"object")
    buffer = bytearray(10)
    assert q.get_bytes_into(buffer) == 6 and buffer[:6] == b"object"
    q.put_bytes(b"0123456789a")
    with pytest.raises(multiprocessing.BufferTooShort):
        q.get_bytes_into(buffer)
    assert q.get() == b"0123456789a"
    with pytest.raises(TypeError, match="bytes are wanted"):
        q.put("text")
    with pytest.raises(BufferError):
        q.put_bytes(b"x")
        q.get_bytes_into(b"read only")
    q.get()
    done(q, 9)
    objects = kind()
    for call in (lambda: objects.put_bytes(b"x"), objects.get_bytes, lambda: objects.get_bytes_into(buffer)):
        with pytest.raises(procession.CodecMismatch, match="codec='bytes'"):
            call()


def test_each_codec_is_kept_and_another_is_refused_by_name(name: str) -> None:
    for codec in ("pickle", "json", "msgpack", "bytes"):
        q = Queue(name=name, codec=codec, create=True)
        assert Queue(name=name).codec == codec
        other = "json" if codec != "json" else "pickle"
        with pytest.raises(procession.CodecMismatch, match=f"codec={codec!r}"):
            Queue(name=name, codec=other)  # type: ignore[arg-type]
        q.unlink()
    with pytest.raises(ValueError, match="'msgpack'"):
        Queue(codec="yaml")  # type: ignore[arg-type]


@pytest.mark.parametrize("codec", ["json", "msgpack"])
def test_what_other_languages_read(codec: Any) -> None:
    if codec == "msgpack":
        pytest.importorskip("msgpack")
    q = Queue(codec=codec)
    for obj in (None, 7, 1.5, True, "täxt", [1, "a"], {"a": [1, {"b": None}]}):
        q.put(obj)
        assert q.get() == obj
    q.put(Job(7, "wash"))
    assert q.get() == {"id": 7, "what": "wash"}
    with pytest.raises(TypeError, match="dataclasses"):
        q.put({1, 2})
    if codec == "json":
        with pytest.raises(ValueError):
            q.put(float("nan"))
    assert q.empty()


@pytest.mark.parametrize("method", METHODS)
def test_queues_are_arguments_and_nothing_is_lost(method: str) -> None:
    there, back = Queue(), Queue()
    children = [context(method).Process(target=echo, args=(there, back)) for _ in range(2)]
    for child in children:
        child.start()
    there.put_many(range(100))
    assert sorted(back.get(timeout=LONG) for _ in range(100)) == list(range(100))
    there.put_many([None, None])
    for child in children:
        child.join(LONG)
        assert child.exitcode == 0


@pytest.mark.parametrize("method", METHODS)
def test_what_was_put_is_there_when_the_producer_was_killed(method: str) -> None:
    q = Queue()
    child = context(method).Process(target=put_all, args=(q, 1000, True))
    child.start()
    child.join(LONG)
    assert child.exitcode == -signal.SIGKILL
    assert [q.get(timeout=LONG) for _ in range(1000)] == list(range(1000))


def test_queues_and_locks_cross_in_messages() -> None:
    q, inner, lock = Queue(), Queue(), procession.Lock()
    q.put({"queue": inner, "lock": lock})
    got = q.get()
    got["queue"].put(1)
    assert inner.get() == 1
    reader, writer = connection.Pipe(duplex=False)
    # As multiprocessing's own queues do, they carry its connections.
    q.put([writer])
    writer.close()
    [theirs] = q.get()
    theirs.send("x")
    assert reader.recv() == "x"


# JoinableQueue


def test_items_are_done_when_they_are_done() -> None:
    q = JoinableQueue()
    q.put_many("abc")
    assert q.unfinished == 3 and q.join(SHORT) is False
    assert q.get() == "a"
    q.task_done()
    with q.lease() as item:
        assert item == "b" and q.unfinished == 2
    lease = q.lease()
    assert (lease.item, lease.attempt, lease.time_left, lease.is_valid) == ("c", 1, None, True)
    [(holder, count)] = q.holders()
    assert (holder.pid, count) == (os.getpid(), 1)
    lease.put_back()
    for over in (lease.task_done, lambda: lease.extend(LONG)):
        with pytest.raises(procession.StaleLease):
            over()
    with pytest.raises(KeyError):
        with q.lease():
            raise KeyError
    with q.lease() as item:
        assert item == "c"
    assert q.join() is True and q.unfinished == 0
    with pytest.raises(ValueError, match="more often"):
        q.task_done()


def test_dead_letters() -> None:
    q = JoinableQueue(max_attempts=2)
    assert q.max_attempts == 2 and q.lease_timeout is None
    q.put("poison")
    for attempt in (1, 2):
        lease = q.lease()
        assert lease.attempt == attempt
        del lease
    assert q.join(LONG)
    [letter] = q.dead_letters()
    assert (letter.item, letter.attempts) == ("poison", 2)
    assert q.retry(letter) and not q.retry(letter)
    q.lease().give_up()
    [letter] = q.dead_letters()
    assert q.discard(letter) and q.dead_letters() == []


def test_leases_end() -> None:
    q = JoinableQueue(lease_timeout=SHORT)
    q.put("x")
    slow = q.lease()
    assert slow.time_left is not None and slow.time_left <= SHORT
    fast = q.lease(timeout=LONG)
    assert fast.attempt == 2
    fast.extend(LONG)
    with pytest.raises(procession.StaleLease, match="not valid any more"):
        slow.task_done()
    fast.task_done()


def test_the_items_of_a_killed_worker_are_anothers(name: str) -> None:
    q = JoinableQueue(name=name)
    q.put_many(range(3))
    code = "q = procession.JoinableQueue(name=sys.argv[1]); q.get(); say(q.get()); time.sleep(600)"
    with actor(code, name) as other:
        assert other.says() == "1"
        threading.Timer(SHORT, other.process.kill).start()
        with q.lease() as item:
            assert item == 2
        assert {q.get(timeout=LONG), q.get(timeout=LONG)} == {0, 1}
    q.task_done()
    q.task_done()
    assert q.join(LONG)


@pytest.mark.parametrize("method", METHODS)
def test_multiprocessings_own_example(method: str) -> None:
    q = JoinableQueue()
    workers = [context(method).Process(target=work_until_none, args=(q,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for item in range(20):
        q.put(item)
    assert q.join(LONG)
    for _ in workers:
        q.put(None)
    for worker in workers:
        worker.join(LONG)
        assert worker.exitcode == 0


# Waiting for several, and event loops


def test_wait_for_any() -> None:
    q, event, semaphore = Queue(), procession.Event(), Semaphore(0)
    ours, theirs = socket.socketpair()
    reader, writer = connection.Pipe(duplex=False)
    everything = [q, event, semaphore, ours, reader]
    assert procession.wait(everything, SHORT) == [] and procession.wait(everything, 0) == []
    threading.Timer(SHORT, q.put, [1]).start()
    assert procession.wait(everything) == [q]
    event.set()
    theirs.send(b"x")
    writer.send(1)
    semaphore.release()
    assert procession.wait(everything, LONG) == everything
    assert procession.wait([ours.fileno()], LONG) == [ours.fileno()]
    with pytest.raises(TypeError, match="fileno"):
        procession.wait([object()])
    with pytest.raises(OSError):
        procession.wait([10**6])
    for one in (ours, theirs, reader, writer):
        one.close()


def test_a_queue_is_a_file_descriptor_among_others() -> None:
    q = Queue()
    assert q.fileno() == q.fileno()
    assert select.select([q], [], [], 0)[0] == []
    threading.Timer(SHORT, q.put, [1]).start()
    ours: list[Any] = [q]
    assert connection.wait(ours, LONG) == ours
    assert q.get_nowait() == 1
    assert select.select([q], [], [], 0)[0] == []
    q.put_many([1, 2])
    for _ in range(2):
        assert select.select([q], [], [], LONG)[0] == [q]
        q.get()
    with pytest.raises(queue.Empty):
        q.get_nowait()


def test_asyncio_waits_without_a_thread_of_its_own() -> None:
    async def main() -> None:
        q = Queue(maxsize=1)
        getting = asyncio.ensure_future(q.get_async())
        await asyncio.sleep(SHORT)
        assert not getting.done()
        q.put("a")
        assert await asyncio.wait_for(getting, LONG) == "a"
        await q.put_async("b")
        putting = asyncio.ensure_future(q.put_async("c"))
        await asyncio.sleep(SHORT)
        assert not putting.done() and await q.get_async() == "b"
        await asyncio.wait_for(putting, LONG)
        assert await q.get_async() == "c"
        # Cancelled, it takes nothing.
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(q.get_async(), SHORT)
        q.put("d")
        assert q.get_nowait() == "d"
        q.shutdown()
        with pytest.raises(procession.ShutDown):
            await q.get_async()
        items = JoinableQueue()
        await items.put_async("x")
        with await items.lease_async() as item:
            assert item == "x"

    asyncio.run(main())


def test_asyncio_goes_on_while_a_task_waits() -> None:
    async def main() -> int:
        q, ticks = Queue(), 0
        threading.Timer(0.2, q.put, [None]).start()
        getting = asyncio.ensure_future(q.get_async())
        while not getting.done():
            await asyncio.sleep(0.01)
            ticks += 1
        return ticks

    assert asyncio.run(main()) > 5


def test_the_wait_of_a_loop_that_is_closed_is_nobodys() -> None:
    q = Queue()

    async def main() -> None:
        asyncio.ensure_future(q.get_async())
        await asyncio.sleep(SHORT)

    asyncio.run(main())
    q.put(1)
    assert q.get(timeout=LONG) == 1


def test_a_queue_in_json_is_everybodys(name: str) -> None:
    q = JoinableQueue(name=name, codec="json")
    q.put({"id": 7, "what": "wash"})
    with actor("q = procession.JoinableQueue(name=sys.argv[1]); say(q.get()['what']); q.task_done()", name) as other:
        assert other.says() == "wash"
        other.ends()
    assert q.join(LONG)
