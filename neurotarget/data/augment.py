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


def time_jitter(
    frames: np.ndarray, lengths: np.ndarray, generator: np.random.Generator, largest: int, probability: float
) -> None:
    """With `probability`, move each feature of a sample earlier or later by up to `largest` steps, each on its own.

    What leaves a sample at one end enters at the other. The public code of SpikeSCR has it as `NeuronJitterAug`.
    """
    _check(probability=probability)
    for sample, length in zip(frames, lengths, strict=True):
        if generator.random() < probability:
            shifts = generator.integers(-largest, largest + 1, sample.shape[1])
            places = (np.arange(length)[:, None] - shifts) % length
            sample[:length] = np.take_along_axis(sample[:length], places, axis=0)


def feature_jitter(
    frames: np.ndarray, lengths: np.ndarray, generator: np.random.Generator, largest: int, probability: float
) -> None:
    """With `probability`, move each step of a sample by up to `largest` features up or down, each on its own.

    What leaves a frame at one end enters at the other. The public code of SpikeSCR has it as `TimeJitterAug`.
    """
    _check(probability=probability)
    for sample, length in zip(frames, lengths, strict=True):
        if generator.random() < probability:
            features = sample.shape[1]
            places = (np.arange(features) - generator.integers(-largest, largest + 1, (length, 1))) % features
            sample[:length] = np.take_along_axis(sample[:length], places, axis=1)


def event_drop(frames: np.ndarray, lengths: np.ndarray, generator: np.random.Generator, most: int) -> None:
    """Silence 0 to `most` cells of each sample, a feature in a step each, wherever they are and whatever they hold.

    The public code of SpikeSCR has it as `DropEventAug`, with 0 to `max_drop_events` - 1.
    """
    for sample, length in zip(frames, lengths, strict=True):
        cells = int(generator.integers(0, most + 1))
        sample[generator.integers(0, length, cells), generator.integers(0, sample.shape[1], cells)] = 0


PUBLISHED_COUNTS = np.array([0.87, 0.06, 0.03, 0.02, 0.01, 0.01])  # probability that 0, 1, ... are added to a cell


def added_counts(
    frames: np.ndarray,
    lengths: np.ndarray,
    generator: np.random.Generator,
    probability: float,
    deviation: float | None = None,
) -> None:
    """With `probability`, add a drawn number to every count of a sample.

    With a `deviation` it is the magnitude of a normal number, rounded, as `RNoise` in the public code of DCLS-Delays;
    without it one of 0 to 5 with `PUBLISHED_COUNTS`, as `RNoise` in that of SpikeSCR, where no sum passes 5. There
    counts above 5 fall to 5 in this way; here they stay.
    """
    _check(probability=probability)
    largest = np.iinfo(frames.dtype).max
    for sample, length in zip(frames, lengths, strict=True):
        if generator.random() >= probability:
            continue
        counts = sample[:length].astype(np.int64)
        if deviation is None:
            added = generator.choice(len(PUBLISHED_COUNTS), counts.shape, p=PUBLISHED_COUNTS)
            sums = np.maximum(counts, np.minimum(counts + added, len(PUBLISHED_COUNTS) - 1))
        else:
            added = np.rint(np.abs(generator.normal(0, deviation, counts.shape))).astype(np.int64)
            sums = np.minimum(counts + added, largest)
        sample[:length] = sums


def cut_mix(
    frames: np.ndarray,
    lengths: np.ndarray,
    generator: np.random.Generator,
    share: float,
    probability: float,
    fixed: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """With `probability`, replace a stretch of a sample by the same steps of another one of the batch.

    Its width is uniform from 0 to `share` of the shorter of the two, or always that share where it is `fixed`; its
    place is uniform in both. Returns of each sample the row of the other, int64 [batch], itself where nothing was
    replaced, and the share of its own steps that come from there, float64 [batch], which is the other label's weight.

    Both public codes have it as `CutMix`. There a stretch may lie in the padding, and the label's weight is the drawn
    share. In DCLS-Delays (share uniform up to 1) the other is the next of the batch; in SpikeSCR (share fixed, drawn
    for all samples of a batch at once) it may have been replaced in part before.
    """
    _check(share=share, probability=probability)
    batch, before = len(frames), frames.copy()
    others, shares = np.arange(batch), np.zeros(batch)
    for row in range(batch if batch > 1 else 0):
        if generator.random() < probability:
            other = int(generator.integers(batch - 1))
            other += other >= row
            both = int(min(lengths[row], lengths[other]))
            width = int(share * both)
            start, width = _stretch(generator, both, width, least=width if fixed else 0)
            frames[row, start : start + width] = before[other, start : start + width]
            others[row], shares[row] = other, width / int(lengths[row])
    return others, shares


def _stretch(generator: np.random.Generator, size: int, max_width: int, least: int = 0) -> tuple[int, int]:
    width = int(generator.integers(least, max_width + 1))
    return int(generator.integers(0, size - width + 1)), width


def _check(**shares: float) -> None:
    for name, value in shares.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is {value}; expected 0 to 1")
