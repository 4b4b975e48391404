"""``Value``, ``Array`` and ``RawArray``: numbers in shared memory, as in ``multiprocessing.sharedctypes``."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, overload

from . import _native
from ._native import RLock


def _companion(name: str | None, ephemeral: bool, namespace: str | None) -> RLock:
    """The lock beside a value or an array: what it guards is whole whenever its holder dies."""
    return RLock(
        None if name is None else f"{name}-lock", on_owner_death="ignore", ephemeral=ephemeral, namespace=namespace
    )


class Value:
    """A number between processes, of the type that a typecode names (``b B h H i I l L q Q f d``).

    Each read and each write is of the whole number. ``+=`` is two of them: hold ``get_lock()`` around it, as with
    ``multiprocessing``. A process that dies with that lock held has changed the value or not, and the lock is free again.
    Programs in Rust have the same as a ``Value<i32>`` (of ``i``), ``Value<f64>`` (of ``d``), …
    """

    __slots__ = ("_lock", "_value")

    def __init__(
        self,
        typecode: str,
        value: float | None = None,
        name: str | None = None,
        *,
        create: bool | None = None,
        ephemeral: bool = False,
        namespace: str | None = None,
    ) -> None:
        # A new one is 0 unless said; one that is opened is what it is.
        initial = None if value is None else (float(value) if typecode in "fd" else int(value))
        self._value = _native._Value(
            typecode, initial, name, create=create, ephemeral=ephemeral, namespace=namespace
        )
        self._lock = _companion(name, ephemeral, namespace)

    @property
    def value(self) -> Any:
        """The number now."""
        return self._value.get()

    @value.setter
    def value(self, new: float) -> None:
        self._value.set(new)

    @property
    def typecode(self) -> str:
        """The letter that says of which type it is."""
        return self._value.typecode

    @property
    def name(self) -> str:
        """The name under which other programs find it; one that the library chose if none was given."""
        return self._value.name

    def get_lock(self) -> RLock:
        """The lock to hold around a change of several steps."""
        return self._lock

    def unlink(self) -> None:
        """Remove its name, and its lock's: nobody finds it any more, and those who have it go on with it."""
        self._value.unlink()
        self._lock.unlink()

    def __getstate__(self) -> tuple[Any, ...]:
        return (self._value, self._lock)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._value, self._lock = state

    def __repr__(self) -> str:
        return f"<procession.Value {self.name!r}: {self.value!r} of {self.typecode!r}>"


class _Elements:
    """What ``Array`` and ``RawArray`` have in common."""

    __slots__ = ("_elements",)

    _elements: _native._Array | _native._RawArray

    @property
    def typecode(self) -> str:
        """The letter that says of which type its elements are."""
        return self._elements.typecode

    @property
    def name(self) -> str:
        """The name under which other programs find it; one that the library chose if none was given."""
        return self._elements.name

    def __len__(self) -> int:
        return len(self._elements)

    def _index(self, index: int) -> int:
        at = index + len(self) if index < 0 else index
        if not 0 <= at < len(self):
            raise IndexError(f"index {index} is out of range: there are {len(self)} elements")
        return at

    def _part(self, start: int, stop: int) -> array[Any]:
        return array(self.typecode, self._elements.read(start, max(start, stop)))

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if not isinstance(index, slice):
            return self._elements.get(self._index(index))
        start, stop, step = index.indices(len(self))
        if step == 1:
            return self._part(start, stop).tolist()
        return self._part(0, len(self))[index].tolist()

    @overload
    def __setitem__(self, index: int, new: float) -> None: ...
    @overload
    def __setitem__(self, index: slice, new: Iterable[float]) -> None: ...
    def __setitem__(self, index: int | slice, new: Any) -> None:
        if not isinstance(index, slice):
            self._elements.set(self._index(index), new)
            return
        start, stop, step = index.indices(len(self))
        values = array(self.typecode, new)
        if len(values) != len(range(start, stop, step)):
            raise ValueError("an array stays as long as it is: the slice and its values differ in length")
        if step == 1:
            if values:
                self._elements.write(start, values.tobytes())
            return
        for at, value in zip(range(start, stop, step), values, strict=True):
            self._elements.set(at, value)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._part(0, len(self)))

    def tobytes(self) -> bytes:
        """A copy of all elements, as they lie in memory: ``numpy.frombuffer(a.tobytes(), a.typecode)``."""
        return self._elements.read(0, len(self))

    def __repr__(self) -> str:
        return f"<procession.{type(self).__name__} {self.name!r}: {len(self)} of {self.typecode!r}>"


def _length(typecode: str, size_or_initializer: int | Iterable[float]) -> tuple[int, array[Any] | None]:
    if isinstance(size_or_initializer, int):
        return size_or_initializer, None
    values = array(typecode, size_or_initializer)
    return len(values), values


class Array(_Elements):
    """Numbers between processes: what is written at a time, an element or a slice, is seen whole or not at all.

    ``Array("d", 1000)`` has a thousand zeros, ``Array("i", [1, 2, 3])`` these. To change several things together::

        with a.update() as numbers:  # an array.array of all
            numbers[0] -= 5
            numbers[1] += 5

    Everything is written at the end of the block; if it raises, or its process is killed, nothing is.
    """

    __slots__ = ("_lock",)

    _elements: _native._Array

    def __init__(
        self,
        typecode: str,
        size_or_initializer: int | Iterable[float],
        name: str | None = None,
        *,
        create: bool | None = None,
        ephemeral: bool = False,
        namespace: str | None = None,
    ) -> None:
        length, values = _length(typecode, size_or_initializer)
        self._elements = _native._Array(
            typecode, length, name, create=create, ephemeral=ephemeral, namespace=namespace
        )
        self._lock = _companion(name, ephemeral, namespace)
        if values is not None and create is not False:
            self._elements.write(0, values.tobytes())

    def get_lock(self) -> RLock:
        """The lock that ``update()`` holds. Single reads and writes do not need it."""
        return self._lock

    @contextmanager
    def update(self) -> Iterator[array[Any]]:
        """All elements, to be changed together; a context manager.

        Others who ``update()`` wait meanwhile. It waits as ``Lock.acquire()`` does.
        """
        with self._lock:
            numbers = self._part(0, len(self))
            yield numbers
            if len(numbers) != len(self):
                raise ValueError("an array stays as long as it is: nothing was changed")
            self._elements.write(0, numbers.tobytes())

    def unlink(self) -> None:
        """Remove its name, and its lock's: nobody finds it any more, and those who have it go on with it."""
        self._elements.unlink()
        self._lock.unlink()

    def __getstate__(self) -> tuple[Any, ...]:
        return (self._elements, self._lock)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._elements, self._lock = state


class RawArray(_Elements):
    """Numbers between processes without a lock: each is written whole, but several at a time are not.

    For an array without copies, under numpy, see ``SharedMemory``.
    """

    __slots__ = ()

    _elements: _native._RawArray

    def __init__(
        self,
        typecode: str,
        size_or_initializer: int | Iterable[float],
        name: str | None = None,
        *,
        create: bool | None = None,
        ephemeral: bool = False,
        namespace: str | None = None,
    ) -> None:
        length, values = _length(typecode, size_or_initializer)
        self._elements = _native._RawArray(
            typecode, length, name, create=create, ephemeral=ephemeral, namespace=namespace
        )
        if values is not None and create is not False:
            self._elements.write(0, values.tobytes())

    def unlink(self) -> None:
        """Remove its name: nobody finds it any more, and those who have it go on with it."""
        self._elements.unlink()

    def __getstate__(self) -> tuple[Any, ...]:
        return (self._elements,)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        (self._elements,) = state
