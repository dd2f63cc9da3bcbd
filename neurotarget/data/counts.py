"""Events counted in steps: the frames of a prepared folder, for every set of recorded events."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from . import cache
from .base import DataError


@dataclass(frozen=True)
class Events:
    """The recordings of one split.

    labels: int64 [samples]
    keys: one stable identifier a recording
    cells: of a recording's position, its length in steps and the cell of each of its events: int64 [events], an index
        into the flattened counts [length, *shape]
    """

    labels: np.ndarray
    keys: Sequence[str]
    cells: Callable[[int], tuple[int, np.ndarray]]


def write(folder: Path, splits: Mapping[str, Events], shape: tuple[int, ...], title: str) -> None:
    """Counts the events of every split: frames [samples, steps, *shape] with the steps of the longest recording.

    uint8, or uint16 where a count passes 255.

    Args:
        folder: a new one, of `cache.prepared`.
        title: of the progress bar.

    Raises:
        DataError: of a recording, a count beyond uint16, or more bytes than the disk has free.
    """
    # Two passes over the recordings, since the padded length and the integer type are known only after the first:
    # holding the events in memory instead would take gigabytes.
    lengths: dict[str, np.ndarray] = {}
    largest = 0
    total = sum(len(events.labels) for events in splits.values())
    with tqdm(total=2 * total, desc=title, unit="recording", leave=False, disable=None) as bar:
        for name, events in splits.items():
            lengths[name] = np.empty(len(events.labels), np.int64)
            for position in range(len(events.labels)):
                lengths[name][position], cells = events.cells(position)
                largest = max(largest, int(np.unique(cells, return_counts=True)[1].max(initial=0)))
                bar.update()
        if largest > np.iinfo(np.uint16).max:
            raise DataError(f"{folder.name}: {largest} events in one step of one feature; ask for more steps")
        dtype = np.dtype(np.uint8 if largest <= np.iinfo(np.uint8).max else np.uint16)
        longest = max(int(of_split.max()) for of_split in lengths.values())
        # The padding takes no room: a file system does not store pages that nobody wrote.
        _refuse_a_full_disk(folder, sum(map(int, map(np.sum, lengths.values()))) * int(np.prod(shape)) * dtype.itemsize)
        for name, events in splits.items():
            frames = cache.create_frames(folder, name, (len(events.labels), longest, *shape), dtype)
            for position in range(len(events.labels)):
                counted, times = np.unique(events.cells(position)[1], return_counts=True)
                frames[position].reshape(-1)[counted] = times
                bar.update()
            cache.save_split(folder, name, events.labels, lengths[name], events.keys)


def _refuse_a_full_disk(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:  # found out while writing to a memory map, it would end the process by a signal
        raise DataError(
            f"{folder.parent}: the frames take {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free; ask for fewer "
            "steps or a smaller size, or set NEUROTARGET_CACHE to a folder with more room"
        )
