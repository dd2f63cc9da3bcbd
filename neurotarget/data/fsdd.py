"""Free Spoken Digit Dataset: `{digit}_{speaker}_{k}.wav` at 8 kHz, to log-mel frames.

Split by speaker, in alphabetical order: the last sixth of the speakers (at least one) is the test split, the sixth
before it the validation split, the rest trains. With the six published speakers that is yweweler, theo, and the rest.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from . import cache, logmel
from .base import DataError, Dataset
from .logmel import Utterance
from .spec import Spec
from .wav import count_samples, read_wav

CLASSES = tuple("0123456789")
NAME = re.compile(r"([0-9])_([^_]+)_([0-9]+)\.wav")


def find_utterances(root: Path) -> list[Utterance]:
    """The recordings in a folder, or in its sub-folder `recordings`, in order of digit, speaker and number."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected the folder of {{digit}}_{{speaker}}_{{k}}.wav")
    folder = root / "recordings" if (root / "recordings").is_dir() else root
    found = []
    for path in folder.glob("*.wav"):
        match = NAME.fullmatch(path.name)
        if not match:
            raise DataError(f"{path}: not a name of this data set; expected {{digit}}_{{speaker}}_{{k}}.wav")
        digit, speaker, number = match.groups()
        found.append((int(digit), speaker, int(number), Utterance(path, path.name, speaker, int(digit))))
    if not found:
        raise DataError(f"{folder}: no .wav file; expected {{digit}}_{{speaker}}_{{k}}.wav")
    return [utterance for *_, utterance in sorted(found, key=lambda item: item[:3])]


def split_by_speaker(root: Path, utterances: list[Utterance]) -> dict[str, list[Utterance]]:
    """Utterances by split, no speaker in two of them."""
    speakers = sorted({utterance.speaker for utterance in utterances})
    if len(speakers) < 3:
        raise DataError(f"{root}: recordings of {len(speakers)} speaker(s); expected three or more, one a split")
    held_out = max(1, len(speakers) // 6)
    split_of = dict.fromkeys(speakers, "train")
    split_of.update(dict.fromkeys(speakers[-2 * held_out :], "validation"))
    split_of.update(dict.fromkeys(speakers[-held_out:], "test"))
    return {
        name: [utterance for utterance in utterances if split_of[utterance.speaker] == name]
        for name in ("train", "validation", "test")
    }


def _count(path: Path) -> int:
    return count_samples(path, logmel.RATE_HZ)


def _read(path: Path) -> np.ndarray:
    return read_wav(path, logmel.RATE_HZ)


def open_fsdd(spec: Spec) -> Dataset:
    """Open `fsdd:PATH`, on first use reading every file and caching the frames."""
    hop_samples, fmax_hz = logmel.hop_of(spec), logmel.fmax_of(spec)
    utterances = find_utterances(spec.path)
    splits = split_by_speaker(spec.path, utterances)
    identity = {
        "folder": str(spec.path.resolve()),
        "files": cache.file_identity((utterance.path for utterance in utterances), spec.path),
        "hop": hop_samples,
        "fmax": fmax_hz,
    }
    folder = cache.prepared(
        "fsdd", identity, lambda target: logmel.build(target, splits, _count, _read, hop_samples, fmax_hz)
    )
    return cache.load_dataset(folder, spec.text, CLASSES, hop_samples / logmel.RATE_HZ)
