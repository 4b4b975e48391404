"""Locks, queues, pipes and shared memory between processes that survive ``kill -9``.

The objects are those of ``multiprocessing``, with names, so that programs that know nothing of each other can meet::

    import procession

    with procession.Lock("deploy"):
        ...

Whoever holds something is known, and when its process dies, however it dies, the others are told: they neither wait for
ever nor are let in as if nothing had happened.
"""

from __future__ import annotations

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
from ._shared import Array, RawArray, Value
from ._types import Holder

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
    "RegistryChanged",
    "ReleasedTooOften",
    "RwLock",
    "RwLockHold",
    "Semaphore",
    "SharedMemory",
    "ShutDown",
    "StaleLease",
    "TooLarge",
    "UnusableEnd",
    "Value",
    "gc",
    "leave",
    "namespace",
    "unlink",
    "wait",
]

_crossing.arrange()
