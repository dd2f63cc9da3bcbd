"""The GPU path: energy of the checkpoint's PyTorch inference, measured where there is a meter.

Measured means: an energy counter of the device was read before and after, with warm-up, with the device synchronised,
over seconds, and with the idle draw measured and subtracted. The first meter that works is used: the GPU's, a Jetson's,
the processor's (sensors.py). Without one the result is "unavailable" with the reason for each, beside an estimate from
dense MACs and published prices that is labelled as one.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from neurotarget.hardware.energy.operations import EnergyFigure
from neurotarget.hardware.meters.sensors import SENSORS, MeterError, Sensor

BATCHES = (1, 8, 32, 64, 128, 256)
WARM_UP = 10
WINDOWS = 5
WINDOW_SECONDS = 2.0  # the slowest counter is refreshed every 100 ms: a window holds many refreshes
ESTIMATES = ("gpu-a100-fp32", "gpu-a100-fp16", "gpu-orin-nano-gemm64")


@dataclass(frozen=True)
class Measurement:
    """Energy and time of one inference at one batch size, mean and standard deviation over the windows.

    Attributes:
        dynamic_uj: the total less the idle draw over the same time.
        latency_ms: of a batch.
    """

    batch: int
    total_uj: float
    total_uj_std: float
    dynamic_uj: float
    dynamic_uj_std: float
    latency_ms: float
    latency_ms_std: float
    inferences: int


@dataclass(frozen=True)
class Bench:
    """What a measurement needs beside the sensor; tests replace clock and sleep.

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


def measure(
    checkpoint: str | Path | None,
    frames: np.ndarray,
    lengths: np.ndarray,
    figures: Sequence[EnergyFigure],
    sensors: Mapping[str, Callable[[], Sensor]] = SENSORS,
    make_bench: Callable[[str], Bench] | None = None,
) -> dict[str, Any]:
    """Measures the checkpoint's inference with the first meter that works, or says why none does, and estimates.

    Args:
        frames: [samples, steps, features], lengths: int64 [samples]; batches repeat them.
        figures: energies of the network; the estimate is taken from their GPU tables.
        sensors, make_bench: replaced in tests; `make_bench` is given PyTorch's name of the device.

    Returns:
        `report.json`'s `measured` (docs/report.md).
    """
    nothing: dict[str, Any] = {"available": False, "meters": [], "estimate": _estimate(figures)}
    if checkpoint is None:
        return nothing | {"reason": "no checkpoint was given"}
    meters = []
    for name, open_sensor in sensors.items():
        try:
            sensor = open_sensor()
            bench = (
                _torch_bench(checkpoint, frames, lengths, sensor.torch_device)
                if make_bench is None
                else make_bench(sensor.torch_device)
            )
            found = _with_sensor(sensor, bench)
        except RuntimeError as error:  # a MeterError, or a fault of the device that PyTorch reports
            meters.append({"meter": name, "reason": str(error).partition("\n")[0]})
        else:
            return nothing | found | {"meters": meters}
    return nothing | {"reason": "no energy meter works here", "meters": meters}


def _with_sensor(sensor: Sensor, bench: Bench) -> dict[str, Any]:
    draws = idle_watts(sensor, bench)
    idle = statistics.median(draws)
    results, stopped = measure_batches(sensor, bench, idle)
    best = min(results, key=lambda result: result.total_uj)
    return {
        "available": True,
        "kind": "measured",
        "source": sensor.source,
        "device": sensor.device,
        "includes": sensor.includes,
        "domains": [domain.name for domain in sensor.domains],
        "idle_watts": idle,
        "idle_watts_std": _spread(draws),
        "batch_1": vars(results[0]),
        "best_batch": vars(best),
        "batches": [vars(result) for result in results],
        "stopped": stopped,
    }


def idle_watts(sensor: Sensor, bench: Bench) -> list[float]:
    """Draw of the device with the model loaded and nothing to do, a window each.

    Their median is subtracted: zeus's first reading starts a process, which spoils the first windows.
    """
    bench.synchronise()
    draws = []
    for _ in range(bench.windows):
        before, start = sensor.read(), bench.clock()
        bench.sleep(bench.window_seconds)
        after, seconds = sensor.read(), bench.clock() - start
        draws.append(sensor.spent(before, after, seconds) / seconds)
    return draws


def measure_batches(sensor: Sensor, bench: Bench, idle: float) -> tuple[list[Measurement], str | None]:
    """Measures growing batches, and says why it stopped before the largest.

    It stops once a batch fills a window, where more parallel work gains nothing that a slow device would show in
    reasonable time, and where the device can hold no more.

    Raises:
        MeterError: the counter failed. What was measured before it is not trusted either.
        RuntimeError: not even one sample fits the device.
    """
    results: list[Measurement] = []
    for batch in BATCHES:
        try:
            results.append(measure_batch(sensor, bench, batch, idle))
        except RuntimeError as error:
            if isinstance(error, MeterError) or not results:
                raise
            return results, f"batch {batch}: {str(error).partition(chr(10))[0]}"
        seconds = results[-1].latency_ms / 1e3
        if seconds >= bench.window_seconds and batch != BATCHES[-1]:
            return results, f"a batch of {batch} takes {seconds:.1f} s; larger ones were left out"
    return results, None


def measure_batch(sensor: Sensor, bench: Bench, batch: int, idle: float) -> Measurement:
    """Measures one batch size.

    Raises:
        MeterError: the counter vanished, stood still or moved implausibly.
    """
    _warm_up(bench, batch)
    totals, dynamics, latencies, inferences = [], [], [], 0
    for _ in range(bench.windows):
        batches = 0
        before, start = sensor.read(), bench.clock()
        while bench.clock() - start < bench.window_seconds:
            bench.run(batch)
            bench.synchronise()
            batches += 1
        after, seconds = sensor.read(), bench.clock() - start
        joules = sensor.spent(before, after, seconds)
        totals.append(joules / (batches * batch) * 1e6)
        dynamics.append((joules - idle * seconds) / (batches * batch) * 1e6)
        latencies.append(seconds / batches * 1e3)
        inferences += batches * batch
    return Measurement(
        batch=batch,
        total_uj=statistics.fmean(totals),
        total_uj_std=_spread(totals),
        dynamic_uj=statistics.fmean(dynamics),
        dynamic_uj_std=_spread(dynamics),
        latency_ms=statistics.fmean(latencies),
        latency_ms_std=_spread(latencies),
        inferences=inferences,
    )


def _warm_up(bench: Bench, batch: int) -> None:
    """Ten batches, fewer where they take longer than a window: clocks and caches have settled by then."""
    start = bench.clock()
    for _ in range(WARM_UP):
        bench.run(batch)
        bench.synchronise()
        if bench.clock() - start >= bench.window_seconds:
            return


def _spread(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def _estimate(figures: Sequence[EnergyFigure]) -> list[dict[str, Any]]:
    wanted: Mapping[str, EnergyFigure] = {figure.table: figure for figure in figures}
    return [
        {
            "table": name,
            "uj": wanted[name].ann_uj,
            "kind": "estimated",
            "source": wanted[name].source,
            "grade": wanted[name].grade,
            "title": wanted[name].title,
        }
        for name in ESTIMATES
        if name in wanted
    ]


def _torch_bench(checkpoint: str | Path, frames: np.ndarray, lengths: np.ndarray, torch_device: str) -> Bench:
    """The checkpoint's network on a device, with its samples already there."""
    import torch
    from neurotarget.model.training import checkpoint as checkpoints

    device = torch.device(torch_device)
    model = checkpoints.load(checkpoint).model().to(device).eval()
    samples = torch.as_tensor(np.asarray(frames, np.float32), device=device)
    windows = torch.as_tensor(np.asarray(lengths, np.int64), device=device)

    def run(batch: int) -> None:
        index = torch.arange(batch, device=device) % len(samples)
        with torch.inference_mode():
            model(samples[index], windows[index])

    def synchronise() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return Bench(run=run, synchronise=synchronise)
