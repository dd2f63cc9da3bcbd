"""Exact operation counts of a recorded run, one record per layer. docs/energy.md defines every field.

The counts are integers over the whole trace. Each package that counts operations for spiking networks uses a rule of
its own; the record keeps what all of them need, so that their figures are views of it and not separate counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from neurotarget.hardware.counts.events import Tally
from neurotarget.hardware.counts.tallies import Counting, Tallies, check_fits, direct_edges
from neurotarget.sim.graph import Graph, load
from neurotarget.sim.graph.kinds import KINDS, OVER_TIME, SPIKING, STATEFUL
from neurotarget.sim.graph.node import Node
from neurotarget.sim.trace import Trace
from tqdm import tqdm


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
        active_updates: of these, the ones in which the neuron received an event or fired; see `tallies.py`.
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
        zero_weights: count synapses whose weight is exactly zero (see `fanout.connections`).
        progress: show a bar.

    Returns:
        One record for each node that computes, in the order in which they run.

    Raises:
        TraceError: the trace is not one of this graph.
    """
    counting = Counting(load(network), zero_weights)
    check_fits(counting.graph, trace)
    bar = tqdm(counting.counted, desc="count", unit="layer", disable=None if progress else True)
    nodes = {node.name: counting.tally(node, trace) for node in bar}
    return layer_counts(counting, Tallies(nodes, trace.samples, trace.sample_steps))


def layer_counts(counting: Counting, tallies: Tallies) -> list[LayerCount]:
    """The record of each node, of what was counted of a whole run."""
    return [_record(counting, node, tallies) for node in counting.counted]


def _record(counting: Counting, node: Node, whole_run: Tallies) -> LayerCount:
    total, sample_steps = whole_run.nodes[node.name], whole_run.sample_steps
    fan_in, fan_out, synapses = _synapses(counting, node)
    whole = sum(total.tallies.values(), Tally())
    # Rotary multiplies by a sine even when the input is a spike: an AC would need that product stored for every step.
    acs = sum(t.operations for t in total.tallies.values() if t.payload in ("none", "spike") and node.kind != "rotary")
    real = whole.payload == "real"
    spikes = total.spikes if node.kind in SPIKING else None
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
        biases=_biases(node) * sample_steps,
        neuron_updates=node.neurons * sample_steps if node.kind in STATEFUL else 0,
        active_updates=total.active,
        spikes=spikes,
        messages=(spikes or 0) * len(counting.graph.targets(node.name)),
        synapses=synapses,
        parameters=sum(int(np.count_nonzero(a) if node.kind in OVER_TIME else a.size) for a in stored),
        state=_state(node),
        samples=whole_run.samples,
        sample_steps=sample_steps,
    )


def _synapses(counting: Counting, node: Node) -> tuple[int, int, int]:
    """Fan-in, fan-out and synapses of a node."""
    if (linked := counting.synapses.get(node.name)) is not None:
        return linked.fan_in, linked.largest_fan_out, linked.synapses
    if node.kind == "attention":
        return node.neurons // node.parameters["heads"], node.neurons // node.parameters["heads"], 0
    if node.kind in STATEFUL and direct_edges(counting.graph, node) is not None:
        return 1, 1, node.neurons
    return 0, 0, 0


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
