"""The end of a process group."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

END_SECONDS = 5.0  # what the system gets to end a group that was killed


def end(group: int) -> None:
    """Kills every process of a group and waits until none runs."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
    until = time.monotonic() + END_SECONDS
    while alive(group) and time.monotonic() < until:
        time.sleep(0.01)


def alive(group: int) -> list[int]:
    """Processes of a group that still run (zombies do not)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            # pid (name) state ppid pgrp ...; the name may hold anything
            state, _, group_of_it = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            if int(group_of_it) == group and state not in "ZX":
                found.append(int(entry.name))
    return found
