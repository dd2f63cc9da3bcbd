"""The reference simulator: whole utterances in batches, or a stream; in floating point or in Lava's integers."""

from neurotarget.sim.reference.batches import BATCH, Again, Attempt, Attempting, Fold, folded, in_parts, run
from neurotarget.sim.reference.engine import (
    Prepared,
    check_labels,
    checked_lengths,
    potentials,
    prepare,
    simulate,
    states,
)
from neurotarget.sim.reference.received import synaptic_input
from neurotarget.sim.reference.room import Batch
from neurotarget.sim.reference.sharing import sharing
from neurotarget.sim.reference.streaming import Stream

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
    "in_parts",
    "potentials",
    "prepare",
    "run",
    "sharing",
    "simulate",
    "states",
    "synaptic_input",
]
