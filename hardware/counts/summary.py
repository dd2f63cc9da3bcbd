"""Counts as a report shows them: each layer as means over the samples, and sums over the layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from neurotarget.hardware.counts.layers import LayerCount
from neurotarget.sim.graph.kinds import STATEFUL

MEANS = (
    "events",
    "payload_sum",
    "synops",
    "acs",
    "macs",
    "unit_synops",
    "unary_synops",
    "dense_macs",
    "biases",
    "neuron_updates",
    "active_updates",
    "spikes",
    "messages",
)


@dataclass(frozen=True)
class Layer:
    """A layer that computes; layers are in order. Counts are means over the samples, defined in energy.md.

    Attributes:
        name, kind: of the node in the NIR file.
        neurons: values that the layer gives per step.
        fan_in: the most synapses that end at one output.
        fan_out: the most synapses that one input drives.
        payload: the widest payload seen: `none`, `spike`, `integer` or `real`.
        synapses: connections, unrolled over space.
        parameters: stored weights and biases.
        state: values that last from step to step.
        events: non-zero inputs.
        payload_sum: sum of |payload|; `null` for real payloads.
        synops: events times their exact fan-out.
        acs: of synops, those that add a weight.
        macs: of synops, those that multiply.
        unit_synops: of synops, those of events that carry 1 or -1.
        unary_synops: |payload| times fan-out; `null` for real payloads.
        dense_macs: what the same layer costs a network that does not spike.
        biases: additions of a non-zero bias.
        neuron_updates: neurons times steps, of layers with neurons.
        active_updates: of these, the ones in which the neuron received an event or fired.
        spikes: spikes given; `null` for layers that do not spike.
        messages: spikes times the layers that they are sent to.
        spike_rate: spikes per neuron and step; `null` for layers that do not spike.
    """

    name: str
    kind: str
    neurons: int
    fan_in: int
    fan_out: int
    payload: str
    synapses: int
    parameters: int
    state: int
    events: float
    payload_sum: float | None
    synops: float
    acs: float
    macs: float
    unit_synops: float
    unary_synops: float | None
    dense_macs: float
    biases: float
    neuron_updates: float
    active_updates: float
    spikes: float | None
    messages: float
    spike_rate: float | None


def mean_layer(count: LayerCount) -> Layer:
    """A layer's counts as means over the samples."""
    values = {field.name: getattr(count, field.name) for field in fields(Layer)}
    for key in MEANS:
        values[key] = None if values[key] is None else values[key] / max(count.samples, 1)
    return Layer(**values)


@dataclass(frozen=True)
class Totals:
    """Sums over the layers.

    Attributes:
        events, synops, acs, macs, dense_macs, biases, neuron_updates, active_updates, messages, spikes: per sample, as
            in layers.
        neurons: that keep a state, in the network.
        synapses, parameters, state: of the network, as in layers.
        spike_rate: spikes per neuron and step; `null` in a network that does not spike.
        density: synops / dense MACs.
        synops_per_synapse: synaptic operations per synapse and sample.
        proxy_ops: power proxy of the Intel N-DNS challenge, SynOPS + 10 x NeuronOPS, per sample.
        samples: that were counted.
        steps_per_sample: steps inside the window of a sample, mean.
    """

    events: float
    synops: float
    acs: float
    macs: float
    dense_macs: float
    biases: float
    neuron_updates: float
    active_updates: float
    messages: float
    neurons: int
    spikes: float
    spike_rate: float | None
    synapses: int
    parameters: int
    state: int
    density: float | None
    synops_per_synapse: float | None
    proxy_ops: float
    samples: int
    steps_per_sample: float


def spike_rate(counts: Sequence[LayerCount]) -> float | None:
    """Spikes per neuron and step of the layers that spike; None where there are none."""
    spiking = [layer for layer in counts if layer.spikes is not None]
    updates = sum(layer.neuron_updates for layer in spiking)
    return sum(layer.spikes or 0 for layer in spiking) / updates if updates else None


def sum_up(counts: Sequence[LayerCount]) -> Totals:
    """Sums over the layers, means over the samples."""
    samples = max((layer.samples for layer in counts), default=1) or 1

    def per_sample(key: str) -> float:
        return sum(getattr(layer, key) or 0 for layer in counts) / samples

    def of_network(key: str) -> int:
        return sum(getattr(layer, key) for layer in counts)

    synops, dense_macs, synapses = per_sample("synops"), per_sample("dense_macs"), of_network("synapses")
    return Totals(
        events=per_sample("events"),
        synops=synops,
        acs=per_sample("acs"),
        macs=per_sample("macs"),
        dense_macs=dense_macs,
        biases=per_sample("biases"),
        neuron_updates=per_sample("neuron_updates"),
        active_updates=per_sample("active_updates"),
        messages=per_sample("messages"),
        neurons=sum(layer.neurons for layer in counts if layer.kind in STATEFUL),
        spikes=per_sample("spikes"),
        spike_rate=spike_rate(counts),
        synapses=synapses,
        parameters=of_network("parameters"),
        state=of_network("state"),
        density=synops / dense_macs if dense_macs else None,
        synops_per_synapse=synops / synapses if synapses else None,
        proxy_ops=synops + 10 * per_sample("neuron_updates"),
        samples=samples,
        steps_per_sample=max((layer.sample_steps for layer in counts), default=0) / samples,
    )
