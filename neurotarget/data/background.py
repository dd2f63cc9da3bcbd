"""Background noise for speech: what it sounds like, and mixing it into log-mel frames at a drawn distance.

The noise is that of the data set's folder `_background_noise_` where it has one (Speech Commands), else `SECONDS` each
of white and of pink noise (power falling as 1/f), made here, always the same.

It is mixed in where frames are ready made, without reading a file again: the power of a filter becomes that of the
speech plus that of the noise, each by the same front end. Of waveforms x and n this is the mean over |X + N|^2 and
|X - N|^2; what is left out is how the two interfere, which has either sign and no mean. Filters overlap so that their
powers sum to that of the band, so a distance in decibels is that of the two waveforms from 50 Hz to `fmax`.
"""

from __future__ import annotations

import functools

import numpy as np

from neurotarget.standardisation import Standardisation

from . import logmel, spec
from .base import DataError
from .wav import HIGH_HZ, LOW_HZ, is_wav, read_samples

FOLDER = "_background_noise_"
SECONDS = 30
LONGEST_SECONDS = 600.0  # of a recording


@functools.lru_cache(maxsize=1)  # of the data set in training
def noises(spec_text: str) -> tuple[np.ndarray, ...]:
    """Power of the noise for a data set of log-mel frames: one float32 [frames, features] for each recording.

    Raises:
        DataError: a recording that cannot be used.
    """
    parsed = spec.parse(spec_text)
    rate_hz = logmel.rate_of(parsed)
    paths = sorted(filter(is_wav, (parsed.path / FOLDER).glob("*")))
    rates_hz = {rate_hz, HIGH_HZ}
    sounds = [read_samples(path, rates_hz, rate_hz, LONGEST_SECONDS) for path in paths]
    sounds = sounds or [made(0, rate_hz), made(1, rate_hz)]
    for path, sound in zip(paths, sounds, strict=False):
        if not sound.any():
            raise DataError(f"{path}: silence throughout, which is no noise; delete it")
    hop_samples, filters = logmel.hop_of(parsed), logmel.filters_of(parsed)
    return tuple(_power(logmel.log_mel(sound, hop_samples, filters)) for sound in sounds)


def made(slope: int, rate_hz: int = LOW_HZ) -> np.ndarray:
    """`SECONDS` of noise, float32 [samples], whose power falls as 1/f^slope: 0 is white, 1 is pink."""
    spectrum = np.fft.rfft(np.random.default_rng(slope).standard_normal(SECONDS * rate_hz))
    spectrum[1:] /= np.arange(1, len(spectrum)) ** (slope / 2)
    sound: np.ndarray = np.fft.irfft(spectrum)
    return (0.1 * sound / sound.std()).astype(np.float32)


def mix(
    frames: np.ndarray,
    lengths: np.ndarray,
    generator: np.random.Generator,
    of_set: tuple[np.ndarray, ...],
    standardisation: Standardisation,
    probability: float,
    decibels: tuple[float, float],
) -> None:
    """With `probability`, mix a stretch of noise into a sample of standardised log-mel frames, in place.

    Recording and place are drawn uniformly; one that is too short goes round.

    Args:
        frames: float32 [batch, steps, features].
        lengths: int64 [batch], in steps; nothing is changed behind them.
        of_set: what `noises` gave.
        standardisation: of the frames.
        decibels: lowest and highest power of the sample over that of the noise, each the mean over the sample's steps.
    """
    heard = standardisation.scale > 0
    mean, scale = standardisation.mean[heard], standardisation.scale[heard]
    for sample, length in zip(frames, lengths, strict=True):
        if generator.random() >= probability:
            continue
        noise = of_set[generator.integers(len(of_set))]
        places = (generator.integers(len(noise)) + np.arange(length)) % len(noise)
        added = noise[places][:, heard]
        power = _power(sample[:length, heard] / scale + mean)
        added = added * (power.mean() / added.mean() / 10 ** (generator.uniform(*decibels) / 10))
        mixed = 10 * np.log10(power + added)
        sample[:length, heard] = (np.maximum(mixed, mixed.max() - logmel.RANGE_DECIBELS) - mean) * scale


def _power(decibels: np.ndarray) -> np.ndarray:
    power: np.ndarray = 10 ** (decibels / 10)
    return power
