"""The reference simulator: whole utterances, in batches, in floating point or in Lava's integers."""

from neurotarget.sim.reference.engine import (
    BATCH,
    Batch,
    Prepared,
    check_labels,
    checked_lengths,
    potentials,
    prepare,
    run,
    simulate,
    states,
    synaptic_input,
)

__all__ = [
    "BATCH",
    "Batch",
    "Prepared",
    "check_labels",
    "checked_lengths",
    "potentials",
    "prepare",
    "run",
    "simulate",
    "states",
    "synaptic_input",
]
