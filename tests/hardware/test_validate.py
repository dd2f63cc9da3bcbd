"""Published measurements: their file, what the price tables predict, and the device models."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from neurotarget.hardware.energy.device_model import SECOND, DeviceModel, fit_device
from neurotarget.hardware.energy.measured import SHIPPED, Measurement, load_measured, predicted_uj
from neurotarget.hardware.energy.operations import operations_energy
from neurotarget.hardware.energy.prices import load_tables
from neurotarget.hardware.validate import device_classes, main, validate

from neurotarget.tables import TableError
from tests.hardware.counted import DENSE, LIF, TABLES

ROWS = {row.name: row for row in load_measured()}
SPOTTER = ROWS["keyword spotting, Loihi 1"]


def test_rows_repeat_the_published_energies() -> None:
    """Table of power and energy of Blouw et al.: running and idle watts, and inferences per second."""
    for name, running_w, idle_w, per_second in (
        ("keyword spotting, Loihi 1", 0.110, 0.029, 296),
        ("keyword spotting, GPU, batch 1", 37.83, 14.97, 770.39),
        ("keyword spotting, CPU", 28.48, 17.01, 1813.63),
        ("keyword spotting, Jetson TX1", 4.98, 2.64, 419),
        ("keyword spotting, Movidius", 0.647, 0.210, 300),
    ):
        row = ROWS[name]
        assert row.total_uj == pytest.approx(running_w / per_second * 1e6, abs=0.5)
        assert row.dynamic_uj == pytest.approx((running_w - idle_w) / per_second * 1e6, abs=1)
        assert row.synapses == 390 * 256 + 256 * 256 + 256 * 29 == 172_800


def test_every_row_has_tables_that_exist_and_a_reason_for_being_unverified() -> None:
    names = {table.name for table in load_tables()}
    for row in ROWS.values():
        assert set(row.tables) <= names and row.source
        assert row.grade != "second-hand" or "not verified" in row.note
        assert row.dynamic_uj is None or row.total_uj is None or row.dynamic_uj < row.total_uj


def test_a_prediction_is_the_expected_count_times_the_price() -> None:
    # 100 inputs that fire at 0.04, 10 outputs, 5 steps: 20 events, 200 synaptic operations.
    davies = TABLES["loihi1-davies2018"]
    row = replace(SPOTTER, layers=((1, 100, 10),), steps=5)
    active = 1 - 0.96**100
    by_hand = 200 * 23.6 + 50 * (81 * active + 52 * (1 - active)) + 0.04 * 5 * 100 * 1.7
    assert predicted_uj(row, davies, 0.04) == pytest.approx(by_hand * 1e-6)
    # The counter's way to the same energy, with its counts set to the expected ones.
    counted = replace(
        DENSE, samples=1, sample_steps=5, events=20, synops=200, acs=200, unit_synops=200, unary_synops=200
    )
    neurons = replace(LIF, samples=1, sample_steps=5, neuron_updates=50, active_updates=50, spikes=2, messages=20)
    figure = operations_energy(
        [counted, neurons], replace(davies, prices_pj={**davies.prices_pj, "inactive_update": 81})
    )
    same = replace(davies, prices_pj={**davies.prices_pj, "inactive_update": 81})
    assert predicted_uj(row, same, 0.04) == pytest.approx(figure.snn_uj)
    dense = replace(row, spiking=False, steps=1)
    assert predicted_uj(dense, TABLES["gpu-a100-fp32"], 0.04) == pytest.approx(1000 * 41.0256e-6)
    assert predicted_uj(row, TABLES["gpu-a100-fp32"], 0.04) is None  # prices no spiking network
    assert predicted_uj(replace(row, layers=()), davies, 0.04) is None


def test_the_price_list_is_20_to_200_times_too_low_for_a_small_network_on_a_whole_chip() -> None:
    (entry,) = validate([SPOTTER], load_tables())
    ratios = [ratio for prediction in entry.predictions for ratio in (prediction.ratio_low, prediction.ratio_high)]
    assert all(ratio is not None and 1 / 250 < ratio < 1 / 20 for ratio in ratios)
    always = predicted_uj(SPOTTER, TABLES["loihi1-davies2018"], 1.0)
    assert always is not None and always < 0.2 * (SPOTTER.dynamic_uj or 0)  # no rate reaches what was measured


def rows_of(fixed_uj: float, marginal_pj: float, sizes: list[int]) -> list[Measurement]:
    rows = [replace(SPOTTER, name=str(size), layers=((1, size, size),), rates=(0.1, 0.1)) for size in sizes]
    return [
        replace(row, dynamic_uj=fixed_uj * row.steps + marginal_pj * row.operations(0.1) * 1e-6, seconds=0.01)
        for row in rows
    ]


def test_a_model_finds_the_two_costs_that_made_its_rows() -> None:
    model = fit_device(rows_of(60.0, 25.0, [100, 1000, 3000, 5000]))
    assert isinstance(model, DeviceModel)
    assert model.fixed_uj == pytest.approx(60, rel=1e-4)
    assert model.marginal_pj_low == model.marginal_pj_high == pytest.approx(25, rel=1e-4)
    assert model.leave_one_out_worst == pytest.approx(1, abs=1e-4)
    assert model.predicted_uj(10, 1e6) == pytest.approx((625, 625), rel=1e-4)


def test_a_row_that_does_not_fit_shows_in_the_error_of_leaving_it_out() -> None:
    rows = rows_of(60.0, 25.0, [100, 1000, 3000, 5000])
    rows[0] = replace(rows[0], dynamic_uj=(rows[0].dynamic_uj or 0) / 3)
    model = fit_device(rows)
    assert isinstance(model, DeviceModel) and model.leave_one_out_worst == pytest.approx(3, rel=1e-3)


def test_unknown_rates_make_the_marginal_cost_an_interval_and_leave_the_fixed_one() -> None:
    rows = [replace(row, rates=(0.02, 0.2)) for row in rows_of(60.0, 25.0, [100, 1000, 3000, 5000])]
    model = fit_device(rows)
    assert isinstance(model, DeviceModel)
    assert (model.marginal_pj_low, model.marginal_pj_high) == pytest.approx((12.5, 125), rel=1e-3)
    assert model.fixed_uj == pytest.approx(60, rel=1e-3)


def test_too_few_rows_give_no_model() -> None:
    rows = rows_of(60.0, 25.0, [100, 1000, 3000])
    assert fit_device(rows[:1]) == "one row: no model can be fitted, 3 are needed"
    unusable = [replace(rows[0], dynamic_uj=-5.0), replace(rows[1], layers=()), rows[2]]
    assert fit_device(unusable) == "one row: no model can be fitted, 3 are needed"
    assert isinstance(fit_device([replace(row, seconds=None) for row in rows], SECOND), str)


def test_models_of_the_shipped_rows() -> None:
    """What docs/validation.md says of them."""
    classes = {entry.name: entry for entry in device_classes(load_measured())}
    per_step, per_second = classes["Loihi 1, whole chip"].models
    assert per_step.rows == per_second.rows == 8
    assert per_step.leave_one_out_worst == pytest.approx(2.39, abs=0.01)
    assert per_second.leave_one_out_worst < 1.04
    assert per_second.fixed_uj == pytest.approx(78_000, rel=0.01)
    assert per_second.marginal_pj_low < 23.6 < per_second.marginal_pj_high  # Davies' price lies in it
    assert not classes["CPU"].models and classes["CPU"].reason.startswith("one row")


def test_the_copies_give_the_slope_that_the_logs_give() -> None:
    """By hand from the logs: 17.4 uJ per copy, 667 to 673 uJ without one."""
    copies = {n: ROWS[f"{n} copies, Loihi 1"].dynamic_uj or 0 for n in (1, 2, 4, 6, 8, 10)}
    mean_n, mean_uj = sum(copies) / 6, sum(copies.values()) / 6
    slope = sum((n - mean_n) * uj for n, uj in copies.items()) / sum((n - mean_n) ** 2 for n in copies)
    assert slope == pytest.approx(17.4, abs=0.1)
    assert mean_uj - slope * mean_n == pytest.approx(672, abs=2)


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    text = capsys.readouterr().out
    header, *rows, last = text.splitlines()
    (row,) = (row for row in rows if row.split("  ")[0] == "keyword spotting, Loihi 1" and "loihi1-davies2018" in row)
    assert row[: header.index("total, uJ") + len("total, uJ")].split()[-2:] == ["274", "372"]
    assert "its layers are not known" in text and last.startswith(f"{len(ROWS)} measurements: price tables")
    assert "CPU: one row: no model can be fitted, 3 are needed" in text
    assert main(["--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert len(figures["measurements"]) == len(ROWS) and figures["device_classes"][0]["models"][0]["per"] == "step"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("assumed_rates = [0.02, 0.2]", "assumed_rates = [0.2, 0.02]", "assumed_rates = .*rising"),
        ("assumed_rates = [0.02, 0.2]", "", "assumed_rates = None"),
        ("steps = 10", "steps = 0", "steps = 0"),
        ("[1, 390, 256]", "[1, 390]", "how many, inputs, outputs"),
        ('grade = "measured"', 'grade = "guessed"', "grade = 'guessed'"),
        ("steps = 10", "step = 10", "unknown key 'step'"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    path = tmp_path / "measured.toml"
    path.write_text(SHIPPED.read_text().replace(old, new, 1))
    with pytest.raises(TableError, match=words):
        load_measured(path)
