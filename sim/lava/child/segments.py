"""Shared memory of a Lava child, under names that say whose it is.

Python's multiprocessing makes segments, semaphores and sockets under random names and loses them when killed. Here
all of one run carry a token `neurotarget-PID-RANDOM`, so that whoever survives can remove them, and nothing else.
"""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
PREFIX = "neurotarget"


def new_token() -> str:
    return f"{PREFIX}-{os.getpid()}-{secrets.token_hex(4)}"


def use(token: str) -> None:
    """Gives the token to everything that this process and its children make from here on."""
    from multiprocessing import process, shared_memory

    sockets = SHARED_MEMORY / f"{token}.sockets"
    sockets.mkdir()
    shared_memory._SHM_NAME_PREFIX = f"/{token}_"  # type: ignore[attr-defined]
    shared_memory._SHM_SAFE_NAME_LENGTH = len(token) + 14  # type: ignore[attr-defined]
    process.current_process()._config.update(semprefix=f"/{token}", tempdir=str(sockets))  # type: ignore[attr-defined]


def of(token: str) -> list[Path]:
    return [*SHARED_MEMORY.glob(f"{token}*"), *SHARED_MEMORY.glob(f"sem.{token}*")]


def remove(token: str) -> None:
    for entry in of(token):
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def sweep() -> None:
    """Removes what is left of runs whose parent and child were killed at the same moment."""
    for entry in of(f"{PREFIX}-"):
        token = entry.name.removeprefix("sem.")
        parent = token.split("-")[1]
        if parent.isdecimal() and not Path("/proc", parent).exists():
            remove(token)
