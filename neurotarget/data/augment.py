"""Augmentation of a training batch, in place.

Every function takes `frames` [batch, steps, features] (any dtype, writable: copy what comes from a memory map) and a
`numpy.random.Generator`, draws for each sample on its own, and changes nothing after a sample's length. With the same
generator state it makes the same changes. The published settings: SHD time mask share 0.2, neuron mask 20, both with
probability 0.5; SSC 0.1, 10, 0.5; GSC time mask 0.25, neuron mask 10, both on every sample (SpecAugment, Park et al.
2019: zero is the mean of log-mel frames).
"""

from __future__ import annotations

import numpy as np


def time_mask(
    frames: np.ndarray,
    lengths: np.ndarray,
    generator: np.random.Generator,
    share: float,
    probability: float,
    fixed: bool = False,
) -> None:
    """With `probability`, silence a stretch of a sample's own length, uniform in place.

    Its width is uniform from 0 to `share` of the length, or always that share where it is `fixed`.
    """
    _check(share=share, probability=probability)
    for sample, length in zip(frames, lengths, strict=True):
        if generator.random() < probability:
            width = int(share * length)
            start, width = _stretch(generator, int(length), width, least=width if fixed else 0)
            sample[start : start + width] = 0


def neuron_mask(frames: np.ndarray, generator: np.random.Generator, max_width: int, probability: float) -> None:
    """With `probability`, silence 0 to `max_width` neighbouring features of a sample, uniform in width and place."""
    _check(probability=probability)
    features = frames.shape[2]
    if not 0 <= max_width <= features:
        raise ValueError(f"max_width is {max_width}; expected 0 to the {features} features of a frame")
    for sample in frames:
        if generator.random() < probability:
            start, width = _stretch(generator, features, max_width)
            sample[:, start : start + width] = 0


def time_shift(frames: np.ndarray, lengths: np.ndarray, generator: np.random.Generator, max_steps: int) -> np.ndarray:
    """Move each sample later or earlier by up to `max_steps`, filling with zeros; what leaves the frame is lost.

    Returns the new lengths, int64 [batch]: at least 1, at most the number of steps. `lengths` is left as it is.
    """
    steps = frames.shape[1]
    if not 0 <= max_steps < steps:
        raise ValueError(f"max_steps is {max_steps}; expected 0 to {steps - 1} for frames of {steps} steps")
    moved_lengths = np.empty(len(lengths), np.int64)
    for row, (sample, length) in enumerate(zip(frames, lengths, strict=True)):
        shift = int(generator.integers(-max_steps, max_steps + 1))
        shift = max(shift, 1 - int(length))  # something of the sample has to remain
        if shift > 0:
            sample[shift:] = sample[:-shift].copy()
            sample[:shift] = 0
        elif shift < 0:
            sample[:shift] = sample[-shift:].copy()
            sample[shift:] = 0
        moved_lengths[row] = min(steps, int(length) + shift)
    return moved_lengths


def speed(frames: np.ndarray, lengths: np.ndarray, generator: np.random.Generator, largest: float) -> np.ndarray:
    """Play each sample of graded frames faster or slower, by a factor uniform in 1 - `largest` to 1 + `largest`.

    Frames between those of the sample are interpolated linearly; what would be longer than the frame is cut off.
    Returns the new lengths, int64 [batch]. `lengths` is left as it is.
    """
    if not 0 <= largest < 1:
        raise ValueError(f"largest is {largest}; expected 0 to below 1")
    steps, played = frames.shape[1], np.empty(len(lengths), np.int64)
    for row, (sample, length) in enumerate(zip(frames, lengths, strict=True)):
        factor = generator.uniform(1 - largest, 1 + largest)
        whole = max(1, round(int(length) / factor))
        played[row] = min(steps, whole)
        place = np.clip((np.arange(played[row]) + 0.5) * (length / whole) - 0.5, 0, length - 1)
        before = place.astype(np.int64)
        share = (place - before)[:, None].astype(frames.dtype)
        after = np.minimum(before + 1, length - 1)
        moved = sample[before] * (1 - share) + sample[after] * share
        sample[:] = 0
        sample[: played[row]] = moved
    return played


def level(frames: np.ndarray, lengths: np.ndarray, generator: np.random.Generator, largest: float) -> None:
    """Add one number, uniform within `largest` either way, to a sample's features: log-mel frames of other gain.

    Features that are zero throughout the batch are of filters that hear nothing, and stay.
    """
    heard = frames.any(axis=(0, 1))
    for sample, length in zip(frames, lengths, strict=True):
        sample[:length] += heard * frames.dtype.type(generator.uniform(-largest, largest))


def _stretch(generator: np.random.Generator, size: int, max_width: int, least: int = 0) -> tuple[int, int]:
    width = int(generator.integers(least, max_width + 1))
    return int(generator.integers(0, size - width + 1)), width


def _check(**shares: float) -> None:
    for name, value in shares.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is {value}; expected 0 to 1")
