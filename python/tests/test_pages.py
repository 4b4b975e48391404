"""What the pages for people say works when it is copied."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import procession
import pytest
from actors import LONG

DOCS = Path(__file__).parents[2] / "docs"


def programs(page: str) -> list[str]:
    """The programs in Python that stand in a page."""
    return re.findall(r"^```python\n(.*?)^```$", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)


def test_the_first_program_of_who_comes_from_multiprocessing(tmp_path: Path) -> None:
    program, *_ = programs("from-multiprocessing.md")
    (tmp_path / "program.py").write_text(program)
    done = subprocess.run([sys.executable, str(tmp_path / "program.py")], capture_output=True, text=True, timeout=LONG)
    assert (done.returncode, done.stdout) == (0, "4950\n"), done.stderr


@pytest.fixture
def jobs_of_the_page() -> Iterator[None]:
    yield
    procession.unlink("jobs")


@pytest.mark.usefixtures("jobs_of_the_page")
def test_ten_minutes_to_a_queue_that_survives(tmp_path: Path) -> None:
    put, work, *_ = programs("python.md")
    for name, program in (("put.py", put), ("work.py", work)):
        assert program.startswith(f"# {name}\n")
        # A job takes a second there.
        (tmp_path / name).write_text(program.replace("time.sleep(1)", "time.sleep(0.01)"))
    subprocess.run([sys.executable, str(tmp_path / "put.py")], check=True, timeout=LONG)
    jobs = procession.JoinableQueue(name="jobs", create=False)
    assert jobs.unfinished == 100 and jobs.codec == "json" and jobs.max_attempts == 3

    def worker() -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-u", str(tmp_path / "work.py")], stdout=subprocess.PIPE, text=True)

    victim, other = worker(), worker()
    assert victim.stdout and victim.stdout.readline().startswith("converting picture-")
    os.kill(victim.pid, signal.SIGKILL)
    assert jobs.join(LONG) and not jobs.dead_letters() and jobs.unfinished == 0
    other.kill()
    printed = other.communicate(timeout=LONG)[0] + victim.communicate(timeout=LONG)[0]
    # In both together is each of them, but for the line that the dead one may not have written.
    assert len(set(re.findall(r"picture-(\d+)\.png", printed))) >= 99
    end = time.monotonic() + LONG
    while jobs.holders() and time.monotonic() < end:
        time.sleep(0.01)
    assert jobs.holders() == []
