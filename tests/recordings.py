"""Tiny recordings, drawn at random, in the layouts of the real data sets; written without our own writers."""

from __future__ import annotations

import wave
from pathlib import Path

import h5py
import numpy as np

WORDS = ("one", "two", "three", "four")


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
