"""How far the integer run departs from the float run of the same samples, spike for spike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from neurotarget.sim.graph import Graph
from neurotarget.sim.observed import Observed, observe
from neurotarget.sim.reference import Again
from neurotarget.sim.trace import Trace


@dataclass(frozen=True)
class Parting:
    """The first place of a node at which two runs differ: the earliest step, and there the first sample."""

    step: int
    sample: int
    neuron: int
    values: tuple[int, int]


@dataclass(frozen=True)
class Departure:
    """Of two parts of a run, the sum says it of both.

    Attributes:
        before, after: the run in float and the run in integers.
        mismatched: places that differ, by spiking node in the order of the network.
        partings: of the nodes that differ.
    """

    before: Observed
    after: Observed
    mismatched: Mapping[str, int]
    partings: Mapping[str, Parting]

    def __add__(self, other: Departure) -> Departure:
        partings = dict(self.partings)
        for name, parting in other.partings.items():
            if name not in partings or parting.step < partings[name].step:
                partings[name] = replace(parting, sample=parting.sample + self.before.samples)
        return Departure(
            self.before + other.before,
            self.after + other.after,
            {name: count + other.mismatched[name] for name, count in self.mismatched.items()},
            partings,
        )

    @property
    def first_divergence(self) -> dict[str, Any] | None:
        """Where the first node in the order of the network that differs anywhere does so first."""
        for name in self.mismatched:
            if (found := self.partings.get(name)) is not None:
                return {
                    "layer": name,
                    "step": found.step,
                    "neuron": found.neuron,
                    "sample": found.sample,
                    "values": list(found.values),
                }
        return None


@dataclass(frozen=True, eq=False)
class Departing:
    """A fold of the float run: runs its samples in integers, too."""

    graph: Graph
    again: Again

    def __call__(self, trace: Trace) -> Departure:
        after = self.again(trace)
        mismatched, partings = {}, {}
        for name in (node.name for node in self.graph.spiking):
            one, other = trace.spikes[name], after.spikes[name]
            differs = one != other
            mismatched[name] = int(np.count_nonzero(differs))
            if mismatched[name]:
                partings[name] = _parting(differs, one, other)
        return Departure(observe(trace), observe(after), mismatched, partings)


def _parting(differs: np.ndarray, one: np.ndarray, other: np.ndarray) -> Parting:
    """The first place in `differs`, bool [samples, steps, *neurons]."""
    step = int(np.flatnonzero(differs.any(axis=(0, *range(2, differs.ndim))))[0])
    sample = int(np.flatnonzero(differs[:, step].reshape(len(differs), -1).any(axis=1))[0])
    neuron = int(np.flatnonzero(differs[sample, step].reshape(-1))[0])
    values = (int(one[sample, step].reshape(-1)[neuron]), int(other[sample, step].reshape(-1)[neuron]))
    return Parting(step, sample, neuron, values)
