"""``python -m procession`` runs the command ``procession``."""

from __future__ import annotations

import os
import shutil
import sys


def main() -> None:
    """Become the command, if there is one on the PATH."""
    command = shutil.which("procession")
    if command is None:
        sys.exit(
            "python -m procession: the command `procession` is not on the PATH. It is a program of its own: "
            "`make install` in its repository builds and installs it (or `cargo install --path bin/procession`)."
        )
    os.execv(command, [command, *sys.argv[1:]])


if __name__ == "__main__":
    main()
