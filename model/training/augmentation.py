"""What happens to a batch of the training split before the network sees it."""

from __future__ import annotations

import numpy as np
from neurotarget.model.training.settings import Augmentation

from neurotarget.data import Dataset, augment, background


def augmented(
    dataset: Dataset, rows: np.ndarray, how: Augmentation, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A batch of the train split with its augmentation applied: frames [samples, steps, features], lengths [samples].

    In the order in which things happen to speech: it is spoken, faster or later, in a noise, recorded at a level, and
    then parts of the frames are hidden.
    """
    split = dataset.split("train")
    frames, lengths = np.array(split.frames[rows]), split.lengths[rows]
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
    augment.time_mask(frames, lengths, rng, how.time_mask, how.probability, how.time_mask_width == "fixed")
    augment.neuron_mask(frames, rng, how.feature_mask, how.probability)
    return frames, lengths
