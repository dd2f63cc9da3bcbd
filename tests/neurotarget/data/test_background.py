"""Background noise in log-mel frames, against mixing waveforms and the front end afterwards."""

import numpy as np
import pytest
import scipy.signal

from neurotarget.data import DataError, Standardisation, background, logmel, open_dataset
from tests.recordings import noise, write_wav

FILTERS = logmel.mel_filters(4000)
HEARD = FILTERS.any(axis=0)


def power_of(sound):
    return 10 ** (logmel.log_mel(sound, 80, FILTERS).astype(float) / 10)


def standardised(power):
    rng = np.random.default_rng(5)
    mean = rng.normal(-20, 5, 140).astype(np.float32)
    scale = np.where(HEARD, rng.uniform(0.05, 0.2, 140), 0).astype(np.float32)
    how = Standardisation(mean, scale, 4000)
    return how, how.applied(10 * np.log10(power).astype(np.float32))


def mixed(frames, lengths, noises, how, probability=1.0, decibels=(6.0, 6.0), seed=0):
    found = frames.copy()
    background.mix(found, lengths, np.random.default_rng(seed), noises, how, probability, decibels)
    return found


def test_mixing_frames_is_mixing_waveforms_in_the_mean_over_both_signs():
    """|X + N|^2 + |X - N|^2 = 2 |X|^2 + 2 |N|^2; noise with the period of a hop has the same frame everywhere."""
    speech = noise(1, 8000) / 32768
    hum = np.tile(noise(2, 80) / 32768, 100)
    power, power_of_hum = power_of(speech), power_of(hum)[5:-5]
    how, frames = standardised(power)
    found = mixed(frames[None], np.array([100]), (power_of_hum.astype(np.float32),), how)[0]
    gain = power[:, HEARD].mean() / power_of_hum[:, HEARD].mean() / 10**0.6
    both = (power_of(speech + np.sqrt(gain) * hum) + power_of(speech - np.sqrt(gain) * hum)) / 2
    decibels = found[:, HEARD] / how.scale[HEARD] + how.mean[HEARD]
    inside = slice(3, -3)  # where no window reaches beyond the noise
    np.testing.assert_allclose(decibels[inside], 10 * np.log10(both[inside, HEARD]), atol=2e-3)
    assert not found[:, ~HEARD].any()
    # 6 dB of waveforms, whose spectra fill the band: so many of two white noises
    white = noise(3, 8000) / 32768
    gain = power[:, HEARD].mean() / power_of(white)[:, HEARD].mean() / 10**0.6
    assert 10 * np.log10((speech**2).mean() / (gain * white**2).mean()) == pytest.approx(6, abs=0.2)


def test_the_distance_is_drawn_uniformly_and_nothing_changes_behind_a_sample():
    how, one = standardised(power_of(noise(1, 8000) / 32768))
    frames = np.repeat(one[None], 400, axis=0)
    lengths = np.full(400, 60)
    frames[:, 60:] = 0
    noises = (power_of(noise(2, 4000) / 32768).astype(np.float32),)  # shorter than a sample: it goes round
    found = mixed(frames, lengths, noises, how, probability=0.5, decibels=(-5.0, 15.0))
    assert not found[:, 60:].any()
    touched = (found != frames).any(axis=(1, 2))
    assert touched.mean() == pytest.approx(0.5, abs=0.07)

    def powers(values):
        return 10 ** ((values[:, :60, HEARD].astype(float) / how.scale[HEARD] + how.mean[HEARD]) / 10)

    before, after = powers(frames[touched]), powers(found[touched])
    distances = 10 * np.log10(before.mean(axis=(1, 2)) / (after - before).mean(axis=(1, 2)))
    assert -5.01 < distances.min() < -4 and 14 < distances.max() < 15.01
    assert distances.mean() == pytest.approx(5, abs=1.3) and distances.std() == pytest.approx(20 / 12**0.5, abs=0.6)
    again = mixed(frames, lengths, noises, how, probability=0.5, decibels=(-5.0, 15.0))
    np.testing.assert_array_equal(found, again)


def test_what_is_far_below_the_loudest_cell_is_floored_as_the_front_end_does():
    how, frames = standardised(np.where(np.arange(100)[:, None] == 50, 1e6, 1e-6) * np.ones((100, 140)))
    found = mixed(frames[None], np.array([100]), (np.ones((100, 140), np.float32),), how, decibels=(90.0, 90.0))[0]
    decibels = found[:, HEARD] / how.scale[HEARD] + how.mean[HEARD]
    assert decibels.max() - decibels.min() == pytest.approx(80, abs=1e-3)


def test_a_data_sets_own_noise_is_taken_and_made_noise_elsewhere(gsc_folder, fsdd_folder):
    own = background.noises(f"gsc:{gsc_folder}?steps=200")
    assert [piece.shape for piece in own] == [(500, 140)]  # 2.5 s
    heard = noise(0, 40_000).astype(np.float32) / 32768
    expected = power_of(scipy.signal.resample_poly(heard, 1, 2))
    np.testing.assert_allclose(background.noises(f"gsc:{gsc_folder}")[0], expected, rtol=1e-3)
    assert [piece.shape for piece in background.noises(f"fsdd:{fsdd_folder}")] == [(3000, 140)] * 2
    open_dataset(f"gsc:{gsc_folder}")  # noise is no word


@pytest.mark.parametrize("slope", [0, 1])
def test_made_noise_falls_with_its_slope(slope):
    sound = background.made(slope)
    assert sound.tobytes() == background.made(slope).tobytes() and sound.std() == pytest.approx(0.1, rel=1e-5)
    frequencies, power = scipy.signal.welch(sound, 8000, nperseg=1024)
    found = np.polyfit(np.log10(frequencies[4:-4]), np.log10(power[4:-4]), 1)[0]
    assert found == pytest.approx(-slope, abs=0.05)


def test_noise_that_cannot_be_used_is_named(gsc_folder):
    hum = gsc_folder / "_background_noise_" / "hum.wav"
    write_wav(hum, np.zeros(16_000), 16_000)
    with pytest.raises(DataError, match=r"hum\.wav: silence throughout"):
        background.noises(f"gsc:{gsc_folder}?steps=40")
    write_wav(hum, noise(1, 16_000), 16_000, channels=2)
    with pytest.raises(DataError, match=r"hum\.wav: 2 channels"):
        background.noises(f"gsc:{gsc_folder}?steps=50")
