"""One lock, one queue for Python, Rust and the shell.

Rust is ``tests/src/bin/beside_python.rs``, which does what it is told; the shell has the command ``procession queue``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import procession
import pytest
from actors import LONG, actor, close
from procession import Array, JoinableQueue, Lock, Queue, Value

# Where cargo has built the programs of Rust: `make python` says so.
BUILT = Path(os.environ.get("PROCESSION_BUILT", ""))
TESTED = BUILT / "procession-tested"
COMMAND = str(TESTED) if TESTED.is_file() else shutil.which("procession") or ""
BESIDE = BUILT / "beside_python"
EXAMPLE = BUILT / "examples" / "shell_rust_and_python"
needs_command = pytest.mark.skipif(not Path(COMMAND).is_file(), reason="the command procession is not built")
needs_rust = pytest.mark.skipif(not BESIDE.is_file(), reason="beside_python is not built: make python does it")


@dataclass
class Size:
    width: int
    height: int


@dataclass
class Job:
    id: int
    what: str
    marks: list[float]
    is_done: bool | None
    size: Size


class Rust:
    """The program in Rust."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([str(BESIDE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def told(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def says(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def does(self, line: str) -> str:
        self.told(line)
        return self.says()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(LONG)


@contextmanager
def rust() -> Iterator[Rust]:
    other = Rust()
    try:
        yield other
    finally:
        other.kill()
        close(other.process.stdin)
        close(other.process.stdout)


def run(line: str, name: str) -> str:
    """What a line of shell prints, in which $procession is the command, and $q the queue."""
    environment = {**os.environ, "procession": COMMAND, "q": name}
    done = subprocess.run(["sh", "-ec", line], env=environment, capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_rust
def test_a_lock_whose_holder_in_rust_is_killed(name: str) -> None:
    lock = Lock(name)
    with rust() as other:
        assert other.does(f"acquire {name}") == "acquired"
        holder = lock.holder()
        assert holder is not None and holder.pid == other.process.pid and not lock.acquire(block=False)
        threading.Timer(0.05, other.process.kill).start()
        with pytest.raises(procession.OwnerDied) as raised:
            lock.acquire(timeout=LONG)
        assert raised.value.pid == other.process.pid
    with rust() as another:
        # Nobody else is let in before somebody has put right what the lock guards: here it is Rust.
        assert another.does(f"acquire {name}").startswith("OwnerDied")
        assert another.does(f"recover {name}") == "acquired" and another.does(f"release {name}") == "released"
    assert lock.acquire(timeout=LONG)
    lock.release()


@needs_rust
def test_a_lock_whose_holder_in_python_is_killed(name: str) -> None:
    lock = Lock(name)
    with rust() as other, actor("procession.Lock(sys.argv[1]).acquire(); say('held'); time.sleep(600)", name) as victim:
        assert victim.says() == "held"
        other.told(f"acquire {name}")
        threading.Timer(0.05, victim.process.kill).start()
        assert other.says() == f"OwnerDied {victim.pid}"
        assert lock.recover(timeout=LONG)
        lock.release()
        assert other.does(f"acquire {name}") == "acquired"
        assert lock.locked() and other.does(f"release {name}") == "released" and not lock.locked()


@needs_rust
@pytest.mark.parametrize("maker", ["python", "rust"])
@pytest.mark.parametrize("codec", ["json", "msgpack"])
def test_what_has_fields_goes_both_ways(codec: Any, maker: str, name: str) -> None:
    if codec == "msgpack":
        pytest.importorskip("msgpack")
    with rust() as other:
        queue = Queue(name=name, codec=codec) if maker == "python" else None
        assert other.does(f"put {codec} {name}") == "put"
        queue = queue or Queue(name=name, create=False)
        assert queue.codec == codec
        got = queue.get(timeout=LONG)
        assert got == {"id": -7, "what": "wäsche", "marks": [1.5, 2.0], "is_done": None, "size": {"width": 640, "height": 480}}
        queue.put(Job(8, "spülen", [0.25], True, Size(1, 2)))
        assert other.does(f"get {codec} {name}") == "8 spülen [0.25] Some(true) 1x2"
        queue.put({**got, "id": 9})
        assert other.does(f"get {codec} {name}") == "9 wäsche [1.5, 2.0] None 640x480"


@needs_rust
def test_bytes_go_both_ways_and_pickles_through_rust(name: str) -> None:
    with rust() as other:
        queue = Queue(name=name, codec="bytes")
        assert other.does(f"put bytes {name}") == "put" and queue.get_bytes(timeout=LONG) == b"\0\xffx"
        queue.put_bytes(b"\x01\x02")
        assert other.does(f"get bytes {name}") == "[1, 2]"
        queue.unlink()
        there, back = Queue(name=name), Queue(name=name + "-back")
        there.put({1, 2, (3,)})
        assert other.does(f"relay {name} {name}-back") == "relayed" and back.get(timeout=LONG) == {1, 2, (3,)}
        back.unlink()
        there.unlink()
        # What only Rust reads is refused by name.
        assert other.does(f"put bincode {name}") == "put"
        with pytest.raises(procession.CodecMismatch, match="bincode"):
            Queue(name=name)
        assert other.does(f"get bincode {name}").startswith("-7")


@needs_rust
def test_items_of_the_dead_are_the_other_languages(name: str) -> None:
    jobs = JoinableQueue(name=name, codec="json")
    jobs.put(Job(1, "wash", [], None, Size(0, 0)))
    with rust() as victim:
        assert victim.does(f"lease {name}") == "1 in attempt 1"
        threading.Timer(0.05, victim.process.kill).start()
        lease = jobs.lease(timeout=LONG)
        assert lease.attempt == 2 and lease.item["what"] == "wash"
        lease.put_back()
    code = "item = procession.JoinableQueue(name=sys.argv[1]).get(); say(item['id']); time.sleep(600)"
    with rust() as other, actor(code, name) as dying:
        assert dying.says() == "1"
        other.told(f"lease {name}")
        threading.Timer(0.05, dying.process.kill).start()
        assert other.says() == "1 in attempt 3" and other.does("done") == "done"
    assert jobs.join(LONG)


@needs_rust
def test_numbers_are_the_same_numbers(name: str) -> None:
    value, array = Value("i", 7, name=name), Array("d", [1, 2], name + "-array")
    with rust() as other:
        assert other.does(f"add value {name}") == "8" and value.value == 8
        with array.update() as numbers:
            numbers[0] = 10
        assert other.does(f"add array {name}-array") == "[10.5, 2.5]" and array[:] == [10.5, 2.5]
    array.unlink()


@needs_command
@needs_rust
def test_the_three_on_one_queue(name: str) -> None:
    """The shell puts, Rust and Python each work on one item, and the shell sees that nothing is left."""
    run('$procession queue create "$q" --codec json', name)
    item = '{"id":%d,"what":"wash","marks":[],"is_done":null,"size":{"width":1,"height":1}}'
    run(f"""$procession queue put "$q" '{item % 1}' '{item % 2}'""", name)
    jobs = JoinableQueue(name=name)
    with rust() as other, jobs.lease(timeout=LONG) as mine:
        assert mine["id"] == 1 and other.does(f"lease {name}") == "2 in attempt 1"
        assert len(jobs.holders()) == 2
        jobs.put({**mine, "id": 3})
        assert json.loads(run('$procession queue get "$q"', name))["id"] == 3
        assert other.does("done") == "done"
    assert jobs.join(LONG) and run('$procession queue len "$q"', name).split()[0] == "0"


@needs_command
@pytest.mark.skipif(not EXAMPLE.is_file(), reason="the example is not built: make python does it")
def test_the_example_of_the_three(tmp_path: Path) -> None:
    (tmp_path / "procession").symlink_to(COMMAND)
    path = f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run([str(EXAMPLE)], env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sea-small.jpg" in done.stdout and "has no procession" not in done.stdout


@needs_command
def test_json_goes_both_ways(name: str) -> None:
    queue = JoinableQueue(name=name, codec="json")
    queue.put({"id": 7, "what": "wäsche"})
    assert json.loads(run('$procession queue get "$q"', name)) == {"id": 7, "what": "wäsche"}
    run("""$procession queue put "$q" '{"id":8,"what":[1.5,null,true]}'""", name)
    with queue.lease(timeout=LONG) as item:
        assert item == {"id": 8, "what": [1.5, None, True]}
    queue.put_many({"n": n} for n in range(10))
    lines = run("$procession queue work \"$q\" -j 2 --until-empty -- sh -c 'echo \"$0\"' {}", name).splitlines()
    assert sorted(json.loads(line)["n"] for line in lines) == list(range(10))
    assert queue.join(LONG)


@needs_command
def test_a_queue_that_the_shell_made_says_its_codec(name: str) -> None:
    run('$procession queue create "$q" --codec json', name)
    queue = JoinableQueue(name=name)
    assert queue.codec == "json"
    with pytest.raises(procession.CodecMismatch, match="codec='json'"):
        JoinableQueue(name=name, codec="pickle")
    queue.unlink()
    run('$procession queue create "$q" --codec text --plain', name)
    text = Queue(name=name)
    assert text.codec == "bytes"
    text.put_bytes("täxt".encode())
    assert run('$procession queue get "$q"', name) == "täxt\n"


@needs_command
def test_the_command_shows_what_python_holds(name: str) -> None:
    with procession.Lock(name):
        assert str(os.getpid()) in run('$procession ls', name)
    pickles = Queue(name=name + "p")
    pickles.put({1, 2})
    assert "1" in run('$procession inspect "$q"p', name)
    pickles.unlink()
