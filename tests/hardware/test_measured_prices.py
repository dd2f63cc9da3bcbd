"""What a measured device says of prices: whose energy, in which setting, and that data sheets give way to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from neurotarget.hardware.energy import prices
from neurotarget.hardware.energy.break_even import break_even_curves
from neurotarget.hardware.energy.memory import energies
from neurotarget.hardware.energy.prices import MEASURED_GPU, PriceError, load_tables, measured_tables, with_measured
from neurotarget.hardware.energy.verdict import verdicts
from neurotarget.hardware.meters.measurement import Unmeasured

from tests.hardware.counted import DENSE, LIF
from tests.hardware.devices import ROWS, SPIKING, TWIN, device, row

UNMEASURED = Unmeasured(False, (), (), "no meter")


def test_a_measured_device_prices_a_multiplication_by_the_twins_best_setting(tmp_path: Path) -> None:
    alone, batched = measured_tables(device(tmp_path, SPIKING, TWIN, rows=ROWS))
    assert (alone.name, alone.precision, alone.grade) == ("measured-a-gpu-batch-1", "FP16", "measured")
    assert alone.prices_pj == {"dense_mac": pytest.approx(600e6 / 2e6)}  # above idle, not the total of 1200 uJ
    assert (batched.name, batched.precision) == ("measured-a-gpu-saturated", "FP32")
    assert batched.prices_pj == {"dense_mac": pytest.approx(30e6 / 2e6)}
    assert "1.2e+03 uJ per inference, of which 600 above idle" in alone.conditions
    assert [table.group for table in load_tables([tmp_path / "a-gpu.json"])[-2:]] == [MEASURED_GPU] * 2


def test_a_setting_that_answers_otherwise_prices_nothing(tmp_path: Path) -> None:
    broken = replace(row("twin", "INT8", 1.0, 1.0), agreement=0.89)
    alone, batched = measured_tables(device(tmp_path, SPIKING, TWIN, rows=[*ROWS, broken]))
    assert (alone.precision, batched.precision) == ("FP16", "FP32")
    alone, _ = measured_tables(device(tmp_path, SPIKING, TWIN, rows=[*ROWS, replace(broken, agreement=0.9)]))
    assert alone.precision == "INT8"


def test_a_price_that_no_machine_has_is_refused(tmp_path: Path) -> None:
    path = device(tmp_path, replace(TWIN, macs=1.0), rows=[row("twin", "FP32", 1e300, 1e300)])
    with pytest.raises(PriceError, match=r"a-gpu.json: twin: 1e\+306 pJ per multiplication; at most 1e\+12"):
        measured_tables(path)


def test_without_a_twin_the_spiking_network_is_what_pytorch_multiplies(tmp_path: Path) -> None:
    alone, _ = measured_tables(device(tmp_path, SPIKING, rows=ROWS[:1], kind="processor"))
    assert alone.prices_pj == {"dense_mac": pytest.approx(9e9 / 4e6)} and alone.group == "processor, measured"
    timed = replace(ROWS[0], batch_1=replace(ROWS[0].batch_1, dynamic_uj=None), best_batch=ROWS[0].best_batch)
    assert [table.name for table in measured_tables(device(tmp_path, SPIKING, rows=[timed]))] == [
        "measured-a-gpu-saturated"
    ]
    assert measured_tables(device(tmp_path, TWIN, rows=ROWS[3:])) == []


def test_a_measured_price_takes_the_place_of_data_sheets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the sentence on machines, its ratios, and where the answer flips."""
    counts = [DENSE, LIF]
    sheets = tuple(energies(counts, load_tables(with_measured())))
    before = next(one for one in verdicts(sheets, UNMEASURED) if one.boundary == "machines")
    assert "data sheet's peak, a floor that nobody reaches" in before.sentence
    device(tmp_path, SPIKING, TWIN, rows=ROWS)
    monkeypatch.setattr(prices, "MEASURED", tmp_path)
    figures = tuple(energies(counts, load_tables(with_measured())))
    after = next(one for one in verdicts(figures, UNMEASURED) if one.boundary == "machines")
    assert "by measured prices (A GPU, measured, batch 1; A GPU, measured, saturated)" in after.sentence
    assert "data sheet" not in after.sentence
    macs = DENSE.dense_macs / DENSE.samples
    chips = [one.snn_uj for one in figures if one.group == "Loihi 1" and one.snn_uj]
    assert (after.low, after.high) == pytest.approx((15e-6 * macs / max(chips), 300e-6 * macs / min(chips)))
    labels = [curve.label for curve in break_even_curves(figures) if curve.boundary == "machines"]
    assert labels == ["Loihi 1 against A GPU, measured, saturated", "Loihi 1 against A GPU, measured, batch 1"]
    # Given once more it is no second table of that name.
    assert len(load_tables(with_measured([tmp_path / "a-gpu.json"]))) == len(load_tables()) + 2
