"""Locks, queues, pipes and shared memory between processes that survive ``kill -9``.

The objects are those of ``multiprocessing``, with names, so that programs that know nothing of each other can meet::

    import procession

    with procession.Lock("deploy"):
        ...

Whoever holds something is known, and when its process dies, however it dies, the others are told: they neither wait for
ever nor are let in as if nothing had happened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _crossing
from ._errors import (
    AlreadyExists,
    BrokenBarrierError,
    CodecMismatch,
    Corrupt,
    Deadlock,
    Empty,
    Error,
    Fault,
    Full,
    Gone,
    Impossible,
    Inherited,
    InvalidName,
    Mismatch,
    NoSpace,
    NotFound,
    NotHeld,
    OpenError,
    Orphaned,
    OwnerDied,
    PeerClosed,
    PeerDied,
    RegistryChanged,
    ReleasedTooOften,
    ShutDown,
    StaleLease,
    TooLarge,
    UnusableEnd,
)
from ._native import (
    Barrier,
    BarrierMember,
    BoundedSemaphore,
    Condition,
    Connection,
    DeadLetter,
    Event,
    JoinableQueue,
    Latch,
    Lease,
    Lock,
    Once,
    Pipe,
    Queue,
    RLock,
    RwLock,
    RwLockHold,
    Semaphore,
    SharedMemory,
    gc,
    leave,
    namespace,
    unlink,
    wait,
)
from ._kinds import Record
from ._shared import Array, RawArray, RawValue, Value
from ._types import Holder

if TYPE_CHECKING:
    from ._executor import Executor, RemoteTraceback, WorkerDied

__all__ = [
    "AlreadyExists",
    "Array",
    "Barrier",
    "BarrierMember",
    "BoundedSemaphore",
    "BrokenBarrierError",
    "CodecMismatch",
    "Condition",
    "Connection",
    "Corrupt",
    "DeadLetter",
    "Deadlock",
    "Empty",
    "Error",
    "Event",
    "Executor",
    "Fault",
    "Full",
    "Gone",
    "Holder",
    "Impossible",
    "Inherited",
    "InvalidName",
    "JoinableQueue",
    "Latch",
    "Lease",
    "Lock",
    "Mismatch",
    "NoSpace",
    "NotFound",
    "NotHeld",
    "Once",
    "OpenError",
    "Orphaned",
    "OwnerDied",
    "PeerClosed",
    "PeerDied",
    "Pipe",
    "Queue",
    "RLock",
    "RawArray",
    "RawValue",
    "Record",
    "RegistryChanged",
    "ReleasedTooOften",
    "RemoteTraceback",
    "RwLock",
    "RwLockHold",
    "Semaphore",
    "SharedMemory",
    "ShutDown",
    "StaleLease",
    "TooLarge",
    "UnusableEnd",
    "Value",
    "WorkerDied",
    "gc",
    "leave",
    "namespace",
    "unlink",
    "wait",
]

_crossing.arrange()


def __getattr__(name: str) -> object:
    # They need multiprocessing, which takes longer to import than all the rest.
    if name in ("Executor", "RemoteTraceback", "WorkerDied"):
        from . import _executor

        return getattr(_executor, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
