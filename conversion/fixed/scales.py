"""The float value of one integer step of what each node sends."""

from __future__ import annotations

import numpy as np
from neurotarget.conversion.fixed.choice import Integers
from neurotarget.conversion.fixed.dynamics import dynamics
from neurotarget.conversion.fixed.units import MAKERS, inputs_of
from neurotarget.sim.graph import Graph
from neurotarget.sim.graph.kinds import SPIKING, STATEFUL
from neurotarget.sim.graph.node import GraphError
from neurotarget.sim.reference.integer_kernels import ALIGN_BITS


class Scales:
    """Units of a network of which some groups of synapses are settled.

    Args:
        graph: the float network.
        integers: what is settled; those that are settled later count too.

    Attributes:
        dynamics: of each population, by name.
    """

    def __init__(self, graph: Graph, integers: Integers) -> None:
        self.graph, self.integers = graph, integers
        self.dynamics = {node.name: dynamics(node, graph) for node in graph.of_kind(*STATEFUL)}

    def unit(self, name: str) -> float:
        """Float value of one integer step of what `name` sends."""
        if name in self.integers.unit:
            return self.integers.unit[name]
        node = self.graph.nodes[name]
        if node.kind in SPIKING:
            return 1.0
        if node.kind == "input":
            return float(self.integers.fixed[name]["scale"])
        if node.kind in STATEFUL:  # sends v, which is 64 times finer than its current
            return self.dynamics[name].gain * self.unit(node.sources[0]) / (1 << ALIGN_BITS)
        if node.kind == "gate":
            return self.unit(node.roles["current"][0]) * self.unit(node.roles["gate"][0])
        share = np.prod(node.parameters["kernel_size"]) if node.kind == "avg_pool" else 1
        return self.unit(node.sources[0]) / float(share)

    def relative(self, name: str) -> float:
        """Unit of a member of a group as a multiple of the group's own."""
        node = self.graph.nodes[name]
        if node.kind in MAKERS:
            return 1.0
        if node.kind == "gate":
            return self.relative(node.roles["current"][0]) * self.unit(node.roles["gate"][0])
        share = np.prod(node.parameters["kernel_size"]) if node.kind == "avg_pool" else 1
        return self.relative(node.sources[0]) / float(share)

    def effective_weight(self, name: str) -> np.ndarray:
        """Real weights of a synapse for inputs in integer steps."""
        node = self.graph.nodes[name]
        weight: np.ndarray = node.parameters["weight"] * self.unit(node.sources[0])
        return weight

    def own_unit(self, name: str) -> float:
        """Unit of an attention or rotary without exponent: products of spikes, times its scale.

        Raises:
            GraphError: its scale is not positive.
        """
        node = self.graph.nodes[name]
        if node.parameters["scale"] <= 0:
            raise GraphError(f"node {name}: scale {node.parameters['scale']} is not positive; integers need a unit")
        units = [self.unit(sources[0]) for sources in inputs_of(node).values()]
        return float(node.parameters["scale"]) * float(np.prod(units))
