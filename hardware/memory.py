"""The boundary "memory": operations, every access to memory, and the arithmetic of addresses.

After E. Lemaire et al., "An analytical estimation of spiking neural networks energy efficiency", ICONIP 2022
(arXiv 2210.13107): 45 nm, 32-bit integers, every layer with memories of its own, no reuse of a fetched value. Where a
layer's edges make the paper's closed form differ from the exact count, the exact count is used. The paper charges
events * inputs * outputs for a fully connected layer (its equation 2.4); one event reaches each output once, so this
is events * outputs here, as in the metric of its authors' laboratory (qualia-plugin-snn 2.6.0). Attention, rotary and
gate are not in the paper: they are charged by the same rule, an access for every value that is read or written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hardware.count import LayerCount
from hardware.energy import MEMORY, PJ_PER_UJ, EnergyFigure, ratio
from sim.node import STATEFUL, SYNAPTIC

ADD_PJ, MAC_PJ = 0.1, 3.2
WORD_BYTES = 4
# Energy of one 32-bit access by size of the memory: Horowitz 2014, through zero as in the paper. Beyond the largest
# memory in that table the last slope goes on. The authors' laboratory draws one line by these points: docs/energy.md.
SIZES_BYTES = (0, 8 * 1024, 32 * 1024, 1024 * 1024)
ACCESS_PJ = (0.0, 10.0, 20.0, 100.0)
CONVOLUTIONS = frozenset({"conv1d", "conv2d", "temporal_conv", "depthwise_conv", "sum_pool", "avg_pool"})
PARTS = ("operations", "neurons", "accesses", "addressing")  # of `MemoryEnergy`
FIFO_WORDS = 1000  # the paper's spiking layers take and give spikes through queues of 1000 messages
WITHOUT_LEAK = frozenset({"if", "integrator", "threshold"})
SOURCE = "E. Lemaire et al., ICONIP 2022, arXiv 2210.13107; prices: M. Horowitz, ISSCC 2014"


def access_pj(words: int) -> float:
    """Energy of one 32-bit access to a memory of so many words, in pJ."""
    size = words * WORD_BYTES
    if size <= SIZES_BYTES[-1]:
        return float(np.interp(size, SIZES_BYTES, ACCESS_PJ))
    slope = (ACCESS_PJ[-1] - ACCESS_PJ[-2]) / (SIZES_BYTES[-1] - SIZES_BYTES[-2])
    return ACCESS_PJ[-1] + slope * (size - SIZES_BYTES[-1])


@dataclass(frozen=True)
class MemoryEnergy:
    """Energy of one layer over a whole trace, in pJ."""

    operations: float = 0.0
    neurons: float = 0.0
    accesses: float = 0.0
    addressing: float = 0.0

    @property
    def total(self) -> float:
        return self.operations + self.neurons + self.accesses + self.addressing


def spiking_layer(layer: LayerCount) -> MemoryEnergy:
    """A layer of the spiking network; events and spikes pass through queues.

    Synapses: acs additions and macs MACs, a bias is an addition. Accesses: inputs events; weights synops; potentials
    read and write 2 * synops; biases. Neurons: a MAC a leaky neuron and step, an addition a spike (reset), potentials
    read and written once a step. Outputs: spikes. Addresses: synops additions, and for convolutions 2 MACs an event.
    """
    neurons = accesses = addressing = 0.0
    if layer.kind in STATEFUL:
        leak = 0 if layer.kind in WITHOUT_LEAK else layer.neuron_updates
        potentials = 2 * layer.neuron_updates * access_pj(layer.state)
        neurons = leak * MAC_PJ + (layer.spikes or 0) * ADD_PJ + potentials
        accesses = (layer.spikes or 0) * access_pj(FIFO_WORDS)
    elif layer.kind == "delay":
        accesses = 2 * layer.events * access_pj(layer.state)
    elif layer.kind in SYNAPTIC | CONVOLUTIONS:
        stored = access_pj(layer.parameters)
        # A bias enters through the neuron's own update: no further access to the potential.
        accesses = layer.events * access_pj(FIFO_WORDS) + (layer.synops + layer.biases) * stored
        # A convolution over time adds to potentials of steps to come, so that it keeps one for each of its taps.
        accesses += 2 * layer.synops * access_pj(layer.neurons + layer.state)
        addressing = layer.synops * ADD_PJ + (2 * layer.events * MAC_PJ if layer.kind in CONVOLUTIONS else 0.0)
    else:  # attention and rotary work on their state; a gate only lets a value pass
        accesses = layer.events * access_pj(FIFO_WORDS) + 2 * layer.synops * access_pj(layer.state)
        addressing = layer.synops * ADD_PJ
    operations = (layer.acs + layer.biases) * ADD_PJ + layer.macs * MAC_PJ
    return MemoryEnergy(operations, neurons, accesses, addressing)


def dense_layer(layer: LayerCount) -> MemoryEnergy:
    """The same layer in a network that is not spiking: the paper's equations 3, 4 and 6.

    A fully connected layer reads each input once, a convolution once a MAC; weights once a MAC; outputs are written
    once a step. Addresses run in order: an addition an input and output of each step. Activation functions are not
    charged.
    """
    if not layer.dense_macs:
        return MemoryEnergy()
    inputs = layer.dense_macs if layer.kind in CONVOLUTIONS else layer.inputs * layer.sample_steps
    accesses = inputs * access_pj(layer.inputs)
    if layer.kind in SYNAPTIC:
        accesses += (layer.dense_macs + layer.biases) * access_pj(layer.parameters)
    elif layer.kind == "attention":  # the second operand of each product is an activation of some step of the utterance
        utterance = layer.inputs * layer.sample_steps // max(layer.samples, 1)
        accesses += layer.dense_macs * access_pj(utterance)
    accesses += layer.neurons * layer.sample_steps * access_pj(layer.neurons)
    operations = layer.dense_macs * MAC_PJ + layer.biases * ADD_PJ
    return MemoryEnergy(operations, 0.0, accesses, (layer.inputs + layer.neurons) * layer.sample_steps * ADD_PJ)


def by_layer(counts: Sequence[LayerCount]) -> list[dict[str, Any]]:
    """What each layer takes, microjoule an inference: `name`, its parts and `total_uj`."""
    rows = []
    for layer in counts:
        energy = spiking_layer(layer)
        unit = max(layer.samples, 1) * PJ_PER_UJ
        parts = {f"{key}_uj": getattr(energy, key) / unit for key in PARTS}
        rows.append({"name": layer.name, **parts, "total_uj": energy.total / unit})
    return rows


def memory_energy(counts: Sequence[LayerCount]) -> EnergyFigure:
    """Mean energy of one inference with memory included."""
    samples = max((layer.samples for layer in counts), default=1) or 1
    unit = samples * PJ_PER_UJ
    spiking = [spiking_layer(layer) for layer in counts]
    snn = sum(layer.total for layer in spiking) / unit
    ann = sum(dense_layer(layer).total for layer in counts) / unit
    return EnergyFigure(
        table="lemaire2022",
        boundary=MEMORY,
        snn_uj=snn,
        ann_uj=ann,
        ratio=ratio(snn, ann),
        kind="estimated",
        source=SOURCE,
        grade="second-hand",
        title="45 nm, 32-bit integers, with memory and addressing",
        group="memory included",
        snn_synapses_uj=sum(layer.operations for layer in spiking) / unit,
        snn_neurons_uj=sum(layer.neurons for layer in spiking) / unit,
        snn_traffic_uj=sum(layer.accesses + layer.addressing for layer in spiking) / unit,
    )
