"""Each run has a namespace of its own, in which nothing may be left."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

NAMESPACE = f"pytest-{os.getpid()}"
# Before procession is imported: children inherit it.
os.environ["PROCESSION_NAMESPACE"] = NAMESPACE
sys.path.insert(0, str(Path(__file__).parent))


def files_in_shm() -> list[str]:
    """The files of this run's namespace, but for the registry of its processes."""
    return sorted(
        name for name in os.listdir("/dev/shm") if NAMESPACE in name and not name.endswith((".registry", NAMESPACE))
    )


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """What a test made is gone after it, when garbage has been collected."""
    import gc

    import procession

    before = set(files_in_shm())
    yield
    gc.collect()
    procession.gc()
    left = set(files_in_shm()) - before
    for name in left:
        os.unlink(f"/dev/shm/{name}")
    assert not left, f"left in /dev/shm: {left}"


@pytest.fixture
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    """A name that no other test uses, free again after the test."""
    import procession

    chosen = f"t{os.getpid()}-{abs(hash(request.node.nodeid)) % 10**12}"
    yield chosen
    for suffix in ("", "-lock"):
        try:
            procession.unlink(chosen + suffix)
        except procession.NotFound:
            pass
