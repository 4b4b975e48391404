"""What procession tells of processes."""

from __future__ import annotations

from typing import NamedTuple


class Holder(NamedTuple):
    """A process that holds something."""

    pid: int
    """Its pid, in its own pid namespace; 0 if nobody remembers."""
    name: str
    """Its name; empty if nobody remembers."""
    is_dead: bool
    """Whether it has died, and nobody has noticed yet."""
    held_for: float | None
    """How many seconds it has held it at least; ``None`` if nobody has waited for it."""
