"""Energy of the checkpoint's PyTorch inference, measured where there is a meter.

Measured means: an energy counter of the device was read before and after, with warm-up, with the device synchronised,
over seconds, and with the idle draw measured and subtracted (windows.py). The first meter that works is used: the
GPU's, a Jetson's, the processor's (sensors.py). Without one the result is "unavailable" with the reason for each,
beside an estimate that is labelled as one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from neurotarget.hardware.meters.samples import chosen
from neurotarget.hardware.meters.sensors import SENSORS, Sensor
from neurotarget.hardware.meters.windows import (
    LONG,
    Bench,
    Measurement,
    Throughput,
    Timing,
    first_line,
    grow,
    idle_draws,
    idle_of,
    measure_batch,
    saturating,
)

if TYPE_CHECKING:
    from neurotarget.conversion.export.torch_network import TorchNetwork


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
        idle_watts, idle_watts_std: draw before the network was on the device, median and standard deviation.
        active_idle_watts, active_idle_watts_std: the same right after a batch: a context is open, the clocks are up.
        samples: that were measured, each with its true length, batches sorted by length.
        batch_1: batches of one.
        best_batch: the smallest batch size that reaches 95 % of the highest throughput.
        batches: throughput of every batch size up to saturation.
        stopped: why batches grow no further.
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
    active_idle_watts: float
    active_idle_watts_std: float
    samples: int
    batch_1: Measurement
    best_batch: Measurement
    batches: tuple[Throughput, ...]
    stopped: str


def measure(
    network: TorchNetwork | str | Path | None,
    frames: np.ndarray,
    lengths: np.ndarray,
    estimate: Sequence[DenseEstimate] = (),
    sensors: Mapping[str, Callable[[], Sensor]] = SENSORS,
    make_bench: Callable[[str], AbstractContextManager[Bench]] | None = None,
    timing: Timing = LONG,
) -> Measured | Unmeasured:
    """Measures a network's inference, in single precision and as it is, with the first meter that works.

    Args:
        network: in PyTorch, or the path of a checkpoint, which is opened only where a meter works.
        frames: [samples, steps, ...], lengths: int64 [samples]; some are taken, evenly spaced by length.
        estimate: of the dense network, to stand beside what was measured, or in its place.
        sensors, make_bench, timing: replaced in tests; `make_bench` is given PyTorch's name of the device.

    Returns:
        What was measured, or why no meter gave anything.
    """
    if network is None:
        return Unmeasured(False, (), tuple(estimate), "no checkpoint and no network was given")
    rows = chosen(lengths)
    reasons: list[MeterReason] = []
    for name, open_sensor in sensors.items():
        try:
            sensor = open_sensor()
            before = idle_draws(sensor, timing)
            with (
                _bench(network, frames[rows], lengths[rows], sensor.torch_device)
                if make_bench is None
                else make_bench(sensor.torch_device)
            ) as bench:
                idle = idle_of(sensor, bench, timing, before)
                batches, stopped = grow(bench, timing)
                best = saturating(batches)
                one = measure_batch(sensor, bench, timing, 1, idle)
                saturated = one if best == 1 else measure_batch(sensor, bench, timing, best, idle)
        except RuntimeError as error:  # a MeterError, or a fault of the device that PyTorch reports
            reasons.append(MeterReason(name, first_line(error)))
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
            idle_watts=idle.watts,
            idle_watts_std=idle.watts_std,
            active_idle_watts=idle.active_watts,
            active_idle_watts_std=idle.active_watts_std,
            samples=len(rows),
            batch_1=one,
            best_batch=saturated,
            batches=tuple(batches),
            stopped=stopped,
        )
    return Unmeasured(False, tuple(reasons), tuple(estimate), "no energy meter works here")


def _bench(
    network: TorchNetwork | str | Path, frames: np.ndarray, lengths: np.ndarray, device_name: str
) -> AbstractContextManager[Bench]:
    from neurotarget.conversion.export.torch_network import of_checkpoint
    from neurotarget.hardware.meters.torch_bench import torch_bench

    given = of_checkpoint(network) if isinstance(network, str | Path) else network
    return torch_bench(given, frames, lengths, device_name)
