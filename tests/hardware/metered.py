"""A simulated device on a simulated clock, for tests that measure with zeus above simulated counters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from neurotarget.hardware.meters.measurement import Bench, Unmeasured, measure
from neurotarget.hardware.meters.sensors import Domain, Sensor

FRAMES, LENGTHS = np.zeros((2, 5, 3)), np.array([5, 5])


class Device:
    """Draws 20 W idle; a batch takes 0.1 s and 5 J more. `advance` is called with the joules of each moment."""

    def __init__(self, advance: Any) -> None:
        self.now, self.advance, self.batches = 0.0, advance, 0

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.advance(20 * seconds)

    def run(self, batch: int) -> None:
        self.batches += 1
        self.pass_time(0.1)
        self.advance(5.0)

    def bench(self, _: str) -> Bench:
        return Bench(self.run, lambda: None, lambda: self.now, self.pass_time, window_seconds=1.0, windows=3)


@dataclass
class Machine:
    """A device that draws 20 W idle and takes 10 ms and 1 J more a batch, unless told otherwise.

    Its counter starts again from zero at `wrap_joules` (None: never).
    """

    wrap_joules: float | None = None
    now: float = 0.0
    joules: float = 0.0
    seconds_a_batch: float = 0.01
    joules_a_batch: float = 1.0
    batches: list[int] = field(default_factory=list)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.joules += 20 * seconds

    def run(self, batch: int) -> None:
        self.batches.append(batch)
        self.pass_time(self.seconds_a_batch)
        self.joules += self.joules_a_batch

    def counter(self) -> list[float]:
        return [self.joules if self.wrap_joules is None else self.joules % self.wrap_joules]

    def sensor(self, read: Callable[[], list[float]] | None = None) -> Sensor:
        domains = (Domain("counter 0", self.wrap_joules),)
        return Sensor("simulated counter", "a device", "cpu", "nothing else", domains, read or self.counter)

    def bench(self, _: str = "cpu") -> Bench:
        return Bench(self.run, lambda: None, lambda: self.now, self.pass_time, window_seconds=1.0, windows=3)


def reason_of(open_sensor: Any, device: Device) -> str:
    result = measure("ckpt.pt", FRAMES, LENGTHS, (), {"it": open_sensor}, device.bench)
    assert isinstance(result, Unmeasured) and result.available is False
    return result.meters[0].reason
