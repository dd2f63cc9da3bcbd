"""Another speaker from the same word: vocal tract length perturbation of log-mel frames.

A vocal tract that is shorter by a factor has its resonances higher by it, and a set with few speakers has few lengths.
Every frequency is multiplied by a drawn factor, which leaves duration, loudness and label (Jaitly and Hinton 2013,
"Vocal Tract Length Perturbation (VTLP) improves speech recognition", ICML workshop on deep learning for audio, section
3). The factor holds up to a corner below the upper edge; from there to the edge a straight line leads, so that nothing
leaves the band.
"""

from __future__ import annotations

import numpy as np

from neurotarget.standardisation import Standardisation

from . import logmel

CORNER_SHARE = 0.8  # of the upper edge; 4,800 of 8,000 Hz in the paper, which leaves vowels 2.4 kHz at 4 kHz


def perturb(
    frames: np.ndarray,
    lengths: np.ndarray,
    generator: np.random.Generator,
    standardisation: Standardisation,
    largest: float,
) -> None:
    """Multiply the frequencies of each sample by a factor uniform in 1 - `largest` to 1 + `largest`, in place.

    Decibels are interpolated linearly between the centres of the filters that hear something, in Hz; beyond the
    outermost they are those of the outermost. Features of filters that hear nothing stay zero.

    Args:
        frames: standardised log-mel frames, float32 [batch, steps, features].
        lengths: int64 [batch], in steps; nothing is changed behind them.
        generator: draws the factors.
        standardisation: of the frames.
        largest: 0 to below 1.
    """
    heard = standardisation.scale > 0
    mean, scale = standardisation.mean[heard], standardisation.scale[heard]
    top_hz = standardisation.fmax_hz
    centres_hz = logmel.centres_hz(top_hz, len(heard))[heard]
    for sample, length in zip(frames, lengths, strict=True):
        sources_hz = sources(centres_hz, float(generator.uniform(1 - largest, 1 + largest)), top_hz)
        place = np.interp(sources_hz, centres_hz, np.arange(len(centres_hz)))
        before = np.minimum(place.astype(np.int64), max(0, len(place) - 2))
        after = np.minimum(before + 1, len(place) - 1)
        share = (place - before).astype(frames.dtype)
        decibels = sample[:length, heard] / scale + mean
        moved = decibels[:, before] * (1 - share) + decibels[:, after] * share
        sample[:length, heard] = (moved - mean) * scale


def sources(frequencies_hz: np.ndarray, factor: float, top_hz: float) -> np.ndarray:
    """Where the sound at each of `frequencies_hz` is taken from, float64 in Hz: what was at f sounds at `factor` * f.

    The inverse of equation (1) of the paper: f * factor up to the corner, then a line to `top_hz`.
    """
    corner_hz = CORNER_SHARE * top_hz * min(factor, 1)  # after the change; before it, corner_hz / factor
    return np.interp(frequencies_hz, [0, corner_hz, top_hz], [0, corner_hz / factor, top_hz])
