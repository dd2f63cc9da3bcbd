"""Why the energy of a run decides nothing: its network never fires, or it classifies no better than by chance."""

from __future__ import annotations

import numpy as np
from neurotarget.hardware.counts.summary import Totals
from neurotarget.sim.observed import Observed
from scipy.special import bdtrc

LEVEL = 0.01  # of the test: a network that guesses passes for one that classifies once in a hundred times


def silent(totals: Totals) -> str | None:
    """Why the energy of a run says nothing; None where something fired, or where nothing can."""
    return "the network never fires" if totals.spike_rate == 0 else None


def at_chance(run: Observed) -> str | None:
    """Why the accuracy of a run is no better than chance; None where it is, or where it has none.

    One-sided exact binomial test (Combrisson and Jerbi, J. Neurosci. Methods 250, 2015): c of n samples right are above
    chance q where p, the sum over k = c .. n of n! / (k! (n-k)!) q^k (1-q)^(n-k), is below `LEVEL`. Chance is what one
    answer for all samples would reach, the share of the most frequent label (the no-information rate of caret's
    confusionMatrix; Kuhn, J. Stat. Softw. 28(5), 2008). It is never below one over the number of classes.
    """
    if run.labels is None or run.predicted is None or not run.samples:
        return None
    right = int((run.predicted == run.labels).sum())
    chance = float(np.bincount(run.labels).max()) / run.samples
    probability = float(bdtrc(right - 1, run.samples, chance))  # scipy.stats has it too, and takes long to import
    if probability < LEVEL:
        return None
    return (
        f"{right} of {run.samples} samples right are not above chance: one answer for all would reach {chance:.3g} "
        f"(binomial test, p = {probability:.2g}, level {LEVEL:g}; more samples may tell)"
    )
