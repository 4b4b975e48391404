from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import procession
import pytest
from actors import LONG
from procession import Executor, WorkerDied, _executor, _native

METHODS = multiprocessing.get_all_start_methods()


def double(n: int) -> int:
    return 2 * n


def add(a: int, b: int = 0) -> int:
    return a + b


def fail(text: str) -> None:
    raise KeyError(text)


def die_at(n: int, where: int) -> int:
    if n == where:
        os.kill(os.getpid(), signal.SIGKILL)
    return n


def die_once(mark: str) -> str:
    """Kill the worker that comes first."""
    if not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def unpicklable() -> Any:
    return lambda: None


def pid_after(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


class Odd(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} {two}")


def raise_odd() -> None:
    raise Odd(1, 2)


PREPARED: list[int] = []


def prepare(n: int) -> None:
    PREPARED.append(n)


def prepared() -> list[int]:
    return PREPARED


def not_prepared() -> None:
    raise KeyError("no database")


@pytest.mark.parametrize("method", METHODS)
def test_functions_are_run(method: str) -> None:
    with Executor(2, context=method) as executor:
        futures = [executor.submit(double, n) for n in range(50)]
        assert [future.result(LONG) for future in futures] == [2 * n for n in range(50)]
        assert executor.submit(add, 1, b=2).result(LONG) == 3
        assert list(executor.map(add, range(5), range(5), timeout=LONG)) == [0, 2, 4, 6, 8]
        assert list(executor.map(double, range(25), chunksize=7)) == [2 * n for n in range(25)]
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(double, 1)


def test_what_goes_wrong_is_the_futures() -> None:
    with Executor(2) as executor:
        failed = executor.submit(fail, "mine")
        with pytest.raises(KeyError, match="mine") as raised:
            failed.result(LONG)
        assert "in fail" in str(raised.value.__cause__)
        with pytest.raises(Exception, match="pickle|local object"):
            executor.submit(unpicklable).result(LONG)
        with pytest.raises(Exception, match="pickle|local object"):
            executor.submit(lambda: None).result(LONG)
        with pytest.raises(TypeError):
            executor.submit(raise_odd).result(LONG)
        assert executor.submit(double, 4).result(LONG) == 8
        done, waiting = concurrent.futures.wait([executor.submit(double, n) for n in range(10)], LONG)
        assert len(done) == 10 and not waiting
    with pytest.raises(ValueError):
        Executor(0)
    with pytest.raises(ValueError):
        Executor(retries=-1)
    with pytest.raises(TypeError):
        Executor(initializer=7)  # type: ignore[arg-type]


def test_a_worker_that_dies_costs_its_task() -> None:
    with Executor(2) as executor:
        futures = [executor.submit(die_at, n, 7) for n in range(100)]
        with pytest.raises(WorkerDied, match="attempt 1") as raised:
            futures[7].result(LONG)
        assert raised.value.attempts == 1
        assert [future.result(LONG) for n, future in enumerate(futures) if n != 7] == [n for n in range(100) if n != 7]


def test_a_retry_costs_nothing(tmp_path: Path) -> None:
    with Executor(2, retries=1) as executor:
        first = executor.submit(die_once, str(tmp_path / "mark"))
        others = [executor.submit(double, n) for n in range(20)]
        assert first.result(LONG) == "done"
        assert [future.result(LONG) for future in others] == [2 * n for n in range(20)]
        with pytest.raises(WorkerDied) as raised:
            executor.submit(die_at, 1, 1).result(LONG)
        assert raised.value.attempts == 2


def test_large_arguments_and_results() -> None:
    data = os.urandom(6_000_000)
    with Executor(2) as executor:
        for _ in range(3):
            assert executor.submit(bytes, data).result(LONG) == data


def test_what_no_worker_has_is_cancelled() -> None:
    executor = Executor(1)
    slow = executor.submit(pid_after, 0.3)
    rest = [executor.submit(double, n) for n in range(50)]
    assert rest[-1].cancel()
    executor.shutdown(cancel_futures=True)
    assert slow.result(LONG)
    cancelled = [future for future in rest if future.cancelled()]
    assert len(cancelled) >= 40 and all(future.done() for future in rest)


def test_callbacks_of_what_is_cancelled_may_use_the_executor() -> None:
    executor = Executor(1)
    executor.submit(time.sleep, 0.3)
    rest = [executor.submit(double, n) for n in range(20)]
    told: list[str] = []

    def then(_: concurrent.futures.Future[int]) -> None:
        try:
            executor.submit(double, 1)
        except RuntimeError as error:
            told.append(str(error))

    rest[-1].add_done_callback(then)
    executor.shutdown(cancel_futures=True)
    assert told == ["cannot schedule new futures after shutdown"]


def wait_for(mark: str, result: bytes) -> bytes:
    while not Path(mark).exists():
        time.sleep(0.001)
    return result


def test_who_submits_does_not_keep_those_waiting_who_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As with many workers, whose tasks are more together than their queue has room for.
    monkeypatch.setattr(_executor, "_BYTES", 1 << 16)
    data = bytes(30_000)
    with Executor(2) as executor:
        slow = executor.submit(wait_for, str(tmp_path / "mark"), data)
        threading.Timer(0.5, (tmp_path / "mark").touch).start()
        futures = [executor.submit(bytes, data) for _ in range(20)]
        assert all(future.result(LONG) == data for future in [slow, *futures])


def test_a_task_for_which_there_is_no_memory_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise procession.NoSpace("/dev/shm is full")

    with Executor(1) as executor:
        monkeypatch.setattr(_native, "SharedMemory", full)
        large = executor.submit(len, bytes(1 << 20))
        monkeypatch.undo()
        with pytest.raises(procession.NoSpace):
            large.result(LONG)
        assert executor.submit(double, 2).result(LONG) == 4


def submit_in_a_fork(executor: Executor) -> None:
    with pytest.raises(RuntimeError, match="make one here"):
        executor.submit(double, 1)
    executor.shutdown()


def test_a_forked_child_has_no_executor() -> None:
    with Executor(1) as executor:
        assert executor.submit(double, 1).result(LONG) == 2
        child = multiprocessing.get_context("fork").Process(target=submit_in_a_fork, args=(executor,))
        child.start()
        child.join(LONG)
        assert child.exitcode == 0
        assert executor.submit(double, 2).result(LONG) == 4


def test_callbacks_may_submit_more() -> None:
    results: list[int] = []
    finished = threading.Event()
    with Executor(2) as executor:

        def then(future: concurrent.futures.Future[int]) -> None:
            results.append(future.result())
            if len(results) < 20:
                executor.submit(double, len(results)).add_done_callback(then)
            else:
                finished.set()

        executor.submit(double, 0).add_done_callback(then)
        assert finished.wait(LONG)


def test_initializers() -> None:
    with Executor(2, initializer=prepare, initargs=(7,)) as executor:
        assert executor.submit(prepared).result(LONG) == [7]
    with Executor(2, initializer=not_prepared) as executor:
        with pytest.raises(concurrent.futures.BrokenExecutor, match="no database"):
            executor.submit(double, 1).result(LONG)
        with pytest.raises(concurrent.futures.BrokenExecutor):
            executor.submit(double, 1)


def test_what_was_submitted_is_done_before_the_interpreter_ends(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(
        "import procession, time\n"
        "def work(n):\n    time.sleep(0.02)\n    open(f'{__file__}.{n}', 'w').close()\n"
        "if __name__ == '__main__':\n"
        "    executor = procession.Executor(2)\n"
        "    for n in range(10): executor.submit(work, n)\n"
    )
    assert subprocess.run([sys.executable, str(script)], timeout=LONG).returncode == 0
    assert len(list(tmp_path.glob("program.py.*"))) == 10


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(
        "import os, procession, time\n"
        "if __name__ == '__main__':\n"
        "    executor = procession.Executor(2, context='fork')\n"
        "    executor.submit(os.getpid).result()\n"
        "    print(*(worker.pid for worker in executor._workers), flush=True)\n"
        "    time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    workers = [int(pid) for pid in parent.stdout.readline().split()]
    parent.kill()
    parent.wait()
    parent.stdout.close()
    end = time.monotonic() + LONG
    while any(map(is_running, workers)):
        assert time.monotonic() < end, "a worker goes on"
        time.sleep(0.01)
    assert len(workers) == 2


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_joblib() -> None:
    joblib = pytest.importorskip("joblib")
    import procession.joblib

    procession.joblib.register()
    with joblib.parallel_config(backend="procession", n_jobs=2):
        results = joblib.Parallel()(joblib.delayed(double)(n) for n in range(40))
    assert results == [2 * n for n in range(40)]
    with pytest.raises(KeyError):
        joblib.Parallel(n_jobs=2, backend="procession")(joblib.delayed(fail)("x") for _ in range(3))


def test_workers_that_cannot_begin_are_no_loop(tmp_path: Path) -> None:
    program = tmp_path / "unguarded.py"
    program.write_text(
        "import procession\n"
        "with procession.Executor(2, context='spawn') as executor:\n"
        "    print(executor.submit(abs, -1).result(60))\n"
    )
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=LONG)
    assert done.returncode != 0 and "BrokenExecutor" in done.stderr and '__name__ == "__main__"' in done.stderr
