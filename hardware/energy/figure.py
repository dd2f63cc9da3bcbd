"""One energy figure: what a network takes per inference under one price table, and where the answer would flip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from neurotarget.hardware.energy.prices import GPU_FLOOR, MEASURED_GPU, PJ_PER_UJ, PriceTable

__all__ = ["PJ_PER_UJ", "EnergyFigure", "SpikingEnergy", "break_even_activity", "dense_on_gpu", "energy_figure"]

OPERATIONS = "operations"
MEMORY = "memory"
ESTIMATED = "estimated"


@dataclass(frozen=True)
class EnergyFigure:
    """Energy per inference under one price table, mean over the samples. Where memory is priced there is a row for
    each price of an access, two as shipped ([energy.md](energy.md#boundaries)).

    Attributes:
        table: name of the price table.
        boundary: `operations` or `memory`.
        snn_uj: the spiking network; `null` where the table does not price one.
        ann_uj: the network of the same shape that does not spike; `null` where the table does not price one.
        ratio: `ann_uj` / `snn_uj`: above 1 the spiking network takes less. `null` where one is missing or zero.
        kind: `estimated`.
        source, grade: of the prices, and how good the evidence is.
        title, group: of the price table.
        precision, node: of what it prices; precision is empty where the table does not say.
        snn_synapses_uj, snn_neurons_uj, snn_traffic_uj: what `snn_uj` is made of. Traffic is spikes and messages, and
            with memory accesses and addresses.
        break_even_activity: factor on all events at which both networks take the same; `null` where it is not defined.
        break_even_steps: steps that the spiking network may take for one pass of the dense one, at this spike rate.
        break_even_spike_rate: the mean spike rate at which both take the same, 0 where neuron updates alone cost more.
        reservation: why the price does not apply: the network does not fit the chip; `null` where nothing is known
            against it.
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
    precision: str
    node: str
    snn_synapses_uj: float | None
    snn_neurons_uj: float | None
    snn_traffic_uj: float | None
    break_even_activity: float | None
    break_even_steps: float | None
    break_even_spike_rate: float | None
    reservation: str | None = None


@dataclass(frozen=True)
class SpikingEnergy:
    """What the spiking network takes per inference, in microjoule; synapses and traffic scale with the events."""

    synapses_uj: float
    neurons_uj: float
    traffic_uj: float
    total_uj: float


def energy_figure(
    table: PriceTable, boundary: str, spiking: SpikingEnergy | None, ann_uj: float | None, spike_rate: float | None
) -> EnergyFigure:
    """The figure of one table.

    Args:
        spiking, ann_uj: None where the table does not price that network.
        spike_rate: of the run, for the rate at which both networks take the same.
    """
    snn_uj = None if spiking is None else spiking.total_uj
    ratio = ann_uj / snn_uj if snn_uj and ann_uj else None
    factor = None if spiking is None or ann_uj is None else break_even_activity(spiking, ann_uj)
    return EnergyFigure(
        table=table.name,
        boundary=boundary,
        snn_uj=snn_uj,
        ann_uj=ann_uj,
        ratio=ratio,
        kind=ESTIMATED,
        source=table.source,
        grade=table.grade,
        title=table.title,
        group=table.group,
        precision=table.precision,
        node=table.node,
        snn_synapses_uj=None if spiking is None else spiking.synapses_uj,
        snn_neurons_uj=None if spiking is None else spiking.neurons_uj,
        snn_traffic_uj=None if spiking is None else spiking.traffic_uj,
        break_even_activity=factor,
        break_even_steps=ratio,
        break_even_spike_rate=None if factor is None or spike_rate is None else max(factor, 0.0) * spike_rate,
    )


def break_even_activity(spiking: SpikingEnergy, ann_uj: float) -> float | None:
    """Factor on all event counts at which both networks take the same energy; None where nothing follows the events.

    Synapses and traffic scale with the events, neuron updates do not: a = (ann - neurons) / (synapses + traffic). A
    factor below 0 means that the neuron updates alone cost more than the whole other network.
    """
    scaling = spiking.synapses_uj + spiking.traffic_uj
    return (ann_uj - spiking.neurons_uj) / scaling if scaling else None


def dense_on_gpu(figures: Sequence[EnergyFigure]) -> list[EnergyFigure]:
    """The dense network on GPUs by prices that were measured; data sheets, a floor, only where there are none."""
    operations = [row for row in figures if row.boundary == OPERATIONS and row.ann_uj is not None]
    measured = [row for row in operations if row.group == MEASURED_GPU]
    return measured or [row for row in operations if row.group == GPU_FLOOR]
