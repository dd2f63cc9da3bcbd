"""What nodes send in the integers that are settled.

Apart from the calibration (calibrate.py), which holds a replay of this: if that held the calibration, its samples and
currents would stay until Python looks for cycles, beside the workers that compare.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from neurotarget.conversion.fixed.choice import Integers
from neurotarget.sim.graph import Graph
from neurotarget.sim.graph.kinds import SPIKING
from neurotarget.sim.graph.node import Node
from neurotarget.sim.reference.integer import INTEGER, INTEGER_OPERATIONS, integer_parameters
from neurotarget.sim.reference.operations import Call, State
from neurotarget.sim.trace import masked


@dataclass(frozen=True, eq=False)
class Settled:
    """The network, its integers so far, and the windows of the calibration samples, bool [samples, steps] or None."""

    graph: Graph
    integers: Integers
    mask: np.ndarray | None

    def integer(self, name: str) -> Node:
        """The node with integer parameters; what only carries values stays, but that averages become sums."""
        if name in self.integers.nodes:
            return self.integers.nodes[name]
        node = self.graph.nodes[name]
        return replace(node, kind="sum_pool") if node.kind == "avg_pool" else node

    def value(self, node: Node, received: Any) -> np.ndarray:
        """What a node that does not spike sends."""
        return self.evaluate(self.integer(node.name), self.integers.fixed.get(node.name, {}), received)[0]

    def evaluate(self, node: Node, fixed: Mapping[str, Any], received: Any) -> tuple[np.ndarray, np.ndarray]:
        """What a node in integers sends, and its neurons' peaks of |u| and |v|."""
        state: State = {}
        call = Call(node, integer_parameters(node, fixed), INTEGER, state, self.mask, {})
        out = INTEGER_OPERATIONS[node.kind](call, received)
        return masked(out, self.mask) if node.kind in SPIKING else out, state.get("peaks", np.zeros(2, INTEGER))
