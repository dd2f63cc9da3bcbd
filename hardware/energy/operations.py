"""Counts times prices: the boundary "operations".

Nothing here counts and nothing here knows a price: counts come from counts/, prices from the tables. The result is an
estimate and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from neurotarget.hardware.counts.layers import LayerCount
from neurotarget.hardware.energy.prices import PriceTable

PJ_PER_UJ = 1e6
OPERATIONS = "operations"
MEMORY = "memory"


@dataclass(frozen=True)
class EnergyFigure:
    """Energy of one inference under one table and boundary; all energies in microjoule, mean over the samples.

    Attributes:
        table: name of the price table.
        boundary: `operations`, `memory` or `measured`.
        snn_uj: the spiking network, None where the table does not price one.
        ann_uj: the network of the same shape that is not spiking, None where the table does not price one.
        ratio: ann_uj / snn_uj. Above 1 the spiking network takes less. None where one of them is missing or zero.
        kind: `estimated` or `measured`.
        source: of the prices.
        grade: evidence grade of the prices.
        snn_synapses_uj, snn_neurons_uj, snn_traffic_uj: what snn_uj is made of. Traffic is spikes and messages, and
            under the memory boundary accesses and addressing.
    """

    table: str
    boundary: str
    snn_uj: float | None
    ann_uj: float | None
    ratio: float | None
    kind: str
    source: str
    grade: str
    title: str
    group: str
    snn_synapses_uj: float | None = None
    snn_neurons_uj: float | None = None
    snn_traffic_uj: float | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def ratio(snn_uj: float | None, ann_uj: float | None) -> float | None:
    """How many times the energy of the spiking network the other one takes; None without both or where one is zero."""
    return ann_uj / snn_uj if snn_uj and ann_uj else None


def operations_energy(counts: Sequence[LayerCount], table: PriceTable) -> EnergyFigure:
    """Energy of the operations alone: no weight is fetched and no wire is driven unless the table's price holds it.

    SNN: sum over layers of acs * ac + macs * mac + neuron updates + spikes + messages, as far as the table prices them.
    ANN: dense_macs * dense_mac (Horowitz 2014 for the arithmetic tables: 4.6 pJ a MAC, 0.9 pJ an AC).
    """
    samples = max((layer.samples for layer in counts), default=0)
    snn = ann = None
    parts: dict[str, float] = {}
    if samples and table.prices_spiking:
        prices = table.prices_pj
        picojoule = {
            "snn_synapses_uj": sum(synapses_pj(layer, table) for layer in counts),
            "snn_neurons_uj": sum(neurons_pj(layer, table) for layer in counts),
            "snn_traffic_uj": prices.get("spike", 0.0) * sum(layer.spikes or 0 for layer in counts)
            + prices.get("message", 0.0) * sum(layer.messages for layer in counts),
        }
        parts = {key: value / samples / PJ_PER_UJ for key, value in picojoule.items()}
        snn = sum(parts.values())
    if samples and table.prices_dense:
        ann = table.prices_pj["dense_mac"] * sum(layer.dense_macs for layer in counts) / samples / PJ_PER_UJ
    return EnergyFigure(
        table=table.name,
        boundary=OPERATIONS,
        snn_uj=snn,
        ann_uj=ann,
        ratio=ratio(snn, ann),
        kind="estimated",
        source=table.source,
        grade=table.grade,
        title=table.title,
        group=table.group,
        **parts,
    )


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
