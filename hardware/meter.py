"""The GPU path: energy of the checkpoint's PyTorch inference, measured where there is a meter.

Measured means: an energy counter of the device was read before and after (zeus, which reads NVML's
`nvmlDeviceGetTotalEnergyConsumption`), with warm-up, with the device synchronised, over seconds, and with the idle
draw measured and subtracted. Without such a counter the result is "unavailable" with the reason, beside an estimate
from dense MACs and data-sheet prices that is labelled as one.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hardware.energy import EnergyFigure

BATCHES = (1, 8, 32, 64, 128, 256)
WARM_UP = 10
WINDOWS = 5
WINDOW_SECONDS = 2.0  # NVML refreshes its counter every 20 to 100 ms: a window holds many refreshes
ESTIMATES = ("gpu-a100-fp32", "gpu-a100-fp16", "gpu-orin-nano-gemm64")


class MeterError(RuntimeError):
    """A meter that is there but does not work: driver fault, missing rights, a counter that stands still."""


class Meter(Protocol):
    """Energy over a window of time."""

    name: str

    def begin(self) -> None: ...

    def end(self) -> float:
        """Joule since `begin`."""


class ZeusMeter:
    """One GPU through zeus."""

    def __init__(self, index: int = 0) -> None:
        from zeus.monitor import ZeusMonitor

        self.name = f"zeus, NVML, GPU {index}"
        self._monitor = ZeusMonitor(gpu_indices=[index], approx_instant_energy=False)

    def begin(self) -> None:
        # We synchronise ourselves, so that a fake meter and this one see the same protocol.
        self._monitor.begin_window("neurotarget", sync_execution=False)

    def end(self) -> float:
        return float(sum(self._monitor.end_window("neurotarget", sync_execution=False).gpu_energy.values()))


def open_meter() -> Meter | str:
    """A meter, or the reason why there is none."""
    try:
        import torch
    except ImportError:
        return "PyTorch is not installed"
    if not torch.cuda.is_available():
        return "no CUDA device on this machine"
    try:
        return ZeusMeter()
    except ImportError:
        return "zeus is not installed; install the extra 'meter'"
    except Exception as error:  # NVML reports driver faults and missing rights through many classes
        return f"the GPU's energy counter cannot be opened: {type(error).__name__}: {error}"


@dataclass(frozen=True)
class Measurement:
    """Energy and time of one inference at one batch size, mean and standard deviation over the windows."""

    batch: int
    total_uj: float
    total_uj_std: float
    dynamic_uj: float
    latency_ms: float
    latency_ms_std: float
    inferences: int


@dataclass(frozen=True)
class Bench:
    """What a measurement needs beside the meter; tests replace clock and sleep.

    Attributes:
        run: runs one batch of that size on the device; does not wait for it.
        synchronise: waits for the device.
    """

    run: Callable[[int], None]
    synchronise: Callable[[], None]
    clock: Callable[[], float] = time.perf_counter
    sleep: Callable[[float], None] = time.sleep
    window_seconds: float = WINDOW_SECONDS
    windows: int = WINDOWS


def idle_watts(meter: Meter, bench: Bench) -> float:
    """Draw of the device with the model loaded and nothing to do."""
    bench.synchronise()
    meter.begin()
    start = bench.clock()
    bench.sleep(bench.window_seconds)
    seconds = bench.clock() - start
    return _joule(meter) / seconds


def measure_batch(meter: Meter, bench: Bench, batch: int, idle: float) -> Measurement:
    """Measures one batch size.

    Raises:
        MeterError: the counter went backwards or stood still.
    """
    for _ in range(WARM_UP):
        bench.run(batch)
    bench.synchronise()
    energies, dynamic, seconds_each, inferences = [], [], [], 0
    for _ in range(bench.windows):
        batches = 0
        meter.begin()
        start = bench.clock()
        while bench.clock() - start < bench.window_seconds:
            bench.run(batch)
            bench.synchronise()
            batches += 1
        seconds = bench.clock() - start
        joule = _joule(meter)
        if joule == 0:
            raise MeterError(f"{meter.name}: the counter stood still for {seconds:.1f} s under load")
        energies.append(joule / (batches * batch) * 1e6)
        dynamic.append((joule - idle * seconds) / (batches * batch) * 1e6)
        seconds_each.append(seconds / batches * 1e3)
        inferences += batches * batch
    return Measurement(
        batch=batch,
        total_uj=statistics.fmean(energies),
        total_uj_std=statistics.stdev(energies) if len(energies) > 1 else 0.0,
        dynamic_uj=statistics.fmean(dynamic),
        latency_ms=statistics.fmean(seconds_each),
        latency_ms_std=statistics.stdev(seconds_each) if len(seconds_each) > 1 else 0.0,
        inferences=inferences,
    )


def _joule(meter: Meter) -> float:
    joule = meter.end()
    if not np.isfinite(joule) or joule < 0:
        raise MeterError(f"{meter.name}: the counter gave {joule} J over a window; it wrapped round or was reset")
    return joule


def measure(
    checkpoint: str | Path | None,
    frames: np.ndarray,
    lengths: np.ndarray,
    figures: Sequence[EnergyFigure],
    meter: Meter | str | None = None,
    bench: Bench | None = None,
) -> dict[str, Any]:
    """Measures the checkpoint's inference on the GPU, or says why not and estimates.

    Args:
        frames: [samples, steps, features], lengths: int64 [samples]; batches repeat them.
        figures: energies under the boundary "operations"; the estimate is taken from their GPU tables.
        meter, bench: replaced in tests.

    Returns:
        `report.json`'s `measured`: `available`, `kind`, and either batch sizes with their energies, or `reason`; in
        both cases `estimate`.
    """
    estimate = _estimate(figures)
    if checkpoint is None:
        return {"available": False, "reason": "no --checkpoint was given", "estimate": estimate}
    meter = open_meter() if meter is None else meter
    if isinstance(meter, str):
        return {"available": False, "reason": meter, "estimate": estimate}
    try:
        bench = _cuda_bench(checkpoint, frames, lengths) if bench is None else bench
        idle = idle_watts(meter, bench)
        results = [measure_batch(meter, bench, batch, idle) for batch in BATCHES]
    except (MeterError, RuntimeError) as error:  # CUDA faults are RuntimeErrors
        return {"available": False, "reason": str(error).splitlines()[0], "estimate": estimate}
    best = min(results, key=lambda result: result.total_uj)
    return {
        "available": True,
        "kind": "measured",
        "source": meter.name,
        "idle_watts": idle,
        "batch_1": vars(results[0]),
        "best_batch": vars(best),
        "batches": [vars(result) for result in results],
        "estimate": estimate,
    }


def _estimate(figures: Sequence[EnergyFigure]) -> list[dict[str, Any]]:
    wanted: Mapping[str, EnergyFigure] = {figure.table: figure for figure in figures}
    return [
        {
            "table": name,
            "uj": wanted[name].ann_uj,
            "kind": "estimated",
            "source": wanted[name].source,
            "title": wanted[name].title,
        }
        for name in ESTIMATES
        if name in wanted
    ]


def _cuda_bench(checkpoint: str | Path, frames: np.ndarray, lengths: np.ndarray) -> Bench:
    """The checkpoint's network on the first CUDA device, with its batches already there."""
    import torch

    from model import checkpoint as checkpoints

    device = torch.device("cuda", 0)
    model = checkpoints.load(checkpoint).model().to(device).eval()
    samples = torch.as_tensor(np.asarray(frames, np.float32), device=device)
    windows = torch.as_tensor(np.asarray(lengths, np.int64), device=device)

    def run(batch: int) -> None:
        index = torch.arange(batch, device=device) % len(samples)
        with torch.inference_mode():
            model(samples[index], windows[index])

    return Bench(run=run, synchronise=lambda: torch.cuda.synchronize(device))
