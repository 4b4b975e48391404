"""``Value`` and ``Array``, and those with ``Raw`` before them: as in ``multiprocessing.sharedctypes``."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, overload

from . import _native
from ._crossing import keep_for_child
from ._kinds import Kind, Record, kind_of, places_of, shown
from ._native import RLock


class _Guarded:
    """What has a lock beside it, for changes of several steps."""

    __slots__ = ()

    _lock: Any
    _is_own: bool

    def get_lock(self) -> Any:
        """The lock to hold around a change of several steps: an ``RLock``, or the one that was given.

        A process that dies with it leaves what it guards changed or not, and the lock is free again.
        """
        if self._lock is None:
            raise TypeError(f"this {type(self).__name__} was made with lock=False: it has no lock")
        return self._lock

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Acquire ``get_lock()``; whether it was acquired, within ``timeout`` seconds."""
        acquired: bool = self.get_lock().acquire(block, timeout)
        return acquired

    def release(self) -> None:
        """Release ``get_lock()``."""
        self.get_lock().release()

    def __enter__(self) -> Any:
        return self.get_lock().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self.get_lock().__exit__(kind, exception, traceback)

    def _guard_by(self, lock: Any, name: str | None, ephemeral: bool, namespace: str | None) -> None:
        is_own = lock is True or lock is None
        if is_own:
            # What it guards is whole whenever its holder dies.
            own = None if name is None else f"{name}-lock"
            lock = RLock(own, on_owner_death="ignore", ephemeral=ephemeral, namespace=namespace)
        self._remember(lock or None, is_own)

    def _remember(self, lock: Any, is_own: bool) -> None:
        raise NotImplementedError

    def _unlink_lock(self) -> None:
        if self._is_own:
            self._lock.unlink()


def _must_be_lock(lock: Any) -> None:
    if lock is not None and not isinstance(lock, bool) and not hasattr(lock, "acquire"):
        raise AttributeError(f"{lock!r} has no method 'acquire'")


def _initial(kind: Kind, args: tuple[Any, ...]) -> Any:
    """What a value begins with; None for zero."""
    if kind.has_fields:
        is_whole = len(args) == 1 and isinstance(args[0], (kind.ctype, Record))
        return kind.record(args[0] if is_whole else args)
    if len(args) > 1:
        raise TypeError(f"a value of {kind.asked!r} begins with one number, and not {len(args)}: a name is name=")
    return kind.take(args[0]) if args and args[0] is not None else None


class _Scalar:
    """What ``Value`` and ``RawValue`` have in common."""

    __slots__ = ()

    _kind: Kind
    _value: Any

    def __new__(cls, typecode_or_type: Any = "i", *_args: Any, **_options: Any) -> Any:
        has_fields = cls in _WITH_FIELDS and kind_of(typecode_or_type).has_fields
        return object.__new__(_WITH_FIELDS[cls] if has_fields else cls)

    if TYPE_CHECKING:
        # The fields of a structure.
        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, new: Any) -> None: ...

    @property
    def value(self) -> Any:
        """The number, truth or character now."""
        number = self._value.get()
        return number if self._kind.code not in "?cu" else self._kind.show(number)

    @value.setter
    def value(self, new: Any) -> None:
        self._value.set(new if self._kind.code not in "?cu" else self._kind.take(new))

    @property
    def typecode(self) -> str:
        """The letter that says of which type it is: of a structure ``"B"``, because it is bytes."""
        return self._kind.code

    @property
    def name(self) -> str:
        """The name under which other programs find it; one that the library chose if none was given."""
        name: str = self._value.name
        return name

    def __repr__(self) -> str:
        return f"<procession.{type(self).__name__} {self.name!r}: {self.value!r} of {self._kind.code!r}>"


class Value(_Guarded, _Scalar):
    """A number between processes, of the type that a typecode (``c u b B h H i I l L q Q f d ?``) or a type of ``ctypes`` names.

    ``Value("i", 7)``, ``Value(ctypes.c_bool)``. Each read and each write of ``value`` is of the whole number. ``+=`` is two of
    them: hold the lock around it, ``with v: v.value += 1``, as with ``multiprocessing``. A process that dies with that lock
    held has changed the value or not, and the lock is free again. Programs in Rust have the same as a ``Value<i32>`` (of
    ``i``), ``Value<f64>`` (of ``d``), …

    Of a ``ctypes.Structure`` it has the fields: ``Value(Point, 1.5, 2.5).x``. Each is read and written whole, ``copy()`` is all
    of them at one instant, and ``with v.update() as point:`` changes all or nothing.

    ``lock`` is the lock to use; ``True`` makes one, and ``False`` does without.
    """

    __slots__ = ("_is_own", "_kind", "_lock", "_value")

    def __init__(
        self,
        typecode_or_type: Any,
        *args: Any,
        name: str | None = None,
        lock: Any = True,
        create: bool | None = None,
        ephemeral: bool = False,
        namespace: str | None = None,
    ) -> None:
        # A new one is 0 unless said; one that is opened is what it is.
        _must_be_lock(lock)
        self._kind = kind_of(typecode_or_type)
        initial = _initial(self._kind, args)
        if self._kind.has_fields:
            self._value = Array("B", initial, name, lock=False, create=create, ephemeral=ephemeral, namespace=namespace)
        else:
            self._value = _native._Value(
                self._kind.code, initial, name, create=create, ephemeral=ephemeral, namespace=namespace
            )
        self._guard_by(lock, name, ephemeral, namespace)

    def _remember(self, lock: Any, is_own: bool) -> None:
        self._lock, self._is_own = lock, is_own

    def get_obj(self) -> Any:
        """It without its lock: itself, because each read and each write is whole anyway.

        Of a structure it is one of ``ctypes`` over the memory: what is written by that is not all or nothing.
        """
        return self

    def unlink(self) -> None:
        """Remove its name, and that of the lock it made: nobody finds it any more, and those who have it go on with it."""
        self._value.unlink()
        self._unlink_lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return _value_again, (Value, self._kind.asked, self._value, self._lock, self._is_own)


class RawValue(_Scalar):
    """A number between processes without a lock, of the type that a typecode or a type of ``ctypes`` names.

    A buffer over its memory is ``get_obj()``, an object of ``ctypes``. Of a ``ctypes.Structure`` it has the fields, which are
    those of that object: each is written as the machine does it. Programs in Rust have a number as a ``RawValue<i32>``, ….
    """

    __slots__ = ("_kind", "_value")

    def __init__(
        self,
        typecode_or_type: Any,
        *args: Any,
        name: str | None = None,
        create: bool | None = None,
        ephemeral: bool = False,
        namespace: str | None = None,
    ) -> None:
        self._kind = kind_of(typecode_or_type)
        initial = _initial(self._kind, args)
        if self._kind.has_fields:
            self._value = RawArray("B", initial, name, create=create, ephemeral=ephemeral, namespace=namespace)
        else:
            self._value = _native._RawValue(
                self._kind.code, initial, name, create=create, ephemeral=ephemeral, namespace=namespace
            )

    def get_obj(self) -> Any:
        """It as an object of ``ctypes``, without a copy."""
        return self._kind.ctype.from_buffer(self._value)

    def unlink(self) -> None:
        """Remove its name: nobody finds it any more, and those who have it go on with it."""
        self._value.unlink()

    def __reduce__(self) -> tuple[Any, ...]:
        return _value_again, (RawValue, self._kind.asked, self._value)


class _Fields(_Scalar):
    """A value that has fields: ``_fields()`` is what has them."""

    __slots__ = ()

    def _fields(self) -> Any:
        raise NotImplementedError

    def __getattribute__(self, name: str) -> Any:
        # A field comes before what a value has of that name.
        if name.startswith("_") or name not in places_of(self._kind.ctype):
            return object.__getattribute__(self, name)
        return getattr(self._fields(), name)

    def __setattr__(self, name: str, new: Any) -> None:
        if name.startswith("_"):
            object.__setattr__(self, name, new)
        else:
            setattr(self._fields(), name, new)

    def copy(self) -> Any:
        """All fields, as an object of their own type that is this process's."""
        return self._kind.ctype.from_buffer_copy(self._value.tobytes())

    def __repr__(self) -> str:
        kind = "Value" if isinstance(self, Value) else "RawValue"
        return f"<procession.{kind} {self._value.name!r}: {shown(self._kind.ctype, self._fields())}>"


class _ValueWithFields(_Fields, Value):
    """A structure between processes: see ``Value``."""

    __slots__ = ()

    def _fields(self) -> Record:
        return Record(self._value, self._kind.ctype, 0)

    @contextmanager
    def update(self) -> Iterator[Any]:
        """All fields, to be changed together: everything is written at the end of the block, or nothing is."""
        with self.get_lock():
            changed = self.copy()
            yield changed
            self._value._write(0, bytes(changed))

    def get_obj(self) -> Any:
        return self._kind.ctype.from_buffer(self._value)


class _RawValueWithFields(_Fields, RawValue):
    """A structure between processes without a lock: see ``RawValue``."""

    __slots__ = ()

    def _fields(self) -> Any:
        return self.get_obj()


_WITH_FIELDS: dict[Any, Any] = {Value: _ValueWithFields, RawValue: _RawValueWithFields}


def _value_again(cls: Any, asked: Any, value: Any, lock: Any = None, is_own: bool = False) -> Any:
    """What was pickled."""
    again = cls.__new__(cls, asked)
    again._kind, again._value = kind_of(asked), value
    if cls is Value:
        again._remember(lock, is_own)
    return again


class _Elements:
    """What ``Array`` and ``RawArray`` have in common."""

    __slots__ = ()

    _kind: Kind

    @property
    def typecode(self) -> str:
        """The letter that says of which type its elements are: of structures ``"B"``, because they are bytes."""
        return self._kind.code

    def __len__(self) -> int:
        return super().__len__() // self._kind.width  # type: ignore[misc, no-any-return]

    def _index(self, index: int) -> int:
        at = index + len(self) if index < 0 else index
        if not 0 <= at < len(self):
            raise IndexError(f"index {index} is out of range: there are {len(self)} elements")
        return at

    def _part(self, start: int, stop: int) -> Any:
        """Elements at one instant: a list, or text if they are characters."""
        width = self._kind.width
        found = self._read(start * width, max(start, stop) * width)
        if self._kind.code == "c":
            return found
        numbers = array(self._kind.stored, found)
        if self._kind.code == "u":
            return "".join(map(chr, numbers))
        return [bool(number) for number in numbers] if self._kind.code == "?" else numbers.tolist()

    def _record(self, index: int) -> Any:
        raise NotImplementedError

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Any: ...
    def __getitem__(self, index: int | slice) -> Any:
        kind = self._kind
        if not isinstance(index, slice):
            at = self._index(index)
            return self._record(at) if kind.has_fields else kind.show(self._get(at))
        if kind.has_fields:
            return [self._record(at) for at in range(len(self))[index]]
        start, stop, step = index.indices(len(self))
        return self._part(start, stop) if step == 1 else self._part(0, len(self))[index]

    @overload
    def __setitem__(self, index: int, new: Any) -> None: ...
    @overload
    def __setitem__(self, index: slice, new: Iterable[Any]) -> None: ...
    def __setitem__(self, index: int | slice, new: Any) -> None:
        kind = self._kind
        if not isinstance(index, slice):
            at = self._index(index)
            if kind.has_fields:
                self._write(at * kind.width, kind.record(new))
            else:
                self._set(at, kind.take(new))
            return
        places, values = range(len(self))[index], _stored(kind, new)
        if len(values) != len(places) * kind.width * array(kind.stored).itemsize:
            raise ValueError("an array stays as long as it is: the slice and its values differ in length")
        if places.step == 1:
            if values:
                self._write(places.start * kind.width, values)
            return
        each = len(values) // len(places) if places else 0
        for at, place in enumerate(places):
            self._write(place * kind.width, values[at * each : (at + 1) * each])

    def __iter__(self) -> Iterator[Any]:
        if self._kind.has_fields:
            return (self._record(at) for at in range(len(self)))
        if self._kind.code == "c":
            return map(self._kind.show, self._read(0, len(self)))
        return iter(self._part(0, len(self)))

    def _characters(self) -> int:
        if self._kind.code not in "cu":
            raise AttributeError(f"an array of {self._kind.code!r} has no text: that is of 'c' and 'u'")
        return len(self)

    @property
    def value(self) -> Any:
        """The text in an array of ``"c"`` or ``"u"``: up to the first that is 0."""
        text = self._part(0, self._characters())
        return text.split(b"\0" if self._kind.code == "c" else "\0", 1)[0]

    @value.setter
    def value(self, new: Any) -> None:
        room = self._characters()
        if len(new) > room:
            raise ValueError(f"the text is too long: {len(new)}, and there is room for {room}")
        end = b"\0" if self._kind.code == "c" else "\0"
        self[: min(len(new) + 1, room)] = (new + end)[:room]

    @property
    def raw(self) -> Any:
        """All bytes of an array of ``"c"``."""
        return self._part(0, self._characters())

    @raw.setter
    def raw(self, new: Any) -> None:
        self._characters()
        self[: len(new)] = new

    def get_obj(self) -> Any:
        """It as an array of ``ctypes`` over the memory, for numpy too: what is written by that is not all or nothing."""
        return (self._kind.ctype * len(self)).from_buffer(self)

    def tobytes(self) -> bytes:
        """A copy of all elements, as they lie in memory: ``numpy.frombuffer(a.tobytes(), a.typecode)``."""
        return self._read(0, len(self) * self._kind.width)

    def __repr__(self) -> str:
        kind = self._kind.ctype.__name__ if self._kind.has_fields else repr(self._kind.code)
        return f"<procession.{type(self).__name__} {self.name!r}: {len(self)} of {kind}>"

    if TYPE_CHECKING:
        # Those of the class of _native beside this one.

        @property
        def name(self) -> str: ...
        def _get(self, index: int) -> Any: ...
        def _set(self, index: int, new: Any) -> None: ...
        def _read(self, start: int, stop: int) -> bytes: ...
        def _write(self, start: int, data: Any) -> None: ...


def _stored(kind: Kind, given: Iterable[Any]) -> bytes:
    """The bytes that elements are in memory."""
    if kind.has_fields:
        return b"".join(kind.record(one) for one in given)
    # By way of an iterator: what array makes of bytes is something else.
    return array(kind.stored, iter(given) if kind.is_number else map(kind.take, given)).tobytes()


def _size_or_bytes(kind: Kind, size_or_initializer: Any) -> Any:
    if not isinstance(size_or_initializer, int):
        return _stored(kind, size_or_initializer)
    if size_or_initializer < 0:
        raise ValueError("an array cannot have fewer than no elements")
    return size_or_initializer * kind.width


class Array(_Guarded, _Elements, _native._Array):
    """Numbers between processes: what is written at a time, an element or a slice, is seen whole or not at all.

    ``Array("d", 1000)`` has a thousand zeros, ``Array("i", [1, 2, 3])`` these, which one that is there already is not made to
    have. Types are those of ``Value``: of ``"c"`` and ``"u"`` it is text, with ``value``; of a ``ctypes.Structure`` its elements
    have fields. To change several things together::

        with a.update() as numbers:  # a memoryview of all, or of some: a.update(10, 20)
            numbers[0] -= 5
            numbers[1] += 5

    Everything is written at the end of the block; if it raises, or its process is killed, nothing is.

    It is a buffer, too: ``memoryview(a)`` and ``numpy.asarray(a)`` are the memory itself. What is written by those is seen
    element by element, and not all or nothing.
    """

    __slots__ = ("_is_own", "_kind", "_lock")

    def __new__(
        cls,
        typecode_or_type: Any,
        size_or_initializer: int | Iterable[Any],
        name: str | None = None,
        *,
        lock: Any = True,
        create: bool | None = None,
        ephemeral: bool = False,
        namespace: str | None = None,
    ) -> Array:
        _must_be_lock(lock)
        kind = kind_of(typecode_or_type)
        initial = _size_or_bytes(kind, size_or_initializer)
        self = _native._Array.__new__(
            cls, kind.code, initial, name, create=create, ephemeral=ephemeral, namespace=namespace
        )
        self._kind = kind
        self._guard_by(lock, name, ephemeral, namespace)
        return self

    def _remember(self, lock: Any, is_own: bool) -> None:
        self._lock, self._is_own = lock, is_own

    @contextmanager
    def update(self, start: int = 0, stop: int | None = None) -> Iterator[Any]:
        """The elements from ``start`` to ``stop``, to be changed together; a context manager.

        They are a memoryview of numbers, of other types an array of ``ctypes``, and this process's own until the end of the
        block. Others who ``update()`` wait meanwhile. It waits as ``Lock.acquire()`` does.
        """
        kind = self._kind
        first, last, _ = slice(start, stop).indices(len(self))
        with self.get_lock():
            part = self._copy(first * kind.width, max(first, last) * kind.width)
            if not kind.is_number:
                yield (kind.ctype * max(0, last - first)).from_buffer(part)
            else:
                numbers = memoryview(part)
                yield numbers
                try:
                    numbers.release()
                except BufferError:
                    # Something still looks at it: what it is now is what counts.
                    pass
            self._commit(first * kind.width, part)

    def _record(self, index: int) -> Record:
        return Record(self, self._kind.ctype, index * self._kind.width)

    def unlink(self) -> None:
        """Remove its name, and that of the lock it made: nobody finds it any more, and those who have it go on with it."""
        self._unlink()
        self._unlink_lock()

    def __reduce__(self) -> tuple[Any, ...]:
        keep_for_child(self)
        return _array_again, (Array, self._kind.asked, self._handle(), self._lock, self._is_own)


class RawArray(_Elements, _native._RawArray):
    """Numbers between processes without a lock: each is written whole, but several at a time are not.

    It is a buffer: ``memoryview(a)``, ``numpy.asarray(a)`` and ``numpy.frombuffer(a, a.typecode)`` are the memory itself. Types
    are those of ``Value``. Of a ``ctypes.Structure`` its elements are objects of that type over the memory.
    """

    __slots__ = ("_kind",)

    def __new__(
        cls,
        typecode_or_type: Any,
        size_or_initializer: int | Iterable[Any],
        name: str | None = None,
        *,
        create: bool | None = None,
        ephemeral: bool = False,
        namespace: str | None = None,
    ) -> RawArray:
        kind = kind_of(typecode_or_type)
        initial = _size_or_bytes(kind, size_or_initializer)
        self = _native._RawArray.__new__(
            cls, kind.code, initial, name, create=create, ephemeral=ephemeral, namespace=namespace
        )
        self._kind = kind
        return self

    def _record(self, index: int) -> Any:
        return self._kind.ctype.from_buffer(self, index * self._kind.width)

    def unlink(self) -> None:
        """Remove its name: nobody finds it any more, and those who have it go on with it."""
        self._unlink()

    def __reduce__(self) -> tuple[Any, ...]:
        keep_for_child(self)
        return _array_again, (RawArray, self._kind.asked, self._handle())


def _array_again(cls: Any, asked: Any, handle: bytes, lock: Any = None, is_own: bool = False) -> Any:
    """What was pickled."""
    kind = kind_of(asked)
    base = _native._Array if cls is Array else _native._RawArray
    again: Any = base.__new__(cls, kind.code, 0, handle=handle)
    again._kind = kind
    if cls is Array:
        again._remember(lock, is_own)
    return again
