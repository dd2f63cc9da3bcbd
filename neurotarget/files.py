"""Files appear under their name only when complete."""

from __future__ import annotations

import os
from pathlib import Path


def write_bytes(path: str | Path, content: bytes) -> None:
    """Writes a file beside its place, then renames it: the old file stays whole until the new one is on the disk.

    Raises:
        OSError: it cannot be written (full disk, missing folder); the old file, where there was one, is as it was.
    """
    temporary = Path(f"{path}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # a rename may reach the disk before the data it names
        temporary.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error  # the user knows nothing of .part
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """`write_bytes` of a text in UTF-8."""
    write_bytes(path, text.encode())


def remove_unfinished(folder: Path) -> None:
    """Deletes what killed writers left in a folder that no other process is writing to."""
    for temporary in folder.glob("*.part"):
        temporary.unlink(missing_ok=True)
