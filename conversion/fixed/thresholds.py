"""NIR's Threshold, which has no memory, as the neuron of Lava's fixed point that keeps the least: a LIF with dv = 4095.

Of a v that did not fire 1/4096 is left at the next step, rounded towards zero: nothing of 64 steps of current or less.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from neurotarget.sim.graph import Graph
from neurotarget.sim.graph.kinds import CARRIERS, POOLS, SPIKING, SYNAPTIC
from neurotarget.sim.graph.node import GraphError, Node
from neurotarget.sim.reference.integer import WIDTHS
from neurotarget.sim.reference.integer_kernels import DECAY_BITS


def thresholds_as_lif(graph: Graph) -> Graph:
    """The graph with a LIF of gain 1 in place of each Threshold.

    A threshold of 0 is moved to half of the smallest value above 0 that the neuron can receive, which changes nothing:
    max pooling of spikes, a sum and a threshold of 0, fires from half a spike on.

    Args:
        graph: every loop of it holds a neuron that spikes.

    Raises:
        GraphError: a threshold of 0 over values that may be negative, by the node.
    """
    nodes = dict(graph.nodes)
    for node in graph.of_kind("threshold"):
        nodes[node.name] = _lif(graph, node)
    return replace(graph, nodes=nodes)


def _lif(graph: Graph, node: Node) -> Node:
    """`v = v (1 - a) + a r x` with a = 4095/4096 and a r = 1."""
    theta, forgotten = node.parameters["threshold"], WIDTHS["dv"][1] / (1 << DECAY_BITS)
    if np.any(theta == 0):
        smallest = smallest_positive(graph, node.sources)
        if smallest is None:
            raise GraphError(
                f"node {node.name}: a Threshold of 0 over values that may be negative has no integer unit; give it a "
                "threshold above 0"
            )
        theta = np.where(theta == 0, smallest / 2, theta)
    full = {"tau": graph.dt / forgotten, "r": 1 / forgotten, "v_leak": 0.0, "v_reset": 0.0}
    parameters = {key: np.full(node.output_shape, value) for key, value in full.items()}
    return replace(node, kind="lif", parameters={**parameters, "v_threshold": theta})


def smallest_positive(graph: Graph, sources: tuple[str, ...]) -> float | None:
    """A bound from below of the values above 0 of a sum of nodes; None where a value may be negative, or is real."""
    found = [_smallest_of(graph, graph.nodes[name]) for name in sources]
    known = [value for value in found if value is not None]
    return min(known) if known and len(known) == len(found) else None


def _smallest_of(graph: Graph, node: Node) -> float | None:
    if node.kind in SPIKING:
        return 1.0
    factor = 1.0
    if node.kind in SYNAPTIC:
        weight, bias = node.parameters["weight"], node.parameters.get("bias")
        if np.any(weight < 0) or not np.any(weight) or (bias is not None and np.any(bias)):
            return None
        factor = float(weight[weight > 0].min())
    elif node.kind == "avg_pool":
        factor = 1.0 / float(np.prod(node.parameters["kernel_size"]))
    elif node.kind not in CARRIERS | POOLS | {"gate"}:
        return None
    inputs = node.roles.values() if node.roles else (node.sources,)
    values = [smallest_positive(graph, names) for names in inputs]
    known = [value for value in values if value is not None]
    return factor * float(np.prod(known)) if len(known) == len(values) else None
