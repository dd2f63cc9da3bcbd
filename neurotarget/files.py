"""Files appear under their name only when complete.

Content is made in memory where it fits, so that what is made can be checked first, and a library that writes by itself
cannot hide a full disk: HDF5 ends in a segmentation fault there.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from neurotarget.errors import UserError

PICTURE_DPI = 120


class OutputError(UserError):
    """A place where nothing can be written."""


# ---- before the work -------------------------------------------------------------------------------------------------


def check_output(*paths: str | Path | None) -> None:
    """Refuses paths of files that cannot be written; a path that is None was not asked for.

    Raises:
        OutputError: the folder is missing or not writable, or the path is a folder.
    """
    for path in (Path(path) for path in paths if path is not None):
        if path.is_dir():
            raise OutputError(f"{path}: is a folder; name a file in it")
        if not path.parent.is_dir():
            raise OutputError(f"{path}: there is no folder {path.parent}; make it first")
        _check_writable(path, path.parent)


def check_folder(path: str | Path) -> None:
    """Refuses a folder that cannot be written to, or cannot be made.

    Raises:
        OutputError: what stands there, or above it, is no folder or not writable.
    """
    path = Path(path)
    nearest = next(folder for folder in (path, *path.absolute().parents) if os.path.lexists(folder))
    if not nearest.is_dir():
        raise OutputError(f"{path}: {'it' if nearest == path else nearest} is not a folder; name another")
    _check_writable(path, nearest)


def _check_writable(path: Path, folder: Path) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: the folder {folder} cannot be written to; name another")


# ---- writing ---------------------------------------------------------------------------------------------------------


def write_bytes(path: str | Path, content: bytes) -> None:
    """Writes a file beside its place, then renames it: the old file stays whole until the new one is on the disk.

    Raises:
        OSError: it cannot be written (full disk, missing folder); the old file, where there was one, is as it was.
    """
    write_together({Path(path): content})


def write_text(path: str | Path, text: str) -> None:
    """`write_bytes` of a text in UTF-8; what no encoding has, as in a name that is not UTF-8, is escaped."""
    write_bytes(path, as_utf8(text))


def as_utf8(text: str) -> bytes:
    r"""A text in UTF-8, lone surrogates as `\udcff`."""
    return text.encode(errors="backslashreplace")


def write_npz(path: str | Path, arrays: Mapping[str, Any]) -> None:
    """`write_bytes` of arrays as a compressed `.npz`."""
    import numpy as np

    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_bytes(path, buffer.getvalue())


def hdf5(fill: Callable[[Any], None]) -> bytes:
    """The HDF5 file that `fill(h5py.File)` makes."""
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        fill(file)
    return buffer.getvalue()


def write_picture(path: str | Path, figure: Any) -> None:
    """`write_bytes` of a matplotlib Figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=PICTURE_DPI)
    write_bytes(path, buffer.getvalue())


def write_together(contents: Mapping[Path, bytes | Callable[[IO[bytes]], None]]) -> None:
    """Writes files that belong together: every one is on the disk before the first gets its name.

    Args:
        contents: by path, or what writes them.

    What a killed process left of an earlier attempt at the same files is removed.

    Raises:
        OSError: one of them cannot be written; all old files are as they were.
    """
    temporaries = {path: path.with_name(f"{path.name}.{os.getpid()}.part") for path in contents}
    path = Path()
    try:
        for path, content in contents.items():
            _remove_left_over(path)
            with temporaries[path].open("wb") as file:
                if callable(content):
                    content(file)
                else:
                    file.write(content)
                file.flush()
                os.fsync(file.fileno())  # a rename may reach the disk before the data it names
        with _uninterrupted():
            for path, temporary in temporaries.items():
                temporary.replace(path)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from error  # the user knows nothing of .part
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C that comes while files get their names came too late: what is half old and half new belongs to nothing."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _remove_left_over(path: Path) -> None:
    before, after = f"{path.name}.", ".part"
    for name in os.listdir(path.parent):
        process = name[len(before) : -len(after)] if name.startswith(before) and name.endswith(after) else ""
        if process.isdecimal() and not _runs(int(process)):
            (path.parent / name).unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


@contextlib.contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Makes a folder that no other process writes to meanwhile, and deletes what killed writers left in it.

    The operating system drops the lock when its holder dies. A file system that has no locks gives none.

    Raises:
        OutputError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OutputError(f"{folder}: another process is writing there; wait for it or name another") from None
        for temporary in folder.glob("*.part"):
            temporary.unlink(missing_ok=True)
        yield
    finally:
        os.close(descriptor)
