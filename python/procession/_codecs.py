"""Objects as messages, as far as Python's own modules do it."""

from __future__ import annotations

import copyreg
import dataclasses
import importlib
import io
import json
import pickle as _pickle
from typing import Any


def pickle(obj: object) -> bytes:
    """``obj`` as ``multiprocessing`` would pickle it: with connections, sockets and what others have registered."""
    from multiprocessing import reduction

    buffer = io.BytesIO()
    pickler = _pickle.Pickler(buffer, 5)
    # Its own class looks each type up in a chain of dicts, which takes longer than to make one of them.
    registered: Any = reduction.ForkingPickler
    pickler.dispatch_table = {**copyreg.dispatch_table, **registered._extra_reducers}
    pickler.dump(obj)
    return buffer.getvalue()


def _as_fields(obj: object) -> Any:
    """What JSON and MessagePack have instead of a dataclass: a dict of its fields."""
    if dataclasses.is_dataclass(obj) and not isinstance(obj, type):
        return {field.name: getattr(obj, field.name) for field in dataclasses.fields(obj)}
    raise TypeError(
        f"a {type(obj).__name__} is nothing that this codec has: put dicts, lists, strings, numbers, dataclasses, or use "
        "codec='pickle'"
    )


_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_as_fields)
_decoder = json.JSONDecoder()


def to_json(obj: object) -> bytes:
    """``obj`` as JSON text."""
    return _encoder.encode(obj).encode()


def from_json(message: bytes) -> Any:
    """What a JSON text is."""
    return _decoder.decode(message.decode())


def _msgpack() -> Any:
    try:
        # By name, because it says nothing of its types.
        return importlib.import_module("msgpack")
    except ImportError:
        raise ImportError("codec='msgpack' needs the package msgpack: pip install 'procession[msgpack]'") from None


def to_msgpack(obj: object) -> bytes:
    """``obj`` in MessagePack."""
    packed: bytes = _msgpack().packb(obj, default=_as_fields)
    return packed


def from_msgpack(message: bytes) -> Any:
    """What a message in MessagePack is."""
    return _msgpack().unpackb(message, strict_map_key=False)
