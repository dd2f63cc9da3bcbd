"""Prepared data on disk: made once, then opened as memory maps.

A folder `KIND-KEY` under `$NEUROTARGET_CACHE` (or `~/.cache/neurotarget`) holds the result. KEY hashes everything the
result depends on: the options, the source files' names, sizes and modification times, and `FORMAT`. A folder is
filled under a temporary name and renamed when complete, so that an interrupted run leaves nothing that looks finished.
A lock file makes a second process wait for the first one's result; the operating system drops the lock when its
holder dies.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neurotarget.standardisation import Standardisation

from .base import SPLITS, DataError, Dataset, Split

FORMAT = 1  # raise when the prepared bytes change for the same source and options


def cache_root() -> Path:
    """Folder of all prepared data: `$NEUROTARGET_CACHE`, else `~/.cache/neurotarget`."""
    return Path(os.environ.get("NEUROTARGET_CACHE") or "~/.cache/neurotarget").expanduser()


def file_identity(files: Iterable[Path], relative_to: Path) -> list[tuple[str, int, int]]:
    """(name, bytes, modification time in ns) of each file: what the key takes for "the same file"."""
    identity = []
    for file in files:
        status = file.stat()
        identity.append((file.relative_to(relative_to).as_posix(), status.st_size, status.st_mtime_ns))
    return identity


def prepared(kind: str, identity: Mapping[str, Any], build: Callable[[Path], None]) -> Path:
    """The folder that `build(folder)` fills, built now unless an earlier call with the same identity did.

    Safe when interrupted, repeated, or called by two processes at once. DataError when the cache cannot be written.
    """
    text = json.dumps({"format": FORMAT, **identity}, sort_keys=True)
    name = f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:20]}"
    root = cache_root()
    final = root / name
    if final.is_dir():
        return final
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = (root / f"{name}.lock").open("w")
    except OSError as error:
        raise DataError(
            f"{root}: cannot write prepared data there ({error.strerror}); set NEUROTARGET_CACHE to a writable folder"
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if final.is_dir():
            return final
        for left_over in root.glob(f"{name}.tmp*"):  # nobody else builds this: we hold the lock
            shutil.rmtree(left_over)
        folder = Path(tempfile.mkdtemp(prefix=f"{name}.tmp", dir=root))
        try:
            build(folder)
            folder.rename(final)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    return final


def create_frames(folder: Path, split: str, shape: tuple[int, ...], dtype: np.dtype | type) -> np.memmap:
    """A new zero-filled frames file of one split, to be written in place."""
    return np.lib.format.open_memmap(folder / f"{split}.frames.npy", mode="w+", dtype=dtype, shape=shape)


def save_split(folder: Path, split: str, labels: np.ndarray, lengths: np.ndarray, keys: Iterable[str]) -> None:
    """Write all of a split but its frames."""
    np.save(folder / f"{split}.labels.npy", np.asarray(labels, np.int64))
    np.save(folder / f"{split}.lengths.npy", np.asarray(lengths, np.int64))
    (folder / f"{split}.keys.json").write_text(json.dumps(list(keys)))


def load_split(folder: Path, name: str) -> Split:
    """One split of a prepared folder; frames stay on disk as a read-only memory map. DataError when it was damaged."""
    try:
        frames = np.load(folder / f"{name}.frames.npy", mmap_mode="r")
        labels = np.load(folder / f"{name}.labels.npy")
        lengths = np.load(folder / f"{name}.lengths.npy")
        keys = tuple(json.loads((folder / f"{name}.keys.json").read_text()))
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{folder}: the prepared {name} split is damaged ({error}); delete this folder") from error
    if not len(frames) == len(labels) == len(lengths) == len(keys):
        raise DataError(
            f"{folder}: the prepared {name} split holds {len(frames)} frames, {len(labels)} labels, "
            f"{len(lengths)} lengths and {len(keys)} keys, expected as many of each; delete this folder"
        )
    return Split(frames, labels, lengths, keys)


def load_dataset(
    folder: Path,
    spec: str,
    classes: tuple[str, ...],
    step_seconds: float,
    names: Collection[str] = SPLITS,
    standardisation: Standardisation | None = None,
) -> Dataset:
    """Opens the splits `names` of a prepared folder. DataError when it was damaged."""
    splits = {name: load_split(folder, name) for name in names}
    shape = next(iter(splits.values())).frames.shape[2:]
    return Dataset(spec, classes, shape, step_seconds, splits, standardisation)
