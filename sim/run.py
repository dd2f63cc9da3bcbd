"""Runs a NIR file on an input: `python -m sim.run model.nir --input INPUT [--backend reference|lava]`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from neurotarget.sim import reference
from neurotarget.sim.graph import Graph, load
from neurotarget.sim.graph.node import GraphError
from neurotarget.sim.inputs import INPUT_ERRORS, Input, open_input
from neurotarget.sim.trace import Trace, TraceError, accuracy, classify

BACKENDS = ("reference", "lava")


def simulate(graph: Graph, data: Input, backend: str, precision: str = "float64") -> Trace:
    """Runs one back end with a progress bar.

    Raises:
        GraphError, LavaError: the network cannot run on it, or the input does not fit.
    """
    if backend == "lava":
        from neurotarget.sim import lava

        return lava.run(graph, data.frames, data.lengths, data.labels, progress=True)
    return reference.run(graph, data.frames, data.lengths, data.labels, precision, progress=True)


def add_input_arguments(parser: argparse.ArgumentParser, samples: int | None = None) -> None:
    """The arguments that every command on a NIR file shares."""
    parser.add_argument("model", type=Path, help="NIR file")
    parser.add_argument("--input", required=True, help="data SPEC, or an .npz with `input` [samples, steps, features]")
    parser.add_argument("--split", default="test", help="split of a data SPEC (default test)")
    parser.add_argument("--samples", type=int, default=samples, help=f"samples to run (default {samples or 'all'})")
    parser.add_argument("--precision", default="float64", choices=("float64", "float32"), help="of the reference")
    parser.add_argument("--dt", type=float, help="seconds a step, for a file that does not say (default 1e-4)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sim.run",
        description="Run a NIR file on the reference simulator or on Lava.",
        epilog="example: python -m sim.run runs/demo/ckpt.nir --input synth --samples 100 --trace trace.npz",
    )
    add_input_arguments(parser)
    parser.add_argument("--backend", default="reference", choices=BACKENDS)
    parser.add_argument("--trace", type=Path, help="write the spikes of every node to this .npz")
    return parser


def main(argv: list[str] | None = None) -> int:
    from neurotarget.sim.lava import LavaError

    arguments = parser().parse_args(argv)
    try:
        graph = load(arguments.model, arguments.dt)
        data = open_input(arguments.input, arguments.split, arguments.samples)
        started = time.perf_counter()
        trace = simulate(graph, data, arguments.backend, arguments.precision)
        seconds = time.perf_counter() - started
        if arguments.trace:
            trace.save(arguments.trace)
    except (GraphError, TraceError, LavaError, *INPUT_ERRORS) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: there is no result", file=sys.stderr)
        return 130
    result = summary(graph, trace) | {"seconds": round(seconds, 3)}
    print_notes(graph)
    for key, what in (("wrapped_u", "u wrapped around"), ("clipped_v", "v was clipped")):
        if trace.header.get(key):
            print(f"note: {what} at 24 bits in {', '.join(trace.header[key])}", file=sys.stderr)
    if arguments.json:
        print(json.dumps(result))
    else:
        right = "no labels" if result["accuracy"] is None else f"accuracy {result['accuracy']:.4f}"
        default = " (the file does not say; --dt sets it)" if graph.dt_is_default else ""
        print(
            f"{arguments.backend}: {trace.samples} samples, {trace.sample_steps} steps of {graph.dt:g} s{default}, "
            f"{len(graph.spiking)} spiking nodes, {result['spikes']} spikes, {right}, "
            f"latency {result['latency_steps']} steps, {seconds:.1f} s"
        )
    return 0


def print_notes(graph: Graph) -> None:
    """What the file left open, on stderr: beside every result that rests on it."""
    for note in graph.notes:
        print(f"note: {note}", file=sys.stderr)


def summary(graph: Graph, trace: Trace) -> dict[str, object]:
    """Flat figures of a run: backend, samples, steps, spikes, accuracy, latency, classes of the samples, notes."""
    predicted = classify(trace.output, trace.lengths, graph.readout)
    return {
        "backend": trace.header["backend"],
        "model": graph.source,
        "samples": trace.samples,
        "steps": trace.sample_steps,
        "dt": graph.dt,
        "spikes": sum(int(spikes.sum(dtype=np.int64)) for spikes in trace.spikes.values()),
        "accuracy": accuracy(trace, graph.readout),
        "latency_steps": int(trace.header["latency_steps"]),
        "predicted": [int(label) for label in predicted],
        "notes": list(graph.notes),
    }


if __name__ == "__main__":
    sys.exit(main())
