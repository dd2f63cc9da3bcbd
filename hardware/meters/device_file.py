"""What was measured on one device, as a file: `docs/measured/<device>.json` (docs/measuring.md).

A file from elsewhere is hostile until every key and value was checked.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from neurotarget.hardware.meters.windows import Measurement, Throughput

from neurotarget.errors import UserError, printable
from neurotarget.files import write_text
from neurotarget.tables import fill, number, shown, text

FORMAT = 1
LARGEST_BYTES = 2**22
LEAST_AGREEMENT = 0.9  # below it a row computes another network
GPU, PROCESSOR = DEVICE_CLASSES = ("GPU", "processor")


class DeviceFileError(UserError):
    """A file of measurements that cannot be used: the message names the file, the key and what is expected."""


@dataclass(frozen=True)
class MeasuredNetwork:
    """A network that was measured.

    Attributes:
        name: as rows call it.
        spiking: whether it has spiking neurons.
        checkpoint, sha256: file name and hash.
        parameters: how many.
        macs: multiplications per inference, as PyTorch computes them: zeros too.
        steps: mean length of the samples.
        accuracy: share of the measured samples that are classified right in FP32.
    """

    name: str
    spiking: bool
    checkpoint: str
    sha256: str
    parameters: int = number(at_least=1)
    macs: float = number(at_least=1, at_most=1e18)
    steps: float = number(above=0)
    accuracy: float = number(at_least=0, at_most=1)


@dataclass(frozen=True)
class MeasuredRow:
    """One network in one precision, run in one way.

    Attributes:
        network, precision, way: which.
        neurons: what computed its spiking neurons; empty where it has none.
        reason: why there is nothing; empty where there is.
        agreement: share of the samples that are classified as in FP32, eager.
        batch_1, best_batch: measured with batches of one, and of the smallest size that reaches 95 % of the highest
            throughput.
        batches: throughput up to saturation.
        stopped: why batches grow no further.
    """

    network: str
    precision: str
    way: str
    neurons: str = ""
    reason: str = ""
    agreement: float | None = number(None, at_least=0, at_most=1)
    batch_1: Measurement | None = None
    best_batch: Measurement | None = None
    batches: tuple[Throughput, ...] = ()
    stopped: str = ""

    @property
    def faithful(self) -> bool:
        """Whether it answers as the network does in FP32: only then may its energy or its time speak for it."""
        return (self.agreement or 0.0) >= LEAST_AGREEMENT


@dataclass(frozen=True)
class MeasuredDevice:
    """The file.

    Attributes:
        device: its name.
        device_class: `GPU` or `processor`.
        date: of the measurement, as 2026-01-31.
        data: SPEC of the samples.
        samples: that were measured.
        windows, window_seconds: of each measurement.
        versions: of Python, packages and the driver, a text each.
        meter, includes: the counter that was read, and what else it covers; empty without one.
        reason: why no energy was measured; empty where it was.
        networks: that were measured.
        rows: one per network, precision and way.
        idle_watts, idle_watts_std: draw before a network was on the device; like the next two `null` without a counter.
        active_idle_watts, active_idle_watts_std: draw right after a batch.
        format: 1.
    """

    device: str
    device_class: str = text(one_of=DEVICE_CLASSES)
    date: str = text()
    data: str = text()
    samples: int = number(at_least=1)
    windows: int = number(at_least=1)
    window_seconds: float = number(above=0)
    versions: tuple[str, ...] = ()
    meter: str = ""
    includes: str = ""
    reason: str = ""
    networks: tuple[MeasuredNetwork, ...] = ()
    rows: tuple[MeasuredRow, ...] = ()
    idle_watts: float | None = number(None, above=0)
    idle_watts_std: float | None = number(None, at_least=0)
    active_idle_watts: float | None = number(None, above=0)
    active_idle_watts_std: float | None = number(None, at_least=0)
    format: int = number(FORMAT, at_least=FORMAT, at_most=FORMAT)

    @property
    def slug(self) -> str:
        """The device's name as a file's."""
        return re.sub(r"[^a-z0-9]+", "-", self.device.lower()).strip("-") or "device"


# ---- writing and reading ---------------------------------------------------------------------------------------------


def save(folder: Path, found: MeasuredDevice) -> Path:
    """Writes `<device>.json` into a folder, in the place of an earlier one; the path."""
    path = folder / f"{found.slug}.json"
    write_text(path, json.dumps(dataclasses.asdict(found), indent=1, allow_nan=False) + "\n")
    return path


def load(path: str | Path) -> MeasuredDevice:
    """Reads such a file.

    Raises:
        DeviceFileError: it is missing, too large, no JSON, or a key or value of it is not as it must be.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except OSError as fault:
        raise DeviceFileError(f"{path}: {fault.strerror or fault}") from fault
    if len(content) > LARGEST_BYTES:
        raise DeviceFileError(f"{path}: more than {LARGEST_BYTES} bytes; no file of measurements is so large")
    try:
        raw = json.loads(content.decode(), parse_constant=_no_number, object_pairs_hook=_without_null)
    except (ValueError, RecursionError) as fault:
        raise DeviceFileError(f"{path}: not a file of measurements: {fault}") from fault
    return _device(path, raw)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _without_null(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of the file. What a terminal would not show as it is, is no text of ours.

    Raises:
        ValueError: a text holds a control character.
    """
    for key, value in pairs:
        if isinstance(value, str) and printable(value) != value:
            raise ValueError(f"{printable(key)} holds a character that cannot be shown: {printable(value)}")
    return {key: value for key, value in pairs if value is not None}


def _device(path: str | Path, raw: Any) -> MeasuredDevice:
    rest = dict(raw) if isinstance(raw, dict) else raw
    listed = {} if not isinstance(rest, dict) else {key: rest.pop(key, []) for key in ("networks", "rows")}
    networks = tuple(
        fill(MeasuredNetwork, entry, f"{path}: network {place}", DeviceFileError)
        for place, entry in _entries(path, "networks", listed.get("networks", []))
    )
    rows = tuple(_row(path, place, entry) for place, entry in _entries(path, "rows", listed.get("rows", [])))
    found = fill(MeasuredDevice, rest, str(path), DeviceFileError, networks=networks, rows=rows)
    names = [network.name for network in networks]
    for place, row in enumerate(rows, 1):
        if names.count(row.network) != 1:
            raise DeviceFileError(f"{path}: row {place}: network {shown(row.network)} is not one of {names}")
        if bool(row.reason) == (row.batch_1 is not None and row.best_batch is not None):
            raise DeviceFileError(f"{path}: row {place}: either batch_1 and best_batch are expected, or a reason")
    return found


def _row(path: str | Path, place: int, entry: Any) -> MeasuredRow:
    rest = dict(entry) if isinstance(entry, dict) else entry
    batches = rest.pop("batches", []) if isinstance(rest, dict) else []
    where = f"{path}: row {place}"
    known = tuple(
        fill(Throughput, one, f"{where}: batch {number_}", DeviceFileError)
        for number_, one in _entries(path, "batches", batches)
    )
    return fill(MeasuredRow, rest, where, DeviceFileError, batches=known)


def _entries(path: str | Path, key: str, value: Any) -> list[tuple[int, Any]]:
    if not isinstance(value, list):
        raise DeviceFileError(f"{path}: {key} = {shown(value)}; a list is expected")
    return list(enumerate(value, 1))
