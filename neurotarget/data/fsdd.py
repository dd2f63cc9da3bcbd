"""Free Spoken Digit Dataset: `{digit}_{speaker}_{k}.wav` at 8 kHz, to log-mel frames.

Three ways to split it. By speaker, in alphabetical order: the last sixth of the speakers (at least one) is the test
split, the sixth before it the validation split, the rest trains; with the six published speakers that is yweweler,
theo, and the rest. `leave_out=SPEAKER`: this speaker is the test split, the next one (after the last the first) the
validation split. `split=official`: the data set's own, in which the recordings k = 0 to 4 of every digit and speaker
are the test split; it has no validation split, so that k = 5 to 9 become one.
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


def split_leaving_out(spec: Spec, utterances: list[Utterance], left_out: str) -> dict[str, list[Utterance]]:
    """Utterances by split: one speaker tests, the next one validates."""
    speakers = sorted({utterance.speaker for utterance in utterances})
    if left_out not in speakers or len(speakers) < 3:
        raise DataError(
            f"{spec.text}: leave_out={left_out}: there are recordings of {', '.join(speakers)}; one of three or more "
            "speakers is expected"
        )
    after = speakers[(speakers.index(left_out) + 1) % len(speakers)]
    names = dict.fromkeys(speakers, "train") | {left_out: "test", after: "validation"}
    return {name: [utterance for utterance in utterances if names[utterance.speaker] == name] for name in SPLITS}


def split_officially(spec: Spec, utterances: list[Utterance], trained: bool) -> dict[str, list[Utterance]]:
    """Utterances by split, by the number k of the recording."""
    splits: dict[str, list[Utterance]] = {name: [] for name in SPLITS}
    for utterance in utterances:
        number = int(NAME.fullmatch(utterance.key).group(3))  # type: ignore[union-attr]
        splits["test" if number < 5 else "validation" if number < 10 else "train"].append(utterance)
    if empty := [name for name in SPLITS if not splits[name] and not trained]:
        raise DataError(f"{spec.text}: no recording for the {empty[0]} split; expected numbers 0-4, 5-9 and from 10 on")
    return splits


def open_fsdd(spec: Spec, standardisation: Standardisation | None) -> Dataset:
    """Open `fsdd:PATH`, on first use reading every file and caching the frames."""
    logmel.check_options(spec)
    how, left_out = spec.word("split", ("speaker", "official")), spec.options.get("leave_out")
    if how == "official" and left_out is not None:
        raise DataError(f"{spec.text}: the official split leaves no speaker out; leave out split or leave_out")
    utterances, trained = find_utterances(spec.path), standardisation is not None
    if how == "official":
        splits = split_officially(spec, utterances, trained)
    elif left_out is not None:
        splits = split_leaving_out(spec, utterances, left_out)
    else:
        splits = split_by_speaker(spec.path, utterances, trained)
    return logmel.open_words(spec, splits, CLASSES, LOW_HZ, standardisation)
