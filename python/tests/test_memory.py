from __future__ import annotations

import ctypes
import multiprocessing
import pickle
import threading
from multiprocessing import shared_memory
from typing import Any

import procession
import pytest
from actors import LONG, actor, add_to_all, context
from procession import Array, RawArray, RawValue, SharedMemory, Value

METHODS = multiprocessing.get_all_start_methods()
TYPECODES = "bBhHiIlLqQfd"


def test_memory_is_a_buffer(name: str) -> None:
    memory = SharedMemory(name, create=True, size=1000)
    assert memory.size == 1000 and bytes(memory) == bytes(1000)
    same = SharedMemory(name, create=False)
    memory.buf[10:15] = b"hello"
    assert bytes(same.buf[10:15]) == b"hello"
    view = memoryview(same)
    view[0] = 255
    assert memory.buf[0] == 255 and not view.readonly
    with actor("m = procession.SharedMemory(sys.argv[1], create=False); m.buf[1] = 7; say(bytes(m.buf[10:15]))", name) as other:
        assert other.says() == "b'hello'"
        other.ends()
    assert view[1] == 7
    same.close()
    with pytest.raises(BufferError):
        same.buf
    assert view[10] == ord("h")
    with pytest.raises(FileExistsError):
        SharedMemory(name, create=True, size=1)
    memory.unlink()
    with pytest.raises(FileNotFoundError):
        SharedMemory(name, create=False)
    for wrong in ({"create": True}, {"create": True, "size": -1}, {"create": False}, {}):
        with pytest.raises(ValueError):
            SharedMemory(**wrong)


def test_another_program_finds_the_file() -> None:
    memory = SharedMemory(size=10)
    memory.buf[:3] = b"abc"
    with open(f"/dev/shm/{memory.file_name}", "rb") as file:
        assert file.read()[4096:4099] == b"abc"
    assert shared_memory.__name__


def test_numpy_sees_it_without_a_copy() -> None:
    numpy = pytest.importorskip("numpy")
    memory = SharedMemory(size=8 * 100)
    one = numpy.frombuffer(memory, dtype="f8")
    other = numpy.ndarray((10, 10), dtype="f8", buffer=memory.buf)
    del memory
    other[3, 4] = 1.5
    assert one[34] == 1.5
    one += 1
    assert other.sum() == 101.5
    array = Array("d", range(5))
    assert numpy.frombuffer(array.tobytes(), array.typecode).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("typecode", TYPECODES)
def test_values_of_each_type(typecode: str, name: str) -> None:
    value = Value(typecode, 7, name=name)
    assert value.value == 7 and Value(typecode, name=name).value == 7
    value.value = 100
    same: Value = pickle.loads(pickle.dumps(value))
    assert same.value == 100 and same.typecode == typecode
    with value.get_lock():
        value.value += 1
    assert same.value == 101 and "101" in repr(same)
    with pytest.raises(procession.Mismatch):
        Value("i" if typecode != "i" else "d", name=name)
    assert Value(typecode).value == 0


@pytest.mark.parametrize("kind", [Array, RawArray])
@pytest.mark.parametrize("typecode", TYPECODES)
def test_arrays_of_each_type(kind: type[Array], typecode: str) -> None:
    array = kind(typecode, range(10))
    assert len(array) == 10 and list(array) == list(range(10)) and array.typecode == typecode
    array[3] = 33
    array[-1] = 99
    assert array[3] == 33 and array[9] == 99 and array[2:5] == [2, 33, 4] and array[::3] == [0, 33, 6, 99]
    array[4:6] = [44, 55]
    array[::5] = [100, 105]
    assert array[:] == [100, 1, 2, 33, 44, 105, 6, 7, 8, 99]
    same: Array = pickle.loads(pickle.dumps(array))
    assert same[:] == array[:] and array[5:2] == []
    for index in (10, -11):
        with pytest.raises(IndexError):
            array[index]
        with pytest.raises(IndexError):
            array[index] = 1
    with pytest.raises(ValueError, match="stays as long"):
        array[1:3] = [1]
    assert kind(typecode, 3)[:] == [0, 0, 0]


def test_what_is_no_number_of_the_type_is_refused() -> None:
    for wrong in (lambda: Value("b", 1000), lambda: Array("B", [-1])):
        with pytest.raises(OverflowError):
            wrong()
    with pytest.raises(ValueError, match="typecode is one of"):
        Value("x")
    with pytest.raises(TypeError):
        Value("i", 1.5)
    array = Array("i", 2)
    with pytest.raises(TypeError):
        array[0] = "x"
    with pytest.raises(OverflowError):
        array[0] = 2**40


def test_what_is_there_keeps_what_it_is(name: str) -> None:
    array = Array("i", [1, 2, 3], name)
    array[0] = 7
    assert Array("i", [4, 5, 6], name)[:] == [7, 2, 3]
    with pytest.raises(procession.Mismatch):
        Array("i", [1, 2], name)
    with actor("print(procession.Array('i', [0, 0, 0], sys.argv[1])[:])", name) as other:
        assert other.says() == "[7, 2, 3]"
        other.ends()


def test_truths_and_characters() -> None:
    truth = Value(ctypes.c_bool)
    truth.value = 7
    assert truth.value is True and Value("?", False).value is False and Array("?", [1, 0])[:] == [True, False]
    letter = Value("c", b"x")
    letter.value = b"y"
    assert letter.value == b"y" and Value("u", "ä").value == "ä"
    for code, wrong in (("c", b"xy"), ("u", 7), ("u", "xy"), ("c", "ä")):
        with pytest.raises(TypeError):
            Value(code, wrong)
    for kind in (Array, RawArray):
        text = kind("c", b"hello")
        assert (text.value, text.raw, text[0], text[1:3], list(text)[-1]) == (b"hello", b"hello", b"h", b"el", b"o")
        text.value = b"you"
        assert text.value == b"you" and text.raw == b"you\0o"
        text.raw = b"ab"
        text[2:4] = b"cd"
        assert text.raw == b"abcdo"
        with pytest.raises(ValueError, match="room for 5"):
            text.value = b"too long"
        wide = kind("u", "wäsche")
        assert wide.value == "wäsche" and wide[1] == "ä" and wide[:3] == "wäs" and "".join(wide) == "wäsche"
        with pytest.raises(AttributeError):
            kind("i", 3).value


class Point(ctypes.Structure):
    _fields_ = [("x", ctypes.c_double), ("y", ctypes.c_double)]


class Named(Point):
    _fields_ = [("name", ctypes.c_char * 8), ("at", Point), ("marks", ctypes.c_int * 3), ("value", ctypes.c_byte)]


class Linked(ctypes.Structure):
    _fields_ = [("next", ctypes.c_void_p)]


class Bits(ctypes.Structure):
    _fields_ = [("some", ctypes.c_int, 3)]


@pytest.mark.parametrize("kind", [Value, RawValue])
def test_structures(kind: Any) -> None:
    point = kind(Point, 1.5, 2.5)
    point.x += 1
    assert (point.x, point.y) == (2.5, 2.5)
    named = kind(Named, 1, 2, b"mine", Point(3, 4), (5, 6, 7), 8)
    same = pickle.loads(pickle.dumps(named))
    same.name = b"yours"
    same.at.x = 30
    same.value = 9
    named.marks = (1, 2, 3)
    assert (named.x, named.name, named.at.x, named.at.y, tuple(same.marks), named.value) == (1, b"yours", 30, 4, (1, 2, 3), 9)
    copied = named.copy()
    named.x = 100
    assert isinstance(copied, Named) and copied.x == 1 and "100" in repr(named)
    assert named.get_obj().x == 100
    named.get_obj().y = 7
    assert named.y == 7 and kind(Point, Point(1, 2)).y == 2
    with pytest.raises(AttributeError):
        named.nothing
    for wrong in (Linked, Bits, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int * 3, vars(ctypes.c_int)["__ctype_be__"], int, 7):
        with pytest.raises(TypeError):
            kind(wrong)


def test_structures_change_as_one(name: str) -> None:
    point = Value(Point, 1, 2, name=name)
    with point.update() as changed:
        changed.x, changed.y = 10, 20
        assert point.x == 1
    assert (point.x, point.y) == (10, 20)
    with pytest.raises(KeyError):
        with point.update() as changed:
            changed.x = 0
            raise KeyError
    assert point.x == 10 and Value(Point, name=name).y == 20
    points = Array(Point, [(1, 2), (3, 4), Point(5, 6)])
    points[1].x = 7
    points[0] = points[2]
    assert [(p.x, p.y) for p in points] == [(5, 6), (7, 4), (5, 6)] and len(points) == 3
    points[1:] = [(0, 0), (1, 1)]
    with points.update(1) as some:
        some[0].x = 9
    assert [p.copy().x for p in points[::-1]] == [1, 9, 5] and points.get_obj()[1].x == 9
    raw = RawArray(Point, [(1, 2)])
    raw[0].x = 7
    assert raw.get_obj()[0].x == 7 and len(raw) == 1


def test_locks_of_values() -> None:
    lock = procession.RLock()
    value, array = Value("i", 1, lock=lock), Array("i", 1, lock=lock)
    assert value.get_lock() is array.get_lock() is lock and value.get_obj() is value
    with value:
        assert lock.locked() and array.acquire(block=False)
        array.release()
    assert value.acquire(timeout=LONG)
    value.release()
    assert not lock.locked()
    original = Value("i", 1, lock=False)
    bare = pickle.loads(pickle.dumps(original))
    assert bare.value == 1
    with pytest.raises(TypeError, match="lock=False"):
        bare.get_lock()
    with pytest.raises(AttributeError, match="acquire"):
        Value("i", lock=7)


def test_raw_values_are_memory(name: str) -> None:
    value = RawValue("d", 1.5, name=name)
    value.value += 1
    same = pickle.loads(pickle.dumps(value))
    assert same.value == RawValue(ctypes.c_double, name=name).value == 2.5
    seen = value.get_obj()
    seen.value = 7
    assert same.value == 7 and isinstance(seen, ctypes.c_double)
    value.unlink()
    with pytest.raises(FileNotFoundError):
        RawValue("d", name=name, create=False)


@pytest.mark.parametrize("kind", [Array, RawArray])
def test_arrays_are_buffers(kind: Any) -> None:
    array = kind("i", [1, 2, 3])
    view = memoryview(array)
    assert (view.format, view.itemsize, view.shape, view.readonly, view.tolist()) == ("i", 4, (3,), False, [1, 2, 3])
    view[1] = 7
    assert array[1] == 7
    array[2] = 8
    del array
    assert view[2] == 8 and view.cast("B").nbytes == 12
    numpy = pytest.importorskip("numpy")
    array = kind("d", 4)
    numbers = numpy.asarray(array)
    numbers += 1.5
    assert array[:] == [1.5] * 4 and numbers.dtype == "f8"
    assert numpy.frombuffer(array, "d").sum() == numpy.frombuffer(array.get_obj()).sum() == 6
    assert numpy.asarray(kind("?", [1, 0])).dtype == bool and numpy.asarray(kind("H", 2)).dtype == "u2"
    structures = kind(Point, [(1, 2), (3, 4)])
    assert numpy.frombuffer(structures, [("x", "f8"), ("y", "f8")])["y"].tolist() == [2, 4]


def test_a_view_of_an_update_that_is_kept_is_only_read() -> None:
    numpy = pytest.importorskip("numpy")
    array = Array("i", [1, 2, 3])
    with array.update() as numbers:
        kept = numpy.asarray(numbers)
        kept += 1
    assert array[:] == [2, 3, 4]
    kept += 1
    assert array[:] == [2, 3, 4]


@pytest.mark.parametrize("method", METHODS)
def test_the_example_of_multiprocessing(method: str) -> None:
    lock = procession.Lock()
    n, x = Value("i", 7), Value(ctypes.c_double, 1.0 / 3.0, lock=False)
    s = Array("c", b"hello world", lock=lock)
    points = Array(Point, [(1.875, -6.25), (-5.75, 2.0), (2.375, 9.5)], lock=lock)
    child = context(method).Process(target=modify, args=(n, x, s, points))
    child.start()
    child.join(LONG)
    assert n.value == 49 and x.value == 0.1111111111111111 and s.value == b"HELLO WORLD"
    assert [(a.x, a.y) for a in points] == [(3.515625, 39.0625), (33.0625, 4.0), (5.640625, 90.25)]


def modify(n: Value, x: Value, s: Array, points: Array) -> None:
    n.value **= 2
    x.value **= 2
    s.value = s.value.upper()
    for a in points:
        a.x **= 2
        a.y **= 2


def test_an_update_is_all_or_nothing(name: str) -> None:
    array = Array("q", [100, 0], name)
    with array.update() as numbers:
        numbers[0] -= 5
        numbers[1] += 5
        assert array[:] == [100, 0]
    assert array[:] == [95, 5]
    with pytest.raises(KeyError):
        with array.update() as numbers:
            numbers[0] = 0
            raise KeyError
    # After the block it is nobody's.
    with array.update(1) as last:
        last[0] = 7
    with pytest.raises(ValueError, match="released"):
        last[0] = 8
    assert array[:] == [95, 7]
    array[1] = 5
    code = """
        array = procession.Array("q", 2, sys.argv[1])
        with array.update() as numbers:
            numbers[0] = 0
            say("inside")
            time.sleep(600)
    """
    with actor(code, name) as other:
        assert other.says() == "inside"
        threading.Timer(0.05, other.process.kill).start()
        with array.update() as numbers:
            assert numbers.tolist() == [95, 5]


@pytest.mark.parametrize("method", METHODS)
def test_they_are_arguments(method: str) -> None:
    memory, value, array, raw = SharedMemory(size=8), Value("i", 0), Array("i", 4), RawArray("i", 4)
    children = [
        context(method).Process(target=add_to_all, args=(memory, value, array, raw, 50)) for _ in range(2)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(LONG)
        assert child.exitcode == 0
    assert value.value == 100 and array[:] == [100] * 4 and raw[0] > 0 and memory.buf[0] == 1
