"""Counts times prices: the boundary "operations".

Nothing here counts and nothing here knows a price: counts come from counts/, prices from the tables. The result is an
estimate and says so.
"""

from __future__ import annotations

from collections.abc import Sequence

from neurotarget.hardware.counts.layers import LayerCount
from neurotarget.hardware.counts.summary import spike_rate
from neurotarget.hardware.energy.figure import OPERATIONS, PJ_PER_UJ, EnergyFigure, SpikingEnergy, energy_figure
from neurotarget.hardware.energy.prices import PriceTable


def operations_energy(counts: Sequence[LayerCount], table: PriceTable) -> EnergyFigure:
    """Energy of the operations alone: no weight is fetched and no wire is driven unless the table's price holds it.

    SNN: sum over layers of acs * ac + macs * mac + neuron updates + spikes + messages, as far as the table prices them.
    ANN: dense_macs * dense_mac (Horowitz 2014 for the arithmetic tables: 4.6 pJ per MAC, 0.9 pJ per AC).
    """
    samples = max((layer.samples for layer in counts), default=0)
    prices = table.prices_pj
    spiking = ann_uj = None
    if samples and table.prices_spiking:
        traffic_pj = prices.get("spike", 0.0) * sum(layer.spikes or 0 for layer in counts)
        traffic_pj += prices.get("message", 0.0) * sum(layer.messages for layer in counts)
        synapses, neurons, traffic = (
            energy_pj / samples / PJ_PER_UJ
            for energy_pj in (
                sum(synapses_pj(layer, table) for layer in counts),
                sum(neurons_pj(layer, table) for layer in counts),
                traffic_pj,
            )
        )
        spiking = SpikingEnergy(synapses, neurons, traffic, synapses + neurons + traffic)
    if samples and table.prices_dense:
        ann_uj = prices["dense_mac"] * sum(layer.dense_macs for layer in counts) / samples / PJ_PER_UJ
    return energy_figure(table, OPERATIONS, spiking, ann_uj, spike_rate(counts))


def synapses_pj(layer: LayerCount, table: PriceTable) -> float:
    """Energy of a layer's synaptic operations over the whole trace, in pJ."""
    prices = table.prices_pj
    one = prices.get("synaptic_operation", prices.get("ac", 0.0))
    if table.integer_payload == "mac":
        return layer.acs * one + layer.macs * prices.get("mac", one)
    if table.integer_payload == "unary" and layer.unary_synops is not None:
        return layer.unary_synops * one
    return layer.synops * one


def neurons_pj(layer: LayerCount, table: PriceTable) -> float:
    """Energy of a layer's neuron updates over the whole trace, in pJ; inactive ones at their own price, if known."""
    active = table.prices_pj.get("neuron_update", 0.0)
    inactive = table.prices_pj.get("inactive_update", active)
    return active * layer.active_updates + inactive * (layer.neuron_updates - layer.active_updates)
