"""A device's energy as a fixed cost per step and a marginal cost per operation, fitted on what others measured.

A price per operation is the marginal cost of a core. A whole device also pays for being awake: clocks, barriers
between steps, embedded processors, the host, a kernel launch. That part goes with steps or with time, whatever the
network does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from neurotarget.hardware.energy.figure import PJ_PER_UJ
from neurotarget.hardware.energy.measured import Measurement
from scipy.optimize import least_squares

STEP, SECOND = "step", "second"
PARAMETERS = 2
FEWEST_ROWS = PARAMETERS + 1  # with one left out, as many as there are parameters


@dataclass(frozen=True)
class DeviceModel:
    """dynamic energy per inference = fixed_uj * duration / batch + marginal_pj * operations.

    Attributes:
        device_class: of the rows.
        rows: how many it was fitted on.
        per: `step` or `second`: what the duration of an inference is counted in.
        fixed_uj: microjoule per step or second, shared by a batch.
        marginal_pj_low, marginal_pj_high: picojoule per synaptic operation (dense: per MAC). An interval where spike
            rates were not published: the lowest belongs to the highest rate.
        steps_low, steps_high: of the rows. Outside of them the fixed part is extrapolated.
        leave_one_out_worst: the largest factor, in either direction, by which the model of all other rows misses a row.
        leave_one_out_typical: the geometric mean of these factors.
    """

    device_class: str
    rows: int
    per: str
    fixed_uj: float
    marginal_pj_low: float
    marginal_pj_high: float
    steps_low: int
    steps_high: int
    leave_one_out_worst: float
    leave_one_out_typical: float

    def predicted_uj(self, duration: float, operations: float) -> tuple[float, float]:
        """Lowest and highest energy of one inference alone, in microjoule; the duration is in steps or seconds."""
        fixed_uj = self.fixed_uj * duration
        return (
            fixed_uj + self.marginal_pj_low * operations / PJ_PER_UJ,
            fixed_uj + self.marginal_pj_high * operations / PJ_PER_UJ,
        )


def usable(rows: Sequence[Measurement]) -> list[Measurement]:
    """Rows that a model can be fitted on: layers known, dynamic energy published and above zero."""
    return [row for row in rows if row.layers and row.dynamic_uj is not None and row.dynamic_uj > 0]


def fit_device(rows: Sequence[Measurement], per: str = STEP) -> DeviceModel | str:
    """The model of one device class, or the reason why there is none.

    Args:
        rows: of one class.
        per: `step` or `second`.
    """
    known = [row for row in usable(rows) if _duration(row, per) is not None]
    if len(known) < FEWEST_ROWS:
        count = "one row" if len(known) == 1 else f"{len(known)} rows"
        return f"{count}: no model can be fitted, {FEWEST_ROWS} are needed"
    fixed, at_lowest_rate = _fit(known, 0, per)
    _, at_highest_rate = _fit(known, 1, per)
    factors = []
    for left_out in known:
        others = [row for row in known if row is not left_out]
        found = float((_terms([left_out], 1, per) @ _fit(others, 1, per))[0])
        factors.append(max(found / _measured([left_out])[0], _measured([left_out])[0] / found))
    return DeviceModel(
        device_class=known[0].device_class,
        rows=len(known),
        per=per,
        fixed_uj=fixed,
        marginal_pj_low=at_highest_rate,
        marginal_pj_high=at_lowest_rate,
        steps_low=min(row.steps for row in known),
        steps_high=max(row.steps for row in known),
        leave_one_out_worst=max(factors),
        leave_one_out_typical=math.exp(float(np.mean(np.log(factors)))),
    )


def _duration(row: Measurement, per: str) -> float | None:
    return row.steps if per == STEP else row.seconds


def _fit(rows: Sequence[Measurement], rate: int, per: str) -> np.ndarray:
    """(fixed microjoule, picojoule per operation), neither below zero, at the lowest (0) or highest (1) rates.

    Least squares over the logarithms: what is asked of the model is a factor, and on a linear scale the largest network
    would decide alone.
    """
    terms, measured_uj = _terms(rows, rate, per), _measured(rows)
    scale = measured_uj.mean() / np.maximum(terms.mean(axis=0), np.finfo(float).tiny)

    def residuals(shares: np.ndarray) -> np.ndarray:
        return np.log(terms @ (shares * scale)) - np.log(measured_uj)

    found = least_squares(residuals, np.full(PARAMETERS, 0.5), bounds=(0, np.inf), xtol=1e-12, ftol=1e-12)
    return found.x * scale


def _terms(rows: Sequence[Measurement], rate: int, per: str) -> np.ndarray:
    """[rows, 2]: what one microjoule per step or second and one picojoule per operation come to, in microjoule."""
    durations = [(_duration(row, per) or 0.0) / row.batch for row in rows]
    operations = [row.operations(row.rates[rate]) / PJ_PER_UJ for row in rows]
    return np.column_stack([durations, operations])


def _measured(rows: Sequence[Measurement]) -> np.ndarray:
    return np.array([row.dynamic_uj for row in rows], dtype=float)
