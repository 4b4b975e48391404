"""How objects come to other processes, and how processes that end by ``os._exit()`` leave."""

from __future__ import annotations

import os
import sys
from typing import Any

from . import _native

_PINS = "_procession_objects"


def keep_for_child(obj: object) -> None:
    """Keep ``obj`` until the child has it for which it is being pickled, if there is one.

    ``Process(target=work, args=(Lock(),))`` would otherwise let the lock go before the child has opened it.
    """
    context = sys.modules.get("multiprocessing.context")
    popen: Any = context.get_spawning_popen() if context else None
    if popen is not None:
        popen.__dict__.setdefault(_PINS, []).append(obj)


def _in_child_of_multiprocessing(_: object) -> None:
    """Arrange for the end of a child that ``multiprocessing`` has forked: it runs no handlers of ``atexit``."""
    from multiprocessing.util import Finalize

    # After the program's own, which may use objects.
    Finalize(None, _native.leave, exitpriority=-1000)
    from multiprocessing import current_process

    child: Any = current_process()
    for argument in (*getattr(child, "_args", ()), *getattr(child, "_kwargs", {}).values()):
        for end in argument if isinstance(argument, (list, tuple)) else (argument,):
            if isinstance(end, _native.Connection):
                _claim(end)


def _claim(end: _native.Connection) -> None:
    """Have this child be the process that uses ``end``: the other side learns of its death from now on."""
    try:
        end._claim()
    except (OSError, EOFError):
        # The parent uses it, or has closed it: whoever uses it here is told.
        pass


class _Token:
    """What ``multiprocessing`` remembers us by, weakly."""


_token = _Token()


def arrange() -> None:
    """Be told of forks, without importing ``multiprocessing`` for those who do not use it."""
    os.register_at_fork(before=_native._before_fork, after_in_child=_know_multiprocessing)
    _know_multiprocessing()


_is_known = False


def _know_multiprocessing() -> None:
    """Have children of ``multiprocessing``, this process among them, leave as other processes do."""
    global _is_known
    if _is_known or "multiprocessing.util" not in sys.modules:
        return
    from multiprocessing import parent_process
    from multiprocessing.util import register_after_fork

    _is_known = True
    register_after_fork(_token, _in_child_of_multiprocessing)
    if parent_process() is not None:
        # Imported by what the child runs: its beginning is over.
        _in_child_of_multiprocessing(_token)
