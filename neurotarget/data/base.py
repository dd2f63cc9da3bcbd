"""What every data source gives: a checked `Dataset` of three `Split`s, or a `DataError`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from neurotarget.errors import UserError
from neurotarget.standardisation import Standardisation

SPLITS = ("train", "validation", "test")


class DataError(UserError):
    """Input that cannot be used. The message names the file, what was found, what was expected, and a remedy."""


@dataclass(frozen=True)
class Split:
    """Recordings of one split, padded with zeros to the same number of steps in every split of the data set.

    frames: [samples, steps, *shape], uint8 or uint16 event counts, or float32 log-mel; zero after `lengths`
    labels: int64 [samples], index into `Dataset.classes`
    lengths: int64 [samples], in steps, at least 1
    keys: one stable identifier a sample; the same, in the same order, for every step length
    speakers: who speaks in each sample, where the data set says so
    """

    frames: np.ndarray
    labels: np.ndarray
    lengths: np.ndarray
    keys: tuple[str, ...]
    speakers: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Dataset:
    """Recordings of `classes` in a train, a validation and a test split with no recording in common.

    shape: of one frame, [features] of sound, or [2, height, width] of an event camera
    """

    spec: str
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    step_seconds: float
    splits: Mapping[str, Split] = field(repr=False)
    standardisation: Standardisation | None = field(default=None, repr=False)  # of log-mel frames; spikes have none

    @property
    def features(self) -> int:
        """Features of a frame of sound; DataError for images, which the networks of neurotarget.model do not take."""
        if len(self.shape) != 1:
            raise DataError(
                f"{self.spec}: frames of an event camera, {' x '.join(map(str, self.shape))}, and the network takes "
                "[steps, features]; they are INPUT of sim.run, sim.compare, conversion.quantize and hardware.report"
            )
        return self.shape[0]

    def split(self, name: str) -> Split:
        """Split "train", "validation" or "test"; DataError for any other name, and for one without recordings."""
        if name not in SPLITS:
            raise DataError(f"{self.spec}: no split {name!r}; expected one of {', '.join(SPLITS)}")
        if name not in self.splits:
            raise DataError(
                f"{self.spec}: no recording for the {name} split; there are some for {', '.join(self.splits)}"
            )
        return self.splits[name]


@dataclass(frozen=True)
class Recordings:
    """Words that nobody has labelled, padded with zeros to one number of steps.

    frames: float32 [samples, steps, features], zero after `lengths`
    lengths: int64 [samples], in steps, at least 1
    keys: the file of each, relative to the folder that was named
    """

    spec: str
    step_seconds: float
    frames: np.ndarray
    lengths: np.ndarray
    keys: tuple[str, ...]


def renumbered(labels: np.ndarray, classes: tuple[str, ...], wanted: tuple[str, ...]) -> np.ndarray:
    """Labels that index `classes` as labels that index `wanted`: a folder may hold some of a network's words only.

    Raises:
        DataError: `classes` has a word that `wanted` has not.
    """
    if unknown := [word for word in classes if word not in wanted]:
        raise DataError(
            f"{len(unknown)} of {len(classes)} words of the data, {unknown[0]!r} the first, are none of the network's "
            f"{len(wanted)}: {', '.join(wanted[:40])}"
        )
    places: np.ndarray = np.array([wanted.index(word) for word in classes], np.int64)[labels]
    return places
