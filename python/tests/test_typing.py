"""The stubs say what there is, and the package's own code agrees with them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import procession
import pytest

HERE = Path(__file__).parent
CONFIG = ("--config-file", "../pyproject.toml")


def run(*command: str) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=HERE, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_package_is_typed() -> None:
    pytest.importorskip("mypy")
    run("mypy", *CONFIG, "--strict", "--no-incremental", "-p", "procession")
    run("mypy", *CONFIG, "--strict", "--no-incremental", *(str(test) for test in HERE.glob("*.py")), "../bench/compare.py")


def test_the_stubs_are_what_is_there() -> None:
    pytest.importorskip("mypy")
    run("mypy.stubtest", "--mypy-config-file", "../pyproject.toml", "--allowlist", "stubtest-allowlist.txt", "--ignore-unused-allowlist", "procession")


def test_everything_has_a_docstring_that_reads_well() -> None:
    for name in procession.__all__:
        thing = getattr(procession, name)
        assert (thing.__doc__ or "").strip(), name
        if not isinstance(thing, type) or issubclass(thing, BaseException) or thing is procession.Holder:
            continue
        for attribute, value in vars(thing).items():
            if not attribute.startswith("_"):
                assert (value.__doc__ or "").strip(), f"{name}.{attribute}"
