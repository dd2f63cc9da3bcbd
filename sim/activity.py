"""Which spiking nodes never fire in a run, and which fire at every step: equality proves nothing about either."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from neurotarget.sim.graph import Graph
from neurotarget.sim.trace import Trace


@dataclass(frozen=True)
class Activity:
    """What the spiking nodes did.

    Attributes:
        silent: whether none of them fired, in a network that has any.
        never_fire: nodes without a spike.
        always_fire: nodes of which every neuron fires at every step of every window.
    """

    silent: bool
    never_fire: tuple[str, ...]
    always_fire: tuple[str, ...]

    def sentences(self, never: str = "never fire") -> Iterator[str]:
        """One for the nodes that never fire, one for those that always do; none where there are none."""
        if self.never_fire:
            yield f"{never}: {', '.join(self.never_fire)}"
        if self.always_fire:
            yield f"fire at every step, in every neuron: {', '.join(self.always_fire)}"


@dataclass(frozen=True)
class Fired:
    """How often the spiking nodes of a run fired; of two parts of a run, the sum says it of both.

    Attributes:
        spikes: by node.
        places: by node, its neurons times the steps inside the windows.
    """

    spikes: Mapping[str, int]
    places: Mapping[str, int]

    def __add__(self, other: Fired) -> Fired:
        return Fired(*(_sums(getattr(self, key), getattr(other, key)) for key in ("spikes", "places")))

    @classmethod
    def of(cls, trace: Trace) -> Fired:
        """What a recorded run, or a part of it, did."""
        return cls(
            {name: int(np.count_nonzero(array)) for name, array in trace.spikes.items()},
            {name: trace.sample_steps * int(np.prod(array.shape[2:])) for name, array in trace.spikes.items()},
        )


def _sums(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: one[name] + other[name] for name in one}


def activity(graph: Graph, *runs: Fired) -> Activity:
    """What the spiking nodes of a network did in its runs; of several, what they did in all of them.

    Args:
        runs: a node counts where all of them recorded it.
    """
    names = [node.name for node in graph.spiking if all(node.name in run.spikes for run in runs)]
    never = tuple(name for name in names if not any(run.spikes[name] for run in runs))
    always = tuple(
        name for name in names if name not in never and all(run.spikes[name] == run.places[name] for run in runs)
    )
    return Activity(bool(never) and len(never) == len(names), never, always)


def run_words(samples: int, steps: int, dt: float, dt_is_default: bool) -> str:
    """How much ran: `3 samples, 151 steps of 0.01 s`, and whether that is a default; steps are those of all windows."""
    default = " (the file does not say; --dt sets it)" if dt_is_default else ""
    return f"{samples} samples, {steps} steps of {dt:g} s{default}"
