"""Energy of the checkpoint's PyTorch inference, measured where there is a meter.

Measured means: an energy counter of the device was read before and after, with warm-up, with the device synchronised,
over seconds, and with the idle draw measured and subtracted. The first meter that works is used: the GPU's, a Jetson's,
the processor's (sensors.py). Without one the result is "unavailable" with the reason for each, beside an estimate that
is labelled as one.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from neurotarget.hardware.meters.sensors import SENSORS, MeterError, Sensor

if TYPE_CHECKING:
    from neurotarget.conversion.export.torch_network import TorchNetwork

BATCHES = (1, 8, 32, 64, 128, 256)
WARM_UP = 10
WINDOWS = 5
WINDOW_SECONDS = 2.0  # the slowest counter is refreshed every 100 ms: a window holds many refreshes


@dataclass(frozen=True)
class Measurement:
    """Energy and time at one batch size, mean and standard deviation (`_std`) over the windows of measurement.

    Attributes:
        batch: samples per batch.
        total_uj, total_uj_std: energy per inference.
        dynamic_uj, dynamic_uj_std: energy per inference, less the idle draw over the same time.
        latency_ms, latency_ms_std: time per batch.
        inferences: that were measured.
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
class MeterReason:
    """A meter that gave nothing.

    Attributes:
        meter: `NVML`, `Jetson` or `RAPL`.
        reason: why it gave nothing.
    """

    meter: str
    reason: str


@dataclass(frozen=True)
class DenseEstimate:
    """What the dense network would take on a GPU, from dense MACs and a published price.

    Attributes:
        table, title: of the price table.
        uj: microjoule per inference; `null` where nothing was counted.
        kind: `estimated`.
        source, grade: of the price, and how good the evidence is.
    """

    table: str
    uj: float | None
    kind: str
    source: str
    grade: str
    title: str


@dataclass(frozen=True)
class Unmeasured:
    """When no meter gave anything.

    Attributes:
        available: `false`.
        meters: those that were tried.
        estimate: in place of a measurement.
        reason: in one clause.
    """

    available: Literal[False]
    meters: tuple[MeterReason, ...]
    estimate: tuple[DenseEstimate, ...]
    reason: str


@dataclass(frozen=True)
class Measured:
    """The checkpoint's inference in PyTorch, measured ([energy.md](energy.md#boundaries)).

    Attributes:
        available: `true`.
        meters: those that were tried before and gave nothing.
        estimate: beside the measurement.
        kind: `measured`.
        source: the counter that was read, and through what.
        device: what computed the network.
        includes: what else the counter covers, and what it leaves out.
        domains: names of the counter's parts.
        idle_watts, idle_watts_std: draw with the model loaded and nothing to do, median and standard deviation.
        batch_1: batches of one.
        best_batch: the batch size that takes the least energy per inference.
        batches: every batch size.
        stopped: why batches do not grow to 256; `null` when they do.
    """

    available: Literal[True]
    meters: tuple[MeterReason, ...]
    estimate: tuple[DenseEstimate, ...]
    kind: str
    source: str
    device: str
    includes: str
    domains: tuple[str, ...]
    idle_watts: float
    idle_watts_std: float
    batch_1: Measurement
    best_batch: Measurement
    batches: tuple[Measurement, ...]
    stopped: str | None


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
    network: TorchNetwork | str | Path | None,
    frames: np.ndarray,
    lengths: np.ndarray,
    estimate: Sequence[DenseEstimate] = (),
    sensors: Mapping[str, Callable[[], Sensor]] = SENSORS,
    make_bench: Callable[[str], Bench] | None = None,
) -> Measured | Unmeasured:
    """Measures a network's inference with the first meter that works, or says why none does.

    Args:
        network: in PyTorch, or the path of a checkpoint, which is opened only where a meter works.
        frames: [samples, steps, features], lengths: int64 [samples]; batches repeat them.
        estimate: of the dense network, to stand beside what was measured, or in its place.
        sensors, make_bench: replaced in tests; `make_bench` is given PyTorch's name of the device.
    """
    if network is None:
        return Unmeasured(False, (), tuple(estimate), "no checkpoint and no network was given")
    reasons: list[MeterReason] = []
    for name, open_sensor in sensors.items():
        try:
            sensor = open_sensor()
            bench = (
                _torch_bench(network, frames, lengths, sensor.torch_device)
                if make_bench is None
                else make_bench(sensor.torch_device)
            )
            draws = idle_watts(sensor, bench)
            idle = statistics.median(draws)
            results, stopped = measure_batches(sensor, bench, idle)
        except RuntimeError as error:  # a MeterError, or a fault of the device that PyTorch reports
            reasons.append(MeterReason(name, str(error).partition("\n")[0]))
            continue
        return Measured(
            available=True,
            meters=tuple(reasons),
            estimate=tuple(estimate),
            kind="measured",
            source=sensor.source,
            device=sensor.device,
            includes=sensor.includes,
            domains=tuple(domain.name for domain in sensor.domains),
            idle_watts=idle,
            idle_watts_std=_standard_deviation(draws),
            batch_1=results[0],
            best_batch=min(results, key=lambda result: result.total_uj),
            batches=tuple(results),
            stopped=stopped,
        )
    return Unmeasured(False, tuple(reasons), tuple(estimate), "no energy meter works here")


def idle_watts(sensor: Sensor, bench: Bench) -> list[float]:
    """Draw of the device with the model loaded and nothing to do, one value per window.

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
        total_uj_std=_standard_deviation(totals),
        dynamic_uj=statistics.fmean(dynamics),
        dynamic_uj_std=_standard_deviation(dynamics),
        latency_ms=statistics.fmean(latencies),
        latency_ms_std=_standard_deviation(latencies),
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


def _standard_deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def _torch_bench(
    network: TorchNetwork | str | Path, frames: np.ndarray, lengths: np.ndarray, torch_device: str
) -> Bench:
    """A copy of the network on a device, in single precision, with its samples already there."""
    import torch
    from neurotarget.conversion.export.torch_network import of_checkpoint

    device = torch.device(torch_device)
    given = of_checkpoint(network) if isinstance(network, str | Path) else network
    placed = given.to(device, torch.float32)
    samples = torch.as_tensor(np.asarray(frames, np.float32), device=device)
    steps = torch.as_tensor(np.asarray(lengths, np.int64), device=device)

    def run(batch: int) -> None:
        index = torch.arange(batch, device=device) % len(samples)
        with torch.inference_mode():
            placed(samples[index], steps[index])

    def synchronise() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return Bench(run=run, synchronise=synchronise)
