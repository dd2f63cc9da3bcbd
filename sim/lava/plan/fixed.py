"""The plan of a quantised graph: the same Processes and connections, with integers for Lava's fixed-point models.

What differs from plan.py: weights, thresholds and decays are the integers of the file (docs/fixed_point.md), biases
stay where the file has them, and the input is graded here, on the host, before it is streamed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar

import numpy as np
from neurotarget.sim import reference
from neurotarget.sim.graph import Graph
from neurotarget.sim.graph.kinds import SPIKING, STATEFUL
from neurotarget.sim.graph.node import GraphError, Node
from neurotarget.sim.lava.plan.floating import PLANNERS, SPARSE_BELOW, Plan, Planner, Spec
from neurotarget.sim.schedule import Schedule


def make_plan(
    graph: Graph, schedule: Schedule, frames: np.ndarray, lengths: np.ndarray, states: Collection[str] = ()
) -> Plan:
    """Plans the run of a quantised `graph`.

    Args:
        frames: [samples, steps, *features], real numbers.
        states: neurons whose u and v are recorded.

    Raises:
        GraphError: the integers of the file are incomplete or too wide, a kind of node has no fixed-point form, or
            `states` names no neuron.
        LavaError: a node of a kind that has no Process, or too large as a matrix.
    """
    reference.prepare(graph)  # refuses what the file lacks or what exceeds its width, by node
    planner = FixedPlanner(graph, schedule, Plan(schedule, lengths, fixed_point=True))
    plan = planner.lay_out(graded(frames, graph.fixed[graph.input.name]))
    for name in states:
        if name not in graph.nodes or graph.nodes[name].kind not in STATEFUL:
            raise GraphError(f"{name} is no neuron of {graph.source}: it has no u and v to record")
        for what in ("u", "v"):
            planner.record(graph.nodes[name], what, "int32")
    return plan


def graded(frames: np.ndarray, fixed: Mapping[str, Any]) -> np.ndarray:
    """`clip(rint(x / scale), minimum, maximum)` in float64, ties to even: int64, an integer payload a feature."""
    steps = np.rint(np.asarray(frames, np.float64) / float(np.asarray(fixed["scale"]).item()))
    return np.clip(steps, _integer(fixed["minimum"]), _integer(fixed["maximum"])).astype(np.int64)


def _integer(value: Any) -> int:
    return int(np.asarray(value).item())


class FixedPlanner(Planner):
    """The plan of a quantised graph under construction."""

    output_dtype: ClassVar[str] = "int64"

    @property
    def table(self) -> Mapping[str, Callable[[Any, Node], Spec | None]]:
        return FIXED_PLANNERS

    def neuron(self, node: Node) -> Spec:
        fixed, fires = self.graph.fixed[node.name], node.kind in SPIKING
        values = {"shape": [node.neurons], "du": _integer(fixed["du"]), "dv": _integer(fixed["dv"])}
        values |= {"vth": _integer(fixed["vth"]) if fires else 0, "reset": node.reset}
        arrays = {key: np.asarray(fixed[key], np.int64).reshape(-1) for key in ("bias_mant", "bias_exp")}
        if (start := node.parameters.get("v_initial")) is not None:
            arrays["v_initial"] = np.broadcast_to(start, node.output_shape).astype(np.int64).reshape(-1)
        kind = "neuron" if fires else "integrator"
        return Spec(node.name, kind, self.schedule.latency[node.name], values, arrays)

    def linear(self, node: Node) -> Spec:
        weight, bias = self.matrix(node)
        weight = weight.astype(np.int64)
        # A pool has no weights to scale: it sums, through a matrix of ones.
        values: dict[str, Any] = {"weight_exp": self._weight_exp(node)}
        arrays = {} if bias is None else {"bias": bias.astype(np.int64)}
        latency = self.schedule.latency[node.name]
        if np.count_nonzero(weight) < SPARSE_BELOW * weight.size:
            rows, columns = np.nonzero(weight)
            values["shape"] = list(weight.shape)
            arrays |= {"rows": rows, "columns": columns, "weight": weight[rows, columns]}
            return Spec(node.name, "sparse", latency, values, arrays)
        return Spec(node.name, "dense", latency, values, {**arrays, "weight": weight})

    def temporal_conv(self, node: Node) -> Spec:
        weight, bias = node.parameters["weight"], node.parameters["bias"]
        arrays = {"weight": weight.astype(np.int64)}
        arrays["bias"] = np.zeros(len(weight), np.int64) if bias is None else bias.astype(np.int64)
        values = {"weight_exp": self._weight_exp(node)}
        return Spec(node.name, "temporal_conv", self.schedule.arrival[node.name], values, arrays)

    def rotary(self, node: Node) -> Spec:
        fixed = self.graph.fixed[node.name]
        arrays = {key: np.asarray(fixed[key], np.int64) for key in ("cos", "sin")}
        arrays["angle"] = node.parameters["angle"]
        values = {"fraction_bits": _integer(fixed["fraction_bits"])}
        return Spec(node.name, "rotary", self.schedule.latency[node.name], values, arrays)

    def attention(self, node: Node) -> Spec:
        values = {"heads": int(node.parameters["heads"]), "causal": bool(node.parameters["causal"])}
        values |= {"neurons": node.neurons, "weight_exp": self._weight_exp(node)}
        return Spec(node.name, "attention", self.schedule.arrival[node.name], values)

    def _weight_exp(self, node: Node) -> int:
        return _integer(self.graph.fixed.get(node.name, {}).get("weight_exp", 0))


# An average does not stay an integer, so conversion.quantize writes sums; a Threshold has no fixed-point form.
FIXED_PLANNERS: dict[str, Callable[[FixedPlanner, Node], Spec | None]] = {
    **{kind: PLANNERS[kind] for kind in ("look_ahead", "delay", "gate", "flatten", "output")},
    **dict.fromkeys(sorted(STATEFUL - {"threshold"}), FixedPlanner.neuron),
    **dict.fromkeys(("affine", "scale", "conv1d", "conv2d", "sum_pool"), FixedPlanner.linear),
    **dict.fromkeys(("temporal_conv", "depthwise_conv"), FixedPlanner.temporal_conv),
    "rotary": FixedPlanner.rotary,
    "attention": FixedPlanner.attention,
}
