"""zeus itself above a simulated powercap tree: the kernel's files, and in one test zeus's own process beside them."""

from __future__ import annotations

import builtins
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from neurotarget.hardware.meters import sensors
from neurotarget.hardware.meters.sensors import open_rapl

from tests.hardware.metered import Device, measured, reason_of

pytest.importorskip("zeus", reason="zeus is not installed (extra 'dev' or 'meter')")

from zeus.device.cpu import rapl


@pytest.fixture(autouse=True)
def without_zeus_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ZEUSD_SOCK_PATH", "ZEUSD_HOST_PORT"):
        monkeypatch.delenv(name, raising=False)


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
        # As a kernel's file it holds a number at every moment: zeus's own process reads at any.
        (zone / "next").write_text(f"{int(energy_uj) % range_uj}\n")
        (zone / "next").replace(zone / "energy_uj")

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
def test_rapl_measures_packages_and_dram_over_wraps(powercap: Powercap, noticed_wraps: int) -> None:
    powercap.add("intel-rapl:0", "package-0", RANGE_UJ - 30_000_000, RANGE_UJ)  # wraps in the second idle window
    powercap.add("intel-rapl:0/intel-rapl:0:0", "core", 0, RANGE_UJ)
    powercap.add("intel-rapl:0/intel-rapl:0:1", "dram", RANGE_UJ - 60_000_000, RANGE_UJ)
    powercap.add("intel-rapl:1", "package-1", 5, RANGE_UJ)
    powercap.add("intel-rapl:2", "psys", 5, RANGE_UJ)  # the whole platform: counts the packages again
    device = Device(powercap.advance)
    Tracker.counted = noticed_wraps
    result = measured({"RAPL": open_rapl}, device)
    assert result.available and result.source == "RAPL through zeus"
    assert result.domains == ("package-0", "package-0 DRAM", "package-1")
    assert result.includes.endswith("whole packages with DRAM, other programs too")
    assert result.idle_watts == pytest.approx(20 * 2.25, rel=1e-6)
    for row in (result.batch_1, result.best_batch):
        assert row.total_uj == pytest.approx(7.0e6 * 2.25 / row.batch, rel=1e-6)
        assert row.total_uj_std == pytest.approx(0, abs=1.0)
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
