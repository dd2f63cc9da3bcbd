"""A measured device with figures chosen by hand: a spiking network, its twin, and what a meter read of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from neurotarget.hardware.meters import device_file
from neurotarget.hardware.meters.device_file import MeasuredDevice, MeasuredNetwork, MeasuredRow
from neurotarget.hardware.meters.torch_bench import EAGER

from tests.hardware.metered import reading


def row(network: str, precision: str, alone_uj: float, batched_uj: float) -> MeasuredRow:
    one, best = (reading(batch, (2 * uj, 0.0), (uj, 0.0)) for batch, uj in ((1, alone_uj), (64, batched_uj)))
    return MeasuredRow(network, precision, EAGER, agreement=1.0, batch_1=one, best_batch=best, stopped="told to")


def device(folder: Path, *networks: MeasuredNetwork, rows: Sequence[MeasuredRow] = (), kind: str = "GPU") -> Path:
    found = MeasuredDevice(
        "A GPU", kind, "2026-01-31", "synth", 32, 3, 1.0, meter="NVML", networks=networks, rows=tuple(rows)
    )
    return device_file.save(folder, found)


SPIKING = MeasuredNetwork("spiking", True, "ckpt.pt", "0", 10, 4e6, 50.0, 0.9)
TWIN = MeasuredNetwork("twin", False, "ckpt.pt", "1", 10, 2e6, 50.0, 0.9)
ROWS = (
    row("spiking", "FP32", 9e3, 9e2),
    row("twin", "FP32", 800.0, 30.0),
    row("twin", "FP16", 600.0, 40.0),
    MeasuredRow("twin", "INT8", EAGER, reason="no kernel"),
)
