"""zeus itself above a simulated NVML, a simulated powercap tree and a simulated Jetson power sensor.

What is simulated lies beneath zeus: NVML's functions, the kernel's files. zeus's own code runs, and its own processes
in the tests that say so.
"""

from __future__ import annotations

import builtins
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hardware import meter, sensors
from hardware.meter import Bench, measure
from hardware.sensors import open_jetson, open_nvml, open_rapl

pytest.importorskip("zeus", reason="zeus is not installed (extra 'dev' or 'meter')")

import pynvml
from zeus.device.cpu import rapl
from zeus.device.soc import jetson

FRAMES, LENGTHS = np.zeros((2, 5, 3)), np.array([5, 5])


@pytest.fixture(autouse=True)
def without_zeus_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ZEUSD_SOCK_PATH", "ZEUSD_HOST_PORT", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)


class Device:
    """Draws 20 W idle; a batch takes 0.1 s and 5 J more. `advance` is called with the joules of each moment."""

    def __init__(self, advance: Any) -> None:
        self.now, self.advance, self.batches = 0.0, advance, 0

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.advance(20 * seconds)

    def run(self, batch: int) -> None:
        self.batches += 1
        self.pass_time(0.1)
        self.advance(5.0)

    def bench(self, _: str) -> Bench:
        return Bench(self.run, lambda: None, lambda: self.now, self.pass_time, window_seconds=1.0, windows=3)


def reason_of(open_sensor: Any, device: Device) -> str:
    result = measure("ckpt.pt", FRAMES, LENGTHS, [], {"it": open_sensor}, device.bench)
    assert result["available"] is False and "batches" not in result
    return result["meters"][0]["reason"]


# ---- NVML ------------------------------------------------------------------------------------------------------------


@dataclass
class Nvml:
    """A driver with one GPU. `faults` maps a function's name to the NVML error code that it answers with."""

    name: str = "NVIDIA A100-SXM4-80GB"
    architecture: int = pynvml.NVML_DEVICE_ARCH_AMPERE
    millijoules: float = 123_456_789.0
    devices: int = 1
    open: bool = False

    def __post_init__(self) -> None:
        self.faults: dict[str, int] = {}

    def advance(self, joules: float) -> None:
        self.millijoules += joules * 1e3

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def replace(function: str, answer: Any, needs_init: bool = True) -> None:
            def call(*arguments: Any) -> Any:
                if function in self.faults:
                    raise pynvml.NVMLError(self.faults[function])
                if needs_init and not self.open:
                    raise pynvml.NVMLError(pynvml.NVML_ERROR_UNINITIALIZED)
                return answer(*arguments)

            monkeypatch.setattr(pynvml, function, call)

        def switch(to: bool) -> None:
            self.open = to

        def unsupported(*_: Any) -> None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

        replace("nvmlInit", lambda: switch(True), needs_init=False)
        replace("nvmlShutdown", lambda: switch(False))
        replace("nvmlDeviceGetCount", lambda: self.devices)
        replace("nvmlDeviceGetHandleByIndex", lambda index: index)
        replace("nvmlDeviceGetName", lambda handle: self.name)
        replace("nvmlDeviceGetArchitecture", lambda handle: self.architecture)
        replace("nvmlDeviceGetC2cModeInfoV", unsupported)
        replace("nvmlDeviceGetTotalEnergyConsumption", lambda handle: int(self.millijoules))
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "NVIDIA A100-SXM4-80GB")


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Nvml:
    driver = Nvml()
    driver.install(monkeypatch)
    return driver


def test_nvml_measures(nvml: Nvml) -> None:
    result = measure("ckpt.pt", FRAMES, LENGTHS, [], {"NVML": open_nvml}, Device(nvml.advance).bench)
    assert result["available"] and result["source"] == "NVML through zeus"
    assert result["device"] == "NVIDIA A100-SXM4-80GB" and result["domains"] == ["GPU 0"]
    assert result["idle_watts"] == pytest.approx(20, rel=1e-4)
    assert result["batch_1"]["total_uj"] == pytest.approx(7.0e6, rel=1e-4)
    assert result["batch_1"]["dynamic_uj"] == pytest.approx(5.0e6, rel=1e-4)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "ZeusGPUDriverNotLoadedError: Driver Not Loaded"),
        (pynvml.NVML_ERROR_NO_PERMISSION, "ZeusGPUNoPermissionError: Insufficient Permissions"),
        (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, "ZeusGPULibraryNotFoundError: NVML Shared Library Not Found"),
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "ZeusGPULibRMVersionMismatchError"),
        (pynvml.NVML_ERROR_UNKNOWN, "ZeusGPUUnknownError: Unknown Error"),
    ],
)
def test_a_driver_that_does_not_open_is_a_reason(nvml: Nvml, code: int, words: str) -> None:
    nvml.faults["nvmlInit"] = code
    reason = reason_of(open_nvml, Device(nvml.advance))
    assert reason.startswith("NVML cannot be used: ") and words in reason


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (pynvml.NVML_ERROR_NOT_SUPPORTED, "ZeusGPUNotSupportedError: Not Supported"),
        (pynvml.NVML_ERROR_NO_PERMISSION, "ZeusGPUNoPermissionError: Insufficient Permissions"),
        (pynvml.NVML_ERROR_GPU_IS_LOST, "ZeusGPULostError: GPU is lost"),
    ],
)
@pytest.mark.parametrize("after_batches", [0, 100])
def test_a_counter_that_refuses_is_a_reason(nvml: Nvml, code: int, words: str, after_batches: int) -> None:
    device = Device(nvml.advance)
    advance = device.advance

    def advance_and_fail(joules: float) -> None:
        advance(joules)
        if device.batches >= after_batches:
            nvml.faults["nvmlDeviceGetTotalEnergyConsumption"] = code

    device.advance = advance_and_fail
    reason = reason_of(open_nvml, device)
    assert reason == f"NVML through zeus: the counter cannot be read: {words}"


def test_before_volta_there_is_no_counter(nvml: Nvml) -> None:
    nvml.architecture = pynvml.NVML_DEVICE_ARCH_PASCAL
    assert "has no energy counter: NVML has one from the Volta generation on" in reason_of(open_nvml, Device(print))


def test_no_gpu_and_another_gpu(nvml: Nvml) -> None:
    nvml.name = "NVIDIA T400"
    expected = (
        "CUDA's first device is NVIDIA A100-SXM4-80GB and NVML's is NVIDIA T400; set CUDA_DEVICE_ORDER=PCI_BUS_ID"
    )
    assert reason_of(open_nvml, Device(print)) == expected
    nvml.devices = 0
    assert reason_of(open_nvml, Device(print)) == "NVML sees no GPU"


def test_a_slice_of_a_gpu_has_no_counter(nvml: Nvml, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-1234")
    assert "MIG" in reason_of(open_nvml, Device(print))


def test_a_driver_reloaded_or_frozen_is_a_reason(nvml: Nvml) -> None:
    assert "GPU 0: the counter stood still" in reason_of(open_nvml, Device(lambda joules: None))
    device = Device(nvml.advance)

    def reset(joules: float) -> None:
        nvml.millijoules = 0.0 if device.batches == 100 else nvml.millijoules + joules * 1e3

    device.advance = reset
    assert "it was reset or is faulty" in reason_of(open_nvml, device)


# ---- RAPL ------------------------------------------------------------------------------------------------------------


class Powercap:
    """The kernel's files, with a counter a zone in integer microjoules that starts again at its range."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        self.zones: dict[str, tuple[Path, int]] = {}
        self.exact: dict[str, float] = {}

    def add(self, path: str, name: str, start_uj: int, range_uj: int | None) -> None:
        zone = self.tree / path
        zone.mkdir(parents=True)
        (zone / "name").write_text(f"{name}\n")
        if range_uj is not None:
            (zone / "max_energy_range_uj").write_text(f"{range_uj}\n")
        self.zones[path] = (zone, range_uj or 2**60)
        self.exact[path] = float(start_uj)
        self.set(path, start_uj)

    def set(self, path: str, energy_uj: float) -> None:
        zone, range_uj = self.zones[path]
        self.exact[path] = energy_uj
        (zone / "energy_uj").write_text(f"{int(energy_uj) % range_uj}\n")

    def advance(self, joules: float) -> None:
        """Spends it in every package, and a quarter of it in DRAM."""
        for path, (zone, _) in self.zones.items():
            share = 0.25 if (zone / "name").read_text() == "dram\n" else 1.0
            self.set(path, self.exact[path] + share * joules * 1e6)


class Tracker:
    """In place of zeus's process: has noticed `counted` wraps of each counter."""

    counted = 0

    def __init__(self, path: str, max_energy_uj: float) -> None: ...

    def get_num_wraparounds(self) -> int:
        return Tracker.counted


@pytest.fixture
def powercap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Powercap]:
    tree = tmp_path / "intel-rapl"
    tree.mkdir()
    monkeypatch.setattr(sensors, "POWERCAP", (tree,))
    monkeypatch.setattr(rapl, "RAPL_DIR", str(tree))
    monkeypatch.setattr(Tracker, "counted", 0)
    rapl.rapl_is_available.cache_clear()
    yield Powercap(tree)
    rapl.rapl_is_available.cache_clear()


@pytest.fixture
def without_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rapl, "RaplWraparoundTracker", Tracker)


RANGE_UJ = 4_000_000_000  # more than 3 kW over a window of 1 s, and less than all windows together


@pytest.mark.usefixtures("without_process")
@pytest.mark.parametrize("noticed_wraps", [0, 1])
def test_rapl_measures_packages_and_dram_over_wraps(
    powercap: Powercap, monkeypatch: pytest.MonkeyPatch, noticed_wraps: int
) -> None:
    powercap.add("intel-rapl:0", "package-0", RANGE_UJ - 30_000_000, RANGE_UJ)  # wraps in the second idle window
    powercap.add("intel-rapl:0/intel-rapl:0:0", "core", 0, RANGE_UJ)
    powercap.add("intel-rapl:0/intel-rapl:0:1", "dram", RANGE_UJ - 60_000_000, RANGE_UJ)
    powercap.add("intel-rapl:1", "package-1", 5, RANGE_UJ)
    powercap.add("intel-rapl:2", "psys", 5, RANGE_UJ)  # the whole platform: counts the packages again
    device = Device(powercap.advance)
    Tracker.counted = noticed_wraps
    monkeypatch.setattr(meter, "BATCHES", (1, 8, 32))
    result = measure("ckpt.pt", FRAMES, LENGTHS, [], {"RAPL": open_rapl}, device.bench)
    assert result["available"] and result["source"] == "RAPL through zeus"
    assert result["domains"] == ["package-0", "package-0 DRAM", "package-1"]
    assert result["includes"].endswith("whole packages with DRAM, other programs too")
    assert result["idle_watts"] == pytest.approx(20 * 2.25, rel=1e-6)
    for row in result["batches"]:
        assert row["total_uj"] == pytest.approx(7.0e6 * 2.25 / row["batch"], rel=1e-6)
        assert row["total_uj_std"] == pytest.approx(0, abs=1.0)
    assert powercap.exact["intel-rapl:0"] > RANGE_UJ and powercap.exact["intel-rapl:0/intel-rapl:0:1"] > RANGE_UJ


@pytest.mark.usefixtures("without_process")
@pytest.mark.parametrize("noticed", [(0, 0), (0, 1), (1, 1)])
def test_a_wrap_that_zeus_notices_late_is_corrected(powercap: Powercap, noticed: tuple[int, int]) -> None:
    """zeus's own difference of the same readings is off by a range when it notices late or between two windows."""
    powercap.add("intel-rapl:0", "package-0", RANGE_UJ - 7_000_000, RANGE_UJ)
    sensor = open_rapl()
    assert sensor.includes == "package-0: whole packages without DRAM, other programs too"
    Tracker.counted = noticed[0]
    before = sensor.read()
    powercap.advance(50.0)
    Tracker.counted = noticed[1]
    after = sensor.read()
    assert sensor.spent(before, after, 1.0) == pytest.approx(50)
    own = after[0] - before[0]
    assert own == pytest.approx(50 if noticed == (0, 1) else 50 - RANGE_UJ / 1e6)


def test_a_wrap_above_zeus_own_process(powercap: Powercap, monkeypatch: pytest.MonkeyPatch) -> None:
    powercap.add("intel-rapl:0", "package-0", RANGE_UJ - 7_000_000, RANGE_UJ)
    made = []
    real = rapl.RaplWraparoundTracker
    monkeypatch.setattr(rapl, "RaplWraparoundTracker", lambda *arguments: made.append(real(*arguments)) or made[-1])
    sensor = open_rapl()
    before = sensor.read()
    (tracker,) = made
    try:
        deadline = time.monotonic() + 60
        while not tracker.get_num_wraparounds():  # its process starts whenever it starts: wrap until it has seen one
            assert tracker.process.is_alive() and time.monotonic() < deadline
            for energy in (RANGE_UJ - 7_000_000, 43_000_000):
                powercap.set("intel-rapl:0", energy)
                time.sleep(0.15)
        after = sensor.read()
    finally:
        tracker._stop()
    assert after[0] >= RANGE_UJ / 1e6  # zeus counted the wrap
    assert sensor.spent(before, after, 1.0) == pytest.approx(50)


@pytest.mark.usefixtures("without_process")
def test_rapl_faults_are_reasons(powercap: Powercap) -> None:
    assert reason_of(open_rapl, Device(print)) == "the powercap tree has no package zone"
    powercap.add("intel-rapl:0", "package-0", 5, RANGE_UJ)
    energy = powercap.zones["intel-rapl:0"][0] / "energy_uj"

    frozen = Device(lambda joules: None)  # as in a virtual machine that shows the host's tree
    assert "package-0: the counter stood still for 1.0 s" in reason_of(open_rapl, frozen)

    backwards = Device(lambda joules: powercap.set("intel-rapl:0", powercap.exact["intel-rapl:0"] - 1e6))
    powercap.set("intel-rapl:0", RANGE_UJ / 2)
    assert "it was reset or is faulty" in reason_of(open_rapl, backwards)

    vanishing = Device(
        lambda joules: energy.unlink(missing_ok=True) if vanishing.batches >= 100 else powercap.advance(joules)
    )
    expected = "RAPL through zeus: the counter cannot be read: FileNotFoundError"
    assert expected in reason_of(open_rapl, vanishing)

    for content in ("", "nonsense\n"):
        garbled = Device(lambda joules, content=content: energy.write_text(content))
        powercap.set("intel-rapl:0", 5)
        assert "cannot be read: ValueError" in reason_of(open_rapl, garbled)


def test_a_counter_without_a_range_is_a_reason(powercap: Powercap) -> None:
    powercap.add("intel-rapl:0", "package-0", 5, None)
    expected = "the powercap tree cannot be used: ZeusRAPLFileInitError: Error reading package max energy range"
    assert reason_of(open_rapl, Device(print)) == expected


def test_missing_rights_name_the_remedy(powercap: Powercap, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's answer to a user: tests may run as root, whom no mode of a file stops."""
    powercap.add("intel-rapl:0", "package-0", 5, RANGE_UJ)

    def as_user(path: Any, *arguments: Any, **options: Any) -> Any:
        if str(path).endswith("energy_uj"):
            raise PermissionError(13, "Permission denied", str(path))
        return builtins.open(path, *arguments, **options)

    monkeypatch.setattr(rapl, "open", as_user, raising=False)
    reason = reason_of(open_rapl, Device(print))
    assert reason.startswith("no right to read energy_uj, which only root may")
    assert reason.endswith(f"sudo chmod -R a+r {powercap.tree}/")


# ---- Jetson ----------------------------------------------------------------------------------------------------------


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
    result = measure("ckpt.pt", FRAMES, LENGTHS, [], {"Jetson": open_jetson}, Device(soc.advance).bench)
    assert result["available"] and result["domains"] == domains
    assert ("the whole module" in result["includes"]) == (share == 1)
    assert result["batch_1"]["total_uj"] == pytest.approx(share * 7.0e6)


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
