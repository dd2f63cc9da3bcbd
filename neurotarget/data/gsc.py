"""Google Speech Commands (Warden 2018): a folder per word, `speaker_nohash_k.wav`, 16 kHz, to log-mel frames at 8 kHz.

Splits never share a speaker. `validation_list.txt` and `testing_list.txt` name them where present. Otherwise the
data set's published rule decides: the SHA-1 of the speaker, as a percentage (`speaker_percentage`), below `validation`
percent, then `test` percent, else train. In a part of the data set that was itself cut out by that rule (the official
test files, say) all speakers have percentages of one range and a split would be empty: then the speakers, ordered by
their percentage, are divided by rank in the same shares.
"""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath

from neurotarget.standardisation import Standardisation

from . import logmel
from .base import SPLITS, DataError, Dataset
from .logmel import Utterance
from .spec import FROM, Spec
from .wav import HIGH_HZ, is_wav

TEN_WORDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes")
OTHERS = (
    *("backward", "bed", "bird", "cat", "dog", "eight", "five", "follow", "forward", "four", "happy", "house", "learn"),
    *("marvin", "nine", "one", "seven", "sheila", "six", "three", "tree", "two", "visual", "wow", "zero"),
)
WORDS = {"10": TEN_WORDS, "35": tuple(sorted(TEN_WORDS + OTHERS))}  # those of version 2
MAX_NUM_WAVS_PER_CLASS = 2**27 - 1  # the published rule's name for its modulus - 1
LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}


def speaker_percentage(speaker: str) -> float:
    """The published which_set rule: a fixed number from 0 to 100 for each speaker."""
    hashed = int(hashlib.sha1(speaker.encode()).hexdigest(), 16) % (MAX_NUM_WAVS_PER_CLASS + 1)
    return hashed * (100.0 / MAX_NUM_WAVS_PER_CLASS)


def find_utterances(root: Path, words: tuple[str, ...] | None) -> tuple[tuple[str, ...], list[Utterance]]:
    """Words in alphabetical order and their files in order of word and name; all words of the folder by default."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected that of {FROM['gsc']}, with a folder per word")
    # _background_noise_ is not a word.
    folders = sorted(entry for entry in root.iterdir() if entry.is_dir() and entry.name[0] not in "_.")
    files = {entry.name: sorted(filter(is_wav, entry.iterdir())) for entry in folders}
    present = tuple(word for word in files if files[word])
    classes = words or present
    missing = [word for word in classes if word not in present]
    if missing or len(present) < 2:
        raise DataError(
            f"{root}: recordings of {len(present)} words, none of {', '.join(missing) or 'a second word'}; expected a "
            "folder per word with speaker_nohash_k.wav in it: give the folder that holds the word folders, that of "
            f"{FROM['gsc']}"
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


def _listed(path: Path, utterances: dict[str, Utterance]) -> set[str]:
    """Keys of the utterances that a list names. Words that are not among them are another choice of words."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: cannot be read ({error}); expected both {' and '.join(LISTS.values())}, or none"
        ) from error
    words = {PurePosixPath(key).parent.name for key in utterances}
    named = [_plain(line) for line in lines if line.strip()]
    missing = [name for name in named if name not in utterances and name.partition("/")[0] in words]
    if missing or not any(name in utterances for name in named):
        first = (missing or named or ["nothing"])[0]
        raise DataError(
            f"{path}: {len(missing) or len(named)} of {len(named)} names are no file of {path.parent}, the first of "
            f"them {first}; copy them, or delete both lists: the published rule then divides the speakers as they do"
        )
    return {utterances[name].key for name in named if name in utterances}


def _plain(name: str) -> str:
    """One spelling of `word/file.wav`: `./word/file.WAV` and `word\\file.wav` are the same."""
    path = PurePosixPath(name.strip().replace("\\", "/"))
    return path.with_suffix(path.suffix.lower()).as_posix() if path.name else path.as_posix()


def _split_by_lists(root: Path, utterances: list[Utterance]) -> dict[str, list[Utterance]]:
    known = {_plain(utterance.key): utterance for utterance in utterances}
    listed = {name: _listed(root / file_name, known) for name, file_name in LISTS.items()}
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


def split_by_speaker(spec: Spec, utterances: list[Utterance], trained: bool) -> dict[str, list[Utterance]]:
    """Utterances by split, no speaker in two of them. DataError when that cannot be or a split is empty.

    Args:
        trained: they are for a network that is trained already; too few speakers to divide are then all test.
    """
    if trained and len({utterance.speaker for utterance in utterances}) < 3:
        return {"test": utterances}
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


def open_gsc(spec: Spec, standardisation: Standardisation | None) -> Dataset:
    """Open `gsc:PATH`, on first use reading every file and caching the frames."""
    words = spec.options.get("words")
    if words is not None and words not in WORDS:
        expected = " or ".join(f"words={number}" for number in WORDS)
        raise DataError(f"{spec.text}: words={words}; expected {expected}, or leave it out for all words of the folder")
    logmel.check_options(spec)
    classes, utterances = find_utterances(spec.path, WORDS[words] if words else None)
    splits = split_by_speaker(spec, utterances, trained=standardisation is not None)
    return logmel.open_words(spec, splits, classes, HIGH_HZ, standardisation)
