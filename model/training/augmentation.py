"""What happens to a batch of the training split before the network sees it."""

from __future__ import annotations

import numpy as np
from neurotarget.model.training.labels import Mix
from neurotarget.model.training.settings import Augmentation

from neurotarget.data import Dataset, augment, background, vocal_tract


def augmented(
    dataset: Dataset, rows: np.ndarray, how: Augmentation, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, Mix | None]:
    """A batch of the train split with its augmentation applied.

    In the order in which things happen to speech: someone speaks, faster or later, in a noise, it is recorded at a
    level, and then frames are disturbed, hidden and mixed.

    Returns:
        Frames [samples, steps, features], lengths [samples], and what was mixed into which sample.
    """
    split = dataset.split("train")
    frames, lengths = np.array(split.frames[rows]), split.lengths[rows]
    if how.vocal_tract:
        assert dataset.standardisation is not None  # `check_augmentation`
        vocal_tract.perturb(frames, lengths, rng, dataset.standardisation, how.vocal_tract)
    if how.speed:
        lengths = augment.speed(frames, lengths, rng, how.speed)
    if how.shift:
        lengths = augment.time_shift(frames, lengths, rng, how.shift)
    if how.background:
        assert dataset.standardisation is not None  # `check_augmentation`
        noises, decibels = background.noises(dataset.spec), (how.background_from_db, how.background_to_db)
        background.mix(frames, lengths, rng, noises, dataset.standardisation, how.background, decibels)
    if how.level:
        augment.level(frames, lengths, rng, how.level)
    if how.time_jitter:
        augment.time_jitter(frames, lengths, rng, how.jitter, how.time_jitter)
    if how.feature_jitter:
        augment.feature_jitter(frames, lengths, rng, how.jitter, how.feature_jitter)
    if how.event_drop:
        augment.event_drop(frames, lengths, rng, how.event_drop)
    if how.added_counts:
        deviation = how.added_counts_deviation if how.added_counts_form == "normal" else None
        augment.added_counts(frames, lengths, rng, how.added_counts, deviation)
    augment.time_mask(frames, lengths, rng, how.time_mask, how.probability, how.time_mask_width == "fixed")
    augment.neuron_mask(frames, rng, how.feature_mask, how.probability)
    if not how.cut_mix:
        return frames, lengths, None
    mix = augment.cut_mix(frames, lengths, rng, how.cut_mix_share, how.cut_mix, how.cut_mix_width == "fixed")
    return frames, lengths, mix
