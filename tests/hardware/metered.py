"""A simulated device on a simulated clock, for tests that measure with zeus above simulated counters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from neurotarget.hardware.meters.measurement import Measured, Unmeasured, measure
from neurotarget.hardware.meters.sensors import Domain, Sensor
from neurotarget.hardware.meters.windows import Bench, Measurement, Pass, Timing

FRAMES, LENGTHS = np.zeros((2, 5, 3)), np.array([5, 5])


class Device:
    """Draws 20 W idle; a batch takes 0.1 s and 5 J more. `advance` is called with the joules of each moment."""

    def __init__(self, advance: Any) -> None:
        self.now, self.advance, self.batches = 0.0, advance, 0

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.advance(20 * seconds)

    def run(self) -> None:
        self.batches += 1
        self.pass_time(0.1)
        self.advance(5.0)

    def bench(self, _: str) -> AbstractContextManager[Bench]:
        return nullcontext(Bench(lambda batch: Pass([self.run]), lambda: None))

    @property
    def timing(self) -> Timing:
        return Timing(1.0, 3, lambda: self.now, self.pass_time)


@dataclass
class Machine:
    """A device that draws 20 W idle, and takes 10 ms and 1 J more a batch, unless told otherwise.

    For `active_seconds` after a batch it draws `active_watts` more. A batch of more than `most` samples takes as much
    longer as it is larger. Its counter starts again from zero at `wrap_joules` (None: never).
    """

    wrap_joules: float | None = None
    now: float = 0.0
    joules: float = 0.0
    seconds_a_batch: float = 0.01
    joules_a_batch: float = 1.0
    active_watts: float = 0.0
    active_seconds: float = 5.0
    most: int = 32
    samples: int = 4
    batches: list[int] = field(default_factory=list)
    active_until: float = 0.0

    def pass_time(self, seconds: float) -> None:
        active = min(seconds, max(self.active_until - self.now, 0.0))
        self.now += seconds
        self.joules += 20 * seconds + self.active_watts * active

    def run(self, batch: int) -> None:
        self.batches.append(batch)
        seconds = self.seconds_a_batch * max(batch / self.most, 1)
        self.active_until = self.now + seconds + self.active_seconds
        self.pass_time(seconds)
        self.joules += self.joules_a_batch

    def counter(self) -> list[float]:
        return [self.joules if self.wrap_joules is None else self.joules % self.wrap_joules]

    def sensor(self, read: Callable[[], list[float]] | None = None) -> Sensor:
        domains = (Domain("counter 0", self.wrap_joules),)
        return Sensor("simulated counter", "a device", "cpu", "nothing else", domains, read or self.counter)

    def prepared(self, batch: int) -> Pass:
        return Pass([lambda: self.run(batch)] * max(self.samples // batch, 1))

    def bench(self, _: str = "cpu") -> AbstractContextManager[Bench]:
        return nullcontext(Bench(self.prepared, lambda: None))

    @property
    def timing(self) -> Timing:
        return Timing(1.0, 3, lambda: self.now, self.pass_time)


def measured(sensors: Mapping[str, Any], device: Device | Machine) -> Any:
    """What `measure` finds with these meters on a device."""
    return measure("ckpt.pt", FRAMES, LENGTHS, (), sensors, device.bench, device.timing)


def reason_of(open_sensor: Any, device: Device) -> str:
    result = measured({"it": open_sensor}, device)
    assert isinstance(result, Unmeasured) and result.available is False
    return result.meters[0].reason


def reading(batch: int, total: tuple[float, float], dynamic: tuple[float, float]) -> Measurement:
    """What a meter read of batches: microjoule per inference and their deviations."""
    return Measurement(batch, 1.0, 0.0, 1e3 * batch, 0.0, 0.0, 100, *total, *dynamic, *dynamic)


def readings(alone: Measurement, batched: Measurement) -> Measured:
    return Measured(
        True, (), (), "measured", "a meter", "GPU", "", (), 1.0, 0.0, 1.0, 0.0, 1, alone, batched, (), "told to"
    )
