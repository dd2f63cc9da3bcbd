"""How sure a mean over utterances is: bootstrap over speakers, where the data set knows them.

Utterances of one speaker are right or wrong together, so they are not independent draws: whole speakers are drawn, with
replacement, as many as there are (the cluster bootstrap: Davison and Hinkley, "Bootstrap Methods and their
Application", 1997, section 3.8). A mean of differences between two networks on the same utterances is paired in the
same way. Where the data set names no speakers each utterance stands for itself. Few speakers make the interval too
narrow: their number is given beside it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neurotarget.data import Split

DRAWS = 10_000
COVERED = (2.5, 97.5)  # percentiles between which the interval lies


def bootstrapped(values: np.ndarray, split: Split) -> dict[str, Any]:
    """The spread of the mean of `values` [samples] of a split's utterances.

    Returns:
        `over` ("speakers" or "utterances"), `units` (how many of them), `standard_error` of the mean, and `low` and
        `high`, between which 95 % of its draws lie.
    """
    units = split.speakers or split.keys
    _, unit = np.unique(np.array(units), return_inverse=True)
    counts = np.bincount(unit)
    sums = np.bincount(unit, weights=values)
    rng = np.random.default_rng(0)
    means = np.empty(DRAWS)
    for draw in range(DRAWS):  # one at a time: 20,000 utterances would be a gigabyte at once
        chosen = rng.integers(len(counts), size=len(counts))
        means[draw] = sums[chosen].sum() / counts[chosen].sum()
    low, high = np.percentile(means, COVERED)
    return {
        "over": "utterances" if split.speakers is None else "speakers",
        "units": len(counts),
        "standard_error": float(means.std(ddof=1)),
        "low": float(low),
        "high": float(high),
    }
