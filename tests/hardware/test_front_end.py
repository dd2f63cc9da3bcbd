"""Operations of the front end against FFTs and filters that are walked through, and what stands of them in a report."""

from __future__ import annotations

import numpy as np
import pytest
from neurotarget.hardware.energy.front_end import (
    FrontEnd,
    Operations,
    complex_fft,
    front_end,
    hearing,
    log_mel,
    real_fft,
)

from neurotarget.data import ear, logmel
from tests.hardware.counted import TABLES

FP32 = TABLES["45nm-fp32"]


def walked(values: np.ndarray, count: dict[str, int]) -> np.ndarray:
    """A radix-2 FFT by hand; every real multiplication and addition of a butterfly is counted, trivial factors too."""
    if len(values) == 1:
        return values
    even, odd = walked(values[::2], count), walked(values[1::2], count)
    result = np.empty(len(values), complex)
    for k in range(len(odd)):
        turned = np.exp(-2j * np.pi * k / len(values)) * odd[k]
        result[k], result[k + len(odd)] = even[k] + turned, even[k] - turned
        count["multiplications"] += 4
        count["additions"] += 6
    return result


@pytest.mark.parametrize("points", [2, 8, 64, 256])
def test_an_fft_takes_its_butterflies(points: int) -> None:
    count = {"multiplications": 0, "additions": 0}
    values = np.random.default_rng(0).normal(size=points)
    np.testing.assert_allclose(walked(values, count), np.fft.fft(values), atol=1e-9)
    assert complex_fft(points) == Operations(count["multiplications"], count["additions"])
    # Of real values: half the points, then a butterfly for each pair of the n / 2 results.
    assert real_fft(points) == complex_fft(points // 2) + Operations(4, 6).times(points // 4)


def test_a_log_mel_frame_by_hand() -> None:
    """256 products of the window, the FFT, |.|^2 of 129 bins, a MAC per weight of a filter, then value by value."""
    filters = logmel.mel_filters(4000)
    weights = sum(weight != 0 for row in filters for weight in row)
    fft = real_fft(256)
    expected = Operations(
        256 + fft.multiplications + 2 * 129 + weights + 2 * 140, fft.additions + 129 + weights + 2 * 140, 140
    )
    assert log_mel(1, filters) == expected
    assert log_mel(100, filters) == expected.times(100)
    assert log_mel(1, logmel.mel_filters(14000)).multiplications != expected.multiplications
    assert log_mel(1, logmel.mel_filters(4000, 40, 512)).functions == 40


def test_the_ear_grows_with_whole_blocks_of_its_filters() -> None:
    one = hearing(0.1)  # 200 steps of 0.5 ms, one block
    assert hearing(0.01) == one and hearing(0.11).functions == pytest.approx(2 * one.functions)
    above = int((ear.centre_frequencies() >= 500).sum())
    assert one.functions == 200 * (2 * 700 + above)  # an exponential and a quotient each, a root where no phase is kept


def priced(spec: str, steps: float = 50.0) -> FrontEnd:
    found = front_end(spec, steps, FP32, 4.0, 30.0)
    assert isinstance(found, FrontEnd)
    return found


def test_energy_and_ratio_with_it() -> None:
    found = priced("gsc:/x?words=10")
    eight = 8 * found.functions
    by_hand = ((found.multiplications + eight) * 3.7 + (found.additions + eight) * 0.9) / 1e6
    assert found.energy_uj == pytest.approx(by_hand)
    assert found.ratio_with == pytest.approx((30 + by_hand) / (4 + by_hand)) and 1 < found.ratio_with < 7.5
    assert (found.name, priced("synth").name, priced("shd:/x").name) == (
        "log-mel spectrogram",
        "model of the ear",
        "model of the ear",
    )
    assert found.kind == "estimated" and "ear.py" in priced("synth").note


def test_steps_per_second_make_the_sound_longer_or_the_frames_more() -> None:
    assert priced("synth?steps=40", 20).energy_uj == priced("synth?steps=100", 50).energy_uj  # both half a second
    assert priced("fsdd:/x?steps=40", 20).energy_uj == pytest.approx(priced("fsdd:/x", 50).energy_uj * 20 / 50)


@pytest.mark.parametrize(("spec", "words"), [("in.npz", "not a data SPEC"), ("nmnist:/x", "the sensor gives events")])
def test_what_has_no_front_end_here_says_so(spec: str, words: str) -> None:
    found = front_end(spec, 10, FP32, 1.0, 1.0)
    assert isinstance(found, str) and words in found


def test_without_both_networks_there_is_no_ratio() -> None:
    found = front_end("synth", 10, FP32, None, 3.0)
    assert isinstance(found, FrontEnd) and found.ratio_with is None and found.energy_uj > 0
