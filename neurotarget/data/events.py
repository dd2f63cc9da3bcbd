"""Event cameras: N-MNIST, DVS Gesture and CIFAR10-DVS, as frames of counts per polarity.

An event at time t after the first event of its recording falls into step `t * steps // 1 s`, in integers of a
microsecond. Frames are [2, height, width]: events of falling, then of rising brightness, by row and column, as
`tonic.transforms.ToFrame` has them. With `size` the events of neighbouring pixels are summed.

N-MNIST and DVS Gesture have a test split of their own. Nothing is ever downloaded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import cache, counts, event_files
from .base import SPLITS, DataError, Dataset
from .spec import Spec

MICROSECONDS = 1_000_000
MNIST_TRAIN = 50_000  # MNIST's last 10,000 train images are the usual validation split
GESTURE_VALIDATION_USERS = (22, 23)  # of 23 in train
CIFAR_TEST, CIFAR_VALIDATION = 100, 200  # of 1,000 of each class, the numbers below


@dataclass(frozen=True)
class Found:
    """A recording's file; `split` it belongs to."""

    path: Path
    label: int
    split: str


@dataclass(frozen=True)
class Layout:
    """A data set of an event camera.

    side: of its square sensor, in pixels
    steps: a second, unless the SPEC says otherwise
    longest_seconds: of a recording
    find: its recordings in a folder
    expected: in that folder, and where it comes from
    """

    side: int
    classes: tuple[str, ...]
    steps: int
    longest_seconds: int
    find: Callable[[Path], Iterator[Found]]
    expected: str


def _number(path: Path) -> int:
    if not (found := re.search(r"[0-9]+$", path.stem)):
        raise DataError(f"{path}: not a name of this data set; expected a number at its end: move it elsewhere")
    return int(found[0])


def _nmnist(root: Path) -> Iterator[Found]:
    for path in root.glob("Train/[0-9]/*.bin"):
        yield Found(path, int(path.parent.name), "train" if _number(path) <= MNIST_TRAIN else "validation")
    for path in root.glob("Test/[0-9]/*.bin"):
        yield Found(path, int(path.parent.name), "test")


def _dvs_gesture(root: Path) -> Iterator[Found]:
    for path in root.glob("ibmGesture*/user*/*.npy"):
        user = re.match(r"user([0-9]+)_", path.parent.name)
        split = {"ibmGestureTrain": "train", "ibmGestureTest": "test"}.get(path.parent.parent.name)
        if not user or not split or _number(path) >= len(GESTURES):
            raise DataError(
                f"{path}: not a name of this data set; expected ibmGestureTrain or ibmGestureTest/userNN_LIGHT/"
                f"0.npy to {len(GESTURES) - 1}.npy: move it elsewhere"
            )
        held_out = split == "train" and int(user[1]) in GESTURE_VALIDATION_USERS
        yield Found(path, _number(path), "validation" if held_out else split)


def _cifar10_dvs(root: Path) -> Iterator[Found]:
    for label, name in enumerate(OBJECTS):
        for path in root.glob(f"{name}/*.aedat4"):
            number = _number(path)
            split = "test" if number < CIFAR_TEST else "validation" if number < CIFAR_VALIDATION else "train"
            yield Found(path, label, split)


DIGITS = tuple("0123456789")
GESTURES = (
    "hand clapping", "right hand wave", "left hand wave", "right arm clockwise", "right arm counter-clockwise",
    "left arm clockwise", "left arm counter-clockwise", "arm roll", "air drums", "air guitar", "other gestures",
)  # fmt: skip
OBJECTS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

LAYOUTS = {
    "nmnist": Layout(
        34, DIGITS, 100, 1, _nmnist,
        "Train/DIGIT/NUMBER.bin and Test/DIGIT/NUMBER.bin of N-MNIST (Orchard et al. 2015, Mendeley Data 468j46mzdv, "
        "train.zip and test.zip); tonic.datasets.NMNIST(FOLDER) fetches them into FOLDER/NMNIST",
    ),
    "dvsgesture": Layout(
        128, GESTURES, 10, 60, _dvs_gesture,
        "ibmGestureTrain/userNN_LIGHT/LABEL.npy and ibmGestureTest/userNN_LIGHT/LABEL.npy of DVS Gesture (Amir et al. "
        "2017) as tonic cuts it (ibmGestureTrain.tar.gz and ibmGestureTest.tar.gz); tonic.datasets.DVSGesture(FOLDER) "
        "fetches them into FOLDER/DVSGesture",
    ),
    "cifar10dvs": Layout(
        128, OBJECTS, 10, 10, _cifar10_dvs,
        "CLASS/NUMBER.aedat4, from airplane/ to truck/, of CIFAR10-DVS (Li et al. 2017) in AEDAT 4 (CIFAR10DVS.zip); "
        "tonic.datasets.CIFAR10DVS(FOLDER) fetches them into FOLDER/CIFAR10DVS",
    ),
}  # fmt: skip


def event_cells(recording: event_files.Recording, steps: int, pixels: int, size: int) -> tuple[int, np.ndarray]:
    """Length in steps of 1/steps s, and each event's place in the flattened counts [length, 2, size, size].

    Args:
        pixels: in each direction, whose events are summed to one of `size`.
    """
    step = (recording.t - recording.t.min()) * steps // MICROSECONDS
    row, column = recording.y // pixels, recording.x // pixels
    return int(step.max()) + 1, ((step * 2 + recording.p) * size + row) * size + column


def _size(spec: Spec, side: int) -> int:
    size = spec.integer("size", side, 1, side)
    if side % size:
        allowed = ", ".join(str(divisor) for divisor in range(1, side + 1) if side % divisor == 0)
        raise DataError(f"{spec.text}: size={size} does not divide the sensor's {side} pixels; expected {allowed}")
    return size


def open_events(spec: Spec) -> Dataset:
    """Open `nmnist:PATH`, `dvsgesture:PATH` or `cifar10dvs:PATH`; a split without files in the folder is left out.

    Raises:
        DataError: no such files, or a damaged one.
        PackageMissing: tonic or aedat, when recordings have to be read.
    """
    layout = LAYOUTS[spec.kind]
    steps, size = spec.steps(layout.steps), _size(spec, layout.side)
    files = [file for file in layout.find(spec.path) if not file.path.name.startswith(".")]
    if not files:
        raise DataError(f"{spec.path}: no recording there; expected {layout.expected}")
    files.sort(key=lambda file: file.path)
    splits = {name: [file for file in files if file.split == name] for name in SPLITS}
    splits = {name: of_split for name, of_split in splits.items() if of_split}

    def events(of_split: list[Found]) -> counts.Events:
        def cells(position: int) -> tuple[int, np.ndarray]:
            recording = event_files.read(of_split[position].path, layout.side, layout.longest_seconds)
            return event_cells(recording, steps, layout.side // size, size)

        keys = [file.path.relative_to(spec.path).with_suffix("").as_posix() for file in of_split]
        return counts.Events(np.array([file.label for file in of_split]), keys, cells)

    def build(folder: Path) -> None:
        prepared = {name: events(of_split) for name, of_split in splits.items()}
        counts.write(folder, prepared, (2, size, size), f"binning to {1000 / steps:g} ms")

    identity = {
        "files": cache.file_identity([file.path for file in files], spec.path),
        "folder": str(spec.path.resolve()),
        "steps": steps,
        "size": size,
    }
    folder = cache.prepared(f"{spec.kind}-frames", identity, build)
    return cache.load_dataset(folder, spec.text, layout.classes, 1 / steps, tuple(splits))
