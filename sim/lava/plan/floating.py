"""From a scheduled graph to a plan: plain data that a child process with nothing but numpy and Lava can build.

A plan lists Processes and connections. Every port is a vector: shapes are flattened here, and a memoryless linear node
(affine, scale, convolution in space, pooling) becomes the matrix that it is. `PLANNERS` is the table from the kind of a
node to its Process.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from neurotarget.sim.graph import Graph
from neurotarget.sim.graph.kinds import SPIKING, STATEFUL
from neurotarget.sim.graph.node import Node
from neurotarget.sim.lava import LavaError
from neurotarget.sim.reference.operations import OPERATIONS, Call, cast_parameters
from neurotarget.sim.schedule import Schedule

LARGEST_MATRIX = 2**27  # elements: 1 GiB of float64
SPARSE_BELOW = 0.1  # share of non-zero weights under which a matrix is stored sparse


@dataclass(frozen=True, eq=False)
class Spec:
    """One Process: `kind` names it in builder.py, `values` are numbers, `arrays` are numpy arrays."""

    name: str
    kind: str
    latency: int
    values: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(eq=False)
class Plan:
    """Processes, connections (source, target, port of the target) and what to record (node, what, latency, dtype).

    `what` is `spikes`, `output`, or in fixed point `u` or `v`. A source is the name of a Process, or the name of a
    neuron with `.u_out` or `.v_out` behind it.
    """

    schedule: Schedule
    lengths: np.ndarray
    specs: dict[str, Spec] = field(default_factory=dict)
    connections: list[tuple[str, str, str]] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    fixed_point: bool = False
    fused: bool = False  # built as one Process (processes/fused.py)

    @property
    def total_steps(self) -> int:
        """Physical steps until the last recorded node has sent the last step of the last utterance."""
        slowest = max(record["latency"] for record in self.records)
        return (len(self.lengths) - 1) * self.schedule.period + self.schedule.steps + slowest

    def drop_unread(self) -> None:
        """Leaves out the Processes that reach no record: Lava runs what is connected to the first one, and no more."""
        feeders: dict[str, list[str]] = {}
        for source, target, _ in self.connections:
            feeders.setdefault(target, []).append(source if source in self.specs else source.rpartition(".")[0])
        left = [f"record {i}" for i in range(len(self.records))]
        read: set[str] = set()
        while left:
            new = set(feeders.get(left.pop(), ())) - read
            read |= new
            left += new
        self.specs = {name: spec for name, spec in self.specs.items() if name in read}
        self.connections = [edge for edge in self.connections if edge[1] in read or edge[1].startswith("record ")]

    def save(self, folder: Path) -> None:
        """Writes `plan.json` and `plan.npz`."""
        arrays: dict[str, Any] = {"lengths": self.lengths}
        specs = []
        for i, spec in enumerate(self.specs.values()):
            keys = {key: f"{i}.{key}" for key in spec.arrays}
            arrays |= {keys[key]: array for key, array in spec.arrays.items()}
            specs.append(
                {
                    "name": spec.name,
                    "kind": spec.kind,
                    "latency": spec.latency,
                    "values": dict(spec.values),
                    "arrays": keys,
                }
            )
        plan = {
            "period": self.schedule.period,
            "steps": self.schedule.steps,
            "total_steps": self.total_steps,
            "specs": specs,
            "connections": self.connections,
            "records": self.records,
            "fixed_point": self.fixed_point,
            "fused": self.fused,
        }
        np.savez(folder / "plan.npz", **arrays)
        (folder / "plan.json").write_text(json.dumps(plan))


def make_plan(graph: Graph, schedule: Schedule, frames: np.ndarray, lengths: np.ndarray) -> Plan:
    """Plans the run of a floating-point `graph` on frames [samples, steps, *features]; fixed_plan.py has the other one.

    Raises:
        LavaError: a node of a kind that has no Process, or too large as a matrix.
    """
    return Planner(graph, schedule, Plan(schedule, lengths)).lay_out(frames)


class Planner:
    """The plan under construction."""

    output_dtype: ClassVar[str] = "float64"

    def __init__(self, graph: Graph, schedule: Schedule, plan: Plan) -> None:
        self.graph, self.schedule, self.plan = graph, schedule, plan

    @property
    def table(self) -> Mapping[str, Callable[[Any, Node], Spec | None]]:
        """Kind of node -> the method below that plans its Process."""
        return PLANNERS

    def lay_out(self, frames: np.ndarray) -> Plan:
        """Plans every node, every connection, and the records of spikes and output."""
        for node in self.graph.nodes.values():
            if node in self.graph.entries:
                flat = np.ascontiguousarray(frames).reshape(*frames.shape[:2], -1)
                start = node.parameters.get("start", 0)
                part = np.ascontiguousarray(flat[..., start : start + node.neurons])
                self.plan.specs[node.name] = Spec(node.name, "source", 0, arrays={"frames": part})
            elif node.kind == "input":
                continue  # its parts are sources of their own
            elif node.kind not in self.table:
                raise LavaError(
                    f"node {node.name}: {node.kind} does not run in Lava; supported are "
                    f"{', '.join(sorted({'input', *self.table}))}"
                )
            elif (spec := self.table[node.kind](self, node)) is not None:
                self.plan.specs[node.name] = spec
        for node in self.graph.nodes.values():
            if node.name in self.plan.specs or node.kind == "output":
                self.connect(node)
        for node in self.graph.spiking:
            self.record(node, "spikes", "uint8")
        self.record(self.graph.output, "output", self.output_dtype)
        return self.plan

    def connect(self, node: Node) -> None:
        """Connects what feeds a node, through relays where the schedule asks for a delay."""
        if node.kind == "output" or node in self.graph.entries:
            return
        roles = node.roles or {"": node.sources}
        for port, sources in roles.items():
            for source, delay, looped in self._feeders(node.name, sources):
                self._join(source, node.name, port, delay, looped)

    def record(self, node: Node, what: str, dtype: str) -> None:
        """Records what a node sends; for the output, the sum of what feeds it; for `u` and `v`, that port."""
        record = {
            "node": node.name,
            "what": what,
            "neurons": node.neurons,
            "latency": self.schedule.latency[node.name],
            "dtype": dtype,
        }
        self.plan.records.append(record)
        if what in ("u", "v"):
            self.plan.connections.append((f"{node.name}.{what}_out", f"record {len(self.plan.records) - 1}", ""))
            return
        if node.kind != "output":
            self._join(node.name, f"record {len(self.plan.records) - 1}", "", 0, False)
            return
        for source, delay, looped in self._feeders(node.name, node.sources):
            self._join(source, f"record {len(self.plan.records) - 1}", "", delay, looped)

    def _feeders(self, target: str, sources: tuple[str, ...]) -> list[tuple[str, int, bool]]:
        """(source, delay, closes a loop) of what feeds a node, seen through flattening, which needs no Process."""
        found = []
        for source in sources:
            delay, looped = self.schedule.delay[source, target], (source, target) in self.graph.recurrent_edges
            if self.graph.nodes[source].kind == "flatten":
                behind = self._feeders(source, self.graph.nodes[source].sources)
                found += [(name, delay + more, looped or inner) for name, more, inner in behind]
            else:
                found.append((source, delay, looped))
        return found

    def _join(self, source: str, target: str, port: str, delay: int, looped: bool) -> None:
        # The first step of an utterance reads zero from a loop: whatever rests at another value is masked.
        masked = looped and self.graph.nodes[source].kind not in SPIKING
        if delay or masked or (source, target, port) in self.plan.connections:
            relay = f"{source} + {delay}" + (" in its window" if masked else "")
            if relay not in self.plan.specs:
                neurons = self.graph.nodes[source].neurons
                values = {"neurons": neurons, "delay": delay, "mask": masked}
                self.plan.specs[relay] = Spec(relay, "relay", self.schedule.latency[source], values)
                self.plan.connections.append((source, relay, ""))
            source = relay
        self.plan.connections.append((source, target, port))

    # ---- one method a kind of Process --------------------------------------------------------------------------------

    def neuron(self, node: Node) -> Spec:
        parameters = dict(cast_parameters(node, self.graph, np.dtype(np.float64)))
        if node.kind == "threshold":
            parameters = {key: parameters[key] for key in ("v_threshold", "v_reset")}
        biases = [bias for source in node.sources if (bias := self._bias_for_neurons(source)) is not None]
        if biases:
            parameters["bias"] = np.sum(biases, axis=0).reshape(-1)
        values = {"neurons": node.neurons, "reset": node.reset}
        return Spec(node.name, "neuron", self.schedule.latency[node.name], values, parameters)

    def linear(self, node: Node) -> Spec:
        weight, bias = self.matrix(node)
        latency = self.schedule.latency[node.name]
        if bias is not None and self._bias_for_neurons(node.name) is None:
            return Spec(node.name, "biased_dense", latency, arrays={"weight": weight, "bias": bias})
        if np.count_nonzero(weight) < SPARSE_BELOW * weight.size:
            rows, columns = np.nonzero(weight)
            values = {"shape": list(weight.shape)}
            arrays = {"rows": rows, "columns": columns, "weight": weight[rows, columns]}
            return Spec(node.name, "sparse", latency, values, arrays)
        return Spec(node.name, "dense", latency, arrays={"weight": weight})

    def _bias_for_neurons(self, name: str) -> np.ndarray | None:
        """The bias of an affine node whose readers are neurons without a loop: they hold it, as on a chip."""
        node = self.graph.nodes[name]
        bias = node.parameters.get("bias") if node.kind == "affine" and len(node.output_shape) == 1 else None
        if bias is None:
            return None
        readers = self.graph.targets(name)
        held = all(r.kind in STATEFUL and (name, r.name) not in self.graph.recurrent_edges for r in readers)
        return bias if held else None

    def matrix(self, node: Node) -> tuple[np.ndarray, np.ndarray | None]:
        """Weights [outputs, inputs] and bias [outputs] of a memoryless linear node, from its response to units."""
        if node.kind == "affine" and len(node.input_shape) == 1:
            return node.parameters["weight"], node.parameters["bias"]
        inputs, outputs = int(np.prod(node.input_shape)), node.neurons
        if inputs * outputs > LARGEST_MATRIX:
            raise LavaError(
                f"node {node.name} ({node.kind}): as a matrix it has {outputs} x {inputs} weights, more than "
                f"{LARGEST_MATRIX}; the reference simulator runs it"
            )
        units = np.concatenate([np.zeros((1, inputs)), np.eye(inputs)]).reshape(1, inputs + 1, *node.input_shape)
        parameters = cast_parameters(node, self.graph, np.dtype(np.float64))
        call = Call(node, parameters, np.dtype(np.float64), {}, None, {})
        response = OPERATIONS[node.kind](call, units).reshape(inputs + 1, outputs)
        bias = response[0] if np.any(response[0]) else None
        weight = response[1:] if bias is None else self._without_bias(node, call, units, inputs, outputs)
        return np.ascontiguousarray(weight.T), bias

    def _without_bias(self, node: Node, call: Call, units: np.ndarray, inputs: int, outputs: int) -> np.ndarray:
        zero = {**call.parameters, "bias": np.zeros_like(call.parameters["bias"])}
        response = OPERATIONS[node.kind](Call(node, zero, call.dtype, {}, None, {}), units)
        unbiased: np.ndarray = response.reshape(inputs + 1, outputs)[1:]
        return unbiased

    def temporal_conv(self, node: Node) -> Spec:
        weight, bias = node.parameters["weight"], node.parameters["bias"]
        arrays = {"weight": weight, "bias": np.zeros(len(weight)) if bias is None else bias}
        return Spec(node.name, "temporal_conv", self.schedule.arrival[node.name], arrays=arrays)

    def look_ahead(self, node: Node) -> Spec:
        # Waiting is all there is to it: the value of the step ahead passes when it arrives.
        values = {"neurons": node.neurons, "delay": 0, "mask": True}
        return Spec(node.name, "relay", self.schedule.arrival[node.name], values)

    def delay(self, node: Node) -> Spec:
        steps = np.broadcast_to(node.parameters["steps"], node.output_shape).reshape(-1)
        return Spec(node.name, "delay", self.schedule.arrival[node.name], arrays={"steps": steps})

    def gate(self, node: Node) -> Spec:
        return Spec(node.name, "gate", self.schedule.latency[node.name], {"neurons": node.neurons})

    def rotary(self, node: Node) -> Spec:
        values = {"scale": float(node.parameters["scale"])}
        return Spec(node.name, "rotary", self.schedule.latency[node.name], values, {"angle": node.parameters["angle"]})

    def attention(self, node: Node) -> Spec:
        p = node.parameters
        values = {"heads": int(p["heads"]), "scale": float(p["scale"]), "causal": bool(p["causal"])}
        values["neurons"] = node.neurons
        return Spec(node.name, "attention", self.schedule.arrival[node.name], values)

    def nothing(self, node: Node) -> None:
        """Flattening and the output only carry values."""


PLANNERS: dict[str, Callable[[Any, Node], Spec | None]] = {
    **dict.fromkeys(STATEFUL, Planner.neuron),
    **dict.fromkeys(("affine", "scale", "conv1d", "conv2d", "sum_pool", "avg_pool"), Planner.linear),
    **dict.fromkeys(("temporal_conv", "depthwise_conv"), Planner.temporal_conv),
    "look_ahead": Planner.look_ahead,
    "delay": Planner.delay,
    "gate": Planner.gate,
    "rotary": Planner.rotary,
    "attention": Planner.attention,
    "flatten": Planner.nothing,
    "output": Planner.nothing,
}
