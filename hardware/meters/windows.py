"""Energy and time of batches over windows of seconds, with the idle draw beside them: the one way to measure here.

A window holds whole passes over the samples, so that long and short ones weigh as they do in the data. The device is
synchronised after every batch.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from neurotarget.hardware.meters.sensors import Sensor

from neurotarget.tables import number

LARGEST_BATCH = 4096
LEAST_GAIN = 0.1  # share of throughput that two doublings of a batch must add for it to grow on
SATURATED = 0.95  # share of the highest throughput
WARM_UP = 10  # batches
PROBE_SHARE = 0.2  # of a window: throughput alone needs no counter


@dataclass(frozen=True)
class Timing:
    """How long is measured; tests replace clock and sleep.

    Attributes:
        window_seconds, windows: length and number of the windows.
    """

    window_seconds: float
    windows: int
    clock: Callable[[], float] = time.perf_counter
    sleep: Callable[[float], None] = time.sleep


# The slowest counter is refreshed every 100 ms: a window holds many refreshes.
LONG, SHORT = Timing(2.0, 5), Timing(1.0, 3)


@dataclass(frozen=True)
class Pass:
    """All samples once, at one batch size.

    Attributes:
        runs: one per batch; each starts it on the device, does not wait for it, and gives the network's output.
        padding: share of the computed steps that lie beyond the samples' ends.
    """

    runs: Sequence[Callable[[], Any]]
    padding: float = 0.0


@dataclass(frozen=True)
class Bench:
    """A network on a device with its samples already there.

    Attributes:
        prepare: the pass over the samples at a batch size.
        synchronise: waits for the device.
    """

    prepare: Callable[[int], Pass]
    synchronise: Callable[[], None]


@dataclass(frozen=True)
class Idle:
    """Draw of the device with nothing to do, in watt, median and standard deviation (`_std`) over the windows.

    Attributes:
        watts, watts_std: before the network was put on the device.
        active_watts, active_watts_std: right after a batch: the context is open and the clocks are up.
    """

    watts: float
    watts_std: float
    active_watts: float
    active_watts_std: float


@dataclass(frozen=True)
class Throughput:
    """A batch size on the way to saturation.

    Attributes:
        batch: samples per batch.
        latency_ms: time per batch.
        per_second: inferences per second.
        padding: share of the computed steps that lie beyond the samples' ends.
    """

    batch: int = number(at_least=1)
    latency_ms: float = number(above=0)
    per_second: float = number(above=0)
    padding: float = number(at_least=0, at_most=1)


@dataclass(frozen=True)
class Measurement:
    """Time and energy at one batch size, mean and standard deviation (`_std`) over the windows of measurement.

    Attributes:
        batch: samples per batch.
        latency_ms, latency_ms_std: time per batch.
        per_second, per_second_std: inferences per second.
        padding: share of the computed steps that lie beyond the samples' ends.
        inferences: that were measured.
        total_uj, total_uj_std: energy per inference; like the next four `null` without a counter.
        dynamic_uj, dynamic_uj_std: energy per inference, less the idle draw over the same time.
        above_active_uj, above_active_uj_std: energy per inference, less the active idle draw over the same time.
    """

    batch: int = number(at_least=1)
    latency_ms: float = number(above=0)
    latency_ms_std: float = number(at_least=0)
    per_second: float = number(above=0)
    per_second_std: float = number(at_least=0)
    padding: float = number(at_least=0, at_most=1)
    inferences: int = number(at_least=1)
    total_uj: float | None = number(None, above=0)
    total_uj_std: float | None = number(None, at_least=0)
    dynamic_uj: float | None = number(None)
    dynamic_uj_std: float | None = number(None, at_least=0)
    above_active_uj: float | None = number(None)
    above_active_uj_std: float | None = number(None, at_least=0)


# ---- idle ------------------------------------------------------------------------------------------------------------


def idle_draws(sensor: Sensor, timing: Timing, before: Callable[[], None] = lambda: None) -> list[float]:
    """Draw with nothing to do, in watt, one value per window.

    Their median is subtracted: zeus's first reading starts a process, which spoils the first windows.

    Args:
        before: done ahead of each window, outside of it.
    """
    draws = []
    for _ in range(timing.windows):
        before()
        first, start = sensor.read(), timing.clock()
        timing.sleep(timing.window_seconds)
        last, seconds = sensor.read(), timing.clock() - start
        draws.append(sensor.spent(first, last, seconds) / seconds)
    return draws


def idle_of(sensor: Sensor, bench: Bench, timing: Timing, before: Sequence[float]) -> Idle:
    """Both idle draws.

    Args:
        before: the draws before the network was put on the device.
    """
    run = bench.prepare(1).runs[0]

    def work() -> None:
        run()
        bench.synchronise()

    active = idle_draws(sensor, timing, work)
    return Idle(
        watts=statistics.median(before),
        watts_std=deviation(before),
        active_watts=statistics.median(active),
        active_watts_std=deviation(active),
    )


# ---- under load ------------------------------------------------------------------------------------------------------


def grow(bench: Bench, timing: Timing) -> tuple[list[Throughput], str]:
    """Doubles the batch up to saturation; what was found, and why it went no further.

    It stops where two doublings add less than `LEAST_GAIN` of throughput, once a batch fills a window, and where the
    device can hold no more.

    Raises:
        RuntimeError: not even one sample fits the device.
    """
    found: list[Throughput] = []
    batch = 1
    while batch <= LARGEST_BATCH:
        try:
            found.append(throughput(bench, timing, batch))
        except RuntimeError as error:
            if not found:
                raise
            return found, f"batch {batch}: {first_line(error)}"
        seconds = found[-1].latency_ms / 1e3
        if seconds >= timing.window_seconds:
            return found, f"a batch of {batch} takes {seconds:.1f} s; larger ones were left out"
        rates = [row.per_second for row in found]
        if len(rates) > 2 and max(rates[-2:]) < (1 + LEAST_GAIN) * max(rates[:-2]):
            return found, f"batches of {batch // 2} and {batch} add less than {LEAST_GAIN:.0%} to the throughput before"
        batch *= 2
    return found, f"{LARGEST_BATCH} is the largest batch that is tried"


def saturating(found: Sequence[Throughput]) -> int:
    """The smallest batch that reaches `SATURATED` of the highest throughput."""
    highest = max(row.per_second for row in found)
    return min(row.batch for row in found if row.per_second >= SATURATED * highest)


def throughput(bench: Bench, timing: Timing, batch: int) -> Throughput:
    """Time of a batch over a part of a window, after the warm-up."""
    work = bench.prepare(batch)
    _warm_up(work, bench, timing)
    seconds, passes = _passes(work, bench, timing, PROBE_SHARE * timing.window_seconds)
    batches = passes * len(work.runs)
    return Throughput(batch, seconds / batches * 1e3, batches * batch / seconds, work.padding)


def measure_batch(
    sensor: Sensor | None, bench: Bench, timing: Timing, batch: int, idle: Idle | None = None
) -> Measurement:
    """Measures one batch size; without a sensor its time alone.

    Raises:
        MeterError: the counter vanished, stood still or moved implausibly.
    """
    work = bench.prepare(batch)
    _warm_up(work, bench, timing)
    latencies, rates, inferences = [], [], 0
    totals: list[float] = []
    dynamics: list[float] = []
    above_active: list[float] = []
    for _ in range(timing.windows):
        first = sensor.read() if sensor else ()
        seconds, passes = _passes(work, bench, timing, timing.window_seconds)
        batches = passes * len(work.runs)
        latencies.append(seconds / batches * 1e3)
        rates.append(batches * batch / seconds)
        inferences += batches * batch
        if sensor and idle:
            joules = sensor.spent(first, sensor.read(), seconds)
            totals.append(joules / (batches * batch) * 1e6)
            dynamics.append((joules - idle.watts * seconds) / (batches * batch) * 1e6)
            above_active.append((joules - idle.active_watts * seconds) / (batches * batch) * 1e6)
    return Measurement(
        batch=batch,
        latency_ms=statistics.fmean(latencies),
        latency_ms_std=deviation(latencies),
        per_second=statistics.fmean(rates),
        per_second_std=deviation(rates),
        padding=work.padding,
        inferences=inferences,
        total_uj=_mean(totals),
        total_uj_std=_spread(totals),
        dynamic_uj=_mean(dynamics),
        dynamic_uj_std=_spread(dynamics),
        above_active_uj=_mean(above_active),
        above_active_uj_std=_spread(above_active),
    )


def _passes(work: Pass, bench: Bench, timing: Timing, least_seconds: float) -> tuple[float, int]:
    """Seconds and number of whole passes that take at least so long."""
    start, passes = timing.clock(), 0
    while True:
        for run in work.runs:
            run()
            bench.synchronise()
        passes += 1
        seconds = timing.clock() - start
        if seconds >= least_seconds:
            return seconds, passes


def _warm_up(work: Pass, bench: Bench, timing: Timing) -> None:
    """A pass, so that every shape was seen, and more up to ten batches: clocks and caches have settled by then."""
    start = timing.clock()
    for done in range(max(WARM_UP, len(work.runs))):
        if done >= len(work.runs) and timing.clock() - start >= timing.window_seconds:
            return
        work.runs[done % len(work.runs)]()
        bench.synchronise()


# ---- parts -----------------------------------------------------------------------------------------------------------


def deviation(values: Sequence[float]) -> float:
    """Standard deviation of a sample; 0 of a single value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def quotient(value: float, spread: float | None, other: float, other_spread: float | None) -> tuple[float, float]:
    """value / other, neither zero, and its standard deviation: relative deviations add in quadrature."""
    ratio = value / other
    return ratio, ratio * math.hypot((spread or 0.0) / value, (other_spread or 0.0) / other)


def first_line(error: Exception) -> str:
    """What an exception says, in one line."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def _spread(values: Sequence[float]) -> float | None:
    return deviation(values) if values else None
