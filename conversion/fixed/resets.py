"""A reset to another potential than 0, which Lava's neurons do not have: the same neurons with v counted from there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from neurotarget.sim.graph import Graph
from neurotarget.sim.graph.dialect import KEY_V_INITIAL
from neurotarget.sim.graph.kinds import RESETTING
from neurotarget.sim.graph.node import Node


def resets_to_zero(graph: Graph) -> Graph:
    """The graph with w = v - v_reset in place of v, in every population that resets to something else than 0.

    With w, `v = v (1 - a) + a (v_leak + r x)` is `w = w (1 - a) + a (v_leak - v_reset + r x)`, without a leak the same
    with a = 0. Threshold and start move along, and every spike stays.
    """
    nodes = dict(graph.nodes)
    for node in graph.of_kind(*RESETTING):
        if not node.subtracts and np.any(node.parameters["v_reset"]):
            nodes[node.name] = _moved(node)
    return replace(graph, nodes=nodes)


def _moved(node: Node) -> Node:
    p = node.parameters
    potentials = {KEY_V_INITIAL: p.get(KEY_V_INITIAL, 0.0)} | {
        key: p[key] for key in ("v_leak", "v_threshold") if key in p
    }
    moved = {key: np.broadcast_to(value - p["v_reset"], node.output_shape) for key, value in potentials.items()}
    return replace(node, parameters={**p, **moved, "v_reset": np.zeros(node.output_shape)})
