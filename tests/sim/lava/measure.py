"""Program, `python -m tests.sim.lava.measure`: how long Lava takes for a SpikeSCR block of the size of preset `shd`."""

from __future__ import annotations

import time

import numpy as np

import sim.lava
from tests.sim.lava.networks import spike_scr, spikes

SAMPLES, STEPS, FEATURES, WIDTH, CLASSES, TAPS = 3, 100, 140, 128, 20, 31


def main() -> None:
    graph = spike_scr(FEATURES, WIDTH, CLASSES, taps=TAPS)
    frames = spikes(SAMPLES, STEPS, FEATURES, largest=1) * (np.random.default_rng(1).random((STEPS, FEATURES)) < 0.2)
    started = time.perf_counter()
    header = sim.lava.run(graph, frames, progress=True).header
    total = time.perf_counter() - started
    milliseconds = 1e3 * header["seconds"] / header["physical_steps"]
    print(
        f"{header['processes']} Processes, {header['physical_steps']} physical steps for {SAMPLES} samples of {STEPS} "
        f"(latency {header['latency_steps']}, gap {header['gap_steps']}): {milliseconds:.1f} ms/step, "
        f"{milliseconds / header['processes']:.2f} ms a Process and step, "
        f"{header['seconds'] / SAMPLES:.1f} s a sample, "
        f"{total - header['seconds']:.1f} s to start and stop"
    )


if __name__ == "__main__":
    main()
