"""Of what the elements of shared memory are: typecodes, and the types of ``ctypes``."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any, NamedTuple

TYPECODES: dict[str, Any] = {
    "c": ctypes.c_char,
    "u": ctypes.c_wchar,
    "b": ctypes.c_byte,
    "B": ctypes.c_ubyte,
    "h": ctypes.c_short,
    "H": ctypes.c_ushort,
    "i": ctypes.c_int,
    "I": ctypes.c_uint,
    "l": ctypes.c_long,
    "L": ctypes.c_ulong,
    "q": ctypes.c_longlong,
    "Q": ctypes.c_ulonglong,
    "f": ctypes.c_float,
    "d": ctypes.c_double,
    "?": ctypes.c_bool,
}
"""What ``multiprocessing`` knows, and ``"?"``."""

_SIMPLE: Any = ctypes.c_int.__mro__[1]
_RECORDS: Any = (ctypes.Structure, ctypes.Union)


class Kind(NamedTuple):
    """A type of elements, and how one lies in memory."""

    asked: Any
    """The typecode or type that somebody gave."""
    ctype: Any
    """It as a type of ``ctypes``."""
    code: str
    """The typecode of the numbers that one is made of: bytes, if it has fields."""
    width: int
    """How many of those that is."""

    @property
    def has_fields(self) -> bool:
        """Whether it is a structure or a union."""
        return issubclass(self.ctype, _RECORDS)

    @property
    def is_number(self) -> bool:
        """Whether it is shown as it lies there."""
        return self.code not in "?cu" and not self.has_fields

    @property
    def stored(self) -> str:
        """The typecode of ``array.array`` for what lies there."""
        return {"?": "B", "c": "B", "u": "I"}.get(self.code, self.code)

    def show(self, number: Any) -> Any:
        """What a number that lies there is."""
        if self.code == "?":
            return bool(number)
        if self.code == "c":
            return bytes((number,))
        return chr(number) if self.code == "u" else number

    def take(self, new: Any) -> Any:
        """The number that lies there for what somebody gave."""
        if self.code == "?":
            return int(bool(new))
        if self.code == "u":
            if not isinstance(new, str):
                raise TypeError(f"a character is wanted, a string of length 1, and not {new!r}")
            return ord(new)
        if self.code == "c" and not isinstance(new, int):
            if not isinstance(new, (bytes, bytearray)):
                raise TypeError(f"a byte is wanted, bytes of length 1 or a number, and not {new!r}")
            return ord(new)
        return new

    def record(self, given: Any) -> bytes:
        """The bytes of a structure: of one, of a record, or of its fields in their order."""
        if not isinstance(given, self.ctype):
            given = given.copy() if isinstance(given, Record) else self.ctype(*given)
        return bytes(given)


def kind_of(typecode_or_type: Any) -> Kind:
    """The kind that a typecode or a type of ``ctypes`` names."""
    ctype = typecode_or_type
    if isinstance(ctype, str):
        ctype = TYPECODES.get(ctype)
        if ctype is None:
            raise ValueError(f"a typecode is one of {' '.join(TYPECODES)}, or a type of ctypes, and not {typecode_or_type!r}")
    if isinstance(ctype, type) and issubclass(ctype, _RECORDS):
        _must_be_plain(ctype)
        return Kind(typecode_or_type, ctype, "B", ctypes.sizeof(ctype))
    if isinstance(ctype, type) and issubclass(ctype, ctypes.Array):
        raise TypeError(f"{ctype.__name__} is an array: say Array({ctype._type_.__name__}, {ctype._length_})")
    code = getattr(ctype, "_type_", None)
    if not isinstance(ctype, type) or not issubclass(ctype, _SIMPLE) or code not in TYPECODES or _is_swapped(ctype):
        raise TypeError(
            f"a typecode is wanted (one of {' '.join(TYPECODES)}), or a type of ctypes that is a number, a character or a "
            f"structure of such, and not {ctype!r}"
        )
    return Kind(typecode_or_type, ctype, typecode_or_type if isinstance(typecode_or_type, str) else code, 1)


def _is_swapped(ctype: Any) -> bool:
    return getattr(ctype, "__ctype_le__", ctype) is not ctype


def fields_of(ctype: Any) -> Iterator[tuple[Any, ...]]:
    """The fields of a structure as it says them, those of the classes before it first."""
    for one in reversed(ctype.__mro__):
        yield from one.__dict__.get("_fields_", ())


def _must_be_plain(ctype: Any) -> None:
    """See that other processes understand the fields: an address is one of this process."""
    for name, field, *bits in fields_of(ctype):
        where = f"the field {name!r} of {ctype.__name__}"
        if bits:
            raise TypeError(f"{where} is of bits, which cannot be written by themselves: use a whole number")
        while issubclass(field, ctypes.Array):
            field = field._type_
        if issubclass(field, _RECORDS):
            _must_be_plain(field)
        elif getattr(field, "_type_", None) not in (*TYPECODES, "g"):
            raise TypeError(f"{where} is an address, or something else that means nothing in another process")


_PLACES: dict[Any, dict[str, tuple[int, int, Any]]] = {}


def places_of(ctype: Any) -> dict[str, tuple[int, int, Any]]:
    """Where each field begins, how many bytes it has, and its type."""
    found = _PLACES.get(ctype)
    if found is not None:
        return found
    found = _PLACES[ctype] = {}
    for name, field, *_ in fields_of(ctype):
        place = getattr(ctype, name)
        found[name] = (place.offset, place.size, field)
    return found


def _plain(value: Any) -> Any:
    """What a field is in Python. An array is a tuple, because it is a copy."""
    if isinstance(value, ctypes.Array):
        return value.value if value._type_ in (ctypes.c_char, ctypes.c_wchar) else tuple(_plain(one) for one in value)
    return value.value if isinstance(value, _SIMPLE) else value


class Record:
    """A structure in an ``Array``, or a part of one: each field is read whole, and written whole.

    ``record.copy()`` is all of it at one instant, as its own type.
    """

    __slots__ = ("_at", "_bytes", "_ctype")

    _at: int
    _bytes: Any
    _ctype: Any

    def __init__(self, data: Any, ctype: Any, at: int) -> None:
        for name, value in (("_bytes", data), ("_ctype", ctype), ("_at", at)):
            object.__setattr__(self, name, value)

    def _place(self, name: str) -> tuple[int, int, Any]:
        place = None if name.startswith("__") else places_of(self._ctype).get(name)
        if place is None:
            raise AttributeError(f"{self._ctype.__name__} has no field {name!r}")
        return place

    def __getattr__(self, name: str) -> Any:
        offset, size, field = self._place(name)
        at = self._at + offset
        if issubclass(field, _RECORDS):
            return Record(self._bytes, field, at)
        return _plain(field.from_buffer_copy(self._bytes._read(at, at + size)))

    def __setattr__(self, name: str, new: Any) -> None:
        offset, size, _ = self._place(name)
        changed = self._ctype()
        setattr(changed, name, new.copy() if isinstance(new, Record) else new)
        self._bytes._write(self._at + offset, bytes(changed)[offset : offset + size])

    def copy(self) -> Any:
        """All fields at one instant, as an object of their own type that is this process's."""
        return self._ctype.from_buffer_copy(self._bytes._read(self._at, self._at + ctypes.sizeof(self._ctype)))

    def __repr__(self) -> str:
        return f"<procession.Record {shown(self._ctype, self)}>"


def shown(ctype: Any, record: Any) -> str:
    """What people see of a structure."""
    fields = ", ".join(f"{name}={_plain(getattr(record, name))!r}" for name in places_of(ctype))
    return f"{ctype.__name__}({fields})"
