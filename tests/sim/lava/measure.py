"""Program, `python -m tests.sim.lava.measure [model.nir INPUT]`: how long Lava takes, and whether it is the reference.

Without a model it takes a SpikeSCR block of the size of preset `shd`, of random weights. Of a quantised model it
compares u and v too.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from neurotarget.sim import lava, reference
from neurotarget.sim.graph import load
from neurotarget.sim.graph.kinds import STATEFUL
from neurotarget.sim.inputs import open_input
from neurotarget.sim.parity import compare, compare_states

from tests.sim.networks import spike_scr, spikes

SAMPLES, STEPS, FEATURES, WIDTH, CLASSES, TAPS = 3, 100, 140, 128, 20, 31


def main() -> None:
    if len(sys.argv) == 3:
        graph = load(sys.argv[1])
        data = open_input(sys.argv[2], graph, samples=SAMPLES)
        frames, lengths = data.frames, data.lengths
    else:
        graph = spike_scr(FEATURES, WIDTH, CLASSES, taps=TAPS)
        frames = spikes(SAMPLES, STEPS, FEATURES, largest=1) * (
            np.random.default_rng(1).random((STEPS, FEATURES)) < 0.2
        )
        lengths = np.full(SAMPLES, STEPS)
    nodes = [node.name for node in graph.of_kind(*STATEFUL)] if graph.quantised else []
    expected = reference.run(graph, frames, lengths)
    for recorded in [[], nodes] if nodes else [[]]:
        started = time.perf_counter()
        found, states = lava.run_with_states(graph, frames, lengths, nodes=recorded, progress=True)
        total, header = time.perf_counter() - started, found.header
        parity = compare(graph, expected, found)
        if recorded:
            parity = compare_states(parity, graph, reference.states(graph, frames, lengths, recorded), states)
        milliseconds = 1e3 * header["seconds"] / header["physical_steps"]
        print(
            f"{header['processes']} Processes, {header['physical_steps']} physical steps for {len(frames)} samples of "
            f"{', '.join(map(str, lengths))} (latency {header['latency_steps']}, gap {header['gap_steps']}): "
            f"{milliseconds:.1f} ms/step, {milliseconds / header['processes']:.2f} ms a Process and step, "
            f"{header['seconds'] / len(frames):.1f} s a sample, {total - header['seconds']:.1f} s to start and stop; "
            f"{parity.spikes} spikes, {parity.mismatched} mismatched, outputs within {parity.output_difference:.3g}, "
            f"{parity.states} values of u and v, {parity.states_mismatched} mismatched"
        )


if __name__ == "__main__":
    main()
