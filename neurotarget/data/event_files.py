"""One recording of an event camera, checked: `.bin` of N-MNIST, `.npy` of DVS Gesture, `.aedat4` of CIFAR10-DVS.

The first and the last go through the package tonic, which is GPL-3.0: called, never shipped. DVS Gesture is read as
tonic cuts and stores it, a numpy array [events, 4] of x, y, polarity and time in ms.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np

from neurotarget.errors import PackageMissing

from . import aedat4
from .base import DataError

EVENT_BYTES = 5  # of N-MNIST
MOST_BIN_EVENTS = 100_000  # real recordings have about 4,200
MOST_NPY_EVENTS = 10_000_000


class Recording:
    """Events in the order of the file, int64 [events] each: `t` in microseconds, `x`, `y`, and `p` (1: brighter)."""

    def __init__(self, t: np.ndarray, x: np.ndarray, y: np.ndarray, p: np.ndarray) -> None:
        self.t, self.x, self.y, self.p = (np.asarray(column).astype(np.int64) for column in (t, x, y, p))


def read(path: Path, side: int, longest_seconds: int) -> Recording:
    """One recording, checked.

    Args:
        side: of the sensor, in pixels.
        longest_seconds: from the first event to the last.

    Raises:
        DataError: damaged, without events, or with events outside the sensor or the time.
        PackageMissing: tonic or aedat.
    """
    try:
        recording = READERS[path.suffix](path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); unpack it again") from error
    if not len(recording.t):
        raise DataError(f"{path}: no events; unpack it again")
    for name, found, limit in (("x", recording.x, side), ("y", recording.y, side), ("polarity", recording.p, 2)):
        outside = np.flatnonzero((found < 0) | (found >= limit))
        if len(outside):
            raise DataError(
                f"{path}: event {outside[0]} has {name} {found[outside[0]]}; expected 0..{limit - 1}: unpack it again"
            )
    seconds = (int(recording.t.max()) - int(recording.t.min())) / 1e6
    if seconds > longest_seconds:
        raise DataError(
            f"{path}: {seconds:g} s between its first and last event; expected {longest_seconds} s at most: unpack it "
            "again"
        )
    return recording


def _read_bin(path: Path) -> Recording:
    """40 bits an event: x, y, polarity (1 bit), time (23 bits); y = 240 marks an overflow of the time."""
    size = path.stat().st_size
    if size % EVENT_BYTES or size > EVENT_BYTES * MOST_BIN_EVENTS:
        raise DataError(
            f"{path}: {size:,} bytes; expected {EVENT_BYTES} for each event and {MOST_BIN_EVENTS:,} events at most: "
            "unpack it again"
        )
    dtype = np.dtype([(name, np.int64) for name in "xytp"])
    events = _tonic_io().read_mnist_file(path, dtype)
    return Recording(*(events[name] for name in "txyp"))


def _read_npy(path: Path) -> Recording:
    try:
        events = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DataError(f"{path}: not a whole .npy file ({error}); unpack it again") from error
    if events.ndim != 2 or events.shape[1] != 4 or events.dtype.kind not in "iuf" or len(events) > MOST_NPY_EVENTS:
        raise DataError(
            f"{path}: {events.dtype} {events.shape}; expected numbers [events, 4], x, y, polarity and time in ms, "
            f"{MOST_NPY_EVENTS:,} events at most"
        )
    whole = (events[:, :3] % 1 == 0).all(axis=1) if events.dtype.kind == "f" else True
    wrong = np.flatnonzero(~((np.abs(events) < 2**40).all(axis=1) & whole))
    if len(wrong):
        raise DataError(f"{path}: event {wrong[0]} is {events[wrong[0]].tolist()}; unpack it again")
    x, y, p, milliseconds = events.T
    return Recording(milliseconds.astype(np.float64) * 1000, x, y, p)


def _read_aedat4(path: Path) -> Recording:
    aedat4.refuse_damaged(path)
    reader = _tonic_io()
    try:
        events = reader.read_aedat4(path)
    except Exception as error:  # tonic's own and the decoder's are of no narrower class
        raise DataError(f"{path}: not a whole AEDAT 4 recording ({error}); unpack it again") from error
    return Recording(*(events[name] for name in events.dtype.names))


READERS = {".bin": _read_bin, ".npy": _read_npy, ".aedat4": _read_aedat4}


def _tonic_io() -> ModuleType:
    try:
        import aedat  # noqa: F401  tonic's reader needs it and does not ask for it
        import tonic.io
    except ImportError as error:
        raise PackageMissing(
            f"recordings of event cameras are read by the packages tonic and aedat, and {error.name} is missing: pip "
            "install 'neurotarget[events]'"
        ) from error
    return tonic.io
