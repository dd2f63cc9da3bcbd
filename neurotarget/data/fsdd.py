"""Free Spoken Digit Dataset: `{digit}_{speaker}_{k}.wav` at 8 kHz, to log-mel frames.

Split by speaker, in alphabetical order: the last sixth of the speakers (at least one) is the test split, the sixth
before it the validation split, the rest trains. With the six published speakers that is yweweler, theo, and the rest.
"""

from __future__ import annotations

import re
from pathlib import Path

from neurotarget.standardisation import Standardisation

from . import logmel
from .base import SPLITS, DataError, Dataset
from .logmel import Utterance
from .spec import Spec
from .wav import LOW_HZ, is_wav

CLASSES = tuple("0123456789")
NAME = re.compile(r"([0-9])_([^_]+)_([0-9]+)\.wav", re.IGNORECASE)


def find_utterances(root: Path) -> list[Utterance]:
    """The recordings in a folder, or in its sub-folder `recordings`, in order of digit, speaker and number."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected the folder of {{digit}}_{{speaker}}_{{k}}.wav")
    folder = root / "recordings" if (root / "recordings").is_dir() else root
    found = []
    for path in filter(is_wav, folder.iterdir()):
        match = NAME.fullmatch(path.name)
        if not match:
            raise DataError(f"{path}: not a name of this data set; expected {{digit}}_{{speaker}}_{{k}}.wav")
        digit, speaker, number = match.groups()
        found.append((int(digit), speaker, int(number), Utterance(path, path.name, speaker, int(digit))))
    if not found:
        raise DataError(f"{folder}: no .wav file; expected {{digit}}_{{speaker}}_{{k}}.wav")
    return [utterance for *_, utterance in sorted(found, key=lambda item: item[:3])]


def split_by_speaker(root: Path, utterances: list[Utterance], trained: bool) -> dict[str, list[Utterance]]:
    """Utterances by split, no speaker in two of them.

    Args:
        trained: they are for a network that is trained already; too few speakers to divide are then all test.
    """
    speakers = sorted({utterance.speaker for utterance in utterances})
    if len(speakers) < 3:
        if trained:
            return {"test": utterances}
        raise DataError(f"{root}: recordings of {len(speakers)} speaker(s); expected three or more, one a split")
    held_out = max(1, len(speakers) // 6)
    split_of = dict.fromkeys(speakers, "train")
    split_of.update(dict.fromkeys(speakers[-2 * held_out :], "validation"))
    split_of.update(dict.fromkeys(speakers[-held_out:], "test"))
    return {name: [utterance for utterance in utterances if split_of[utterance.speaker] == name] for name in SPLITS}


def open_fsdd(spec: Spec, standardisation: Standardisation | None) -> Dataset:
    """Open `fsdd:PATH`, on first use reading every file and caching the frames."""
    logmel.check_options(spec)
    utterances = find_utterances(spec.path)
    splits = split_by_speaker(spec.path, utterances, trained=standardisation is not None)
    return logmel.open_words(spec, splits, CLASSES, LOW_HZ, standardisation)
