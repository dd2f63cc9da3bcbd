"""INPUT as arrays: a data SPEC, or an `.npz` file, becomes frames, lengths and labels."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
from neurotarget.sim.graph import Graph

from neurotarget import kinds
from neurotarget.arrays import read_arrays
from neurotarget.cli import complain
from neurotarget.data import open_dataset, open_recordings, renumbered
from neurotarget.data.spec import as_written, expanded, unlabelled
from neurotarget.errors import UserError
from neurotarget.standardisation import Standardisation

AT_ONCE = 64  # samples


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
        step_seconds: duration of a step, where the data say it.
        standardisation: of log-mel frames.
    """

    spec: str
    frames: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray | None
    classes: tuple[str, ...] = ()
    step_seconds: float | None = None
    standardisation: Standardisation | None = None

    def rows(self, rows: slice | np.ndarray) -> Input:
        """Some of the samples."""
        labels = None if self.labels is None else self.labels[rows]
        return dataclasses.replace(self, frames=self.frames[rows], lengths=self.lengths[rows], labels=labels)


def as_input(
    frames: Any, lengths: Any = None, labels: Any = None, file: str | Path | None = None, spec: str = "frames"
) -> Input:
    """Checks samples that are in memory, or were read from `file`.

    Args:
        frames: finite numbers [samples, steps, ...], as an array or a tensor of PyTorch's on any device.
        lengths: whole numbers [samples], steps of each; all steps when left out.
        labels: whole numbers [samples].

    Raises:
        InputError: they are not.
    """
    of_frames, of_lengths, of_labels = ("frames", "lengths", "labels")
    if file is not None:
        of_frames, of_lengths, of_labels = (f"{file}: `{name}`" for name in ("input", "length", "label"))
    frames = _array(frames)
    if frames.ndim < 3 or frames.dtype.kind not in "biuf" or not _finite(frames):
        found = f"{frames.dtype} {frames.shape}"
        if frames.dtype.kind == "U" and file is None:
            found = f"the text {str(frames)!r}; of a file give what it holds: np.load(FILE)['input']"
        elif frames.ndim == 2 and frames.dtype.kind in "biuf":
            found += "; of one sample give frames[None], of one feature frames[..., None]"
        raise InputError(f"{of_frames} must be finite numbers [samples, steps, features], found {found}")
    whole = {}
    for name, values in ((of_lengths, lengths), (of_labels, labels)):
        whole[name] = array = None if values is None else _array(values)
        if array is None or (array.shape == frames.shape[:1] and array.dtype.kind in "iu"):
            continue
        swapped = array.shape == frames.shape[1:2]
        raise InputError(
            f"{name} must be {len(frames)} integers, found {array.dtype} {array.shape}"
            + (f"; {list(frames.shape)} is read as [samples, steps, ...]: swap its first two axes" if swapped else "")
        )
    steps, numbers = whole[of_lengths], whole[of_labels]
    steps = np.full(len(frames), frames.shape[1]) if steps is None else steps
    return Input(spec, frames, steps.astype(np.int64), None if numbers is None else numbers.astype(np.int64))


def _finite(frames: np.ndarray) -> bool:
    """Whether all are finite; looked at in parts, as frames that are mapped may be larger than the memory."""
    whole = frames.dtype.kind != "f"
    return whole or all(np.isfinite(frames[at : at + AT_ONCE]).all() for at in range(0, len(frames), AT_ONCE))


def _array(values: Any) -> np.ndarray:
    if hasattr(values, "detach"):  # a tensor
        values = values.detach().cpu()
        values = values.float() if values.is_floating_point() and values.element_size() < 4 else values  # bfloat16
    try:
        return np.asarray(values)
    except ValueError as error:
        raise InputError(f"frames, lengths and labels are arrays of one shape: {error}") from error


def open_input(text: str, graph: Graph | None, split: str = "test", samples: int | None = None) -> Input:
    """Opens a data SPEC, or an `.npz` with `input` [samples, steps, *features], optional `label`, `length` [samples].

    Args:
        graph: the network that will run on it: log-mel frames are standardised as for its training, labels are numbered
            as its outputs. Where its file says neither, the data set's own hold, and a note says so. None for a network
            that has no file yet: it is given what the data set says.
        split: of a data set; an `.npz` has none, nor have recordings.
        samples: take that many, evenly spaced over the split so that classes and speakers stay mixed; all when None.

    Raises:
        InputError: missing, damaged or foreign input.
    """
    if samples is not None and samples < 1:
        raise InputError(f"--samples {samples}: at least 1 is needed")
    try:
        data = _open(text, graph, split)
    except UserError as error:
        raise InputError(as_written(str(error), text)) from error
    if samples is not None and samples < len(data.lengths):
        return data.rows(np.linspace(0, len(data.lengths) - 1, samples).round().astype(int))
    return data


def _open(text: str, graph: Graph | None, split: str) -> Input:
    place = expanded(text)
    if place.endswith(".npz"):
        return _open_npz(Path(place))
    known = None if graph is None else graph.standardisation
    if unlabelled(place):
        recordings = open_recordings(place, known)
        _note_other_steps(text, recordings.step_seconds, graph)
        return Input(text, recordings.frames, recordings.lengths, None, step_seconds=recordings.step_seconds)
    dataset = open_dataset(place, known)
    part = dataset.split(split)
    _note_other_steps(text, dataset.step_seconds, graph)
    if dataset.standardisation is not None and graph is not None and known is None:
        complain(
            f"note: {graph.source} does not say how its log-mel frames were standardised: those of {text} are brought "
            "to mean 0 by its own train split; train again and convert again to have it in the file"
        )
    classes = (() if graph is None else graph.classes) or dataset.classes
    labels = renumbered(part.labels, dataset.classes, classes)
    return Input(text, part.frames, part.lengths, labels, classes, dataset.step_seconds, dataset.standardisation)


def _note_other_steps(text: str, step_seconds: float, graph: Graph | None) -> None:
    if graph is not None and not graph.dt_is_default and not math.isclose(step_seconds, graph.dt, rel_tol=1e-6):
        complain(
            f"note: {text} has steps of {1000 * step_seconds:g} ms, {graph.source} is for steps of "
            f"{1000 * graph.dt:g} ms"
        )


def _open_npz(path: Path) -> Input:
    if mistake := kinds.mistaken(path, kinds.SAMPLES, kinds.TRACE):
        raise InputError(mistake)
    arrays = read_arrays(path, ("input", "label", "length").__contains__)
    if "input" not in arrays:
        with np.load(path) as archive:
            found = ", ".join(archive.files) or "none"
        raise InputError(f"{path}: an array `input` is expected, of [samples, steps, features]; it holds {found}")
    return as_input(arrays["input"], arrays.get("length"), arrays.get("label"), path, str(path))
