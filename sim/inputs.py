"""INPUT as arrays: a data SPEC, or an `.npz` file, becomes frames, lengths and labels."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from neurotarget.arrays import ArraysError, read_arrays
from neurotarget.data import open_dataset
from neurotarget.data.spec import expanded
from neurotarget.errors import UserError


class InputError(UserError):
    """An INPUT that cannot be used: the message names it and what is expected."""


@dataclasses.dataclass(frozen=True, eq=False)
class Input:
    """Samples to run.

    Attributes:
        spec: the text that named them.
        frames: [samples, steps, *features].
        lengths: int64 [samples], steps of each.
        labels: int64 [samples], or None.
        classes: names of the labels, where known.
    """

    spec: str
    frames: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray | None
    classes: tuple[str, ...] = ()


def open_input(text: str, split: str = "test", samples: int | None = None) -> Input:
    """Opens a data SPEC, or an `.npz` with `input` [samples, steps, *features], optional `label`, `length` [samples].

    Args:
        split: of a data set; an `.npz` has none.
        samples: take that many, evenly spaced over the split so that classes and speakers stay mixed; all when None.

    Raises:
        InputError, DataError: missing, damaged or foreign input.
    """
    if samples is not None and samples < 1:
        raise InputError(f"--samples {samples}: at least 1 is needed")
    text = expanded(text)
    if text.endswith(".npz"):
        data = _open_npz(Path(text))
    else:
        dataset = open_dataset(text)
        part = dataset.split(split)
        data = Input(text, part.frames, part.lengths, part.labels, dataset.classes)
    if samples is not None and samples < len(data.lengths):
        rows = np.linspace(0, len(data.lengths) - 1, samples).round().astype(int)
        labels = None if data.labels is None else data.labels[rows]
        return dataclasses.replace(data, frames=data.frames[rows], lengths=data.lengths[rows], labels=labels)
    return data


def _open_npz(path: Path) -> Input:
    try:
        arrays = read_arrays(path, ("input", "label", "length").__contains__)
    except ArraysError as error:
        raise InputError(str(error)) from error
    if "input" not in arrays:
        raise InputError(f"{path}: an array `input` is expected, of [samples, steps, features]")
    frames, labels, lengths = arrays["input"], arrays.get("label"), arrays.get("length")
    if frames.ndim < 3 or frames.dtype.kind not in "biuf" or not np.isfinite(frames).all():
        raise InputError(f"{path}: `input` must be finite numbers [samples, steps, features], found {frames.shape}")
    for name, array in (("label", labels), ("length", lengths)):
        if array is not None and (array.shape != frames.shape[:1] or array.dtype.kind not in "iu"):
            raise InputError(f"{path}: `{name}` must be {len(frames)} integers, found {array.dtype} {array.shape}")
    lengths = np.full(len(frames), frames.shape[1]) if lengths is None else lengths
    return Input(str(path), frames, lengths.astype(np.int64), None if labels is None else labels.astype(np.int64))
