"""The GPU path against simulated counters and a simulated clock; zeus itself runs in test_sensors_*.py."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from neurotarget.hardware.energy.verdict import verdicts
from neurotarget.hardware.meters import sensors, windows
from neurotarget.hardware.meters.measurement import DenseEstimate, Measured, MeterReason, Unmeasured, measure
from neurotarget.hardware.meters.sensors import PLAUSIBLE_WATTS, Domain, MeterError, Sensor
from neurotarget.hardware.meters.windows import Bench, Idle, Pass, Timing, measure_batch
from neurotarget.hardware.page.render import page_templates
from neurotarget.model.spikescr import SpikeSCR, SpikeSCRConfig
from neurotarget.model.training import checkpoint

from tests.hardware.metered import FRAMES, LENGTHS, Machine, measured


def measure_with(machine: Machine, read: Callable[[], list[float]] | None = None) -> Any:
    return measured({"simulated": lambda: machine.sensor(read)}, machine)


def loaded(machine: Machine) -> bool:
    """Whether the first window under load has begun: 33 batches of one came before, and 10 warmed up."""
    return machine.batches.count(1) > 50


ESTIMATE = DenseEstimate("gpu-a100-fp16", 3.0, "estimated", "sheet", "derived", "A100")


def section(found: Measured | Unmeasured, twin: Measured | None = None) -> str:
    return (
        page_templates()
        .get_template("measured.html.j2")
        .render(report=SimpleNamespace(measured=found, measured_twin=twin))
    )


# ---- a measurement ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap_joules", [None, 3500.0])  # a window is 120 J: the second counter wraps
def test_energy_of_an_inference_with_both_idle_draws_subtracted(wrap_joules: float | None) -> None:
    """Above 20 W a context that is open takes 30 W more, and stays so for longer than a window."""
    machine = Machine(wrap_joules, joules=3000.0, active_watts=30.0)
    result = measure_with(machine)
    assert result.available and result.kind == "measured" and result.source == "simulated counter"
    assert (result.device, result.includes, result.domains) == ("a device", "nothing else", ("counter 0",))
    assert result.idle_watts == pytest.approx(20) and result.idle_watts_std == pytest.approx(0, abs=1e-6)
    assert result.active_idle_watts == pytest.approx(50) and result.active_idle_watts_std == pytest.approx(0, abs=1e-6)
    one, best = result.batch_1, result.best_batch
    assert one.total_uj == pytest.approx(1.5e6)  # 1 J, and 10 ms at 50 W
    assert one.dynamic_uj == pytest.approx(1.3e6)
    assert one.above_active_uj == pytest.approx(1.0e6)
    assert one.latency_ms == pytest.approx(10) and one.per_second == pytest.approx(100)
    assert one.total_uj_std == pytest.approx(0, abs=1e-3) == one.dynamic_uj_std == one.above_active_uj_std
    assert machine.joules > 3500  # the counter did wrap
    assert best.batch == 32 and best.per_second == pytest.approx(3200)
    assert best.total_uj == pytest.approx(1.5e6 / 32) and best.above_active_uj == pytest.approx(1e6 / 32)


def test_batches_double_until_two_doublings_add_too_little() -> None:
    """The device computes 32 samples at once, 8 in the second: larger batches take longer in proportion."""
    result = measure_with(Machine())
    assert [row.batch for row in result.batches] == [1, 2, 4, 8, 16, 32, 64, 128]
    assert [row.per_second for row in result.batches] == pytest.approx([100, 200, 400, 800, 1600, 3200, 3200, 3200])
    assert result.stopped == "batches of 64 and 128 add less than 10% to the throughput before"
    assert [row.batch for row in measure_with(Machine(most=8)).batches] == [1, 2, 4, 8, 16, 32]
    endless = measure_with(Machine(most=10**9))
    assert endless.best_batch.batch == 4096 and endless.stopped == "4096 is the largest batch that is tried"


def test_a_window_holds_whole_passes_over_all_samples() -> None:
    """Three samples of 0.1, 0.2 and 0.6 s, 1 J each: a window of 1 s needs two passes, and no sample weighs more."""
    machine = Machine()
    order: list[float] = []

    def run(seconds: float) -> None:
        order.append(seconds)
        machine.pass_time(seconds)
        machine.joules += 1.0

    bench = Bench(lambda batch: Pass([lambda s=s: run(s) for s in (0.1, 0.2, 0.6)]), lambda: None)
    found = measure_batch(machine.sensor(), bench, machine.timing, 1, Idle(20.0, 0.0, 20.0, 0.0))
    assert found.inferences == 3 * 6 and found.latency_ms == pytest.approx(300)
    assert found.dynamic_uj == pytest.approx(1e6) and found.total_uj == pytest.approx(1e6 + 0.3 * 20e6)
    assert order[-18:] == [0.1, 0.2, 0.6] * 6


def test_without_a_counter_time_alone_is_measured() -> None:
    machine = Machine()
    found = measure_batch(None, Bench(machine.prepared, lambda: None), machine.timing, 1)
    assert found.latency_ms == pytest.approx(10) and found.per_second == pytest.approx(100)
    assert found.total_uj is found.total_uj_std is found.dynamic_uj is found.above_active_uj is None


def test_spread_is_the_deviation_between_windows() -> None:
    machine = Machine()
    readings = iter([0.0] * 12 + [0.0, 10.0, 10.0, 30.0, 30.0, 30.0] + [30.0] * 100)
    result = measure_with(machine, lambda: [machine.joules + next(readings)])  # 10 and 20 J in two windows of batch 1
    inferences = result.batch_1.inferences / 3
    windows = np.array([10.0, 20.0, 0.0]) / inferences * 1e6
    assert result.batch_1.total_uj == pytest.approx(1.2e6 + windows.mean(), rel=1e-6)
    assert result.batch_1.total_uj_std == pytest.approx(windows.std(ddof=1), rel=1e-6)
    assert result.batch_1.above_active_uj_std == pytest.approx(windows.std(ddof=1), rel=1e-6)


def test_a_slow_device_measures_no_larger_batches_and_says_so() -> None:
    machine = Machine(seconds_a_batch=1.5, samples=1)
    result = measure_with(machine)
    assert [row.batch for row in result.batches] == [1]
    assert result.stopped == "a batch of 1 takes 1.5 s; larger ones were left out"
    assert result.batch_1 == result.best_batch
    # Before each active idle window one; twice a warm-up that ends after a window's time, and a batch a window.
    assert len(machine.batches) == 3 + (1 + 1) + (1 + 3)


def test_a_batch_that_does_not_fit_ends_the_growth() -> None:
    machine = Machine()

    def prepare(batch: int) -> Pass:
        if batch > 16:
            raise RuntimeError("CUDA error: out of memory\nmore lines")
        return machine.prepared(batch)

    bench = Bench(prepare, lambda: None)
    choice = {"simulated": machine.sensor}
    result = measure("ckpt.pt", FRAMES, LENGTHS, (), choice, lambda _: nullcontext(bench), machine.timing)
    assert result.available and result.best_batch.batch == 16
    assert result.stopped == "batch 32: CUDA error: out of memory"


# ---- counters that misbehave -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda joules: joules - 5000, "moved by -"),  # reset: without a range nothing explains it
        (lambda joules: 0.0, "moved by -"),  # in the first window under load, as all of these
        (lambda joules: float("nan"), "moved by nan"),
        (lambda joules: joules * 1e6, "reset or is faulty"),
    ],
)
def test_a_faulty_counter_is_not_a_measurement(change: Callable[[float], float], reason: str) -> None:
    machine = Machine(joules=10.0)
    result = measure_with(machine, lambda: [change(machine.joules) if loaded(machine) else machine.joules])
    assert isinstance(result, Unmeasured) and result.available is False
    assert reason in result.meters[0].reason and "counter 0" in result.meters[0].reason


def test_a_counter_that_stands_still_is_not_a_measurement() -> None:
    result = measure_with(Machine(), lambda: [7.0])
    assert result.meters[0].reason == "simulated counter, counter 0: the counter stood still for 1.0 s"


def test_a_counter_that_vanishes_in_the_middle_discards_what_came_before() -> None:
    machine = Machine()

    def read() -> list[float]:
        if loaded(machine):
            raise FileNotFoundError("energy_uj")
        return machine.counter()

    result = measure_with(machine, read)
    assert isinstance(result, Unmeasured) and result.available is False
    expected = "simulated counter: the counter cannot be read: FileNotFoundError: energy_uj"
    assert result.meters == (MeterReason("simulated", expected),)


@given(
    start=st.integers(0, 10**9 - 1),
    spent=st.integers(1, 10**9 - 1),
    counted=st.tuples(st.integers(0, 3), st.integers(0, 3)),
)
def test_a_wrap_is_corrected_whether_or_not_it_was_counted(start: int, spent: int, counted: tuple[int, int]) -> None:
    """In units of 10 mJ; `counted` are the wraps that zeus had noticed at the two readings, rightly or not."""
    size = 10**9  # 1e7 J
    before = start + counted[0] * size
    after = (start + spent) % size + counted[1] * size
    sensor = Sensor("s", "d", "cpu", "", (Domain("package-0", size / 100),), list)
    seconds = 1000.0  # at most 3e6 J
    if spent / 100 <= PLAUSIBLE_WATTS * seconds:
        if before == after:
            pytest.fail("a window's energy is less than a range")
        assert sensor.spent([before / 100], [after / 100], seconds) == pytest.approx(spent / 100, abs=1e-6)
    else:
        with pytest.raises(MeterError, match="reset or is faulty"):
            sensor.spent([before / 100], [after / 100], seconds)


def test_a_window_that_could_hold_two_wraps_is_refused() -> None:
    sensor = Sensor("s", "d", "cpu", "", (Domain("package-0", 65_536.0),), list)
    assert sensor.spent([65_000.0], [464.0], 20.0) == pytest.approx(1000)
    with pytest.raises(MeterError, match=r"wraps at 65536 J, which a window of 22.0 s may exceed"):
        sensor.spent([65_000.0], [464.0], 22.0)


def test_every_domain_is_corrected_and_judged_alone() -> None:
    sensor = Sensor("s", "d", "cpu", "", (Domain("package-0", 9000.0), Domain("package-0 DRAM", 8000.0)), list)
    assert sensor.spent([8990.0, 7999.0], [40.0, 4.0], 1.0) == pytest.approx(50 + 5)
    with pytest.raises(MeterError, match="package-0 DRAM: the counter stood still"):
        sensor.spent([1.0, 7.0], [2.0, 7.0], 1.0)


# ---- no meter --------------------------------------------------------------------------------------------------------


def refuse() -> Sensor:
    raise MeterError("no such device")


def test_the_first_meter_that_works_is_used() -> None:
    machine = Machine()

    def unused() -> Sensor:
        raise AssertionError("opened although another works")

    choice = {"first": refuse, "second": machine.sensor, "third": unused}
    result = measured(choice, machine)
    assert result.available and result.meters == (MeterReason("first", "no such device"),)


def test_a_device_fault_is_a_reason() -> None:
    machine = Machine()

    def fail(batch: int) -> Pass:
        raise RuntimeError("CUDA error: unspecified launch failure\nmore lines")

    bench, choice = Bench(fail, lambda: None), {"simulated": machine.sensor}
    result = measure("ckpt.pt", FRAMES, LENGTHS, (), choice, lambda _: nullcontext(bench), machine.timing)
    meters = (MeterReason("simulated", "CUDA error: unspecified launch failure"),)
    assert result == Unmeasured(False, meters, (), "no energy meter works here")


def test_without_a_meter_the_reasons_are_given_beside_an_estimate() -> None:
    result = measure("ckpt.pt", FRAMES, LENGTHS, [ESTIMATE], {"a": refuse, "b": refuse})
    assert result.available is False and result.reason == "no energy meter works here"
    assert result.meters == tuple(MeterReason(name, "no such device") for name in ("a", "b"))
    assert result.estimate == (ESTIMATE,)
    assert measure(None, FRAMES, LENGTHS) == Unmeasured(False, (), (), "no checkpoint and no network was given")


def test_each_meter_says_why_it_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sensors, "POWERCAP", (tmp_path / "powercap",))
    monkeypatch.setattr(sensors, "TEGRA", (tmp_path / "tegra",))
    result = measure("ckpt.pt", FRAMES, LENGTHS)
    reasons = {row.meter: row.reason for row in result.meters}
    assert list(reasons) == ["NVML", "Jetson", "RAPL"]
    assert reasons["NVML"] == "PyTorch sees no CUDA device" and reasons["Jetson"] == "this machine is not a Jetson"
    assert f"{tmp_path / 'powercap'} does not exist" in reasons["RAPL"]
    # With the devices there, what is missing is the library.
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    (tmp_path / "powercap").mkdir()
    (tmp_path / "tegra").mkdir()
    for name in ("zeus", "zeus.device.gpu.nvidia", "zeus.device.soc.jetson", "zeus.device.cpu.rapl"):
        monkeypatch.setitem(sys.modules, name, None)
    for row in measure("ckpt.pt", FRAMES, LENGTHS).meters:
        assert "zeus cannot be imported" in row.reason and "pip install 'neurotarget[meter]'" in row.reason


def test_the_report_shows_both_outcomes() -> None:
    machine = Machine(seconds_a_batch=1.5)
    choice = {"first <b>": refuse, "second": machine.sensor}
    found = measure("ckpt.pt", FRAMES, LENGTHS, [ESTIMATE], choice, machine.bench, machine.timing)
    sentence = verdicts((), found)[-1].sentence
    # 1 J and 1.5 s at 20 W, so 31 J; the joule is above idle.
    assert "on a device (simulated counter): 31 000 000 µJ per inference at batch 1, 1 000 000 of it above idle" in (
        sentence.replace("\u202f", " ").replace("\u00a0", " ").replace("\u2009", " ")
    )
    page = section(found)
    assert "Covers nothing else." in page and "a batch of 1 takes 1.5 s" in page
    assert "<li>first &lt;b&gt;: no such device</li>" in page and "estimated, price derived" in page
    assert "twin" not in page and '<td class="text">twin</td>' in section(found, replace(found))
    missing = measure("ckpt.pt", FRAMES, LENGTHS, (), {"first <b>": refuse})
    assert "<li>first &lt;b&gt;: no such device</li>" in section(missing)
    assert verdicts((), missing)[-1].sentence.startswith("Nothing was measured: no energy meter works here.")


def test_a_real_checkpoint_runs_on_the_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the real clock, and a counter of 10 W: then energy and time of a batch are one figure."""
    network = SpikeSCR(SpikeSCRConfig.preset("tiny"))
    classes = tuple(str(number) for number in range(network.config.classes))
    content = checkpoint.Checkpoint(
        network.config, network.state_dict(), {}, "synth", classes, 0.01, checkpoint.versions()
    )
    checkpoint.save(tmp_path / "ckpt.pt", content)
    monkeypatch.setattr(windows, "LARGEST_BATCH", 2)
    frames = np.ones((2, 5, network.config.features))
    clock = time.perf_counter
    sensor = Sensor("clock", "d", "cpu", "", (Domain("package-0"),), lambda: [10 * clock()])
    timing = Timing(window_seconds=0.4, windows=2)
    result = measure(tmp_path / "ckpt.pt", frames, np.array([5, 3]), (), {"clock": lambda: sensor}, timing=timing)
    assert isinstance(result, Measured) and result.samples == 2
    assert [(row.batch, row.padding) for row in result.batches] == [(1, 0.0), (2, pytest.approx(0.2))]
    assert result.idle_watts == pytest.approx(10, rel=0.2)
    for row in (result.batch_1, result.best_batch):
        assert row.total_uj == pytest.approx(10 * row.latency_ms * 1e3 / row.batch, rel=0.2)
