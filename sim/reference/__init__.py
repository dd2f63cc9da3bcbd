"""The reference simulator: whole utterances in batches, or a stream; in floating point or in Lava's integers."""

from neurotarget.sim.reference.batches import BATCH, Again, Attempt, Attempting, Fold, folded, run
from neurotarget.sim.reference.engine import (
    Batch,
    Prepared,
    check_labels,
    checked_lengths,
    potentials,
    prepare,
    simulate,
    states,
    synaptic_input,
)
from neurotarget.sim.reference.streaming import Stream
from neurotarget.sim.reference.workers import sharing

__all__ = [
    "BATCH",
    "Again",
    "Attempt",
    "Attempting",
    "Batch",
    "Fold",
    "Prepared",
    "Stream",
    "check_labels",
    "checked_lengths",
    "folded",
    "potentials",
    "prepare",
    "run",
    "sharing",
    "simulate",
    "states",
    "synaptic_input",
]
