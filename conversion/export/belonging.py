"""Is a NIR file made of this network? Asked before work goes into comparing the two."""

from __future__ import annotations

import numpy as np
from neurotarget.sim.graph import Graph
from neurotarget.sim.graph.kinds import SYNAPTIC

SAME_WEIGHT = 1e-6  # of the largest weight: a file may hold float32


def difference(own: Graph, graph: Graph) -> str | None:
    """What a network, converted, has that a file has not, or the other way round; None where the two are the same.

    Names and shapes of the spiking layers have to agree, and in floating point the weights of every synapse; the
    weights of a quantised file are others than those of what it was made of.
    """
    shapes, wanted = ({node.name: node.output_shape for node in either.spiking} for either in (own, graph))
    for name in [*wanted, *shapes]:
        if shapes.get(name) != wanted.get(name):
            here, there = (found.get(name, "missing") for found in (shapes, wanted))
            return f"spiking layer {name} is {here} in it and {there} in the file"
    for node in () if graph.quantised else graph.of_kind(*SYNAPTIC):
        weight = own.nodes[node.name].parameters.get("weight") if node.name in own.nodes else None
        if weight is None or weight.shape != node.parameters["weight"].shape:
            return f"it has no synapse {node.name} with weights of shape {node.parameters['weight'].shape}"
        most = float(np.abs(weight - node.parameters["weight"]).max(initial=0))
        if most > SAME_WEIGHT * max(1.0, float(np.abs(weight).max(initial=0))):
            return f"weights of {node.name} differ by up to {most:.3g}"
    return None
