"""Exact operation counts of a recorded run, one record per layer. docs/energy.md defines every field.

The counts are integers over the whole trace. Each package that counts operations for spiking networks uses a rule of
its own; the record keeps what all of them need, so that their figures are views of it and not separate counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from neurotarget.hardware.counts.events import Tally, each, exact, magnitudes, payload_kind, widest
from neurotarget.hardware.counts.fanout import connections, taps_inside
from neurotarget.sim import reference
from neurotarget.sim.graph import Graph, load
from neurotarget.sim.graph.kinds import CARRIERS, KINDS, OVER_TIME, POOLS, SPIKING, STATEFUL, SYNAPTIC
from neurotarget.sim.graph.node import Node
from neurotarget.sim.trace import Trace, TraceError, windowed
from tqdm import tqdm

BATCH = 32
COUNTED = SYNAPTIC | STATEFUL | POOLS | {"gate", "rotary", "attention", "delay"}


@dataclass(frozen=True)
class LayerCount:
    """Counts of one layer over a whole trace; all are exact integers.

    Attributes:
        inputs, neurons: values that the layer takes and gives per step.
        fan_in: the most synapses that end at one output.
        fan_out: the most synapses that one input drives. Operations use the exact number of each input.
        events: non-zero inputs inside the windows.
        payload: `none`, `spike`, `integer` or `real`: the widest payload seen.
        payload_sum: sum of |payload|, None when payloads are real.
        synops: events times their exact fan-out.
        acs: synaptic operations that add a weight, because every payload of the operand is 1 or -1.
        macs: synaptic operations that multiply. acs + macs = synops.
        unit_synops: of synops, those of events that carry 1 or -1.
        unary_synops: |payload| times fan-out, None when payloads are real.
        dense_macs: what the same layer costs a network that is not spiking: every input at every step of the window.
        biases: additions of a non-zero bias.
        neuron_updates: neurons times steps inside the windows.
        active_updates: of these, the ones in which the neuron received an event or fired; see `_active_updates`.
        spikes: spikes given, None for layers that do not spike.
        messages: spikes times the layers that they are sent to.
        synapses: connections, unrolled over space.
        parameters: stored weights and biases.
        state: values that last from step to step.
        samples, sample_steps: utterances, and their steps in all.
    """

    name: str
    kind: str
    inputs: int
    neurons: int
    fan_in: int
    fan_out: int
    events: int
    payload: str
    payload_sum: int | None
    synops: int
    acs: int
    macs: int
    unit_synops: int
    unary_synops: int | None
    dense_macs: int
    biases: int
    neuron_updates: int
    active_updates: int
    spikes: int | None
    messages: int
    synapses: int
    parameters: int
    state: int
    samples: int
    sample_steps: int

    @property
    def spike_rate(self) -> float | None:
        """Spikes per neuron and step, None for layers that do not spike."""
        if self.spikes is None or not self.neurons or not self.sample_steps:
            return None
        return self.spikes / (self.neurons * self.sample_steps)


def count(
    network: str | Path | Graph, trace: Trace, zero_weights: bool = True, progress: bool = False
) -> list[LayerCount]:
    """Counts the operations of a recorded run, layer by layer.

    >>> trace = neurotarget.run("network.nir", frames)
    >>> [layer.name for layer in neurotarget.count("network.nir", trace)]
    ['0', '1', '2', '3']

    Args:
        network: path of a NIR file, or a graph.
        trace: of this graph, from any simulator.
        zero_weights: count synapses whose weight is exactly zero (see `hardware.fanout.connections`).
        progress: show a bar.

    Returns:
        One record for each node that computes, in the order in which they run.

    Raises:
        TraceError: the trace is not one of this graph.
    """
    graph = load(network)
    check_fits(graph, trace)
    run = _Run(graph, trace, reference.prepare(graph), zero_weights)
    nodes = [node for node in graph.nodes.values() if node.kind in COUNTED]
    bar = tqdm(nodes, desc="count", unit="layer", disable=None if progress else True)
    return [_count_node(run, node) for node in bar]


def check_fits(graph: Graph, trace: Trace) -> None:
    """Raises TraceError unless every spiking node and the input have the graph's shapes in the trace."""
    expected = {"input": graph.input.output_shape} | {node.name: node.output_shape for node in graph.spiking}
    found = {name: array.shape[2:] for name, array in trace.spikes.items()} | {"input": trace.input.shape[2:]}
    for name, shape in expected.items():
        if found.get(name) != shape:
            raise TraceError(f"trace of another network: {name} has shape {found.get(name)}, the graph has {shape}")


# ---- one node --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Run:
    """What every layer is counted from."""

    graph: Graph
    trace: Trace
    prepared: reference.Prepared
    zero_weights: bool


@dataclass
class _Sum:
    """What accumulates over the batches of one node."""

    events: int = 0
    payload_sum: int = 0
    dense_macs: int = 0
    # One tally per operand: a product of two operands is an AC or a MAC on its own account.
    tallies: Mapping[str, Tally] | None = None

    def add(self, key: str, tally: Tally) -> None:
        self.tallies = {**(self.tallies or {}), key: (self.tallies or {}).get(key, Tally()) + tally}

    def arrive(self, values: np.ndarray, payload: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Books the events in `values` and gives occupancy, unit occupancy and |payload|."""
        occupied, unit, size = magnitudes(values, payload)
        self.events += int(np.count_nonzero(occupied))
        self.payload_sum += exact(size.sum())
        return occupied, unit, size


def _count_node(run: _Run, node: Node) -> LayerCount:
    graph, zero_weights = run.graph, run.zero_weights
    total, fan_in, fan_out, synapses = _Sum(), 0, 0, 0
    if node.kind in STATEFUL:
        probe = _direct_edges(graph, node)
        if probe is not None:
            _count_static(replace(run, graph=probe[0]), probe[1], total, dense=False)
            fan_in = fan_out = 1
            synapses = node.neurons
    elif node.kind == "attention":
        _count_attention(run, node, total)
        fan_in = fan_out = node.neurons // node.parameters["heads"]
    elif node.kind == "delay":
        for values, _ in _inputs(run, node):
            payload = payload_kind(values)
            total.arrive(values, payload)
            total.add("input", Tally(payload))
    else:
        linked = connections(node, zero_weights)
        fan_in, fan_out, synapses = linked.fan_in, linked.largest_fan_out, linked.synapses
        if node.kind in OVER_TIME:
            _count_temporal(run, node, total, linked.fan_out)
        else:
            _count_static(run, node, total)
    return _record(run, node, total, fan_in, fan_out, synapses)


def _record(run: _Run, node: Node, total: _Sum, fan_in: int, fan_out: int, synapses: int) -> LayerCount:
    graph, trace = run.graph, run.trace
    tallies = total.tallies or {}
    whole = sum(tallies.values(), Tally())
    # Rotary multiplies by a sine even when the input is a spike: an AC would need that product stored for every step.
    acs = sum(t.operations for t in tallies.values() if t.payload in ("none", "spike") and node.kind != "rotary")
    real = whole.payload == "real"
    spikes = None
    if node.kind in SPIKING:
        spikes = int(np.count_nonzero(windowed(trace.spikes[node.name], trace.lengths)))
    weight, bias = (node.parameters.get(key) for key in ("weight", "bias"))
    stored = [array for array in (weight, bias) if array is not None]
    return LayerCount(
        name=node.name,
        kind=node.kind,
        inputs=_inputs_of(node),
        neurons=node.neurons,
        fan_in=fan_in,
        fan_out=fan_out,
        events=total.events,
        payload=whole.payload,
        payload_sum=None if real else total.payload_sum,
        synops=whole.operations,
        acs=acs,
        macs=whole.operations - acs,
        unit_synops=whole.unit,
        unary_synops=None if real else whole.unary,
        dense_macs=total.dense_macs,
        biases=_biases(node) * trace.sample_steps,
        neuron_updates=node.neurons * trace.sample_steps if node.kind in STATEFUL else 0,
        active_updates=_active_updates(run, node) if node.kind in STATEFUL else 0,
        spikes=spikes,
        messages=(spikes or 0) * len(graph.targets(node.name)),
        synapses=synapses,
        parameters=sum(int(np.count_nonzero(a) if node.kind in OVER_TIME else a.size) for a in stored),
        state=_state(node),
        samples=trace.samples,
        sample_steps=trace.sample_steps,
    )


def _active_updates(run: _Run, node: Node) -> int:
    """Updates in which the neuron's input is not what it is without any event, or in which it fires.

    Without events a neuron receives its biases only. Events whose weights cancel to the last bit do not count: what
    reaches the neuron is then the same as nothing.
    """
    trace = run.trace
    silent = replace(
        trace,
        spikes={name: np.zeros_like(array[:1]) for name, array in trace.spikes.items()},
        output=np.zeros_like(trace.output[:1]),
        input=np.zeros_like(trace.input[:1]),
        lengths=np.array([trace.input.shape[1]]),
        labels=None,
    )
    resting = reference.synaptic_input(run.graph, silent, node.name, run.prepared)
    active = 0
    for part in _batches(trace):
        received = reference.synaptic_input(run.graph, part, node.name, run.prepared)
        busy = received != resting
        if node.kind in SPIKING:
            busy |= part.spikes[node.name] != 0
        active += int(np.count_nonzero(windowed(busy, part.lengths)))
    return active


def _inputs_of(node: Node) -> int:
    return max(len(KINDS[node.kind].roles), 1) * int(np.prod(node.input_shape))


def _biases(node: Node) -> int:
    """Outputs that get a non-zero bias every step; NIR's Conv always has a bias, so zero means none."""
    bias = node.parameters.get("bias")
    if bias is None:
        return 0
    return int(np.count_nonzero(bias)) * (node.neurons // len(bias))


def _state(node: Node) -> int:
    if node.kind == "attention":
        return node.neurons * (node.neurons // node.parameters["heads"])
    if node.kind == "rotary":
        return node.neurons  # an oscillator per pair: cosine and sine
    if node.kind == "delay":
        return int(np.broadcast_to(node.parameters["steps"], node.output_shape).sum())
    if node.kind in OVER_TIME:
        return (node.parameters["weight"].shape[-1] - 1) * int(np.prod(node.input_shape))
    return node.neurons * KINDS[node.kind].states


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


def _direct_edges(graph: Graph, node: Node) -> tuple[Graph, Node] | None:
    """A stand-in for a neuron that receives only what comes as events, without a synapse between.

    Currents of a synaptic layer were counted there. Spikes wired straight to a neuron are counted here, one operation
    per event.
    """

    def carries_events(name: str) -> bool:
        source = graph.nodes[name]
        if source.kind in CARRIERS:  # behind it may stand spikes, which are events, or currents, which are not
            return any(carries_events(behind) for behind in source.sources)
        return source.kind in SPIKING | {"input"}

    direct = tuple(name for name in node.sources if carries_events(name))
    if not direct:
        return None
    probe = replace(node, sources=direct)
    return replace(graph, nodes={**graph.nodes, node.name: probe}), probe


# ---- one function per family of layers -------------------------------------------------------------------------------


def _count_static(run: _Run, node: Node, total: _Sum, dense: bool = True) -> None:
    """Layers whose fan-out does not depend on the step: events at each input times the fan-out there."""
    fan_out = connections(node, run.zero_weights).fan_out
    for received, _ in _inputs(run, node):
        # A gate's current is not an event: only the spikes that open it are.
        values = received["gate"] if node.kind == "gate" else received
        payload = payload_kind(values)

        def operations(part: np.ndarray) -> int:
            return exact((np.sum(part, axis=(0, 1), dtype=np.float64) * fan_out).sum())

        total.add("input", Tally(payload, *each(operations, total.arrive(values, payload))))
    if dense:
        total.dense_macs += int(fan_out.sum()) * run.trace.sample_steps


def _count_temporal(run: _Run, node: Node, total: _Sum, fan_out: np.ndarray) -> None:
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


def _count_attention(run: _Run, node: Node, total: _Sum) -> None:
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
