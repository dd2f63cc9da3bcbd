"""Which spiking nodes never fire in a run, and which fire at every step: equality proves nothing about either."""

from __future__ import annotations

from collections.abc import Iterator
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


def activity(graph: Graph, *runs: Trace) -> Activity:
    """What the spiking nodes of a network did in its runs; of several, what they did in all of them.

    Args:
        runs: a node counts where all of them recorded it.
    """
    never, always = [], []
    names = [node.name for node in graph.spiking if all(node.name in run.spikes for run in runs)]
    for name in names:
        fired = [int(np.count_nonzero(run.spikes[name])) for run in runs]
        places = [run.sample_steps * int(np.prod(run.spikes[name].shape[2:])) for run in runs]
        if not any(fired):
            never.append(name)
        elif fired == places:
            always.append(name)
    return Activity(bool(never) and len(never) == len(names), tuple(never), tuple(always))


def run_words(samples: int, steps: int, dt: float, dt_is_default: bool) -> str:
    """How much ran: `3 samples, 151 steps of 0.01 s`, and whether that is a default; steps are those of all windows."""
    default = " (the file does not say; --dt sets it)" if dt_is_default else ""
    return f"{samples} samples, {steps} steps of {dt:g} s{default}"
