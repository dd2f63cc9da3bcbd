"""A stream against whole utterances, and how long a step takes: `python -m benchmarks.stream MODEL.nir [...]`.

Every spike of every node and every output of both must be equal, or nothing is written. A step is timed by itself, in
processor time and on one core; the figures are the median and the fastest of all, added to benchmarks/results.json.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from neurotarget.sim import reference
from neurotarget.sim.graph import Graph, load
from neurotarget.sim.inputs import Input, open_input
from tqdm import tqdm

from benchmarks import results
from neurotarget.cli import Command, Result


def measure(graph: Graph, data: Input) -> dict[str, Any]:
    """Steps, spikes and outputs that differ, and seconds of a step as a share of the step."""
    stream = reference.Stream(graph)
    expected = reference.run(graph, data.frames, data.lengths)
    seconds: list[float] = []
    spikes = spikes_differ = outputs_differ = 0
    for sample in tqdm(range(len(data.lengths)), desc=Path(graph.source).name, disable=None):
        stream.reset()
        for step in range(data.lengths[sample]):
            frame = data.frames[sample, step : step + 1]
            started = time.process_time()
            output = stream.push(frame)[0]
            seconds.append(time.process_time() - started)
            outputs_differ += not np.array_equal(output, expected.output[sample, step])
            for node in graph.spiking:
                sent = expected.spikes[node.name][sample, step]
                spikes += int(sent.sum())
                spikes_differ += int((stream.values[node.name] != sent).sum())
    return {
        "stream_vs_real_time": graph.dt / statistics.median(seconds),
        "stream_step_microseconds": 1e6 * statistics.median(seconds),
        "stream_step_microseconds_fastest": 1e6 * min(seconds),
        "stream_steps": len(seconds),
        "stream_spikes": spikes,
        "stream_spikes_that_differ": spikes_differ,
        "stream_outputs_that_differ": outputs_differ,
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", type=Path, nargs="+", help="NIR files: one in floating point, one quantised")
    parser.add_argument("--input", default="synth", help="as sim.run takes it (default synth)")
    parser.add_argument("--samples", type=int, default=20)


def work(arguments: argparse.Namespace) -> Result:
    figures: dict[str, Any] = {}
    lines = []
    for model in arguments.models:
        graph = load(model)
        row = measure(graph, open_input(arguments.input, graph, samples=arguments.samples))
        figures |= {f"{key}_integers" if graph.quantised else key: value for key, value in row.items()}
        lines.append(
            f"{model.name}: {row['stream_steps']} steps, {row['stream_spikes_that_differ']} of {row['stream_spikes']} "
            f"spikes and {row['stream_outputs_that_differ']} outputs differ; a step takes "
            f"{row['stream_step_microseconds']:.0f} us ({row['stream_step_microseconds_fastest']:.0f} the fastest), "
            f"{row['stream_vs_real_time']:.0f} times faster than real time"
        )
    equal = not any(value for key, value in figures.items() if "differ" in key)
    if equal:
        results.add(figures)
    return Result(figures, "\n".join(lines), equal)


main = Command(
    door="benchmarks.stream",
    description="A stream against whole utterances: equal, and how long a step takes.",
    example="runs/causal/ckpt.nir runs/causal/ckpt.q.nir",
    add_arguments=add_arguments,
    work=work,
)

if __name__ == "__main__":
    sys.exit(main())
