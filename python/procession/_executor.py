"""``Executor``: worker processes in the shape of ``concurrent.futures``, of which one may die.

The tasks lie in a ``JoinableQueue``: a worker leases one, sends its result, and acknowledges it. If the worker is killed in
between, another one gets the task, as often as ``retries`` allows; then it is a dead letter, and its future fails with
``WorkerDied``. All other tasks go on.
"""

from __future__ import annotations

import atexit
import itertools
import multiprocessing
import multiprocessing.util  # before our own handler of atexit, which is then called before its
import os
import pickle
import threading
import time
import traceback
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Future
from concurrent.futures import Executor as _Executor
from typing import Any, TypeVar

from . import _native
from ._errors import Error, ShutDown
from ._errors import Empty as _Empty
from ._errors import Full as _Full

_T = TypeVar("_T")

# How many tasks are handed out for each worker: enough that none waits for the next, few enough to cancel the rest.
_AHEAD = 4
# How much the tasks that are handed out may take; a larger one has a shared memory of its own.
_BYTES = 1 << 22
_LARGE = 1 << 18
# How often it is looked whether a worker has ended, while tasks run, and whether a parent has, in seconds. Who waits for a
# process and for messages at the same time has a thread for that, which would cost more than most tasks.
_LOOK, _LOOK_AT_PARENT = 0.05, 0.5
# How many workers in a row may end before they have begun: others would, too.
_STILLBORN = 10
# In place of the number of a task: a worker has begun.
_BEGAN = -1


def _pickled(obj: object) -> bytes:
    return _native._encode("pickle", obj)


class WorkerDied(Error):
    """The worker that ran a task was killed, or ended, and there was no retry left."""

    attempts: int
    """How often the task was begun."""


class RemoteTraceback(Exception):
    """The cause of an exception that a task raised: where in the worker that was."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


def _run(payload: bytes) -> bytes:
    """Do a task; its outcome, pickled."""
    try:
        function, args, kwargs = pickle.loads(payload)
        outcome: tuple[bool, Any, str] = (True, function(*args, **kwargs), "")
        return _pickled(outcome)
    except BaseException as error:
        if isinstance(error, (KeyboardInterrupt, SystemExit)) and os.getpid() != _worker:
            raise
        text = "".join(traceback.format_exception(error))
        try:
            return _pickled((False, error, text))
        except Exception:
            # An exception that cannot be pickled is told by its text.
            return _pickled((False, Error(f"{type(error).__name__}: {error}"), text))


_worker = 0


def _work(
    tasks: _native.JoinableQueue,
    results: _native.Queue,
    initializer: Callable[..., object] | None,
    initargs: tuple[Any, ...],
) -> None:
    """What a worker process does until the executor is shut down, or its parent dies."""
    global _worker
    _worker = os.getpid()
    if initializer is not None:
        try:
            initializer(*initargs)
        except BaseException as error:
            results.put((None, "".join(traceback.format_exception(error)).encode()))
            return
    results.put((_BEGAN, b""))
    parent = multiprocessing.parent_process()
    while True:
        try:
            lease = tasks.lease(timeout=_LOOK_AT_PARENT)
        except _Empty:
            # Whoever waits for a task alone would outlive a parent that is killed.
            if parent is not None and not parent.is_alive():
                return
            continue
        except ShutDown:
            return
        number, payload = lease.item
        results.put((number, _run(bytes(payload.buf) if isinstance(payload, _native.SharedMemory) else payload)))
        # Killed before this, the task is done again: its second result is nobody's.
        lease.task_done()


class _Task:
    """A task that is not done."""

    __slots__ = ("future", "is_begun", "memory", "payload")

    def __init__(self, future: Future[Any], payload: bytes) -> None:
        self.future = future
        self.payload = payload
        # Whether it can be cancelled no more.
        self.is_begun = False
        # Of a large one: kept until it is done.
        self.memory: _native.SharedMemory | None = None

    def begin(self) -> bool:
        """Have it be cancelled no more; whether it was not before."""
        self.is_begun = self.is_begun or self.future.set_running_or_notify_cancel()
        return self.is_begun

    def sent(self) -> bytes | _native.SharedMemory:
        """What a worker is given."""
        if len(self.payload) > _LARGE and self.memory is None:
            memory = _native.SharedMemory(size=len(self.payload))
            memory.buf[:] = self.payload
            self.memory, self.payload = memory, b""
        return self.memory or self.payload


class Executor(_Executor):
    """Worker processes that run functions: as ``ProcessPoolExecutor``, but a worker that dies costs the one task it ran.

    ``retries`` is how often a task is begun again whose worker died; then its future raises ``WorkerDied``. ``context`` is a
    start method (``"forkserver"`` unless said) or a context of ``multiprocessing``. ``initializer(*initargs)`` is called
    first in each worker; if it raises, all futures raise ``BrokenExecutor``. Exceptions of tasks are raised by their
    futures, and are not retried.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        *,
        retries: int = 0,
        context: str | Any = "forkserver",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        if max_workers is None:
            max_workers = len(os.sched_getaffinity(0))
        if max_workers < 1:
            raise ValueError("max_workers must be greater than 0")
        if retries < 0:
            raise ValueError("retries must not be negative")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be callable")
        self._context: Any = multiprocessing.get_context(context) if isinstance(context, str) else context
        # A forked child has a copy, whose tasks would have the numbers of others here.
        self._pid = os.getpid()
        self._max_workers = max_workers
        self._start = (initializer, initargs)
        self._tasks = _native.JoinableQueue(max_attempts=retries + 1, bytes=_BYTES)
        self._results = _native.Queue(bytes=_BYTES)
        self._wake = _native.Semaphore(0, handoff=True, max=65536)
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        # Handed out, by their numbers; and those that wait to be.
        self._running: dict[int, _Task] = {}
        self._waiting: deque[_Task] = deque()
        # Those that could not be handed out, and why.
        self._unsent: list[tuple[_Task, Exception]] = []
        self._workers: list[Any] = []
        self._manager: threading.Thread | None = None
        self._is_shut_down = False
        self._broken: str | None = None
        # How many workers have ended since one began, and when to look for more of those.
        self._stillborn = 0
        self._look_again = 0.0
        _all.add(self)

    def submit(self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> Future[_T]:
        """Have ``fn(*args, **kwargs)`` run by a worker; a future of its result.

        Raises ``RuntimeError`` after ``shutdown()`` and in a forked child, and ``BrokenExecutor`` if the initializer has
        failed. What cannot be pickled is an exception of the future.
        """
        if os.getpid() != self._pid:
            raise RuntimeError(f"this executor is that of process {self._pid}, of which this one is a fork: make one here")
        future: Future[_T] = Future()
        try:
            payload = _pickled((fn, args, kwargs))
        except Exception as error:
            future.set_exception(error)
            return future
        with self._lock:
            if self._broken is not None:
                raise BrokenExecutor(self._broken)
            if self._is_shut_down:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if not self._running:
                # The manager sleeps, and is to look after the workers from now on.
                self._poke()
            self._waiting.append(_Task(future, payload))
            self._hand_out()
            self._start_workers()
        return future

    def map(
        self, fn: Callable[..., _T], *iterables: Iterable[Any], timeout: float | None = None, chunksize: int = 1, **other: Any
    ) -> Iterator[_T]:
        """As ``map(fn, *iterables)``, by the workers: the results in their order.

        ``chunksize`` items at a time are one task, which is quicker for many small ones; if its worker dies, all of them
        are begun again, or fail.
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if chunksize == 1:
            return super().map(fn, *iterables, timeout=timeout, **other)
        chunks = super().map(_run_chunk, itertools.repeat(fn), _chunks(chunksize, *iterables), timeout=timeout, **other)
        return itertools.chain.from_iterable(chunks)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks. With ``wait`` it returns when all are done and the workers have ended; with
        ``cancel_futures`` those that no worker has are cancelled. In a forked child it does nothing."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            self._is_shut_down = True
            cancelled: list[_Task] = []
            if cancel_futures:
                cancelled = [task for task in self._waiting if not task.is_begun]
                self._waiting = deque(task for task in self._waiting if task.is_begun)
            manager = self._manager
        for task in cancelled:
            # What is called then may use this executor.
            task.future.cancel()
            task.future.set_running_or_notify_cancel()
        self._poke()
        if wait and manager is not None and manager is not threading.current_thread():
            manager.join()

    def _poke(self) -> None:
        """Have the manager look."""
        if not self._wake.get_value():
            self._wake.release()

    def _hand_out(self) -> None:
        """Hand out as many tasks as workers can soon begin, and as there is room for. The lock is held."""
        while self._waiting and len(self._running) < _AHEAD * self._max_workers:
            task = self._waiting[0]
            if task.begin():
                number = next(self._numbers)
                try:
                    self._tasks.put((number, task.sent()), block=False)
                    self._running[number] = task
                    task.payload = b""
                except _Full:
                    # Whoever makes room may need the lock: it is tried again with the next look.
                    return
                except Exception as error:
                    # There is no memory for it, above all. The manager tells its future, without the lock.
                    self._unsent.append((task, error))
                    self._poke()
            self._waiting.popleft()

    def _start_workers(self) -> None:
        """Start as many workers as there are tasks for, and the thread that looks after them. The lock is held."""
        wanted = self._max_workers
        if self._manager is not None or self._context.get_start_method() != "fork":
            wanted = min(wanted, len(self._running) + len(self._waiting))
        # By fork all of them are there before the manager's thread is: a child has whatever another thread was in the middle
        # of, for ever.
        while len(self._workers) < wanted:
            worker = self._context.Process(target=_work, args=(self._tasks, self._results, *self._start), daemon=True)
            worker.start()
            self._workers.append(worker)
            self._poke()
        if self._manager is None:
            self._manager = threading.Thread(target=_manage, args=(self,), name="procession-executor", daemon=True)
            self._manager.start()

    def _look_after(self) -> bool:
        """One round of the manager; whether there is another."""
        _native.wait([self._results, self._wake], _LOOK if self._running or self._waiting else None)
        self._wake.acquire(block=False)
        with self._lock:
            unsent, self._unsent = self._unsent, []
        for task, error in unsent:
            task.future.set_exception(error)
        for number, outcome in self._outcomes():
            if number is None:
                self._break("the initializer failed in a worker:\n" + outcome.decode())
                return False
            if number == _BEGAN:
                self._stillborn = 0
            else:
                self._settle(number, outcome)
        if time.monotonic() >= self._look_again:
            self._look_again = time.monotonic() + _LOOK
            self._bury()
            if self._stillborn >= _STILLBORN:
                self._break(
                    f"{self._stillborn} workers in a row ended before they had begun; what they wrote to stderr says why. A "
                    'program that is run as a file starts its executor below `if __name__ == "__main__":`'
                )
                return False
        with self._lock:
            self._hand_out()
            if self._running or self._waiting or self._unsent or not self._is_shut_down:
                return True
        self._end()
        return False

    def _outcomes(self) -> list[Any]:
        try:
            return self._results.get_many(256, block=False)
        except _Empty:
            return []

    def _settle(self, number: int, outcome: bytes) -> None:
        with self._lock:
            task = self._running.pop(number, None)
            self._hand_out()
        if task is None:
            # Done twice: the worker was killed after the first result.
            return
        try:
            ok, value, text = pickle.loads(outcome)
        except BaseException as error:
            ok, value, text = False, error, "the outcome could not be unpickled"
        if ok:
            task.future.set_result(value)
        else:
            value.__cause__ = RemoteTraceback(text)
            task.future.set_exception(value)

    def _bury(self) -> None:
        """Replace workers that have ended, and fail the tasks that nobody will finish."""
        with self._lock:
            ended = [worker for worker in self._workers if not worker.is_alive()]
            self._workers = [worker for worker in self._workers if worker.is_alive()]
        for worker in ended:
            worker.join()
        # As soon as one has begun, that is 0 again: those that are killed later are no reason to give up.
        self._stillborn += len(ended)
        for letter in self._tasks.dead_letters():
            number = letter.item[0]
            self._tasks.discard(letter)
            with self._lock:
                task = self._running.pop(number, None)
            if task is not None:
                codes = ", ".join(str(worker.exitcode) for worker in ended) or "unknown"
                error = WorkerDied(
                    f"the worker that ran this task died, in attempt {letter.attempts} (exit code {codes}): submit it again, "
                    "or make the executor with retries="
                )
                error.attempts = letter.attempts
                task.future.set_exception(error)
        with self._lock:
            if self._running or self._waiting:
                self._start_workers()

    def _break(self, text: str) -> None:
        """Nothing can be run any more."""
        with self._lock:
            self._broken = text
            tasks = [*self._running.values(), *self._waiting, *(task for task, _ in self._unsent)]
            self._running.clear()
            self._waiting.clear()
            self._unsent.clear()
        for task in tasks:
            if not task.future.done():
                task.future.set_exception(BrokenExecutor(text))
        self._end()

    def _end(self) -> None:
        """Let the workers go."""
        self._tasks.shutdown()
        with self._lock:
            workers, self._workers = self._workers, []
        for worker in workers:
            worker.join()


def _manage(executor: Executor) -> None:
    try:
        while executor._look_after():
            pass
    except Exception as error:
        # A worker cannot be started, above all: nobody is to wait for what nobody will do.
        executor._break("its workers cannot be looked after:\n" + "".join(traceback.format_exception(error)))


def _chunks(size: int, *iterables: Iterable[Any]) -> Iterator[tuple[tuple[Any, ...], ...]]:
    items = zip(*iterables, strict=False)
    while chunk := tuple(itertools.islice(items, size)):
        yield chunk


def _run_chunk(function: Callable[..., _T], chunk: tuple[tuple[Any, ...], ...]) -> list[_T]:
    return [function(*args) for args in chunk]


_all: weakref.WeakSet[Executor] = weakref.WeakSet()


@atexit.register
def _shut_all_down() -> None:
    """What was submitted is done before the interpreter ends, as with those of ``concurrent.futures``."""
    if multiprocessing.parent_process() is None or _worker == 0:
        for executor in list(_all):
            executor.shutdown()
