"""What a node received during a recorded run: spikes are recorded, what stands between them is worked out again."""

from __future__ import annotations

from typing import Any

import numpy as np
from neurotarget.sim.graph import Graph
from neurotarget.sim.graph.kinds import SPIKING, STATEFUL
from neurotarget.sim.graph.node import Node
from neurotarget.sim.reference import integer
from neurotarget.sim.reference.engine import Prepared, Run, prepare
from neurotarget.sim.reference.stages import loops
from neurotarget.sim.trace import Trace, in_window


def synaptic_input(graph: Graph, trace: Trace, name: str, prepared: Prepared | None = None) -> Any:
    """What node `name` received during a recorded run: [samples, steps, *input_shape], by role where it has roles.

    Spikes and the input come from the trace; what stands between them and the node (pooling, delays, currents) is
    worked out again. What a loop feeds back arrives one step late, as in the run.

    Args:
        prepared: the graph with its parameters cast, for callers that ask for many nodes.
    """
    recorded = _Recorded(graph, trace, prepare(graph) if prepared is None else prepared)
    received = recorded.received(graph.nodes[name])
    return {role: _wide(array) for role, array in received.items()} if graph.nodes[name].roles else _wide(received)


class _Recorded:
    """What the nodes of a recorded run sent, each worked out once.

    An object, since its arrays go with it: nested functions that call each other would keep them until Python looks
    for cycles, and a worker that counts batch after batch would grow by hundreds of megabytes.
    """

    def __init__(self, graph: Graph, trace: Trace, prepared: Prepared) -> None:
        self.graph, self.trace = graph, trace
        self.run = Run(prepared, in_window(trace.lengths, trace.input.shape[1]))
        # Potentials are not in the trace: a loop that feeds back a potential has to run again.
        self.again = {
            member: component
            for component in graph.components
            if loops(graph, component) and any(graph.nodes[m].kind in STATEFUL - SPIKING for m in component)
            for member in component
        }
        self.known: dict[str, np.ndarray] = {}

    def value(self, source: str) -> np.ndarray:
        """What a node sent."""
        node = self.graph.nodes[source]
        if node.kind in SPIKING:
            return self.trace.spikes[source]
        if source in self.again and source not in self.known:
            component = self.again[source]
            outside = {s for member in component for s in self.graph.nodes[member].sources if s not in component}
            values = {s: self.value(s) for s in outside}
            self.run.loop(component, values)
            self.known.update((member, values[member]) for member in component)
        elif source not in self.known:
            inputs = self.trace.input if node.kind == "input" else self.received(node)
            self.known[source] = self.run.apply(node, inputs, {})
        return self.known[source]

    def received(self, node: Node) -> Any:
        """What its sources sent a node, summed; by role where it has roles."""
        return self.run.gather(node, {source: self._arriving(source, node) for source in set(node.sources)})

    def _arriving(self, source: str, node: Node) -> np.ndarray:
        value = self.value(source)
        if (source, node.name) not in self.graph.recurrent_edges:
            return value
        late = np.zeros_like(value)
        late[:, 1:] = value[:, :-1]
        return late


def _wide(array: np.ndarray) -> np.ndarray:
    """Integers that the run kept in 32 bits in the 64 of its arithmetic."""
    return array.astype(integer.INTEGER) if array.dtype == np.int32 else array
