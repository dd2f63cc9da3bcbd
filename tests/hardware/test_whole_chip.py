"""A network on a whole chip: the fitted model, the price list, and how far both were off."""

from __future__ import annotations

from dataclasses import replace

import pytest
from neurotarget.hardware.energy.device_model import DeviceModel, fit_device
from neurotarget.hardware.energy.measured import load_measured, predicted_uj
from neurotarget.hardware.energy.operations import operations_energy
from neurotarget.hardware.energy.whole_chip import whole_chips

from neurotarget.figures import rounded
from tests.hardware.counted import DENSE, LIF, TABLES

NAME = "Loihi 1, whole chip"
LOIHI = ("loihi1-davies2018", "loihi1-sanafe", "keras-spiking-loihi")
ROWS = [row for row in load_measured() if row.device_class == NAME]


def model() -> DeviceModel:
    found = fit_device(ROWS)
    assert isinstance(found, DeviceModel)
    return found


def test_the_figure_is_a_fixed_cost_per_step_and_a_cost_per_operation() -> None:
    (row,) = whole_chips([DENSE, LIF], list(TABLES.values()), {})  # two samples of 5 steps, 400 synaptic operations
    fitted = model()
    assert row.device_class == NAME and row.rows == len(ROWS) == 8
    assert row.low_uj == pytest.approx(5 * fitted.fixed_uj + 200 * fitted.marginal_pj_low * 1e-6)
    assert row.high_uj == pytest.approx(5 * fitted.fixed_uj + 200 * fitted.marginal_pj_high * 1e-6)
    lists = [operations_energy([DENSE, LIF], TABLES[name]).snn_uj or 0.0 for name in LOIHI]
    assert (row.marginal_low_uj, row.marginal_high_uj) == (min(lists), max(lists))


def test_an_integer_is_as_many_unit_spikes() -> None:
    integers = replace(DENSE, payload="integer", payload_sum=60, acs=0, macs=400, unary_synops=600)
    (spikes,), (more,) = (whole_chips([layer, LIF], list(TABLES.values()), {}) for layer in (DENSE, integers))
    assert more.high_uj - spikes.high_uj == pytest.approx(100 * model().marginal_pj_high * 1e-6)


def test_both_factors_are_those_of_the_measurements_and_are_said() -> None:
    (row,) = whole_chips([DENSE, LIF], list(TABLES.values()), {})
    ratios = [
        (measurement.dynamic_uj or 0) / (predicted_uj(measurement, TABLES[name], rate) or 1)
        for measurement in ROWS
        for name in LOIHI
        for rate in measurement.rates
    ]
    assert (row.too_low_least, row.too_low_most) == (min(ratios), max(ratios))
    assert row.miss_worst == model().leave_one_out_worst > row.miss_typical > 1
    for words in (
        f"at worst {rounded(row.miss_worst)}",
        "marginal, core only",
        f"to {rounded(max(ratios))} times too low",
    ):
        assert words in row.sentence


def test_steps_beyond_those_that_were_measured_are_said() -> None:
    """All measured networks take ten."""
    (few,) = whole_chips([DENSE, LIF], list(TABLES.values()), {})
    assert few.extrapolated and "takes 5 steps, theirs 10: the fixed cost is extrapolated" in few.sentence
    ten = [replace(layer, sample_steps=20) for layer in (DENSE, LIF)]
    (row,) = whole_chips(ten, list(TABLES.values()), {})
    assert not row.extrapolated and "extrapolated" not in row.sentence


def test_a_network_without_operations_has_none() -> None:
    assert whole_chips([LIF], list(TABLES.values()), {}) == whole_chips([], list(TABLES.values()), {}) == []
