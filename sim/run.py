"""Runs a NIR file on an input: `python -m sim.run model.nir --input INPUT [--backend reference|lava]`."""

from __future__ import annotations

import sys

from neurotarget.sim.commands import run as main

if __name__ == "__main__":  # before the imports that take long: --help needs none of them
    sys.exit(main())

import argparse
import dataclasses
import functools
import operator
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from neurotarget.sim import lava as in_lava
from neurotarget.sim import reference
from neurotarget.sim.activity import Fired, activity, run_words
from neurotarget.sim.commands import BACKENDS
from neurotarget.sim.graph import Graph, load
from neurotarget.sim.inputs import Input, InputError, as_input, open_input
from neurotarget.sim.observed import Observed, observe
from neurotarget.sim.schedule import latency_ms, latency_words
from neurotarget.sim.trace import Trace, columns, header_array

from neurotarget.cli import Result, UsageError, complain
from neurotarget.files import check_output
from neurotarget.growing import GrowingArrays
from neurotarget.terminal import results

TRACED_AT_ONCE = 16  # samples whose spikes of all nodes a worker sends


def run(
    network: str | Path | Graph,
    frames: Any,
    lengths: Any = None,
    labels: Any = None,
    *,
    backend: str = "reference",
    precision: str = "float64",
    lava: str = in_lava.PLAIN,
) -> Trace:
    """Runs a network and gives the spikes of every spiking node and the output.

    >>> trace = neurotarget.run("network.nir", frames)
    >>> trace.spikes["1"].shape, trace.output.shape
    ((8, 40, 32), (8, 40, 4))

    Args:
        network: path of a NIR file, or a graph that `load` or `export` gave.
        frames: [samples, steps, ...], an array or a tensor.
        lengths: whole numbers [samples], steps of each sample; all steps when left out.
        labels: whole numbers [samples], kept in the trace.
        backend: `reference` or `lava`.
        precision: of the reference simulator, `float64` or `float32`; quantised networks run in integers.
        lava: how the network is built in Lava, `plain` or `fused` (one Process, the same bits, several times as fast).

    Raises:
        InputError, GraphError, LavaError: the network cannot run on it, or the input does not fit.
    """
    if backend not in BACKENDS:
        raise InputError(f"backend {backend!r}: one of {', '.join(BACKENDS)} is expected")
    return simulate(load(network), as_input(frames, lengths, labels), backend, precision, lava, progress=False)


def simulate(
    graph: Graph,
    data: Input,
    backend: str,
    precision: str = "float64",
    lava: str = in_lava.PLAIN,
    progress: bool = True,
) -> Trace:
    """Runs one back end, with a progress bar unless that is not wanted.

    Raises:
        GraphError, LavaError: the network cannot run on it, or the input does not fit.
    """
    if backend == "lava":
        return in_lava.run(graph, data.frames, data.lengths, data.labels, build=lava, progress=progress)
    return reference.run(graph, data.frames, data.lengths, data.labels, precision, progress)


def observed_in_parts(graph: Graph, data: Input, precision: str, trace: Path | None) -> Observed:
    """What is observed of a run of the reference; where a path is given, its trace is written there as it comes."""
    samples = (data.frames, data.lengths, data.labels)
    if trace is None:
        [observed] = reference.folded(graph, *samples, [observe], precision, progress=True)
        return observed
    parts = []
    with GrowingArrays(trace) as file:
        for part, arrays in reference.in_parts(graph, *samples, [observe, columns], precision, True, TRACED_AT_ONCE):
            file.append(arrays)
            parts.append(part)
        observed = functools.reduce(operator.add, parts)
        file.write(header_array(observed.header))
    return observed


def check_lava_argument(arguments: argparse.Namespace, backends: Collection[str]) -> None:
    """Raises UsageError where a build of Lava is asked for and Lava does not run."""
    if arguments.lava != in_lava.PLAIN and "lava" not in backends:
        raise UsageError(f"--lava {arguments.lava}: the back end lava runs nowhere here; {', '.join(backends)} does")


def work(arguments: argparse.Namespace) -> Result:
    check_lava_argument(arguments, [arguments.backend])
    if arguments.scheduler is not None and arguments.backend != "reference":
        raise UsageError(f"--scheduler {arguments.scheduler}: only runs of the reference are shared among machines")
    check_output(arguments.trace)
    graph = load(arguments.model, arguments.dt, arguments.reset)
    data = open_input(arguments.input, graph, arguments.split, arguments.samples)
    started = time.perf_counter()
    with reference.sharing(arguments.workers, arguments.scheduler):
        if arguments.backend == "reference":
            observed = observed_in_parts(graph, data, arguments.precision, arguments.trace)
        else:
            trace = simulate(graph, data, arguments.backend, lava=arguments.lava)
            observed = observe(trace)
            if arguments.trace:
                trace.save(arguments.trace)
    seconds = time.perf_counter() - started
    figures = summary(graph, observed) | {"seconds": round(seconds, 3)}
    notes = list(figures["notes"])
    for key, what in (("wrapped_u", "u wrapped around"), ("clipped_v", "v was clipped")):
        if observed.header.get(key):
            notes.append(f"{what} at 24 bits in {', '.join(observed.header[key])}")
    right = "no labels" if figures["accuracy"] is None else f"accuracy {figures['accuracy']:.4f}"
    fired = activity(graph, observed.fired)
    ran = run_words(observed.samples, observed.sample_steps, graph.dt, graph.dt_is_default)
    verdict = (
        f"{figures['backend']}: {ran}, {len(graph.spiking)} spiking nodes, {figures['spikes']} spikes, {right}, "
        f"latency {latency_words(graph, figures['latency_steps'])}, {seconds:.1f} s"
    )
    lines = [*fired.sentences()]
    if fired.silent:
        lines, verdict = [*lines, verdict], f"nothing fired in {ran}"
    return Result(figures, results(_nodes(graph, observed.fired), lines, verdict), notes=notes)


def _nodes(graph: Graph, fired: Fired) -> list[tuple[str, ...]]:
    """A row for each spiking node that was recorded."""
    rows: list[tuple[str, ...]] = [("spiking node", "neurons", "spikes", "spike rate, %")]
    for name, spikes in fired.spikes.items():
        rate = 100 * spikes / places if (places := fired.places[name]) else 0.0
        rows.append((name, str(graph.nodes[name].neurons), str(spikes), f"{rate:.2f}"))
    return rows


def print_notes(graph: Graph) -> None:
    """What the file left open, on stderr: beside every result that rests on it."""
    for note in graph.notes:
        complain(f"note: {note}")


def summary(graph: Graph, run: Observed) -> dict[str, Any]:
    """Flat figures of a run: backend, samples, steps, spikes, accuracy, latency, classes of the samples, notes.

    `silent`, `never_fire`, `always_fire`: as in `Activity`. `latency_ms` is None where the step is a default.
    """
    latency = int(run.header["latency_steps"])
    return {
        "backend": run.header["backend"],
        "model": graph.source,
        "samples": run.samples,
        "steps": run.sample_steps,
        "dt": graph.dt,
        "dt_is_default": graph.dt_is_default,
        **dataclasses.asdict(activity(graph, run.fired)),
        "spikes": sum(run.fired.spikes.values()),
        "accuracy": run.accuracy,
        "latency_steps": latency,
        "latency_ms": latency_ms(graph, latency),
        "predicted": [] if run.predicted is None else run.predicted.tolist(),
        "notes": [*graph.notes, *([run.unreadable] if run.unreadable and run.labels is not None else [])],
    }
