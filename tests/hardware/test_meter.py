"""The GPU path against a simulated counter and a simulated clock."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from hardware.energy import EnergyFigure
from hardware.meter import Bench, ZeusMeter, measure, open_meter

FRAMES, LENGTHS = np.zeros((2, 5, 3)), np.array([5, 5])


@dataclass
class Machine:
    """A device that draws 20 W idle and takes 10 ms and 1 J more a batch."""

    now: float = 0.0
    joule: float = 0.0
    mark: float = 0.0
    name: str = "simulated counter"
    step: float = 1.0
    batches: list[int] = field(default_factory=list)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.joule += 20 * seconds

    def run(self, batch: int) -> None:
        self.batches.append(batch)
        self.pass_time(0.01)
        self.joule += self.step

    def begin(self) -> None:
        self.mark = self.joule

    def end(self) -> float:
        return self.joule - self.mark

    def bench(self) -> Bench:
        return Bench(self.run, lambda: None, lambda: self.now, self.pass_time, window_seconds=1.0, windows=3)


def figure(table: str, ann_uj: float) -> EnergyFigure:
    return EnergyFigure(table, "operations", None, ann_uj, None, "estimated", "sheet", "derived", table, "GPU floor")


def test_energy_of_an_inference_with_idle_subtracted() -> None:
    machine = Machine()
    result = measure("ckpt.pt", FRAMES, LENGTHS, [figure("gpu-a100-fp32", 7.0)], machine, machine.bench())
    assert result["available"] and result["kind"] == "measured" and result["source"] == "simulated counter"
    assert result["idle_watts"] == pytest.approx(20)
    one = result["batch_1"]
    assert one["total_uj"] == pytest.approx(1.2e6)  # 1 J, and 10 ms at 20 W
    assert one["dynamic_uj"] == pytest.approx(1.0e6)
    assert one["latency_ms"] == pytest.approx(10)
    assert one["total_uj_std"] == pytest.approx(0, abs=1e-3)
    assert result["best_batch"]["batch"] == 256
    assert result["best_batch"]["total_uj"] == pytest.approx(1.2e6 / 256)
    assert result["estimate"][0] == {
        "table": "gpu-a100-fp32",
        "uj": 7.0,
        "kind": "estimated",
        "source": "sheet",
        "title": "gpu-a100-fp32",
    }


class Broken(Machine):
    """A counter with a fault."""

    def __init__(self, delta: float) -> None:
        super().__init__()
        self.delta = delta

    def end(self) -> float:
        return super().end() if not self.batches else self.delta


@pytest.mark.parametrize(
    ("delta", "reason"), [(-5.0, "wrapped round"), (0.0, "stood still"), (float("nan"), "wrapped round")]
)
def test_a_faulty_counter_is_not_a_measurement(delta: float, reason: str) -> None:
    machine = Broken(delta)
    result = measure("ckpt.pt", FRAMES, LENGTHS, [], machine, machine.bench())
    assert not result["available"] and reason in result["reason"]


def test_a_device_fault_is_a_reason() -> None:
    machine = Machine()

    def fail(batch: int) -> None:
        raise RuntimeError("CUDA error: out of memory\nmore lines")

    bench = Bench(fail, lambda: None, lambda: machine.now, machine.pass_time, 1.0, 1)
    result = measure("ckpt.pt", FRAMES, LENGTHS, [], machine, bench)
    assert result == {"available": False, "reason": "CUDA error: out of memory", "estimate": []}


def test_without_a_meter_the_reason_is_given_beside_an_estimate() -> None:
    result = measure("ckpt.pt", FRAMES, LENGTHS, [figure("gpu-a100-fp16", 3.0)], "no CUDA device on this machine")
    assert result["available"] is False and result["reason"] == "no CUDA device on this machine"
    assert [row["kind"] for row in result["estimate"]] == ["estimated"]
    assert "checkpoint" in measure(None, FRAMES, LENGTHS, [])["reason"]


def fake_zeus(monkeypatch: pytest.MonkeyPatch, monitor: Any) -> None:
    module = types.ModuleType("zeus.monitor")
    module.ZeusMonitor = monitor  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "zeus", types.ModuleType("zeus"))
    monkeypatch.setitem(sys.modules, "zeus.monitor", module)


class FakeMonitor:
    """What we use of zeus.monitor.ZeusMonitor, over a simulated NVML counter."""

    def __init__(self, gpu_indices: list[int], approx_instant_energy: bool) -> None:
        self.open: list[str] = []

    def begin_window(self, key: str, sync_execution: bool) -> None:
        self.open.append(key)

    def end_window(self, key: str, sync_execution: bool) -> Any:
        self.open.remove(key)
        return types.SimpleNamespace(gpu_energy={0: 3.5}, time=1.0)


def test_zeus_meter(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_zeus(monkeypatch, FakeMonitor)
    meter = ZeusMeter()
    meter.begin()
    assert meter.end() == 3.5


def test_open_meter_names_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert open_meter() == "no CUDA device on this machine"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(sys.modules, "zeus", None)
    assert "zeus is not installed" in str(open_meter())

    def denied(**_: Any) -> None:
        raise PermissionError("Insufficient Permissions")

    fake_zeus(monkeypatch, denied)
    assert "cannot be opened: PermissionError: Insufficient Permissions" in str(open_meter())
