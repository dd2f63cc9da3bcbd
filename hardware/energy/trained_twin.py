"""The trained twin of a spiking network: a network that exists, with an accuracy, its operations counted and priced.

Where twin.py prices the spiking network's own shape computed densely, this is the rival that was trained for the same
task (model/networks/twin.py), in 32 bits and quantised. Both sides of a figure are priced by one table, so that they
have one precision: the twin in 32 bits under every table but those of 8-bit integers, the quantised ones under those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from neurotarget.hardware.energy.figure import ESTIMATED, MEMORY, OPERATIONS, PJ_PER_UJ, EnergyFigure
from neurotarget.hardware.energy.memory import dense_layer
from neurotarget.hardware.energy.prices import PriceTable
from neurotarget.hardware.energy.sensitivity import NO_PARTS, PriceParts, each_price_alone, ratio_interval
from neurotarget.hardware.energy.twin import TwinEnergy, twin_energy

if TYPE_CHECKING:
    from neurotarget.hardware.counts.twin_products import ProductCount, TwinRun

FLOAT_BITS = 32
INT8 = "INT8"


@dataclass(frozen=True)
class TwinFigure:
    """Energy of a trained twin per inference under one price table, beside the spiking network's under the same.

    Attributes:
        table, title, group: of the prices.
        boundary: `operations` or `memory`.
        precision: of the arithmetic that the table prices, on both sides; empty where it does not say.
        twin_uj: every multiply-accumulate.
        skipping_uj: only those without a zero activation.
        snn_uj: the spiking network; `null` where the table does not price one.
        ratio, skipping_ratio: `twin_uj` and `skipping_uj` / `snn_uj`: above 1 the spiking network takes less; `null`
            where it takes nothing or is not priced.
        ratio_low, ratio_high, skipping_ratio_low, skipping_ratio_high: 95 % of 10,000 draws of all prices at once, each
            from its range, lie between them, as in `uncertainty`.
        kind: `estimated`.
        source, grade: of the prices, and how good the evidence is.
    """

    table: str
    title: str
    group: str
    boundary: str
    precision: str
    twin_uj: float
    skipping_uj: float
    snn_uj: float | None
    ratio: float | None
    skipping_ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    skipping_ratio_low: float | None
    skipping_ratio_high: float | None
    kind: str
    source: str
    grade: str


@dataclass(frozen=True)
class TwinLayer:
    """One layer of a trained twin, per inference.

    Attributes:
        name, kind: of the layer.
        macs: multiply-accumulates.
        nonzero_macs: of them, those without a zero activation.
        sparsity: share of the activations that enter and are zero.
    """

    name: str
    kind: str
    macs: float
    nonzero_macs: float
    sparsity: float


@dataclass(frozen=True)
class TrainedTwin:
    """One form of the trained twin, on the report's own input ([energy.md](energy.md#the-trained-twin)).

    Attributes:
        name: `fp32`, or `int8`, `int7` ... by the bits of an activation.
        checkpoint: the file.
        bits: of an activation; 32 in floating point.
        weight_bits: of a weight.
        accuracy: share of the samples classified right; `null` without labels.
        samples: that were run.
        parameters: trained weights and biases.
        macs: multiply-accumulates per inference, at the true length of each utterance.
        nonzero_macs: of them, those without a zero activation.
        sparsity: share of the activations entering a product that are zero, weighted by the products they enter.
        exponentials: of attention's softmax, per inference; not priced.
        energies: by price table.
        at_22nm, at_22nm_skipping: with an accumulate per bit, as `twin.twins`; `null` in floating point.
        layers: in the order in which they compute.
    """

    name: str
    checkpoint: str
    bits: int
    weight_bits: int
    accuracy: float | None
    samples: int
    parameters: int
    macs: float
    nonzero_macs: float
    sparsity: float
    exponentials: float
    energies: tuple[TwinFigure, ...]
    at_22nm: TwinEnergy | None
    at_22nm_skipping: TwinEnergy | None
    layers: tuple[TwinLayer, ...]


def trained_twin(
    checkpoint: str,
    bits: int,
    weight_bits: int,
    accuracy: float | None,
    run: TwinRun,
    tables: Sequence[PriceTable],
    spiking: Sequence[EnergyFigure],
    parts: PriceParts = NO_PARTS,
) -> TrainedTwin:
    """A run of the twin, priced.

    Args:
        spiking: the spiking network's figures on the same input, under the same tables.
        parts: what each price makes of them; without them ratios have no interval.
    """
    counts, samples = run.counts, len(run.predicted)
    macs = sum(count.dense_macs for count in counts)
    nonzero = sum(count.nonzero_macs for count in counts)
    floating = bits == FLOAT_BITS
    snn_uj = {figure.table: figure.snn_uj for figure in spiking}
    priced = [table for table in tables if _prices(table) and (table.precision != INT8) == floating]
    skipped = [replace(count, dense_macs=count.nonzero_macs) for count in counts]
    return TrainedTwin(
        name="fp32" if floating else f"int{bits}",
        checkpoint=checkpoint,
        bits=bits,
        weight_bits=weight_bits,
        accuracy=accuracy,
        samples=samples,
        parameters=sum(count.parameters for count in counts),
        macs=macs / samples,
        nonzero_macs=nonzero / samples,
        sparsity=1 - nonzero / macs,
        exponentials=run.exponentials / samples,
        energies=tuple(_figure(table, counts, skipped, snn_uj.get(table.name), parts) for table in priced),
        at_22nm=None if floating else _at_22nm(counts, bits),
        at_22nm_skipping=None if floating else _at_22nm(skipped, bits),
        layers=tuple(_layer(count) for count in counts),
    )


def _prices(table: PriceTable) -> bool:
    return table.prices_dense or table.prices_memory


def _figure(
    table: PriceTable,
    counts: Sequence[ProductCount],
    skipped: Sequence[ProductCount],
    spiking_uj: float | None,
    parts: PriceParts,
) -> TwinFigure:
    twin_uj, skipping_uj = _uj(counts, table), _uj(skipped, table)
    low, high = _interval(table, counts, spiking_uj, parts)
    skipping_low, skipping_high = _interval(table, skipped, spiking_uj, parts)
    return TwinFigure(
        table=table.name,
        title=table.title,
        group=table.group,
        boundary=MEMORY if table.prices_memory else OPERATIONS,
        precision=table.precision,
        twin_uj=twin_uj,
        skipping_uj=skipping_uj,
        snn_uj=spiking_uj,
        ratio=twin_uj / spiking_uj if spiking_uj else None,
        skipping_ratio=skipping_uj / spiking_uj if spiking_uj else None,
        ratio_low=low,
        ratio_high=high,
        skipping_ratio_low=skipping_low,
        skipping_ratio_high=skipping_high,
        kind=ESTIMATED,
        source=table.source,
        grade=table.grade,
    )


def _interval(
    table: PriceTable, counts: Sequence[ProductCount], spiking_uj: float | None, parts: PriceParts
) -> tuple[float, float] | tuple[None, None]:
    """Of twin over spiking, with all prices moved."""
    if not spiking_uj or table.name not in parts.uj:
        return None, None
    twin = {price: _uj(counts, alone) for price, alone in each_price_alone(table).items()}
    spiking = {price: snn_uj for price, (snn_uj, _) in parts.uj[table.name].items()}
    return ratio_interval(twin, spiking, parts.ranges[table.name])


def _uj(counts: Sequence[ProductCount], table: PriceTable) -> float:
    """Mean energy per inference: multiply-accumulates alone, or with every access to memory (memory.py)."""
    if table.prices_memory:
        energy_pj = sum(dense_layer(count, table).total_pj for count in counts)
    else:
        energy_pj = table.prices_pj["dense_mac"] * sum(count.dense_macs for count in counts)
    return energy_pj / counts[0].samples / PJ_PER_UJ


def _at_22nm(counts: Sequence[ProductCount], bits: int) -> TwinEnergy:
    samples = counts[0].samples
    values = sum(count.input_values for count in counts) / samples
    return twin_energy(sum(count.dense_macs for count in counts) / samples, values, bits)


def _layer(count: ProductCount) -> TwinLayer:
    return TwinLayer(
        name=count.name,
        kind=count.kind,
        macs=count.dense_macs / count.samples,
        nonzero_macs=count.nonzero_macs / count.samples,
        sparsity=count.zero_values / count.input_values,
    )
