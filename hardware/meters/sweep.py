"""Networks on one device in every precision and way; what does not work is a row with its reason."""

from __future__ import annotations

import datetime
import hashlib
import importlib
import importlib.metadata
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import torch
from neurotarget.conversion.export.torch_network import TorchNetwork
from neurotarget.hardware.meters import torch_bench
from neurotarget.hardware.meters.device_file import GPU, PROCESSOR, MeasuredDevice, MeasuredNetwork, MeasuredRow
from neurotarget.hardware.meters.samples import chosen
from neurotarget.hardware.meters.sensors import SENSORS, MeterError, Sensor, processor
from neurotarget.hardware.meters.torch_bench import COMPILED, EAGER, FP32, GRAPH, PRECISIONS, Setting
from neurotarget.hardware.meters.windows import (
    SHORT,
    Bench,
    Idle,
    Timing,
    first_line,
    grow,
    idle_draws,
    idle_of,
    measure_batch,
    saturating,
)
from neurotarget.model.networks.parts import readout
from neurotarget.model.training import registry
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

# Compiling takes longest: where time ends, that is what is missing.
SETTINGS = tuple(Setting(precision, way) for way in (EAGER, GRAPH, COMPILED) for precision in PRECISIONS)
PACKAGES = ("torch", "triton", "spikingjelly", "zeus", "neurotarget")


@dataclass(frozen=True)
class Subject:
    """A network to measure.

    Attributes:
        name: for its rows.
        checkpoint: it comes from.
        network: in evaluation mode.
    """

    name: str
    checkpoint: Path
    network: TorchNetwork


@dataclass(frozen=True, eq=False)
class Data:
    """Samples to measure on: frames [samples, steps, features], int64 lengths and labels [samples]."""

    spec: str
    frames: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray

    def chosen(self, most: int) -> Data:
        """Some of them, sorted by length."""
        rows = chosen(self.lengths, most)
        return Data(self.spec, self.frames[rows], self.lengths[rows], self.labels[rows])


@dataclass
class Meter:
    """The counter of a device where one works, and its idle draws.

    Attributes:
        sensor: None where no counter works.
        reason: why not.
        before: draws before a network was on the device, in watt.
        idle: both draws, once a network is there.
    """

    sensor: Sensor | None = None
    reason: str = ""
    before: list[float] = field(default_factory=list)
    idle: Idle | None = None


def sweep(
    subjects: Sequence[Subject],
    data: Data,
    device_name: str,
    minutes: float,
    sensors: Mapping[str, Callable[[], Sensor]] = SENSORS,
    timing: Timing = SHORT,
    settings: Sequence[Setting] = SETTINGS,
) -> MeasuredDevice:
    """Measures all networks in all settings, the networks of one setting after each other.

    Args:
        data: as `Data.chosen` gives them.
        device_name: PyTorch's.
        minutes: no row begins later.
        sensors, timing, settings: replaced in tests.
    """
    end = timing.clock() + 60 * minutes
    meter = open_meter(sensors, device_name, timing)
    rows: list[MeasuredRow] = []
    answers: dict[str, list[int]] = {}
    jobs = [(subject, setting) for setting in settings for subject in subjects]
    for subject, setting in tqdm(jobs, desc="measure", unit="row", disable=None):
        if timing.clock() > end:
            reason = f"left out: the {minutes:g} minutes were over"
            rows.append(MeasuredRow(subject.name, setting.precision, setting.way, reason=reason))
        else:
            rows.append(_row(subject, setting, data, device_name, meter, timing, answers))
    sensor, idle = meter.sensor, meter.idle
    cuda = torch.device(device_name).type == "cuda"
    return MeasuredDevice(
        device=sensor.device if sensor else torch.cuda.get_device_name(device_name) if cuda else processor(),
        device_class=GPU if cuda else PROCESSOR,
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        versions=tuple(_versions(cuda)),
        meter=sensor.source if sensor else "",
        includes=sensor.includes if sensor else "",
        reason=meter.reason,
        data=data.spec,
        samples=len(data.lengths),
        windows=timing.windows,
        window_seconds=timing.window_seconds,
        networks=tuple(_described(subject, data, answers.get(subject.name, [])) for subject in subjects),
        rows=tuple(rows),
        idle_watts=idle.watts if idle else None,
        idle_watts_std=idle.watts_std if idle else None,
        active_idle_watts=idle.active_watts if idle else None,
        active_idle_watts_std=idle.active_watts_std if idle else None,
    )


def open_meter(sensors: Mapping[str, Callable[[], Sensor]], device_name: str, timing: Timing) -> Meter:
    """The first counter that works for a device and its idle draw, before anything is put there."""
    kind, reasons = torch.device(device_name).type, []
    for name, open_sensor in sensors.items():
        try:
            sensor = open_sensor()
            if torch.device(sensor.torch_device).type != kind:
                reasons.append(f"{name}: it meters {sensor.device}, and {device_name} is what computes")
                continue
            return Meter(sensor, before=idle_draws(sensor, timing))
        except MeterError as error:
            reasons.append(f"{name}: {first_line(error)}")
    return Meter(reason="; ".join(reasons) or "no meter was tried")


def _row(
    subject: Subject,
    setting: Setting,
    data: Data,
    device_name: str,
    meter: Meter,
    timing: Timing,
    answers: dict[str, list[int]],
) -> MeasuredRow:
    """One row. The first one of a network that works says what its answers are."""
    neurons = ""
    try:
        neurons = torch_bench.neurons_of(subject.network.module, device_name, setting)
        with torch_bench.torch_bench(subject.network, data.frames, data.lengths, device_name, setting) as bench:
            how = cast(registry.Network, subject.network.module).config.readout
            given = classes(bench, data.lengths, how)
            known = answers.setdefault(subject.name, given)
            if meter.sensor and meter.idle is None:
                meter.idle = idle_of(meter.sensor, bench, timing, meter.before)
            batches, stopped = grow(bench, timing)
            best = saturating(batches)
            one = measure_batch(meter.sensor, bench, timing, 1, meter.idle)
            saturated = one if best == 1 else measure_batch(meter.sensor, bench, timing, best, meter.idle)
    except torch_bench.Impossible as error:
        return MeasuredRow(subject.name, setting.precision, setting.way, reason=str(error))
    except Exception as error:  # compilers and kernels raise almost anything; one row must not end the others
        reason = f"{type(error).__name__}: {first_line(error)}"
        return MeasuredRow(subject.name, setting.precision, setting.way, neurons, reason=reason)
    return MeasuredRow(
        network=subject.name,
        precision=setting.precision,
        way=setting.way,
        neurons=neurons,
        agreement=float(np.mean(np.array(given) == known)),
        batch_1=one,
        best_batch=saturated,
        batches=tuple(batches),
        stopped=stopped,
    )


def classes(bench: Bench, lengths: np.ndarray, how: str) -> list[int]:
    """What the network answers to each sample, alone in its batch; `how` it reads a class."""
    found = []
    for run, length in zip(bench.prepare(1).runs, lengths, strict=True):
        logits = run().float()
        found.append(int(readout(logits, torch.tensor([length], device=logits.device), how).argmax()))
    return found


def _described(subject: Subject, data: Data, given: list[int]) -> MeasuredNetwork:
    module = subject.network.module
    return MeasuredNetwork(
        name=subject.name,
        spiking=bool(torch_bench.neurons_of(module, "cpu", Setting(FP32, EAGER))),
        checkpoint=subject.checkpoint.name,
        sha256=hashlib.sha256(subject.checkpoint.read_bytes()).hexdigest(),
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        macs=macs(subject.network, data),
        steps=float(data.lengths.mean()),
        accuracy=float(np.mean(np.array(given) == data.labels)) if given else 0.0,
    )


def macs(network: TorchNetwork, data: Data) -> float:
    """Multiplications of matrix products and convolutions per inference, zeros too, mean over the samples.

    PyTorch's `FlopCounterMode` counts two operations for each.
    """
    placed = network.to("cpu", torch.float32)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        for frames, length in zip(data.frames, data.lengths, strict=True):
            placed(torch.as_tensor(frames[None, :length].astype(np.float32)), torch.tensor([length]))
    return counter.get_total_flops() / 2 / len(data.lengths)


def _versions(cuda: bool) -> Iterator[str]:
    yield f"Python {platform.python_version()}"
    for package in PACKAGES:
        try:
            yield f"{package} {importlib.metadata.version(package)}"
        except importlib.metadata.PackageNotFoundError:
            yield f"no {package}"
    if cuda:
        yield f"CUDA {torch.version.cuda}"
        yield f"driver {_driver()}"


def _driver() -> str:
    try:
        pynvml = importlib.import_module("pynvml")
        pynvml.nvmlInit()
        return str(pynvml.nvmlSystemGetDriverVersion())
    except Exception as error:  # a version is no reason to lose the measurement
        return f"not known ({first_line(error)})"
