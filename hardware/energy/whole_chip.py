"""What a whole chip would take for a network: device models that were fitted on measurements, and how far they miss.

A price list is marginal, core only. Where a class of chips has a model, its figure stands beside the list's, with the
factors by which both were off for networks whose energy is published (docs/validation.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from neurotarget.hardware.counts.layers import LayerCount
from neurotarget.hardware.counts.summary import sum_up
from neurotarget.hardware.energy.device_model import DeviceModel, fit_device, usable
from neurotarget.hardware.energy.measured import Measurement, load_measured, predicted_uj
from neurotarget.hardware.energy.operations import operations_energy
from neurotarget.hardware.energy.prices import PriceTable

from neurotarget.figures import interval, rounded


@dataclass(frozen=True)
class WholeChip:
    """This network on a whole chip, above its idle draw, per inference ([validation.md](validation.md)).

    Attributes:
        device_class: of the measurements that the model was fitted on.
        low_uj, high_uj: by the model. An interval because spike rates of the measured networks are not published.
        marginal_low_uj, marginal_high_uj: by the price tables of that chip: marginal, core only.
        rows: measurements in the class.
        miss_typical, miss_worst: factor by which the model misses a measurement that it was not fitted on.
        too_low_least, too_low_most: measured over predicted by the price tables, for these measurements.
        extrapolated: whether this network takes more or fewer steps than any of them.
        reservation: why it does not apply: the network does not fit the chip; `null` where nothing is known against it.
        sentence: all of it in words.
    """

    device_class: str
    low_uj: float
    high_uj: float
    marginal_low_uj: float
    marginal_high_uj: float
    rows: int
    miss_typical: float
    miss_worst: float
    too_low_least: float
    too_low_most: float
    extrapolated: bool
    reservation: str | None
    sentence: str


def whole_chips(
    counts: Sequence[LayerCount], tables: Sequence[PriceTable], reasons: Mapping[str, str]
) -> list[WholeChip]:
    """A row per class of spiking chips that has a model and price tables; none for a network without operations.

    Args:
        reasons: by group of price tables, why the network does not fit that chip.
    """
    rows = [row for row in load_measured() if row.spiking and row.tables]
    found = []
    for name in dict.fromkeys(row.device_class for row in rows):
        mine = usable([row for row in rows if row.device_class == name])
        model = fit_device(mine)
        if isinstance(model, DeviceModel) and any(layer.synops for layer in counts):
            found.append(_whole_chip(model, mine, counts, tables, reasons))
    return found


def _whole_chip(
    model: DeviceModel,
    rows: Sequence[Measurement],
    counts: Sequence[LayerCount],
    tables: Sequence[PriceTable],
    reasons: Mapping[str, str],
) -> WholeChip:
    mine = [table for table in tables if any(table.name in row.tables for row in rows)]
    steps = sum_up(counts).steps_per_sample
    low, high = model.predicted_uj(steps, _unit_operations(counts) / max(layer.samples for layer in counts))
    marginal = [operations_energy(counts, table).snn_uj or 0.0 for table in mine]
    too_low = [
        row.dynamic_uj / predicted
        for row in rows
        for table in mine
        for rate in row.rates
        if row.dynamic_uj and table.name in row.tables and (predicted := predicted_uj(row, table, rate))
    ]
    extrapolated = not model.steps_low <= steps <= model.steps_high
    typical, worst = rounded(model.leave_one_out_typical), rounded(model.leave_one_out_worst)
    sentence = (
        f"{model.device_class}: {interval((low, high))} µJ above idle by a model of {model.rows} measurements, which "
        f"misses one that it was not fitted on by a factor of {typical}, at worst {worst}. The price list alone, "
        f"marginal, core only, says {interval(marginal)} µJ and was {interval(too_low)} times too low for them."
    )
    if extrapolated:
        theirs = interval((model.steps_low, model.steps_high))
        sentence += f" This network takes {rounded(steps)} steps, theirs {theirs}: the fixed cost is extrapolated."
    reservation = next((reasons[table.group] for table in mine if table.group in reasons), None)
    if reservation:
        sentence += f" It is for comparison only: {reservation}."
    return WholeChip(
        device_class=model.device_class,
        low_uj=low,
        high_uj=high,
        marginal_low_uj=min(marginal),
        marginal_high_uj=max(marginal),
        rows=model.rows,
        miss_typical=model.leave_one_out_typical,
        miss_worst=model.leave_one_out_worst,
        too_low_least=min(too_low),
        too_low_most=max(too_low),
        extrapolated=extrapolated,
        reservation=reservation,
        sentence=sentence,
    )


def _unit_operations(counts: Sequence[LayerCount]) -> int:
    """Synaptic operations of unit spikes, as the measured chips send them: an integer n is n of them."""
    return sum(layer.synops if layer.unary_synops is None else layer.unary_synops for layer in counts)
