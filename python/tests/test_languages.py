"""One queue for Python, Rust and the shell: the command `procession queue` is the Rust library's, from a shell."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import procession
import pytest
from actors import LONG
from procession import JoinableQueue, Queue

COMMAND = os.environ.get("PROCESSION_COMMAND") or shutil.which("procession") or ""
needs_command = pytest.mark.skipif(not Path(COMMAND).is_file(), reason="the command procession is not built")


def run(line: str, name: str) -> str:
    """What a line of shell prints, in which $procession is the command, and $q the queue."""
    environment = {**os.environ, "procession": COMMAND, "q": name}
    done = subprocess.run(["sh", "-ec", line], env=environment, capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 0, done.stderr
    return done.stdout


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
