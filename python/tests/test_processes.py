"""Objects cross to processes of multiprocessing, by each start method."""

from __future__ import annotations

import multiprocessing
import os
import sys
import warnings

import procession
import pytest
from actors import LONG, actor, context, count_under, die_holding, make_all, use_all
from conftest import files_in_shm

METHODS = multiprocessing.get_all_start_methods()


@pytest.mark.parametrize("method", METHODS)
def test_all_objects_are_arguments(method: str) -> None:
    objects = make_all()
    child = context(method).Process(target=use_all, args=(objects,))
    child.start()
    objects["barrier"].wait(LONG)
    child.join(LONG)
    assert child.exitcode == 0
    assert objects["event"].is_set() and objects["latch"].is_open() and objects["once"].is_done()
    assert objects["signal"].acquire(block=False)
    assert objects["semaphore"].get_value() == 2


@pytest.mark.parametrize("method", METHODS)
def test_an_argument_that_nobody_else_keeps_lives_until_the_child_has_it(method: str) -> None:
    counter = context(method).Value("i", 0, lock=False)
    children = [context(method).Process(target=count_under, args=(lock, counter, 50)) for lock in [procession.Lock()] * 2]
    for child in children:
        child.start()
    for child in children:
        child.join(LONG)
        assert child.exitcode == 0
    assert counter.value == 100


@pytest.mark.parametrize("method", METHODS)
def test_a_child_that_is_killed_holding_is_reported(method: str) -> None:
    lock = procession.Lock()
    child = context(method).Process(target=die_holding, args=(lock,))
    child.start()
    child.join(LONG)
    with pytest.raises(procession.OwnerDied) as raised:
        lock.acquire()
    assert raised.value.pid == child.pid
    lock.recover()
    lock.release()


@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_left_when_the_last_process_has_ended(method: str) -> None:
    code = """
        import multiprocessing
        sys.path.insert(0, sys.argv[2])
        from actors import use_all, make_all
        if __name__ == "__main__":
            objects = make_all()
            child = multiprocessing.get_context(sys.argv[1]).Process(target=use_all, args=(objects,))
            child.start()
            objects["barrier"].wait(60)
            child.join(60)
            assert child.exitcode == 0
    """
    before = set(files_in_shm())
    with actor(code, method, os.path.dirname(__file__)) as other:
        other.ends()
    assert not set(files_in_shm()) - before


def test_a_forked_child_has_none_of_its_parents_holds() -> None:
    lock = procession.Lock()
    lock.acquire()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            lock.release()
        except procession.NotHeld:
            code = 0 if not lock.acquire(block=False) else 2
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    lock.release()


def test_importing_starts_no_thread_and_multiprocessing_is_not_imported() -> None:
    code = """
        say(len(os.listdir("/proc/self/task")), "multiprocessing" in sys.modules, len(os.listdir("/dev/shm")) >= 0)
        lock = procession.Lock()
        with lock: pass
        say(len(os.listdir("/proc/self/task")))
        event = procession.Event()
        event.wait(0.05)
        pid = os.fork()
        if pid == 0:
            say(len(os.listdir("/proc/self/task")))
            os._exit(0)
        os.waitpid(pid, 0)
    """
    with actor(code) as other:
        assert other.says() == "1 False True"
        assert other.says() == "1"
        assert other.says() == "1"


def test_python_minus_m_runs_the_command_or_says_how_to_get_it(tmp_path: object) -> None:
    import subprocess

    command = [sys.executable, "-m", "procession", "ls"]
    without = subprocess.run(command, env={**os.environ, "PATH": str(tmp_path)}, capture_output=True, text=True)
    assert without.returncode == 1 and "not on the PATH" in without.stderr
    script = f"{tmp_path}/procession"
    with open(script, "w") as file:
        file.write('#!/bin/sh\necho "it was told $*"\n')
    os.chmod(script, 0o755)
    with_it = subprocess.run(
        command, env={**os.environ, "PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True
    )
    assert with_it.stdout == "it was told ls\n"
