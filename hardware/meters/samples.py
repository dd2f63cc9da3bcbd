"""Which samples are measured, and in which batches: sorted by length, so that hardly a padded step is computed."""

from __future__ import annotations

import numpy as np
from neurotarget.hardware.commands import MOST_SAMPLES


def chosen(lengths: np.ndarray, most: int = MOST_SAMPLES) -> np.ndarray:
    """Rows of the samples to measure, sorted by length and evenly spaced over that order.

    As many as the largest power of two within `most` and the samples there are: batches of 1, 2, 4 ... samples then
    hold every one equally often.

    Args:
        lengths: int64 [samples], of one sample or more.
    """
    order = np.argsort(lengths, kind="stable")
    size = 1 << (min(most, len(order)).bit_length() - 1)
    return order[((np.arange(size) + 0.5) * len(order) / size).astype(int)]


def batches(samples: int, batch: int) -> list[np.ndarray]:
    """Places of the samples in each batch of a pass; a batch of more samples than there are holds each several times.

    Args:
        samples, batch: powers of two.
    """
    places = np.repeat(np.arange(samples), max(batch // samples, 1))
    return list(places.reshape(-1, batch))


def padding(lengths: np.ndarray, steps: list[int], batch: int) -> float:
    """Share of the computed steps that lie beyond the samples' ends.

    Args:
        lengths: int64 [samples], sorted as the batches hold them.
        steps: of each batch.
    """
    computed = batch * sum(steps)
    held = sum(int(lengths[places].sum()) for places in batches(len(lengths), batch))
    return 1 - held / computed if computed else 0.0
