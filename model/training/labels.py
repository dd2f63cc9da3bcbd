"""What a batch is to be recognised as: labels, or shares of every class where they are smoothed or mixed."""

from __future__ import annotations

import numpy as np

Mix = tuple[np.ndarray, np.ndarray]  # rows of the others, shares of theirs: what `augment.cut_mix` gives


def aimed_at(labels: np.ndarray, classes: int, smoothing: float = 0.0, mix: Mix | None = None) -> np.ndarray:
    """The labels themselves, int64 [samples], or float32 [samples, classes] that sum to 1, for torch's cross-entropy.

    Args:
        labels: int64 [samples].
        smoothing: share that is spread over all classes alike (Szegedy et al. 2016, section 7), as torch's
            `label_smoothing`.
        mix: of each sample which one is mixed in, and its share: (1 - share) of its own label and share of the other's.
    """
    if not smoothing and mix is None:
        return labels
    shares = np.eye(classes, dtype=np.float32)[labels]
    if mix is not None:
        others, mixed = mix
        shares = shares + mixed[:, None].astype(np.float32) * (shares[others] - shares)
    return (1 - smoothing) * shares + np.float32(smoothing / classes)
