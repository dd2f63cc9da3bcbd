"""A tiny set of spoken words in SHD's layout, made here, that a tiny network learns in a few epochs."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

WORDS = ("one", "two", "three", "four")


def write_words(path: Path, seed: int, speakers: list[int]) -> None:
    """Each word has units of its own, and noise over all of them."""
    generator = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        times = file.create_dataset("spikes/times", (len(speakers),), h5py.vlen_dtype(np.float16))
        units = file.create_dataset("spikes/units", (len(speakers),), h5py.vlen_dtype(np.uint16))
        labels = np.arange(len(speakers)) % len(WORDS)
        for row, label in enumerate(labels):
            own, noise = generator.integers(label * 170, label * 170 + 90, 150), generator.integers(0, 700, 80)
            units[row] = np.concatenate([own, noise]).astype(np.uint16)
            times[row] = np.sort(generator.uniform(0, 0.28, 230)).astype(np.float16)
        file["labels"] = labels.astype(np.uint16)
        file["extra/keys"] = np.array([word.encode() for word in WORDS])
        file["extra/speaker"] = np.asarray(speakers, np.uint16)


@pytest.fixture(scope="session")
def made_words(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    write_words(folder / "shd_train.h5", 1, [1] * 32 + [2] * 12)  # speaker 2 becomes the validation split
    write_words(folder / "shd_test.h5", 2, [3] * 12)
    return folder


@pytest.fixture(scope="module")
def words(made_words):
    """SPEC of the set: 32 utterances to train on, 12 each to validate and to test; about 30 steps at 100 a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEUROTARGET_CACHE", str(made_words / "cache"))
        yield f"shd:{made_words}"
