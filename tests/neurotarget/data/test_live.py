"""Log-mel frames of a sound in pieces against those of the whole sound."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly

from neurotarget.data import DataError, live
from neurotarget.data.logmel import MELS, log_mel, sparse_filters
from neurotarget.standardisation import Standardisation

KNOWN = Standardisation(np.full(MELS, -40, np.float32), np.full(MELS, 0.05, np.float32), 4000)


def sound(samples: int, fading: bool = True) -> np.ndarray:
    noise = np.random.default_rng(samples).normal(size=samples) * 0.3
    return (noise * (np.linspace(1, 0.01, samples) if fading else 1)).astype(np.float32)


def in_pieces(whole: np.ndarray, rate_hz: int, hop: int, sizes: list[int]) -> np.ndarray:
    stream, at, found = live.LogMel(rate_hz, hop, KNOWN), 0, []
    while at < len(whole):
        size = sizes[len(found) % len(sizes)]
        found.append(stream.push(whole[at : at + size])[0])
        at += size
    return np.concatenate([*found, stream.end()[0]])


@pytest.mark.parametrize("sizes", [[160], [1, 333, 7], [5000]])
@pytest.mark.parametrize("samples", [1, 79, 80, 81, 2000, 3333])
@pytest.mark.parametrize(("rate_hz", "hop"), [(8000, 80), (8000, 200), (16000, 80)])
def test_the_frames_are_those_of_the_whole_sound(rate_hz: int, hop: int, samples: int, sizes: list[int]) -> None:
    whole = sound(samples)
    at_8_khz = whole if rate_hz == 8000 else resample_poly(whole, 1, 2).astype(np.float32)
    expected = KNOWN.applied(log_mel(at_8_khz, hop, sparse_filters(4000)))
    found = in_pieces(whole, rate_hz, hop, sizes)
    assert found.shape == expected.shape
    loudest = int(expected.max(axis=1).argmax())
    np.testing.assert_array_equal(found[loudest:], expected[loudest:])
    assert np.all(found <= expected)


def test_the_front_end_is_the_networks() -> None:
    known = Standardisation(np.full(40, -40, np.float32), np.full(40, 0.05, np.float32), 4000, 512)
    stream = live.LogMel(8000, 80, known)
    whole = sound(3333, fading=False)
    found = np.concatenate([stream.push(whole[:1000])[0], stream.push(whole[1000:])[0], stream.end()[0]])
    expected = known.applied(log_mel(whole, 80, sparse_filters(4000, 40, 512)))
    loudest = int(expected.max(axis=1).argmax())
    assert found.shape == expected.shape == (42, 40)
    np.testing.assert_array_equal(found[loudest:], expected[loudest:])


def test_sound_at_16_khz_is_taken_as_it_is() -> None:
    known = Standardisation(np.full(40, -40, np.float32), np.full(40, 0.05, np.float32), 8000, 512, 16_000)
    stream, whole = live.LogMel(16_000, 160, known), sound(5000, fading=False)
    assert stream.ahead_seconds == 176 / 16_000
    found = np.concatenate([stream.push(whole[:1000])[0], stream.push(whole[1000:])[0], stream.end()[0]])
    expected = known.applied(log_mel(whole, 160, sparse_filters(8000, 40, 512, 16_000)))
    loudest = int(expected.max(axis=1).argmax())
    assert found.shape == expected.shape == (32, 40)
    np.testing.assert_array_equal(found[loudest:], expected[loudest:])


def test_a_frame_waits_for_its_window_and_no_longer() -> None:
    stream = live.LogMel(8000, 80, KNOWN)
    assert stream.ahead_seconds == 88 / 8000
    whole = sound(1000)
    assert len(stream.push(whole[:167])[0]) == 0
    assert len(stream.push(whole[167:168])[0]) == 1
    assert live.LogMel(16000, 80, KNOWN).ahead_seconds == 88 / 8000 + 20 / 16000


def test_loudness_of_a_hop() -> None:
    stream = live.LogMel(8000, 80, KNOWN)
    loud = np.concatenate([np.zeros(80), np.full(80, 0.1), np.full(240, 1.0)]).astype(np.float32)
    _, decibels = stream.push(loud)
    np.testing.assert_allclose(decibels, [-120, -20, 0], atol=1e-4)


def test_what_is_no_sound_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "two.wav", np.zeros((10, 2)), 8000)
    soundfile.write(tmp_path / "fast.wav", np.zeros(10), 44100)
    (tmp_path / "text.wav").write_text("hello")
    for name, words in (
        ("two.wav", "2 channels"),
        ("fast.wav", "44100 Hz"),
        ("text.wav", "not a WAV file"),
        ("none.wav", "no such file"),
    ):
        with pytest.raises(DataError, match=words), live.opened_sound(str(tmp_path / name)):
            pass


def test_numbers_that_are_not_finite_are_refused() -> None:
    memory = io.BytesIO()
    soundfile.write(memory, np.array([0.0, np.nan]), 8000, format="WAV", subtype="FLOAT")
    memory.seek(0)
    with soundfile.SoundFile(memory) as file, pytest.raises(DataError, match="no finite numbers"):
        list(live.blocks(file, "word.wav"))
