"""Lava, fused and plain, and the reference on the same samples: `python -m benchmarks.lava MODEL.nir [...]`.

The three take turns, so that whatever else the machine does hits all. Of Lava the steps are timed, not building and
starting; of the reference the run of the prepared network, in double precision or in the integers of a quantised file.
The figures are ratios of medians and are added to benchmarks/results.json; nothing is written where a spike differs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from neurotarget.sim import lava, reference
from neurotarget.sim.graph import Graph, load
from neurotarget.sim.inputs import Input, open_input
from tqdm import trange

from benchmarks import results
from neurotarget.cli import Command, Result


def measure(graph: Graph, data: Input, repeats: int) -> dict[str, Any]:
    """Median milliseconds a physical step of Lava and of the same samples in the reference, and their ratios."""
    prepared = reference.prepare(graph)
    expected = reference.simulate(prepared, data.frames, data.lengths)  # compiles
    seconds: dict[str, list[float]] = {"reference": [], **{build: [] for build in lava.BUILDS}}
    differ, steps = 0, 1
    for _ in trange(repeats, desc=Path(graph.source).name, disable=None):
        started = time.perf_counter()
        reference.simulate(prepared, data.frames, data.lengths)
        seconds["reference"].append(time.perf_counter() - started)
        for build in lava.BUILDS:
            found = lava.run(graph, data.frames, data.lengths, build=build)
            seconds[build].append(found.header["seconds"])
            steps = found.header["physical_steps"]
            differ += sum(int((found.spikes[name] != expected.spikes[name]).sum()) for name in found.spikes)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "lava_fast_vs_lava": median[lava.PLAIN] / median[lava.FUSED],
        "reference_vs_lava": median[lava.PLAIN] / median["reference"],
        "lava_ms_per_step": 1e3 * median[lava.PLAIN] / steps,
        "lava_fast_ms_per_step": 1e3 * median[lava.FUSED] / steps,
        "reference_ms_per_step": 1e3 * median["reference"] / steps,
        "lava_spikes_that_differ": differ,
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", type=Path, nargs="+", help="NIR files: one in floating point, one quantised")
    parser.add_argument("--input", default="synth", help="as sim.run takes it (default synth)")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)


def work(arguments: argparse.Namespace) -> Result:
    figures: dict[str, Any] = {}
    lines = []
    for model in arguments.models:
        graph = load(model)
        data = open_input(arguments.input, graph, samples=arguments.samples)
        row = measure(graph, data, arguments.repeats)
        kind = "integers" if graph.quantised else "float"
        figures |= {key if kind == "float" else f"{key}_{kind}": value for key, value in row.items()}
        lines.append(
            f"{model.name} in {kind}, {len(data.frames)} samples: plain {row['lava_ms_per_step']:.2f} ms a step, fused "
            f"{row['lava_fast_ms_per_step']:.2f} ({row['lava_fast_vs_lava']:.1f} times as fast), reference "
            f"{row['reference_ms_per_step']:.4f} ({row['reference_vs_lava']:.0f} times as fast as plain), "
            f"{row['lava_spikes_that_differ']} spikes differ"
        )
    equal = not any(value for key, value in figures.items() if "differ" in key)
    if equal:
        figures["lava_load"] = os.getloadavg()[0]
        results.add(figures)
    return Result(figures, "\n".join(lines), equal)


main = Command(
    door="benchmarks.lava",
    description="Lava fused against Lava plain and the reference against Lava.",
    example="runs/demo/ckpt.nir runs/demo/ckpt.q.nir --repeats 5",
    add_arguments=add_arguments,
    work=work,
)

if __name__ == "__main__":
    sys.exit(main())
