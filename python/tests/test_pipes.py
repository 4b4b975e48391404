from __future__ import annotations

import asyncio
import multiprocessing
import os
import select
import threading
import warnings
from multiprocessing import connection
from typing import Any

import procession
import pytest
from actors import LONG, context, echo_by_pipe, send_and_die
from procession import Connection, Pipe, Queue

SHORT = 0.05
METHODS = multiprocessing.get_all_start_methods()


def test_both_ends_send_and_receive() -> None:
    one, other = Pipe()
    assert one.readable and one.writable and not one.closed
    for obj in (None, 7, "text", {"a": [1]}, b"x" * 3_000_000):
        sending = threading.Thread(target=one.send, args=(obj,))
        sending.start()
        assert other.recv() == obj
        sending.join()
        other.send("back")
        assert one.poll(LONG) and one.recv() == "back"
    assert not one.poll() and not one.poll(SHORT)


def test_one_way_is_reader_and_writer() -> None:
    reader, writer = Pipe(duplex=False)
    assert reader.readable and not reader.writable and writer.writable and not writer.readable
    writer.send(1)
    assert reader.recv() == 1
    for wrong in (lambda: reader.send(1), writer.recv, writer.poll, writer.fileno):
        with pytest.raises(OSError, match="only"):
            wrong()


def test_bytes_with_offsets() -> None:
    one, other = Pipe()
    data = b"0123456789"
    one.send_bytes(data)
    assert other.recv_bytes() == data
    one.send_bytes(data, 3)
    one.send_bytes(bytearray(data), 2, 4)
    one.send_bytes(data, 10)
    assert [other.recv_bytes() for _ in range(3)] == [data[3:], data[2:6], b""]
    for wrong in ((-1,), (11,), (0, -1), (5, 6)):
        with pytest.raises(ValueError):
            one.send_bytes(data, *wrong)
    buffer = bytearray(12)
    one.send_bytes(data)
    assert other.recv_bytes_into(buffer, 2) == 10 and buffer[2:] == data
    one.send_bytes(data)
    with pytest.raises(multiprocessing.BufferTooShort) as raised:
        other.recv_bytes_into(buffer, 5)
    assert raised.value.args[0] == data
    one.send_bytes(data)
    with pytest.raises(OSError):
        other.recv_bytes(5)
    assert other.closed


def test_the_end_of_the_other_side_is_told() -> None:
    one, other = Pipe()
    one.send(1)
    one.close()
    one.close()
    assert one.closed
    assert other.recv() == 1
    assert other.poll(LONG)
    with pytest.raises(EOFError):
        other.recv()
    with pytest.raises(BrokenPipeError):
        other.send(1)
    with pytest.raises(OSError):
        one.recv()
    with Pipe()[0] as end:
        pass
    assert end.closed


@pytest.mark.parametrize("method", METHODS)
def test_an_end_is_the_childs(method: str) -> None:
    ours, theirs = Pipe()
    child = context(method).Process(target=echo_by_pipe, args=(theirs,))
    child.start()
    theirs.close()
    for obj in (1, "text", [1, 2]):
        ours.send(obj)
        assert ours.recv() == obj
    ours.send(None)
    with pytest.raises(EOFError):
        ours.recv()
    child.join(LONG)
    assert child.exitcode == 0


@pytest.mark.parametrize("method", METHODS)
def test_a_child_that_is_killed_is_told_of(method: str) -> None:
    reader, writer = Pipe(duplex=False)
    child = context(method).Process(target=send_and_die, args=(writer,))
    child.start()
    writer.close()
    assert reader.recv() == "last words"
    with pytest.raises(procession.PeerDied) as raised:
        reader.recv()
    assert isinstance(raised.value, EOFError) and raised.value.pid == child.pid
    child.join(LONG)


def test_an_end_that_was_used_stays_with_its_process() -> None:
    one, other = Pipe()
    one.send(1)
    with pytest.raises(ValueError, match="stays with its process"):
        Queue().put(one)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            one.send(2)
        except procession.UnusableEnd:
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    one.send(3)
    assert [other.recv(), other.recv()] == [1, 3]


def test_ends_cross_in_messages() -> None:
    q = Queue()
    ours, theirs = Pipe()
    q.put({"reply to": theirs})
    got: Connection = q.get()["reply to"]
    got.send("reply")
    assert ours.recv() == "reply"


def test_ends_among_other_things_to_wait_for() -> None:
    one, other = Pipe()
    assert procession.wait([other], SHORT) == []
    one.send(1)
    assert procession.wait([other, procession.Event()]) == [other]
    assert select.select([other], [], [], LONG)[0] == [other]
    ours: list[Any] = [other]
    assert connection.wait(ours, LONG) == ours
    assert other.recv() == 1
    assert select.select([other], [], [], 0)[0] == []
    one.close()
    assert connection.wait(ours, LONG) == ours


def test_asyncio() -> None:
    async def main() -> None:
        one, other = Pipe()
        receiving = asyncio.ensure_future(other.recv_async())
        await asyncio.sleep(SHORT)
        await one.send_async({"a": 1})
        assert await asyncio.wait_for(receiving, LONG) == {"a": 1}
        one.close()
        with pytest.raises(EOFError):
            await other.recv_async()

    asyncio.run(main())
