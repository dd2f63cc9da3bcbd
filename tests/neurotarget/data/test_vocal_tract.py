"""Vocal tract length perturbation, against sounds that are spoken at other frequencies to begin with."""

import numpy as np
import pytest
import scipy.signal

from neurotarget.data import Standardisation, logmel, vocal_tract
from tests.recordings import noise

FILTERS = logmel.mel_filters(4000, 140, 512)
FILTERS[:, 3] = 0  # one that hears nothing, as narrow filters do
HEARD = FILTERS.any(axis=0)
HOW = Standardisation(
    np.random.default_rng(5).normal(-20, 5, 140).astype(np.float32),
    np.where(HEARD, np.random.default_rng(6).uniform(0.05, 0.2, 140), 0).astype(np.float32),
    4000,
    512,
)


class Drawn:
    """A generator whose number is known."""

    def __init__(self, factor):
        self.factor = factor

    def uniform(self, low, high):
        assert low <= self.factor <= high
        return self.factor


def decibels_of(frames):
    return frames[:, HEARD] / HOW.scale[HEARD] + HOW.mean[HEARD]


def perturbed(decibels, factor, length=None):
    frames = np.repeat(HOW.applied(decibels)[None], 2, axis=0)
    vocal_tract.perturb(frames, np.array([len(decibels), length or len(decibels)]), Drawn(factor), HOW, 0.3)
    return frames


@pytest.mark.parametrize("factor", [0.8, 0.9, 1.1, 1.25])
@pytest.mark.parametrize("tone_hz", [400, 900, 1700, 2300])
def test_a_tone_comes_out_at_its_frequency_times_the_factor(tone_hz, factor):
    def tone(frequency_hz):
        return np.sin(2 * np.pi * frequency_hz * np.arange(8000) / 8000).astype(np.float32)

    found = perturbed(logmel.log_mel(tone(tone_hz), 80, FILTERS), factor)[0]
    spoken_so = logmel.log_mel(tone(tone_hz * factor), 80, FILTERS)[:, HEARD]
    assert abs(decibels_of(found)[20:80].mean(0).argmax() - spoken_so[20:80].mean(0).argmax()) <= 1


@pytest.mark.parametrize("factor", [0.85, 1.15])
def test_a_resonance_is_that_of_a_shorter_or_longer_vocal_tract(factor):
    """Noise through a resonator at 1,500 Hz of 300 Hz of band, and through one of both times the factor."""

    def spoken(scale):
        numerator, denominator = scipy.signal.iirpeak(1500 * scale, 5, fs=8000)
        sound = scipy.signal.lfilter(numerator, denominator, noise(1, 80_000) / 32768).astype(np.float32)
        return logmel.log_mel(sound, 80, FILTERS)

    found = decibels_of(perturbed(spoken(1.0), factor)[0]).mean(axis=0)
    expected, as_it_was = spoken(factor)[:, HEARD].mean(axis=0), spoken(1.0)[:, HEARD].mean(axis=0)
    centres_hz = logmel.centres_hz(4000, 140)[HEARD]
    around = (centres_hz > 800) & (centres_hz < 2400)
    # The level differs by the band's width; what counts is the form.
    error = np.std((found - expected)[around])
    assert error < 0.7 < 2 < np.std((as_it_was - expected)[around])


def test_frequencies_stay_in_the_band_and_in_their_order():
    asked = np.linspace(0, 4000, 401)
    for factor in (0.7, 0.9, 1.0, 1.1, 1.3):
        found = vocal_tract.sources(asked, factor, 4000.0)
        assert found[0] == 0 and found[-1] == 4000 and (np.diff(found) > 0).all()
        # a hand calculation: 0.8 of the edge, of what comes in or of what goes out, whichever is lower
        linear = asked <= 3200 * min(factor, 1)
        np.testing.assert_allclose(found[linear], asked[linear] / factor)


def test_a_factor_of_one_changes_nothing_and_nothing_changes_behind_a_sample_or_where_nothing_is_heard():
    decibels = logmel.log_mel(noise(1, 8000) / 32768, 80, FILTERS)
    before = HOW.applied(decibels)
    np.testing.assert_allclose(perturbed(decibels, 1.0)[0], before, atol=1e-5)
    found = perturbed(decibels, 1.2, length=60)
    np.testing.assert_array_equal(found[1, 60:], before[60:])
    np.testing.assert_array_equal(found[1, :60], found[0, :60])
    assert (found[1, :60] != before[:60]).mean() > 0.8 * HEARD.mean()
    assert not found[..., ~HEARD].any() and not HEARD.all()


def test_factors_are_drawn_for_each_sample_and_repeat():
    frames = np.repeat(HOW.applied(logmel.log_mel(noise(1, 8000) / 32768, 80, FILTERS))[None], 30, axis=0)
    lengths = np.full(30, 100)
    found, again = frames.copy(), frames.copy()
    vocal_tract.perturb(found, lengths, np.random.default_rng(3), HOW, 0.15)
    vocal_tract.perturb(again, lengths, np.random.default_rng(3), HOW, 0.15)
    np.testing.assert_array_equal(found, again)
    assert len({sample.tobytes() for sample in found}) == 30
