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
    lines = [
        "Measured per inference, in uJ, and what price tables say: marginal, core only. ratio = predicted / dynamic"
    ]
    for entry in validated:
        row = entry.measurement
        lines.append(f"{row.name} [{row.grade}]: dynamic {rounded(row.dynamic_uj)}, total {rounded(row.total_uj)}")
        lines += [f"    {prediction_words(prediction)}" for prediction in entry.predictions]
        if not entry.predictions:
            lines.append(
                "    no prediction: " + ("no table of this device" if row.layers else "its layers are not known")
            )
    lines.append("")
    lines.append("Device models: dynamic energy = fixed per step or second + marginal per operation")
    lines += [class_words(entry) for entry in classes]
    return "\n".join(lines)


def prediction_words(prediction: Prediction) -> str:
    ratio = NONE
    if prediction.ratio_low is not None and prediction.ratio_high is not None:
        ratio = interval((prediction.ratio_low, prediction.ratio_high))
    return f"{prediction.table}: {interval((prediction.low_uj, prediction.high_uj))}, ratio {ratio}"


def class_words(entry: DeviceClass) -> str:
    return f"{entry.name}: " + ("; ".join(model_words(model) for model in entry.models) or entry.reason)


def model_words(model: DeviceModel) -> str:
    marginal = interval((model.marginal_pj_low, model.marginal_pj_high))
    typical, worst = rounded(model.leave_one_out_typical), rounded(model.leave_one_out_worst)
    return (
        f"{rounded(model.fixed_uj)} uJ per {model.per} + {marginal} pJ per operation, {model.rows} rows; left out, a "
        f"row is missed by a factor of {typical}, at worst {worst}"
    )
