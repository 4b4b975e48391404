from __future__ import annotations

import multiprocessing
import pickle
import threading
from multiprocessing import shared_memory

import procession
import pytest
from actors import LONG, actor, add_to_all, context
from procession import Array, RawArray, SharedMemory, Value

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
    value = Value(typecode, 7, name)
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
        Value("u")
    array = Array("i", 2)
    with pytest.raises(TypeError):
        array[0] = "x"  # type: ignore[call-overload]
    with pytest.raises(OverflowError):
        array[0] = 2**40


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
    with pytest.raises(ValueError, match="nothing was changed"):
        with array.update() as numbers:
            numbers.append(1)
    assert array[:] == [95, 5]
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
