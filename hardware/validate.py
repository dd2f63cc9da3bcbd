"""`python -m hardware.validate`: what the price tables predict for networks that others measured on a device.

Each published measurement with a known network beside our prediction, and device models fitted per class of device
(docs/validation.md).
"""

from __future__ import annotations

import sys

from neurotarget.hardware.commands import validate as main

if __name__ == "__main__":  # before the imports that take long: --help needs none of them
    sys.exit(main())

import argparse
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from neurotarget.hardware.energy.device_model import SECOND, STEP, DeviceModel, fit_device, usable
from neurotarget.hardware.energy.measured import Measurement, load_measured, predicted_uj
from neurotarget.hardware.energy.prices import PriceTable, load_tables

from neurotarget.cli import Result
from neurotarget.figures import NONE, interval, rounded
from neurotarget.terminal import aligned, results


@dataclass(frozen=True)
class Prediction:
    """A price table beside a measurement.

    Attributes:
        table: its name.
        low_uj, high_uj: predicted per inference, at the lowest and the highest spike rate.
        ratio_low, ratio_high: predicted over measured, the dynamic energy; `null` where that was not published or is
            not above zero.
    """

    table: str
    low_uj: float
    high_uj: float
    ratio_low: float | None
    ratio_high: float | None


@dataclass(frozen=True)
class Validated:
    """A measurement and what the tables of its device say."""

    measurement: Measurement
    predictions: tuple[Prediction, ...]


@dataclass(frozen=True)
class DeviceClass:
    """A class of devices and its models, of a fixed cost per step and per second.

    Attributes:
        rows: with known layers and a dynamic energy above zero.
        models: that could be fitted.
        reason: why none could; otherwise empty.
    """

    name: str
    rows: int
    models: tuple[DeviceModel, ...]
    reason: str


def validate(rows: Sequence[Measurement], tables: Sequence[PriceTable]) -> list[Validated]:
    """The predictions for every row."""
    by_name = {table.name: table for table in tables}
    return [Validated(row, tuple(_predictions(row, [by_name[name] for name in row.tables]))) for row in rows]


def _predictions(row: Measurement, tables: Sequence[PriceTable]) -> list[Prediction]:
    found = []
    for table in tables:
        low, high = (predicted_uj(row, table, rate) for rate in row.rates)
        if low is None or high is None:
            continue
        known = row.dynamic_uj is not None and row.dynamic_uj > 0
        ratios = (low / row.dynamic_uj, high / row.dynamic_uj) if known and row.dynamic_uj else (None, None)
        found.append(Prediction(table.name, low, high, *ratios))
    return found


def device_classes(rows: Sequence[Measurement]) -> list[DeviceClass]:
    """The models per class of devices, or why there are none, in the order of the rows."""
    found = []
    for name in dict.fromkeys(row.device_class for row in rows):
        mine = [row for row in rows if row.device_class == name]
        fits = [fit_device(mine, per) for per in (STEP, SECOND)]
        models = tuple(fit for fit in fits if isinstance(fit, DeviceModel))
        found.append(DeviceClass(name, len(usable(mine)), models, "" if models else str(fits[0])))
    return found


RATIO = "predicted / dynamic"


# ---- the command -----------------------------------------------------------------------------------------------------


def work(arguments: argparse.Namespace) -> Result:
    measured = load_measured()
    validated, classes = validate(measured, load_tables()), device_classes(measured)
    figures = {
        "measurements": [dataclasses.asdict(entry) for entry in validated],
        "device_classes": [dataclasses.asdict(entry) for entry in classes],
    }
    return Result(figures, words(validated, classes))


def words(validated: Sequence[Validated], classes: Sequence[DeviceClass]) -> str:
    """Both tables for a terminal."""
    rows = [("measured, per inference", "evidence", "price table", "dynamic, uJ", "total, uJ", "predicted, uJ", RATIO)]
    for entry in validated:
        row = entry.measurement
        known = (rounded(row.dynamic_uj), rounded(row.total_uj))
        rows += [(row.name, row.grade, one.table, *known, *prediction_cells(one)) for one in entry.predictions]
        if not entry.predictions:
            reason = "no table of this device" if row.layers else "its layers are not known"
            rows.append((row.name, row.grade, reason, *known, NONE, NONE))
    models: list[tuple[str, ...]] = [
        ("device model", "per", "fixed, uJ", "pJ per operation", "rows", "left out, missed by", "at worst")
    ]
    models += [model_cells(entry.name, model) for entry in classes for model in entry.models]
    lines = [*aligned(models, texts=2), *(f"{entry.name}: {entry.reason}" for entry in classes if entry.reason)]
    ratios = [ratio for entry in validated for one in entry.predictions for ratio in (one.ratio_low, one.ratio_high)]
    worst = [model.leave_one_out_worst for entry in classes for model in entry.models]
    verdict = (
        f"{len(validated)} measurements: price tables, marginal and core only, predict {interval(ratios)} times the "
        f"dynamic energy; device models miss what they were not fitted on by a factor of {interval(worst)} at worst"
    )
    return results(rows, ["", *lines], verdict, texts=3)


def prediction_cells(prediction: Prediction) -> tuple[str, str]:
    """What is predicted, and what it is of the measured."""
    ratios = (prediction.ratio_low, prediction.ratio_high)
    return interval((prediction.low_uj, prediction.high_uj)), NONE if None in ratios else interval(ratios)


def model_cells(name: str, model: DeviceModel) -> tuple[str, ...]:
    """A device model's row."""
    marginal = interval((model.marginal_pj_low, model.marginal_pj_high))
    missed = (rounded(model.leave_one_out_typical), rounded(model.leave_one_out_worst))
    return name, model.per, rounded(model.fixed_uj), marginal, str(model.rows), *missed
