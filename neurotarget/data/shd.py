"""Spiking Heidelberg Digits and Spiking Speech Commands (Cramer et al. 2020): HDF5 events to frames of counts.

A file holds, for utterance i, `spikes/times[i]` in seconds and `spikes/units[i]` in 0..699, `labels[i]`, and in
`extra/keys` the word of each label. Five neighbouring units (`n_bins`) are summed to one of 140 features. Events at or
after `CAP_SECONDS` are dropped. SHD has no validation split: the speaker of the train file whose share of its
utterances is nearest to a tenth becomes the validation split (see `validation_speaker`); SHD's own test file shares
speakers with its train file by design, two of its twelve speakers are in the test file alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neurotarget.heaps import endless_heap

from . import cache, counts
from .base import DataError, Dataset
from .spec import FROM, Spec

UNITS = 700
UNITS_PER_FEATURE = 5
CAP_SECONDS = 1.4  # the longest real utterance ends before
# Step 0 begins at the recording's 0 s, or at the utterance's first event, as SpikingJelly's frames of a fixed duration
# do (spikingjelly 2.0, datasets/shd.py, `_integrate_events_by_fixed_duration`).
ORIGINS = ("zero", "first_event")
MAX_UTTERANCES = 1_000_000  # in one file; the largest real one has 75,466
MAX_EVENTS = 1_000_000  # in one utterance; real ones have about 10,000


class SpikeFile:
    """One HDF5 file of utterances, its structure checked when opened; events are checked as they are read."""

    def __init__(self, path: Path):
        self.path = path
        try:
            self._file = h5py.File(path, "r")
        except FileNotFoundError:
            raise DataError(f"{path}: no such file; expected an HDF5 file of spikes") from None
        except OSError as error:
            raise DataError(
                f"{path}: not a readable HDF5 file ({error}); expected the complete, unpacked file: download it again"
            ) from error
        try:
            if fault := endless_heap(path, self._file.id.get_create_plist().get_sizes()[1]):
                raise DataError(f"{path}: {fault}")
            self._times = self._events("spikes/times", "f")
            self._units = self._events("spikes/units", "iu")
            self.labels = self._numbers("labels")
            self.words = self._words()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> SpikeFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self.labels)

    def _dataset(self, name: str) -> h5py.Dataset:
        try:
            found = self._file.get(name)
        except (OSError, RuntimeError, KeyError) as error:
            raise DataError(f"{self.path}: {name} cannot be read ({error}); download the file again") from error
        if not isinstance(found, h5py.Dataset):
            raise DataError(f"{self.path}: no data set {name}; expected the layout of SHD and SSC")
        if found.ndim != 1 or not 0 < found.shape[0] <= MAX_UTTERANCES:
            raise DataError(
                f"{self.path}: {name} has shape {found.shape}; expected one dimension of 1 to {MAX_UTTERANCES:,}"
            )
        return found

    def _events(self, name: str, kinds: str) -> h5py.Dataset:
        found = self._dataset(name)
        element = h5py.check_vlen_dtype(found.dtype)
        if not isinstance(element, np.dtype) or element.kind not in kinds:
            raise DataError(
                f"{self.path}: {name} is of type {found.dtype}; expected lists of numbers, one per utterance"
            )
        return found

    def _numbers(self, name: str) -> np.ndarray:
        found = self._dataset(name)
        if found.dtype.kind not in "iu" or found.shape != self._times.shape or found.shape != self._units.shape:
            raise DataError(
                f"{self.path}: {name} holds {found.shape[0]} values of type {found.dtype}, spikes/times "
                f"{self._times.shape[0]}, spikes/units {self._units.shape[0]}; expected a whole number per utterance"
            )
        return self._read(found, name).astype(np.int64)

    def _words(self) -> tuple[str, ...]:
        found = self._dataset("extra/keys")
        if found.dtype.kind not in "OS":
            raise DataError(f"{self.path}: extra/keys is of type {found.dtype}; expected the words of the labels")
        try:
            words = tuple(word.decode() if isinstance(word, bytes) else str(word) for word in found[:])
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{self.path}: extra/keys cannot be read ({error}); download the file again") from error
        if len(set(words)) != len(words):
            raise DataError(f"{self.path}: extra/keys names a word twice; expected one word a label")
        outside = np.flatnonzero((self.labels < 0) | (self.labels >= len(words)))
        if len(outside):
            raise DataError(
                f"{self.path}: labels[{outside[0]}] is {self.labels[outside[0]]}; extra/keys has words for "
                f"0..{len(words) - 1}"
            )
        return words

    def _read(self, found: h5py.Dataset, name: str, index: Any = slice(None)) -> np.ndarray:
        try:
            return found[index]
        except OSError as error:
            raise DataError(f"{self.path}: {name} cannot be read ({error}); download the file again") from error

    def speakers(self) -> np.ndarray:
        """Speaker number of each utterance, int64."""
        return self._numbers("extra/speaker")

    def names_speakers(self) -> bool:
        """Whether the file says who speaks; SSC's do not."""
        return "extra/speaker" in self._file

    def events(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Times in seconds (float64) and units (int64) of one utterance's events, checked."""
        times = np.asarray(self._read(self._times, f"spikes/times[{index}]", index), np.float64)
        units = np.asarray(self._read(self._units, f"spikes/units[{index}]", index)).astype(np.int64)
        if times.shape != units.shape or times.ndim != 1 or len(times) > MAX_EVENTS:
            raise DataError(
                f"{self.path}: utterance {index} has {times.size} times and {units.size} units; expected as many of "
                f"each, at most {MAX_EVENTS:,}"
            )
        if not np.isfinite(times).all() or (times < 0).any():
            wrong = times[~(np.isfinite(times) & (times >= 0))][0]
            raise DataError(f"{self.path}: utterance {index} has an event at {wrong} s; expected times from 0 s on")
        if ((units < 0) | (units >= UNITS)).any():
            wrong = units[(units < 0) | (units >= UNITS)][0]
            raise DataError(f"{self.path}: utterance {index} has an event of unit {wrong}; expected 0..{UNITS - 1}")
        return times, units


def step_of(times: np.ndarray, steps: int) -> np.ndarray:
    """The step k with k/steps <= time < (k+1)/steps, for times in seconds before `CAP_SECONDS`.

    A search among the exact edges: floor(time * steps) puts 0.29 s at 100 steps per second into step 28.
    """
    edges = np.arange(cap_steps(steps) + 2) / steps
    return np.searchsorted(edges, times, side="right") - 1


def cap_steps(steps: int) -> int:
    """The largest number of steps an utterance can have."""
    return -(-round(CAP_SECONDS * 10) * steps // 10)


def event_cells(
    times: np.ndarray, units: np.ndarray, steps: int, origin: str = "zero", units_per_feature: int = UNITS_PER_FEATURE
) -> tuple[int, np.ndarray]:
    """Events in steps of 1/steps s and groups of units.

    times: float64 [events] in seconds; units: int64 [events] in 0..699.
    origin: where the first step begins, one of `ORIGINS`.
    Returns the length, which is the last event's step + 1, or 1 when there is no event before the cap, and for each
    event before the cap its place in the flattened counts [length, 700 / units_per_feature].
    """
    if origin == "first_event" and len(times):
        times = times - times.min()
    keep = times < CAP_SECONDS
    step = step_of(times[keep], steps)
    length = int(step.max()) + 1 if len(step) else 1
    return length, step * (UNITS // units_per_feature) + units[keep] // units_per_feature


def validation_speaker(speakers: np.ndarray) -> int:
    """The speaker whose share of the utterances is nearest to a tenth; the lower number when two are as near."""
    numbers, counts = np.unique(speakers, return_counts=True)
    return int(numbers[np.abs(counts * 10 - len(speakers)).argmin()])


@dataclass(frozen=True)
class Part:
    """The utterances of one split: rows of one file, and who speaks in each where the file says so."""

    file: Path
    rows: np.ndarray
    speakers: tuple[str, ...] | None = None


def _write(folder: Path, parts: Mapping[str, Part], steps: int, origin: str, units_per_feature: int) -> None:
    def events(part: Part, source: SpikeFile) -> counts.Events:
        keys = [f"{part.file.stem}/{row:06d}" for row in part.rows]
        return counts.Events(
            source.labels[part.rows],
            keys,
            lambda position: event_cells(*source.events(int(part.rows[position])), steps, origin, units_per_feature),
        )

    with contextlib.ExitStack() as stack:
        sources = {
            file: stack.enter_context(SpikeFile(file)) for file in dict.fromkeys(part.file for part in parts.values())
        }
        splits = {name: events(part, sources[part.file]) for name, part in parts.items()}
        counts.write(folder, splits, (UNITS // units_per_feature,), f"binning to {1000 / steps:g} ms")


def units_per_feature_of(spec: Spec) -> int:
    """Neighbouring units that are summed to a feature, `n_bins`. DataError unless it divides the 700."""
    found = spec.integer("n_bins", UNITS_PER_FEATURE, 1, UNITS)
    if UNITS % found:
        allowed = ", ".join(str(n) for n in range(1, UNITS + 1) if UNITS % n == 0)
        raise DataError(f"{spec.text}: n_bins={found} does not divide {UNITS} units; expected one of {allowed}")
    return found


def open_parts(spec: Spec, parts: Mapping[str, Part], classes: tuple[str, ...]) -> Dataset:
    """The data set whose splits are `parts`, binned to the SPEC's steps and cached."""
    for name, part in parts.items():
        if len(part.rows) == 0:
            raise DataError(f"{part.file}: no utterance for the {name} split")
    steps, origin, units_per_feature = spec.steps(), spec.word("origin", ORIGINS), units_per_feature_of(spec)
    files = sorted({part.file for part in parts.values()})
    identity: dict[str, Any] = {
        "files": cache.file_identity(files, files[0].parent),
        "folder": str(files[0].parent.resolve()),
        "rows": {name: part.rows.tolist() for name, part in parts.items()},
        "steps": steps,
        "origin": origin,
    }
    if units_per_feature != UNITS_PER_FEATURE:  # a folder made before this option existed stays valid
        identity["n_bins"] = units_per_feature
    folder = cache.prepared(
        f"{spec.kind}-frames", identity, lambda target: _write(target, parts, steps, origin, units_per_feature)
    )
    found = cache.load_dataset(folder, spec.text, classes, 1 / steps)
    splits = {name: replace(split, speakers=parts[name].speakers) for name, split in found.splits.items()}
    return replace(found, splits=splits)


def open_files(spec: Spec, train: Path, validation: Path | None, test: Path) -> Dataset:
    """Open SHD-like files; without a validation file its utterances are one speaker's of the train file."""
    sources = {"train": train, "validation": validation or train, "test": test}
    parts: dict[str, Part] = {}
    words: dict[str, tuple[str, ...]] = {}
    for name, path in sources.items():
        with SpikeFile(path) as source:
            words[name] = source.words
            rows, by_speaker = np.arange(len(source)), validation is None and name != "test"
            speakers = source.speakers() if by_speaker or source.names_speakers() else None
            if by_speaker and speakers is not None:
                chosen = speakers == validation_speaker(speakers)
                if chosen.all():
                    raise DataError(
                        f"{path}: all utterances are of speaker {speakers[0]}; expected two speakers or more, one of "
                        "them for the validation split"
                    )
                rows = np.flatnonzero(chosen if name == "validation" else ~chosen)
            names = None if speakers is None else tuple(str(speaker) for speaker in speakers[rows])
            parts[name] = Part(path, rows, names)
        if words[name] != words["train"]:
            raise DataError(
                f"{path}: extra/keys lists {', '.join(words[name])}; expected the words of {train.name}, in its order"
            )
    return open_parts(spec, parts, words["train"])


def open_spike_set(spec: Spec) -> Dataset:
    """Open `shd:PATH` or `ssc:PATH`: PATH is the folder with the unpacked .h5 files."""
    spec.word("origin", ORIGINS)  # a wrong option is said before any file is looked for
    units_per_feature_of(spec)
    if not spec.path.is_dir():
        raise DataError(f"{spec.path}: no such folder; expected that of {FROM[spec.kind]}")
    train, test = (spec.path / f"{spec.kind}_{name}.h5" for name in ("train", "test"))
    validation = spec.path / "ssc_valid.h5" if spec.kind == "ssc" else None
    for file in (train, validation, test):
        if file is not None and not file.exists():
            raise DataError(f"{file}: no such file; expected {FROM[spec.kind]}")
    return open_files(spec, train, validation, test)
