"""A cache of its own for every test, and tiny data sets."""

from __future__ import annotations

import pytest

from tests.recordings import noise, random_utterances, write_spikes, write_wav


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("NEUROTARGET_CACHE", str(folder))
    return folder


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
