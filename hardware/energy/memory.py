"""The boundary "memory": operations, every access to memory, and the arithmetic of addresses.

After E. Lemaire et al., "An analytical estimation of spiking neural networks energy efficiency", ICONIP 2022
(arXiv 2210.13107): 32-bit integers, every layer with memories of its own, no reuse of a fetched value. Where a layer's
edges make the paper's closed form differ from the exact count, the exact count is used. The paper charges
events * inputs * outputs for a fully connected layer (its equation 2.4); one event reaches each output once, so this
is events * outputs here, as in the metric of its authors' laboratory (qualia-plugin-snn 2.6.0). Attention, rotary and
delay are not in the paper: they are charged by the same rule, an access for every value that is read or written. Where
nothing is kept, nothing is read.

What an access costs by the size of its memory is read from the paper in two ways. Each is a price table, as a user's
own would be, and gives a figure of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from neurotarget.hardware.counts.layers import LayerCount
from neurotarget.hardware.counts.summary import spike_rate
from neurotarget.hardware.energy.figure import MEMORY, PJ_PER_UJ, EnergyFigure, SpikingEnergy, energy_figure
from neurotarget.hardware.energy.operations import operations_energy
from neurotarget.hardware.energy.prices import PriceTable
from neurotarget.sim.graph.kinds import LEAKY, SLIDING, STATEFUL, SYNAPTIC

WORD_BYTES = 4
FIFO_WORDS = 1000  # the paper's spiking layers take and give spikes through queues of 1000 messages


def access_pj(words: float, table: PriceTable) -> float:
    """Energy of one 32-bit access to a memory of so many words, in pJ, as the table prices it.

    0 for no words, whatever the table: a pool keeps no weights, a gate and a threshold keep no potentials.
    """
    if not words:
        return 0.0
    sizes, energies = zip(*table.access_pj, strict=True)
    size = words * WORD_BYTES
    if size <= sizes[-1]:
        return float(np.interp(size, sizes, energies))
    slope = (energies[-1] - energies[-2]) / (sizes[-1] - sizes[-2])
    return float(energies[-1] + slope * (size - sizes[-1]))


@dataclass(frozen=True)
class MemoryEnergy:
    """Energy of one layer over a whole trace."""

    operations_pj: float = 0.0
    neurons_pj: float = 0.0
    accesses_pj: float = 0.0
    addressing_pj: float = 0.0

    @property
    def total_pj(self) -> float:
        return self.operations_pj + self.neurons_pj + self.accesses_pj + self.addressing_pj


@dataclass(frozen=True)
class MemoryLayer:
    """Energy of a layer per inference with memory included; a row per layer for each price of an access.

    Attributes:
        table: that prices an access.
        name: of the layer.
        operations_uj: additions and MACs of its synapses.
        neurons_uj: updates of its neurons, and biases.
        accesses_uj: reads and writes of weights, potentials and spikes.
        addressing_uj: arithmetic of addresses.
        total_uj: all four.
    """

    table: str
    name: str
    operations_uj: float
    neurons_uj: float
    accesses_uj: float
    addressing_uj: float
    total_uj: float


def spiking_layer(layer: LayerCount, table: PriceTable) -> MemoryEnergy:
    """A layer of the spiking network; events and spikes pass through queues.

    Synapses: acs additions and macs MACs. Accesses: inputs events; weights synops; potentials read and write
    2 * synops. Neurons: a MAC per leaky neuron and step, an addition per spike (reset), potentials read and written
    once per step, and each bias an access and an addition per step, because none of these becomes less when the events
    do. Outputs: spikes. Addresses: synops additions, and for convolutions 2 MACs per event.
    """
    access, add, mac = partial(access_pj, table=table), table.prices_pj["ac"], table.prices_pj["mac"]
    neurons = accesses = addressing = 0.0
    if layer.kind in STATEFUL:
        leak = layer.neuron_updates if layer.kind in LEAKY else 0
        potentials = 2 * layer.neuron_updates * access(layer.state)
        neurons = leak * mac + (layer.spikes or 0) * add + potentials
        # Events of its own are spikes that are wired straight to it: they have no weight, but a potential to add to.
        accesses = ((layer.spikes or 0) + layer.events) * access(FIFO_WORDS) + 2 * layer.synops * access(layer.state)
        addressing = layer.synops * add
    elif layer.kind == "delay":
        accesses = 2 * layer.events * access(layer.state)
    elif layer.kind in SYNAPTIC | SLIDING:
        stored = access(layer.parameters)
        # A bias enters through the neuron's own update: no further access to the potential.
        neurons = layer.biases * (add + stored)
        accesses = layer.events * access(FIFO_WORDS) + layer.synops * stored
        # A convolution over time adds to potentials of steps to come, so that it keeps one for each of its taps.
        accesses += 2 * layer.synops * access(layer.neurons + layer.state)
        addressing = layer.synops * add + (2 * layer.events * mac if layer.kind in SLIDING else 0.0)
    else:  # attention and rotary work on their state; a gate has none, it only lets a value pass
        accesses = layer.events * access(FIFO_WORDS) + 2 * layer.synops * access(layer.state)
        addressing = layer.synops * add
    operations = layer.acs * add + layer.macs * mac
    return MemoryEnergy(operations, neurons, accesses, addressing)


class DenseCount(Protocol):
    """What the dense side of a layer is priced by, over a whole run; fields as in `LayerCount`."""

    @property
    def kind(self) -> str: ...
    @property
    def inputs(self) -> float: ...
    @property
    def neurons(self) -> float: ...
    @property
    def parameters(self) -> int: ...
    @property
    def dense_macs(self) -> int: ...
    @property
    def biases(self) -> int: ...
    @property
    def samples(self) -> int: ...
    @property
    def sample_steps(self) -> int: ...


def dense_layer(layer: DenseCount, table: PriceTable) -> MemoryEnergy:
    """The same layer in a network that is not spiking: the paper's equations 3, 4 and 6.

    A fully connected layer reads each input once, a convolution once per MAC; weights once per MAC; outputs are
    written once per step. Addresses run in order: an addition per input and output of each step. Activation functions
    are not charged.
    """
    if not layer.dense_macs:
        return MemoryEnergy()
    access, add, mac = partial(access_pj, table=table), table.prices_pj["ac"], table.prices_pj["mac"]
    inputs = layer.dense_macs if layer.kind in SLIDING else layer.inputs * layer.sample_steps
    accesses = inputs * access(layer.inputs)
    if layer.kind in SYNAPTIC:
        accesses += (layer.dense_macs + layer.biases) * access(layer.parameters)
    elif layer.kind == "attention":  # the second operand of each product is an activation of some step of the utterance
        utterance = layer.inputs * layer.sample_steps // max(layer.samples, 1)
        accesses += layer.dense_macs * access(utterance)
    accesses += layer.neurons * layer.sample_steps * access(layer.neurons)
    operations = layer.dense_macs * mac + layer.biases * add
    return MemoryEnergy(operations, 0.0, accesses, (layer.inputs + layer.neurons) * layer.sample_steps * add)


def by_layer(counts: Sequence[LayerCount], tables: Sequence[PriceTable]) -> list[MemoryLayer]:
    """What each layer takes under each table that prices an access."""
    rows = []
    for table in tables:
        for layer in counts if table.prices_memory else ():
            energy = spiking_layer(layer, table)
            parts = energy.operations_pj, energy.neurons_pj, energy.accesses_pj, energy.addressing_pj, energy.total_pj
            unit = max(layer.samples, 1) * PJ_PER_UJ
            rows.append(MemoryLayer(table.name, layer.name, *(part / unit for part in parts)))
    return rows


def memory_energy(counts: Sequence[LayerCount], table: PriceTable) -> EnergyFigure:
    """Mean energy per inference with memory included, under a table that prices an access."""
    samples = max((layer.samples for layer in counts), default=1) or 1
    unit = samples * PJ_PER_UJ
    layers = [spiking_layer(layer, table) for layer in counts]
    spiking = SpikingEnergy(
        synapses_uj=sum(layer.operations_pj for layer in layers) / unit,
        neurons_uj=sum(layer.neurons_pj for layer in layers) / unit,
        traffic_uj=sum(layer.accesses_pj + layer.addressing_pj for layer in layers) / unit,
        total_uj=sum(layer.total_pj for layer in layers) / unit,
    )
    ann_uj = sum(dense_layer(layer, table).total_pj for layer in counts) / unit
    return energy_figure(table, MEMORY, spiking, ann_uj, spike_rate(counts))


def energies(counts: Sequence[LayerCount], tables: Sequence[PriceTable]) -> list[EnergyFigure]:
    """One figure per table: those without a price of an access under "operations", then the others under "memory"."""
    without = [operations_energy(counts, table) for table in tables if not table.prices_memory]
    return [*without, *(memory_energy(counts, table) for table in tables if table.prices_memory)]
