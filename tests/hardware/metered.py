"""A simulated device on a simulated clock, for tests that measure with zeus above simulated counters."""

from __future__ import annotations

from typing import Any

import numpy as np
from neurotarget.hardware.meters.measurement import Bench, measure

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


def reason_of(open_sensor: Any, device: Device) -> str:
    result = measure("ckpt.pt", FRAMES, LENGTHS, [], {"it": open_sensor}, device.bench)
    assert result["available"] is False and "batches" not in result
    return result["meters"][0]["reason"]
