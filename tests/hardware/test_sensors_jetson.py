"""zeus itself above the simulated power sensor of a Jetson."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from neurotarget.hardware.meters import sensors
from neurotarget.hardware.meters.sensors import open_jetson

from tests.hardware.metered import Device, measured, reason_of

pytest.importorskip("zeus", reason="zeus is not installed (extra 'dev' or 'meter')")

from zeus.device.soc import jetson


class Soc:
    """In place of zeus's sampling process: the energies, in millijoule, that it would have integrated."""

    def __init__(self, **energies_mj: float) -> None:
        self.energies_mj = energies_mj

    def advance(self, joules: float) -> None:
        for name in self.energies_mj:
            self.energies_mj[name] += joules * 1e3

    def get_total_energy_consumption(self) -> jetson.JetsonMeasurement:
        return jetson.JetsonMeasurement(**{f"{name}_energy_mj": value for name, value in self.energies_mj.items()})


@pytest.fixture
def on_a_jetson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensors, "TEGRA", (tmp_path,))


@pytest.mark.usefixtures("on_a_jetson")
@pytest.mark.parametrize(
    ("rails", "domains", "share"),
    [(("cpu", "gpu", "total"), ["rail total"], 1), (("cpu", "gpu"), ["rail cpu", "rail gpu"], 2)],
)
def test_jetson_measures_the_module_or_its_rails(
    monkeypatch: pytest.MonkeyPatch, rails: tuple[str, ...], domains: list[str], share: int
) -> None:
    soc = Soc(**dict.fromkeys(rails, 1.0))
    monkeypatch.setattr(jetson, "Jetson", lambda: soc)
    result = measured({"Jetson": open_jetson}, Device(soc.advance))
    assert result.available and list(result.domains) == domains
    assert ("the whole module" in result.includes) == (share == 1)
    assert result.batch_1.total_uj == pytest.approx(share * 7.0e6)


@pytest.mark.usefixtures("on_a_jetson")
def test_jetson_faults_are_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    reason = reason_of(open_jetson, Device(print))
    assert reason.startswith("the power sensor cannot be used: ZeusJetsonInitError: ")
    monkeypatch.setattr(jetson, "Jetson", Soc)
    assert "shows no rail" in reason_of(open_jetson, Device(print))


@pytest.mark.usefixtures("on_a_jetson")
def test_zeus_samples_the_power_sensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """zeus's own process over the files of an Orin Nano: 5 W at the module's input, for as long as it ran."""
    monitor = tmp_path / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
    monitor.mkdir(parents=True)
    rails = (("1", "VDD_IN", 5000, 1000), ("2", "VDD_CPU_GPU_CV", 5000, 300))
    for number, rail, millivolts, milliamperes in rails:
        (monitor / f"in{number}_label").write_text(f"{rail}\n")
        (monitor / f"in{number}_input").write_text(f"{millivolts}\n")
        (monitor / f"curr{number}_input").write_text(f"{milliamperes}\n")
    monkeypatch.setattr(jetson, "jetson_is_available", lambda: True)

    def rooted(path: Any) -> Path:
        return tmp_path / str(path).lstrip("/") if str(path).startswith("/sys/") else Path(path)

    monkeypatch.setattr(jetson, "Path", rooted)
    made = []
    real = jetson.Jetson
    monkeypatch.setattr(jetson, "Jetson", lambda: made.append(real()) or made[-1])
    try:
        sensor = open_jetson()
        assert [domain.name for domain in sensor.domains] == ["rail total"]
        before, start = sensor.read()[0], time.monotonic()
        time.sleep(1.0)
        after, seconds = sensor.read()[0], time.monotonic() - start
        # It answers with the energy up to its last sample, at most a tenth of a second ago; the machine may be busy.
        assert after - before == pytest.approx(5 * seconds, abs=5 * 0.3)
    finally:
        made[0]._stop_process()
