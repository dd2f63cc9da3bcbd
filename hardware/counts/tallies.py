"""Exact counts of what reached and left each layer in a recorded run, or in a part of it.

What is counted of the parts adds up to what is counted of the whole. Records of layers (layers.py) do not: whether a
layer adds or multiplies is decided by the widest payload of the whole run.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from neurotarget.hardware.counts.events import Tally, each, exact, magnitudes, payload_kind, widest
from neurotarget.hardware.counts.fanout import Connections, connections, taps_inside
from neurotarget.sim import reference
from neurotarget.sim.graph import Graph
from neurotarget.sim.graph.kinds import CARRIERS, OVER_TIME, POOLS, SPIKING, STATEFUL, SYNAPTIC
from neurotarget.sim.graph.node import Node
from neurotarget.sim.trace import Trace, TraceError, windowed

BATCH = 32
COUNTED = SYNAPTIC | STATEFUL | POOLS | {"gate", "rotary", "attention", "delay"}


@dataclass
class NodeTally:
    """What one node took in and gave.

    Attributes:
        tallies: one per operand: a product of two operands is an AC or a MAC on its own account.
        active: updates in which the neuron received an event or fired.
        spikes: given.
        events, payload_sum, dense_macs: as of `LayerCount`.
    """

    events: int = 0
    payload_sum: int = 0
    dense_macs: int = 0
    active: int = 0
    spikes: int = 0
    tallies: dict[str, Tally] = field(default_factory=dict)

    def add(self, key: str, tally: Tally) -> None:
        self.tallies[key] = self.tallies.get(key, Tally()) + tally

    def arrive(self, values: np.ndarray, payload: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Books the events in `values` and gives occupancy, unit occupancy and |payload|."""
        occupied, unit, size = magnitudes(values, payload)
        self.events += int(np.count_nonzero(occupied))
        self.payload_sum += exact(size.sum())
        return occupied, unit, size

    def __add__(self, other: NodeTally) -> NodeTally:
        numbers = ("events", "payload_sum", "dense_macs", "active", "spikes")
        total = NodeTally(**{key: getattr(self, key) + getattr(other, key) for key in numbers})
        total.tallies |= self.tallies
        for key, tally in other.tallies.items():
            total.add(key, tally)
        return total


@dataclass(frozen=True)
class Tallies:
    """What all nodes of a network took in and gave.

    Attributes:
        nodes: by name, in the order in which they run.
        samples, sample_steps: utterances, and their steps in all.
    """

    nodes: Mapping[str, NodeTally]
    samples: int
    sample_steps: int

    def __add__(self, other: Tallies) -> Tallies:
        nodes = {name: tally + other.nodes[name] for name, tally in self.nodes.items()}
        return Tallies(nodes, self.samples + other.samples, self.sample_steps + other.sample_steps)


def check_fits(graph: Graph, trace: Trace) -> None:
    """Raises TraceError unless every spiking node and the input have the graph's shapes in the trace."""
    expected = {"input": graph.input.output_shape} | {node.name: node.output_shape for node in graph.spiking}
    found = {name: array.shape[2:] for name, array in trace.spikes.items()} | {"input": trace.input.shape[2:]}
    for name, shape in expected.items():
        if found.get(name) != shape:
            raise TraceError(f"trace of another network: {name} has shape {found.get(name)}, the graph has {shape}")


@dataclass(frozen=True, eq=False)
class Counting:
    """Counts the operations of recorded runs of one network; a fold of its batches.

    Attributes:
        zero_weights: count synapses whose weight is exactly zero (see `fanout.connections`).
    """

    graph: Graph
    zero_weights: bool = True

    @functools.cached_property
    def prepared(self) -> reference.Prepared:
        return reference.prepare(self.graph)

    @functools.cached_property
    def counted(self) -> list[Node]:
        return [node for node in self.graph.nodes.values() if node.kind in COUNTED]

    @functools.cached_property
    def synapses(self) -> dict[str, Connections]:
        """Of the nodes that have any of their own."""
        with_own = [node for node in self.counted if node.kind not in STATEFUL | {"attention", "delay"}]
        return {node.name: connections(node, self.zero_weights) for node in with_own}

    @functools.cached_property
    def resting(self) -> dict[tuple[str, int], Any]:
        """What neurons receive without any event, [1, steps, *neurons], by name and steps; the same in every batch."""
        return {}

    def __call__(self, trace: Trace) -> Tallies:
        """The tallies of a run, or of a part of it.

        Raises:
            TraceError: the trace is not one of this graph.
        """
        check_fits(self.graph, trace)
        return Tallies({n.name: self.tally(n, trace) for n in self.counted}, trace.samples, trace.sample_steps)

    def tally(self, node: Node, trace: Trace) -> NodeTally:
        """What one node took in and gave."""
        run = _Run(self.graph, trace, self.prepared, self.resting)
        total = NodeTally()
        if node.kind in STATEFUL:
            if (probe := direct_edges(self.graph, node)) is not None:
                fan_out = connections(probe[1], self.zero_weights).fan_out
                _count_static(replace(run, graph=probe[0]), probe[1], total, fan_out, dense=False)
            total.active = _active_updates(run, node)
            if node.kind in SPIKING:
                total.spikes = int(np.count_nonzero(windowed(trace.spikes[node.name], trace.lengths)))
        elif node.kind == "attention":
            _count_attention(run, node, total)
        elif node.kind == "delay":
            for values, _ in _inputs(run, node):
                payload = payload_kind(values)
                total.arrive(values, payload)
                total.add("input", Tally(payload))
        elif node.kind in OVER_TIME:
            _count_temporal(run, node, total, self.synapses[node.name].fan_out)
        else:
            _count_static(run, node, total, self.synapses[node.name].fan_out)
        return total


@dataclass(frozen=True, eq=False)
class _Run:
    """What every layer is counted from."""

    graph: Graph
    trace: Trace
    prepared: reference.Prepared
    resting: dict[tuple[str, int], Any]


def _active_updates(run: _Run, node: Node) -> int:
    """Updates in which the neuron's input is not what it is without any event, or in which it fires.

    Without events a neuron receives its biases only. Events whose weights cancel to the last bit do not count: what
    reaches the neuron is then the same as nothing.
    """
    key = node.name, run.trace.input.shape[1]
    if key not in run.resting:
        run.resting[key] = reference.synaptic_input(run.graph, _silent(run.trace), node.name, run.prepared)
    resting = run.resting[key]
    active = 0
    for part in _batches(run.trace):
        received = reference.synaptic_input(run.graph, part, node.name, run.prepared)
        busy = received != resting
        if node.kind in SPIKING:
            busy |= part.spikes[node.name] != 0
        active += int(np.count_nonzero(windowed(busy, part.lengths)))
    return active


def _silent(trace: Trace) -> Trace:
    """One sample of as many steps, in which nothing happens."""
    return replace(
        trace,
        spikes={name: np.zeros_like(array[:1]) for name, array in trace.spikes.items()},
        output=np.zeros_like(trace.output[:1]),
        input=np.zeros_like(trace.input[:1]),
        lengths=np.array([trace.input.shape[1]]),
        labels=None,
    )


# ---- inputs, in batches ----------------------------------------------------------------------------------------------


def _batches(trace: Trace) -> Iterator[Trace]:
    for start in range(0, trace.samples, BATCH):
        yield trace.rows(slice(start, start + BATCH))


def _inputs(run: _Run, node: Node) -> Iterator[tuple[Any, np.ndarray]]:
    """What the node received, batch by batch, with the lengths; zero outside the windows."""
    for part in _batches(run.trace):
        received = reference.synaptic_input(run.graph, part, node.name, run.prepared)
        if isinstance(received, Mapping):
            yield {role: windowed(array, part.lengths) for role, array in received.items()}, part.lengths
        else:
            yield windowed(received, part.lengths), part.lengths


def direct_edges(graph: Graph, node: Node) -> tuple[Graph, Node] | None:
    """A stand-in for a neuron that receives only what comes as events, without a synapse between.

    Currents of a synaptic layer were counted there. Spikes wired straight to a neuron are counted here, one operation
    per event.
    """

    direct = tuple(name for name in node.sources if _carries_events(graph, name))
    if not direct:
        return None
    probe = replace(node, sources=direct)
    return replace(graph, nodes={**graph.nodes, node.name: probe}), probe


def _carries_events(graph: Graph, name: str) -> bool:
    source = graph.nodes[name]
    if source.kind in CARRIERS:  # behind it may stand spikes, which are events, or currents, which are not
        return any(_carries_events(graph, behind) for behind in source.sources)
    return source.kind in SPIKING | {"input"}


# ---- one function per family of layers -------------------------------------------------------------------------------


def _count_static(run: _Run, node: Node, total: NodeTally, fan_out: np.ndarray, dense: bool = True) -> None:
    """Layers whose fan-out does not depend on the step: events at each input times the fan-out there."""
    for received, _ in _inputs(run, node):
        # A gate's current is not an event: only the spikes that open it are.
        values = received["gate"] if node.kind == "gate" else received
        payload = payload_kind(values)

        def operations(part: np.ndarray) -> int:
            return exact((np.sum(part, axis=(0, 1), dtype=np.float64) * fan_out).sum())

        total.add("input", Tally(payload, *each(operations, total.arrive(values, payload))))
    if dense:
        total.dense_macs += int(fan_out.sum()) * run.trace.sample_steps


def _count_temporal(run: _Run, node: Node, total: NodeTally, fan_out: np.ndarray) -> None:
    """Convolutions over time: at each tap, the events whose output falls inside the window."""
    taps = len(fan_out)
    for values, lengths in _inputs(run, node):
        samples, steps = values.shape[:2]
        inside = taps_inside(lengths, steps, taps, node.parameters["look_ahead"])
        rows = inside.reshape(taps, samples * steps).astype(np.float64)
        payload = payload_kind(values)

        def operations(part: np.ndarray, rows: np.ndarray = rows) -> int:
            per_tap = rows @ part.reshape(rows.shape[1], -1).astype(np.float64)
            return exact((per_tap * fan_out).sum())

        total.add("input", Tally(payload, *each(operations, total.arrive(values, payload))))
        total.dense_macs += exact((rows.sum(axis=1)[:, None] * fan_out).sum())


def _count_attention(run: _Run, node: Node, total: NodeTally) -> None:
    """Linear attention: nnz(k) * nnz(v) per head and step builds the state, nnz(q) * d_head reads it.

    Dense is what softmax attention needs, 2 * steps^2 * width (causal: steps * (steps + 1) * width), because softmax
    does not allow the linear order.
    """
    heads, causal = node.parameters["heads"], node.parameters["causal"]
    width = node.neurons // heads
    for received, lengths in _inputs(run, node):
        kinds = {role: payload_kind(values) for role, values in received.items()}
        parts = {role: total.arrive(values, kinds[role]) for role, values in received.items()}
        key, value = (
            [part.reshape(*part.shape[:2], heads, width).sum(axis=-1, dtype=np.float64) for part in parts[role]]
            for role in ("key", "value")
        )
        built = [exact((k * v).sum()) for k, v in zip(key, value, strict=True)]
        total.add("state", Tally(widest(kinds["key"], kinds["value"]), *built))
        read = [exact(part.sum(dtype=np.float64)) * width for part in parts["query"]]
        total.add("query", Tally(kinds["query"], *read))
        pairs = lengths * (lengths + 1) // 2 if causal else lengths**2
        total.dense_macs += 2 * int(pairs.sum()) * node.neurons
