"""A cache of its own for every test, and makers of tiny data sets."""

from __future__ import annotations

import wave
from pathlib import Path

import h5py
import numpy as np
import pytest


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("NEUROTARGET_CACHE", str(folder))
    return folder


def write_wav(path: Path, samples: np.ndarray, rate_hz: int, channels: int = 1, width: int = 2) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate_hz)
        file.writeframes(np.asarray(samples, "<i2").tobytes())


def noise(seed: int, samples: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-9000, 9000, samples)


def write_spikes(path: Path, utterances, labels, words=("zero", "one"), speakers=None) -> None:
    """utterances: list of (times, units); written with h5py alone, as the real files were, not with our writer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        times = file.create_dataset("spikes/times", (len(utterances),), h5py.vlen_dtype(np.float16))
        units = file.create_dataset("spikes/units", (len(utterances),), h5py.vlen_dtype(np.uint16))
        for row, (of_times, of_units) in enumerate(utterances):
            times[row] = np.asarray(of_times, np.float16)
            units[row] = np.asarray(of_units, np.uint16)
        file["labels"] = np.asarray(labels, np.uint16)
        file["extra/keys"] = np.array([word.encode() for word in words])
        file["extra/speaker"] = np.asarray(speakers if speakers is not None else [0] * len(labels), np.uint16)


def random_utterances(seed: int, count: int):
    generator = np.random.default_rng(seed)
    return [
        (np.sort(generator.uniform(0, 0.9, 200)).astype(np.float16), generator.integers(0, 700, 200))
        for _ in range(count)
    ]


@pytest.fixture
def shd_folder(tmp_path):
    """Ten train utterances of three speakers (one of them with one), four test utterances."""
    folder = tmp_path / "shd"
    speakers = [3, 1, 1, 1, 7, 1, 3, 3, 1, 3]
    write_spikes(folder / "shd_train.h5", random_utterances(1, 10), [0, 1] * 5, speakers=speakers)
    write_spikes(folder / "shd_test.h5", random_utterances(2, 4), [1, 0, 1, 0], speakers=[4] * 4)
    return folder


@pytest.fixture
def gsc_folder(tmp_path):
    """Three words of twenty speakers, a tenth to a fifth of a second each, and a background folder that is no word."""
    folder = tmp_path / "gsc"
    for word_index, word in enumerate(("yes", "no", "wow")):
        for speaker in range(20):
            sound = noise(100 * word_index + speaker, 1600 + 80 * speaker)
            write_wav(folder / word / f"{speaker * 2654435761 % 2**32:08x}_nohash_0.wav", sound, 16_000)
    write_wav(folder / "_background_noise_" / "hum.wav", noise(0, 40_000), 16_000)
    return folder


@pytest.fixture
def fsdd_folder(tmp_path):
    folder = tmp_path / "fsdd" / "recordings"
    for digit in range(3):
        for speaker in ("george", "jackson", "lucas", "theo"):
            for number in (0, 10, 2):
                sound = noise(digit * 100 + number, 2000 + 100 * number)
                write_wav(folder / f"{digit}_{speaker}_{number}.wav", sound, 8_000)
    return folder.parent
