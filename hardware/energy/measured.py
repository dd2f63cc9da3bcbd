"""Energies that others measured on a device, and what price tables say of the same networks (docs/validation.md)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurotarget.hardware.energy.figure import PJ_PER_UJ
from neurotarget.hardware.energy.prices import GRADES, PriceTable

from neurotarget import tables
from neurotarget.tables import TableError, number, text

SHIPPED = Path(__file__).with_name("measured.toml")


@dataclass(frozen=True)
class Measurement:
    """One network on one device.

    Attributes:
        name, network, device: what ran where.
        device_class: rows of one class share a device model.
        layers: (how many, inputs, outputs) of each fully connected layer; empty where they are not known.
        rates: lowest and highest spikes per neuron and step, of inputs too.
        rates_published: false where `rates` is an assumption.
        spiking: false for a network of multiplications.
        steps, batch: of an inference; inferences that run at once.
        seconds: that an inference takes; None where not published.
        total_uj, dynamic_uj: measured per inference, with the idle draw and above it; None where not published.
        tables: price tables of this device or its like.
        source, grade: where it is published, and how it reached us.
        note: what is not as it should be.
    """

    name: str
    network: str
    device: str
    device_class: str
    layers: tuple[tuple[int, int, int], ...]
    rates: tuple[float, float]
    rates_published: bool
    steps: int = number(at_least=1)
    source: str = text()
    grade: str = text(one_of=GRADES)
    spiking: bool = True
    batch: int = number(1, at_least=1)
    seconds: float | None = number(None, above=0)
    total_uj: float | None = number(None, above=0)
    dynamic_uj: float | None = number(None)
    tables: tuple[str, ...] = ()
    note: str = ""

    @property
    def synapses(self) -> int:
        return sum(count * inputs * outputs for count, inputs, outputs in self.layers)

    def operations(self, rate: float) -> float:
        """Synaptic operations per inference when inputs and neurons fire at a rate; of a dense network all MACs."""
        return self.synapses * (self.steps * rate if self.spiking else 1)


def load_measured(path: Path = SHIPPED) -> list[Measurement]:
    """The measurements of a file.

    Raises:
        TableError: a row lacks a key, has an unknown one, or a value that cannot be.
    """
    content = tables.parse(path.read_text(encoding="utf-8"))
    assumed = _rates(content.get("assumed_rates"), f"{path}: assumed_rates")
    return [
        _measurement(entry, f"{path}: measurement {i}", assumed) for i, entry in enumerate(content["measurement"], 1)
    ]


def _measurement(entry: dict[str, Any], where: str, assumed: tuple[float, float]) -> Measurement:
    rest = dict(entry)
    published = "rates" in rest
    rates = _rates(rest.pop("rates"), f"{where}: rates") if published else assumed
    layers = rest.pop("layers", [])
    if not isinstance(layers, list) or not all(_is_layer(layer) for layer in layers):
        raise TableError(f"{where}: layers = {tables.shown(layers)}; a list of [how many, inputs, outputs] is expected")
    known = tuple(tuple(layer) for layer in layers)
    return tables.fill(Measurement, rest, where, layers=known, rates=rates, rates_published=published)


def _is_layer(layer: Any) -> bool:
    return isinstance(layer, list) and len(layer) == 3 and all(type(value) is int and value > 0 for value in layer)


def _rates(pair: Any, where: str) -> tuple[float, float]:
    if not isinstance(pair, list) or len(pair) != 2 or not all(type(rate) in (int, float) for rate in pair):
        raise TableError(f"{where} = {tables.shown(pair)}; the lowest and the highest spike rate are expected")
    low, high = map(float, pair)
    if not 0 < low <= high <= 1:
        raise TableError(f"{where} = {tables.shown(pair)}; rates above 0, rising, at most 1 are expected")
    return low, high


def predicted_uj(row: Measurement, table: PriceTable, rate: float) -> float | None:
    """What a price table says that the network takes per inference, in microjoule.

    Spiking, with inputs and neurons firing independently at `rate`, which is what a published network leaves to assume:
    as `operations_energy`, in expected counts. A neuron update is active when one of its inputs fires,
    `1 - (1 - rate) ** inputs`. Dense: a MAC per synapse.

    Returns:
        None where the layers are not known or the table does not price such a network.
    """
    prices = table.prices_pj
    if not row.layers:
        return None
    if not row.spiking:
        return row.operations(rate) * prices["dense_mac"] / PJ_PER_UJ if table.prices_dense else None
    if not table.prices_spiking:
        return None
    energy_pj = row.operations(rate) * prices.get("synaptic_operation", prices.get("ac", 0.0))
    active_pj = prices.get("neuron_update", 0.0)
    inactive_pj = prices.get("inactive_update", active_pj)
    for count, inputs, outputs in row.layers:
        active = 1 - math.pow(1 - rate, inputs)
        neurons_pj = outputs * (active * active_pj + (1 - active) * inactive_pj)
        traffic_pj = rate * (outputs * prices.get("spike", 0.0) + inputs * prices.get("message", 0.0))
        energy_pj += row.steps * count * (neurons_pj + traffic_pj)
    return energy_pj / PJ_PER_UJ
