"""What each node sends when every neuron that spikes sends what it sent in the float run.

So each choice of integers is judged on its own, not on the errors before it, and loops are cut at their spikes.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

import numpy as np
from neurotarget.conversion.fixed.units import inputs_of
from neurotarget.sim import reference
from neurotarget.sim.graph import Graph
from neurotarget.sim.graph.kinds import SPIKING
from neurotarget.sim.graph.node import Node
from neurotarget.sim.reference.operations import OPERATIONS, Call, summed
from neurotarget.sim.trace import Trace

Evaluate = Callable[[Node, Any], np.ndarray]


class Replay:
    """Values of nodes, each worked out once.

    Args:
        graph: without a loop in which nothing spikes (`units.refuse_loops_without_spikes`).
        trace: the float run.
        evaluate: what a node that does not spike sends, [samples, steps, *shape], of what it receives.
        dtype: in which several sources are summed.
        known: values that are settled, by node; those that are asked for are added.
    """

    def __init__(
        self, graph: Graph, trace: Trace, evaluate: Evaluate, dtype: np.dtype, known: MutableMapping[str, np.ndarray]
    ) -> None:
        self.graph, self.trace, self.evaluate, self.dtype, self.known = graph, trace, evaluate, dtype, known

    def value(self, name: str) -> np.ndarray:
        """What `name` sends."""
        node = self.graph.nodes[name]
        if node.kind in SPIKING:
            return self.trace.spikes[name]
        if name not in self.known:
            self.known[name] = self.evaluate(node, self.received(node))
        return self.known[name]

    def largest(self, name: str) -> float:
        """The largest |value| that `name` sends."""
        value = self.value(name)
        return max(float(value.max(initial=0)), -float(value.min(initial=0)))

    def received(self, node: Node) -> Any:
        """What a node receives, by role where it has roles."""
        if node.kind == "input":
            return self.trace.input
        by_role = {role: self._total(node, sources) for role, sources in inputs_of(node).items()}
        return by_role if node.roles else by_role[""]

    def _total(self, node: Node, sources: tuple[str, ...]) -> np.ndarray:
        return summed((self._arriving(source, node) for source in sources), self.dtype)

    def _arriving(self, source: str, node: Node) -> np.ndarray:
        """What loops back is a step late."""
        value = self.value(source)
        if (source, node.name) not in self.graph.recurrent_edges:
            return value
        return np.concatenate([np.zeros_like(value[:, :1]), value[:, :-1]], axis=1)


def float_replay(graph: Graph, trace: Trace, mask: np.ndarray | None) -> Replay:
    """The replay in floating point.

    Args:
        mask: [samples, steps], true inside the windows; nothing where all samples fill their steps.
    """
    prepared = reference.prepare(graph)

    def evaluate(node: Node, received: Any) -> np.ndarray:
        return OPERATIONS[node.kind](Call(node, prepared.parameters[node.name], prepared.dtype, {}, mask, {}), received)

    return Replay(graph, trace, evaluate, prepared.dtype, {})
