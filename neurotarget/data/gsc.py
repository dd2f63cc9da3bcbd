"""Google Speech Commands (Warden 2018): a folder a word, `speaker_nohash_k.wav`, 16 kHz, to log-mel frames at 8 kHz.

Splits never share a speaker. `validation_list.txt` and `testing_list.txt` name them where present. Otherwise the
data set's published rule decides: the SHA-1 of the speaker, as a percentage (`speaker_percentage`), below `validation`
percent, then `test` percent, else train. In a part of the data set that was itself cut out by that rule (the official
test files, say) all speakers have percentages of one range and a split would be empty: then the speakers, ordered by
their percentage, are divided by rank in the same shares.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import scipy.signal

from . import cache, logmel
from .base import SPLITS, DataError, Dataset
from .logmel import Utterance
from .spec import Spec
from .wav import count_samples, read_wav

RATE_HZ = 16_000
TEN_WORDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes")
MAX_NUM_WAVS_PER_CLASS = 2**27 - 1  # the published rule's name for its modulus - 1
LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}


def speaker_percentage(speaker: str) -> float:
    """The published which_set rule: a fixed number from 0 to 100 for each speaker."""
    hashed = int(hashlib.sha1(speaker.encode()).hexdigest(), 16) % (MAX_NUM_WAVS_PER_CLASS + 1)
    return hashed * (100.0 / MAX_NUM_WAVS_PER_CLASS)


def count_at_8_khz(path: Path) -> int:
    """Number of samples that `read_at_8_khz` gives."""
    return -(-count_samples(path, RATE_HZ) // 2)


def read_at_8_khz(path: Path) -> np.ndarray:
    """Samples of a 16 kHz file, low-pass filtered and decimated to 8 kHz, float32."""
    return scipy.signal.resample_poly(read_wav(path, RATE_HZ), 1, 2).astype(np.float32)


def find_utterances(root: Path, words: tuple[str, ...] | None) -> tuple[tuple[str, ...], list[Utterance]]:
    """Words in alphabetical order and their files in order of word and name; all words of the folder by default."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected the unpacked data set, with a folder a word")
    # _background_noise_ is not a word.
    folders = sorted(entry for entry in root.iterdir() if entry.is_dir() and entry.name[0] not in "_.")
    files = {entry.name: sorted(entry.glob("*.wav")) for entry in folders}
    present = tuple(word for word in files if files[word])
    classes = words or present
    missing = [word for word in classes if word not in present]
    if missing or len(present) < 2:
        raise DataError(
            f"{root}: recordings of {len(present)} words, none of {', '.join(missing) or 'a second word'}; expected a "
            "folder a word with speaker_nohash_k.wav in it: give the folder that holds the word folders"
        )
    utterances = []
    for label, word in enumerate(classes):
        for path in files[word]:
            speaker, nohash, _ = path.name.partition("_nohash_")
            if not nohash or not speaker:
                raise DataError(
                    f"{path}: not a name of this data set; expected speaker_nohash_k.wav: move it elsewhere"
                )
            utterances.append(Utterance(path, f"{word}/{path.name}", speaker, label))
    return classes, utterances


def _split_by_lists(root: Path, utterances: list[Utterance]) -> dict[str, list[Utterance]]:
    listed = {}
    for name, file_name in LISTS.items():
        try:
            listed[name] = set((root / file_name).read_text(encoding="utf-8").split())
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"{root / file_name}: cannot be read ({error}); expected both {' and '.join(LISTS.values())}, or none"
            ) from error
    both = sorted(listed["validation"] & listed["test"])
    if both:
        raise DataError(
            f"{root / LISTS['test']}: {both[0]} is in {LISTS['validation']} as well; unpack the lists again"
        )
    splits: dict[str, list[Utterance]] = {name: [] for name in SPLITS}
    for utterance in utterances:
        names = [name for name in listed if utterance.key in listed[name]] or ["train"]
        splits[names[0]].append(utterance)
    return splits


def _split_by_hash(
    utterances: list[Utterance], validation_percent: int, test_percent: int
) -> dict[str, list[Utterance]]:
    speakers = sorted(
        {utterance.speaker for utterance in utterances}, key=lambda name: (speaker_percentage(name), name)
    )

    def divide(percentage: dict[str, float]) -> dict[str, list[Utterance]]:
        splits: dict[str, list[Utterance]] = {name: [] for name in SPLITS}
        for utterance in utterances:
            at = percentage[utterance.speaker]
            if at < validation_percent:
                splits["validation"].append(utterance)
            elif at < validation_percent + test_percent:
                splits["test"].append(utterance)
            else:
                splits["train"].append(utterance)
        return splits

    published = divide({name: speaker_percentage(name) for name in speakers})
    if all(published.values()):
        return published
    return divide({name: 100 * (rank + 0.5) / len(speakers) for rank, name in enumerate(speakers)})


def split_by_speaker(spec: Spec, utterances: list[Utterance]) -> dict[str, list[Utterance]]:
    """Utterances by split, no speaker in two of them. DataError when that cannot be or a split is empty."""
    if any((spec.path / name).exists() for name in LISTS.values()):
        if {"validation", "test"} & spec.options.keys():
            raise DataError(
                f"{spec.text}: {' and '.join(LISTS.values())} decide the splits of this folder; leave out validation "
                "and test"
            )
        splits = _split_by_lists(spec.path, utterances)
    else:
        splits = _split_by_hash(utterances, spec.integer("validation", 10, 1, 45), spec.integer("test", 10, 1, 45))
    split_of: dict[str, str] = {}
    for name, of_split in splits.items():
        if not of_split:
            raise DataError(f"{spec.path}: no utterance for the {name} split; expected three speakers or more")
        for utterance in of_split:
            if split_of.setdefault(utterance.speaker, name) != name:
                raise DataError(
                    f"{utterance.path}: speaker {utterance.speaker} is in the {split_of[utterance.speaker]} and in the "
                    f"{name} split; unpack the list files again"
                )
    return splits


def open_gsc(spec: Spec) -> Dataset:
    """Open `gsc:PATH`, on first use reading every file and caching the frames."""
    words = spec.options.get("words")
    if words not in (None, "10"):
        raise DataError(f"{spec.text}: words={words}; expected words=10, or leave it out for all words of the folder")
    hop_samples, fmax_hz = logmel.hop_of(spec), logmel.fmax_of(spec)
    classes, utterances = find_utterances(spec.path, TEN_WORDS if words else None)
    splits = split_by_speaker(spec, utterances)
    identity = {
        "folder": str(spec.path.resolve()),
        "files": cache.file_identity((utterance.path for utterance in utterances), spec.path),
        "splits": {name: [utterance.key for utterance in of_split] for name, of_split in splits.items()},
        "hop": hop_samples,
        "fmax": fmax_hz,
    }
    folder = cache.prepared(
        "gsc",
        identity,
        lambda target: logmel.build(target, splits, count_at_8_khz, read_at_8_khz, hop_samples, fmax_hz),
    )
    return cache.load_dataset(folder, spec.text, classes, hop_samples / logmel.RATE_HZ)
