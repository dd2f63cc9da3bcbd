"""What is left of a run when its spikes are not kept: how often nodes fired, the classes, what entered and left.

What is observed of the parts of a run adds up to what is observed of the whole, exactly and in whatever parts it ran.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from neurotarget.sim.activity import Fired
from neurotarget.sim.reference.integer import overflow
from neurotarget.sim.trace import Trace, classify, unreadable


@dataclass(frozen=True, eq=False)
class Observed:
    """One run, or a part of it.

    Attributes:
        fired: spikes of every spiking node.
        lengths: int64 [samples].
        steps: that every sample is padded to.
        labels: int64 [samples], or None.
        predicted: class of each sample, int64 [samples]; None where none can be read from the outputs.
        unreadable: why not.
        input_events: input values inside the windows that are not zero.
        largest_input: the largest |input| where all are integers, else None.
        outputs: values that leave the network at each step.
        header: of the trace.
        peaks: of the neurons of a quantised network, the largest |u| and |v|.
    """

    fired: Fired
    lengths: np.ndarray
    steps: int
    labels: np.ndarray | None
    predicted: np.ndarray | None
    unreadable: str | None
    input_events: int
    largest_input: int | None
    outputs: int
    header: Mapping[str, Any]
    peaks: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def samples(self) -> int:
        return len(self.lengths)

    @property
    def sample_steps(self) -> int:
        """Steps inside the windows, over all samples."""
        return int(self.lengths.sum())

    @property
    def accuracy(self) -> float | None:
        """Share of the samples that are classified right; None without labels, or where no class can be read."""
        if self.labels is None or self.predicted is None:
            return None
        return float(np.mean(self.predicted == self.labels))

    def __add__(self, other: Observed) -> Observed:
        peaks = {name: np.maximum(peak, other.peaks[name]) for name, peak in self.peaks.items()}
        largest = [one.largest_input for one in (self, other) if one.largest_input is not None]
        return replace(
            self,
            fired=self.fired + other.fired,
            lengths=np.concatenate([self.lengths, other.lengths]),
            labels=None if self.labels is None else np.concatenate([self.labels, other.labels]),
            predicted=None if self.predicted is None else np.concatenate([self.predicted, other.predicted]),
            input_events=self.input_events + other.input_events,
            largest_input=max(largest) if len(largest) == 2 else None,
            header={**self.header, **overflow(peaks)} if peaks else self.header,
            peaks=peaks,
        )


def observe(trace: Trace) -> Observed:
    """What is observed of a trace."""
    why, inputs = unreadable(trace.output), trace.input
    whole = inputs.dtype.kind in "bui" or np.array_equal(inputs, np.rint(inputs))
    return Observed(
        fired=Fired.of(trace),
        lengths=trace.lengths,
        steps=inputs.shape[1],
        labels=trace.labels,
        predicted=None if why else classify(trace.output, trace.lengths, trace.header["readout"]),
        unreadable=why,
        input_events=int(np.count_nonzero(inputs)),
        largest_input=max(abs(int(inputs.max(initial=0))), abs(int(inputs.min(initial=0)))) if whole else None,
        outputs=int(np.prod(trace.output.shape[2:])),
        header=trace.header,
        peaks=trace.peaks,
    )
