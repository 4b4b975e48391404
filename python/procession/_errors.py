"""The exceptions of procession.

Most are also one of the classes that a program written for ``multiprocessing`` catches already.
"""

from __future__ import annotations

import sys
import threading as _threading
from queue import Empty as Empty
from queue import Full as Full


class Error(Exception):
    """The base of all exceptions of procession, but for ``queue.Empty`` and ``queue.Full``."""


class OwnerDied(Error):
    """Whoever held it has died, or its thread ended, without releasing it.

    What it guards may be half-changed: put that right, having called ``recover()``.
    """

    pid: int
    """The process that held it; 0 if nobody remembers."""


class Deadlock(Error, RuntimeError):
    """Waiting would never end: this thread waits for itself, or in a circle."""


class NotHeld(Error, ValueError, AssertionError):
    """This thread does not hold what it wants to release or to wait with."""


class ReleasedTooOften(Error, ValueError):
    """There would be more permits than the maximum, or more acknowledgements than items."""


class BrokenBarrierError(Error, _threading.BrokenBarrierError):
    """The barrier is broken, for everybody and until ``reset()``."""

    cause: str
    """``"timed_out"``, ``"aborted"``, ``"reset"``, ``"action_failed"`` or ``"peer_died"``."""
    pid: int | None
    """The member that died, if that is the cause and somebody remembers it."""


class InvalidName(Error, ValueError):
    """A name of an object or a namespace that is none."""


class Impossible(Error, ValueError):
    """The arguments ask for what cannot be."""


class OpenError(Error, OSError):
    """An object could not be made, opened or removed."""


class NotFound(OpenError, FileNotFoundError):
    """Nothing has this name."""


class Gone(NotFound):
    """The object was removed after it was sent here, or cannot be opened here."""


class AlreadyExists(OpenError, FileExistsError):
    """The name is taken."""


class NoSpace(OpenError):
    """``/dev/shm`` is full."""


class Mismatch(OpenError, ValueError):
    """There is an object of this name, but it is not what was asked for."""


class CodecMismatch(Mismatch):
    """The messages of a queue or pipe are written in another codec than the one asked for."""


class Fault(Error, OSError):
    """The object itself is unusable, whatever was wanted of it."""


class Orphaned(Fault):
    """The object's file was removed while this process waited for it."""


class RegistryChanged(Fault):
    """The registry of the object's namespace was removed while in use."""


class Corrupt(Fault):
    """What stands in the object's memory is impossible."""


class Inherited(Fault):
    """What was used is a copy, made by fork, of what the parent process holds."""


class TooLarge(Error, ValueError):
    """The message can never fit into its queue or pipe."""


class UnusableEnd(Error, OSError):
    """This end of a pipe is closed, or another process's."""


class PeerClosed(Error, EOFError, BrokenPipeError):
    """The other end of the pipe is closed, and everything it had sent was received."""


class PeerDied(PeerClosed):
    """The process that had the other end of the pipe has died; everything it had sent was received."""

    pid: int
    """Which process; 0 if nobody remembers."""


class StaleLease(Error, ValueError):
    """The lease of an item is not valid any more: the item is somebody else's, or done."""


if sys.version_info >= (3, 13):
    from queue import ShutDown as _ShutDown
else:

    class _ShutDown(Exception):
        """What Python has from 3.13 on."""


class ShutDown(Error, _ShutDown):
    """``shutdown()`` was called on the queue; from Python 3.13 on also a ``queue.ShutDown``."""


def __getattr__(name: str) -> type[Exception]:
    # Not before somebody needs it: importing multiprocessing takes longer than importing procession.
    if name == "BufferTooShort":
        from multiprocessing import BufferTooShort

        return BufferTooShort
    raise AttributeError(name)
