"""CPython's own tests of multiprocessing, with our types in place of its: ``python cpython_suite.py fork|spawn|forkserver``.

They come with each Python (``test._test_multiprocessing``; Debian has them in libpython3-testsuite). Arguments behind the start
method are unittest's. What is skipped, and why, is in ``SKIPPED``.
"""

from __future__ import annotations

import os
import sys
import unittest
from typing import Any

os.environ.setdefault("PROCESSION_NAMESPACE", f"cpython-{os.getpid()}")

import importlib  # noqa: E402

import procession  # noqa: E402

# By name: only some Pythons have it.
theirs: Any = importlib.import_module("test._test_multiprocessing")

CLASSES = ["_TestLock", "_TestSemaphore", "_TestCondition", "_TestEvent", "_TestBarrier", "_TestQueue", "_TestConnection", "_TestPoll", "_TestValue", "_TestArray", "_TestSharedCTypes"]

OURS = [
    "Lock",
    "RLock",
    "Semaphore",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "Barrier",
    "Queue",
    "JoinableQueue",
    "Pipe",
    "Value",
    "Array",
    "RawValue",
    "RawArray",
]

SKIPPED = {
    # What tests look at inside of multiprocessing's objects, or at their repr.
    "_TestLock.test_repr_lock": "says the holder's pid, not the name of its process and thread",
    "_TestLock.test_repr_rlock": "the same",
    "_TestEvent.test_repr": "says the name of the event, not its address",
    # An end of a pipe belongs to one process; for several that send by one end there is Queue.
    "_TestBarrier.test_thousand": "five children send by one end of a pipe",
    "_TestPoll.test_boundaries": "a child polls an end that the parent receives by",
    "_TestQueue.test_queue_feeder_donot_stop_onexc": "there is no feeder thread: put() itself raises",
    "_TestQueue.test_queue_feeder_on_queue_feeder_error": "the same",
    "_TestQueue.test_closed_queue_empty_exceptions": "a queue that is closed here can still be asked whether it is empty",
    "_TestValue.test_getobj_getlock": "what was made with lock=False has a get_lock(), which raises TypeError, and a get_obj()",
    "_TestArray.test_getobj_getlock_obj": "the same",
    "_TestConnection.test_fd_transfer": "is about multiprocessing's own connections, whose descriptor crosses",
    "_TestConnection.test_large_fd_transfer": "the same",
    "_TestConnection.test_missing_fd_transfer": "the same",
}


def install(namespace: dict[str, Any]) -> None:
    """Put their test classes, over our types, into a module."""
    for name in OURS:
        setattr(theirs.ProcessesMixin, name, staticmethod(getattr(procession, name)))
    # Its tests of ctypes take this one by its name.
    theirs.Value = procession.Value
    for name in CLASSES:
        base = getattr(theirs, name)
        members: dict[str, Any] = {"__module__": namespace["__name__"]}
        if name == "_TestCondition":
            # Theirs looks at two semaphores inside of the condition.
            members["check_invariant"] = lambda self, condition: self.assertEqual(condition.waiters, 0)
        for skipped, reason in SKIPPED.items():
            group, test = skipped.split(".")
            if group == name and hasattr(base, test):
                members[test] = unittest.skip(reason)(getattr(base, test))
        ours = type(f"WithProcesses{name[1:]}", (base, theirs.ProcessesMixin, unittest.TestCase), members)
        namespace[ours.__name__] = ours


install(globals())

if __name__ == "__main__":
    import multiprocessing

    method = sys.argv.pop(1) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else "spawn"
    multiprocessing.set_start_method(method, force=True)
    unittest.main(module="__main__")
