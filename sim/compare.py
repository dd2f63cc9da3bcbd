"""Are two runs of one network the same, spike for spike? `python -m sim.compare model.nir --input INPUT --backends a,b`

`--against spikes.npz` takes spikes that were recorded elsewhere in place of a back end and its input (recorded.py).
The rule that decides is that of sim/parity.py.
"""

from __future__ import annotations

import sys

from neurotarget.sim.commands import compare as main

if __name__ == "__main__":  # before the imports that take long: --help needs none of them
    sys.exit(main())

import argparse
from collections.abc import Sequence
from pathlib import Path

from neurotarget.sim import lava, reference, run
from neurotarget.sim.activity import run_words
from neurotarget.sim.commands import BACKENDS, COMPARED_SAMPLES, TWO_BACKENDS
from neurotarget.sim.graph import Graph, load
from neurotarget.sim.graph.kinds import STATEFUL
from neurotarget.sim.graph.node import GraphError
from neurotarget.sim.inputs import Input, InputError, open_input
from neurotarget.sim.parity import DIFFERS, HOLDS, NOT_TESTED, Parity, States, compare_states
from neurotarget.sim.parity import compare as compare_runs
from neurotarget.sim.recorded import compare_recorded
from neurotarget.sim.schedule import latency_ms, latency_words
from neurotarget.sim.trace import Trace, TraceError

from neurotarget.cli import Result, UsageError
from neurotarget.terminal import results


def compare(a: Trace | str | Path, b: Trace | str | Path, network: str | Path | Graph | None = None) -> Parity:
    """Compares two runs of one network on the same samples, spike for spike.

    >>> trace = neurotarget.run("network.nir", frames)
    >>> single = neurotarget.run("network.nir", frames, precision="float32")
    >>> neurotarget.compare(trace, single).holds
    True

    Args:
        a, b: runs, or paths of trace files.
        network: that ran, as a graph or the path of its file; taken from the runs when left out.

    Returns:
        How many spikes differ and where the first does; `holds` is the verdict.

    Raises:
        TraceError: the two hold other samples or nodes, or neither says which network ran.
    """
    first, second = (run if isinstance(run, Trace) else Trace.load(run) for run in (a, b))
    known = network or first.graph or second.graph
    if known is None:
        raise TraceError(f"{a} and {b}: no trace file holds its network; give it as `network`")
    return compare_runs(load(known), first, second)


def _run(graph: Graph, data: Input, backend: str, precision: str, build: str, states: bool) -> tuple[Trace, States]:
    if not states:
        return run.simulate(graph, data, backend, precision, build), {}
    nodes = [node.name for node in graph.of_kind(*STATEFUL)]
    if backend == "lava":
        given = (data.frames, data.lengths, data.labels, nodes)
        return lava.run_with_states(graph, *given, build=build, progress=True)
    trace = run.simulate(graph, data, backend, precision)
    return trace, reference.states(graph, data.frames, data.lengths, nodes)


def work(arguments: argparse.Namespace) -> Result:
    if (arguments.input is None) == (arguments.against is None):
        raise UsageError("one of --input and --against is expected; a file of recorded spikes holds its input")
    return _with_recorded(arguments) if arguments.input is None else _two_back_ends(arguments)


def _with_recorded(arguments: argparse.Namespace) -> Result:
    for option in ("backends", "states"):
        if getattr(arguments, option):
            raise UsageError(f"--{option} does not go with --against, which compares spikes with the reference's")
    if arguments.samples is not None and arguments.samples < 1:
        raise InputError(f"--samples {arguments.samples}: at least 1 is needed")
    run.check_lava_argument(arguments, ["reference"])
    graph = load(arguments.model, arguments.dt, arguments.reset)
    parity, notes = compare_recorded(graph, arguments.against, arguments.samples, arguments.precision)
    return _result(arguments, graph, parity, 0, notes)


def _two_back_ends(arguments: argparse.Namespace) -> Result:
    backends = (arguments.backends or TWO_BACKENDS).split(",")
    if len(backends) != 2 or not set(backends) <= set(BACKENDS):
        raise InputError(f"--backends {arguments.backends}: two of {', '.join(BACKENDS)} are expected")
    if backends[0] == backends[1]:
        raise InputError(
            f"--backends {arguments.backends}: a run equals itself whatever it computes; give two different ones of "
            f"{', '.join(BACKENDS)}"
        )
    run.check_lava_argument(arguments, backends)
    graph = load(arguments.model, arguments.dt, arguments.reset)
    samples = COMPARED_SAMPLES if arguments.samples is None else arguments.samples
    data = open_input(arguments.input, graph, arguments.split, samples)
    if arguments.states and not graph.quantised:
        raise GraphError(f"{arguments.model}: --states compares integers; this file is in floating point")
    runs = [_run(graph, data, backend, arguments.precision, arguments.lava, arguments.states) for backend in backends]
    (first, _), (second, _) = runs
    parity = compare_runs(graph, first, second)
    if arguments.states:
        parity = compare_states(parity, graph, *(states for _, states in runs))
    return _result(
        arguments, graph, parity, max(int(trace.header.get("latency_steps", 0)) for trace in (first, second)), []
    )


def _result(arguments: argparse.Namespace, graph: Graph, parity: Parity, latency: int, notes: Sequence[str]) -> Result:
    figures = parity.as_dict() | {
        "dt": graph.dt,
        "dt_is_default": graph.dt_is_default,
        "latency_steps": latency,
        "latency_ms": latency_ms(graph, latency),
        "model": str(arguments.model),
    }
    return Result(figures, as_text(graph, parity, latency), parity.holds, [*graph.notes, *notes])


def as_text(graph: Graph, parity: Parity, latency: int) -> str:
    """The nodes about which the outcome says nothing, where the two sides first part, and the outcome.

    Where nothing fired that is the outcome: the two are then equal whatever they would compute.
    """
    verdict = {HOLDS: "identical: ", DIFFERS: "NOT equal: ", NOT_TESTED: ""}[parity.outcome]
    if parity.holds and parity.mismatched:
        verdict = "equal but for ties: "
    lines = [*parity.gaps()]
    if parity.first_divergence:
        lines.append(f"first divergence: {parity.first_divergence}")
    if parity.first_state:
        lines.append(f"first state that differs: {parity.first_state}")
    compared = (
        f"{verdict}{parity.sides}, {parity.samples} samples, {parity.steps} steps, {len(graph.spiking)} spiking "
        f"nodes, {parity.spikes} spikes, {parity.mismatched} mismatched ({parity.near_threshold} near threshold), "
        f"outputs within {parity.output_difference:.3g}, latency {latency_words(graph, latency)}"
        + (f", {parity.states} values of u and v, {parity.states_mismatched} mismatched" if parity.states else "")
    )
    if not parity.untested:
        return results([], lines, compared)
    ran = run_words(parity.samples, parity.steps, graph.dt, graph.dt_is_default)
    silence = f"{parity.untested} in {ran}"
    if parity.outcome == NOT_TESTED:
        return results([], [*lines, compared], f"{NOT_TESTED}: {silence}")
    return results([], [*lines, silence], compared)
