"""Runs a network in Lava and returns the trace, aligned to logical time."""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import nir
import numpy as np
from neurotarget.sim.graph import Graph, load
from neurotarget.sim.lava import BUILDS, FUSED, PLAIN, LavaError
from neurotarget.sim.lava.child.control import run_child
from neurotarget.sim.lava.plan import fixed as fixed_plan
from neurotarget.sim.lava.plan import floating as plan
from neurotarget.sim.reference import check_labels, checked_lengths
from neurotarget.sim.schedule import Schedule, schedule
from neurotarget.sim.trace import Trace, windowed
from tqdm import tqdm

START_SECONDS = 60.0
# Measured: about 0.4 ms a Process and physical step; a crowded machine may take many times that.
SECONDS_PER_PROCESS_STEP = 0.01


def run(
    graph: Graph | nir.NIRGraph | str | Path,
    frames: np.ndarray,
    lengths: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    *,
    samples: int | None = None,
    build: str = PLAIN,
    deadline_seconds: float | None = None,
    progress: bool = False,
) -> Trace:
    """Runs a network on a set of samples in Lava: in double precision, or a quantised one in Lava's fixed point.

    The network is built once; the samples follow each other in one stream (sim/schedule.py), and every Process starts
    afresh at the first step of a window.

    Args:
        graph: a loaded graph, a NIR graph or the path of a `.nir` file.
        frames: [samples, steps, *features], any real dtype.
        lengths: int64 [samples]; all steps when left out.
        labels: int64 [samples], kept in the trace.
        samples: run the first so many samples only.
        build: `plain`, a Lava Process a node, or `fused`, one Process that hosts the models of all (docs/lava.md).
        deadline_seconds: time after which the child is killed; scaled with the work when left out.
        progress: show a bar of finished samples.

    Returns:
        The trace, as the reference simulator gives it. Its header adds `latency_steps` (of the output), `latency` (of
        every node), `gap_steps`, `processes`, `python` (of the child), `physical_steps` and `seconds` (not counting
        start-up).

    Raises:
        GraphError: the graph cannot be run, or the input does not fit.
        LavaError: Lava is missing, cannot express a node, failed, or did not finish in time.
    """
    more: dict[str, Any] = {"samples": samples, "build": build, "deadline_seconds": deadline_seconds}
    return run_with_states(graph, frames, lengths, labels, progress=progress, **more)[0]


def run_with_states(
    graph: Graph | nir.NIRGraph | str | Path,
    frames: np.ndarray,
    lengths: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    nodes: Collection[str] = (),
    *,
    samples: int | None = None,
    build: str = PLAIN,
    deadline_seconds: float | None = None,
    progress: bool = False,
) -> tuple[Trace, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """As `run`, with u and v before the reset of the neurons `nodes` of a quantised graph, as `reference.states` has.

    Returns:
        The trace, and for each of `nodes` u and v, int32 [samples, steps, *neurons] each, zero outside the window.

    Raises:
        GraphError, LavaError: see `run`; or states of a floating-point graph are asked for.
    """
    if not isinstance(graph, Graph):
        graph = load(graph)
    if build not in BUILDS:
        raise LavaError(f"build {build!r} of a network in Lava: one of {', '.join(BUILDS)} is expected")
    if nodes and not graph.quantised:
        raise LavaError(f"{graph.source}: u and v are recorded of quantised graphs only")
    frames, labels = frames[:samples], None if labels is None else labels[:samples]
    lengths = checked_lengths(graph, frames, None if lengths is None else lengths[:samples])
    check_labels(graph, labels)
    timing = schedule(graph, frames.shape[1])
    frames = windowed(frames, lengths)
    planned = make_plan(graph, timing, frames, lengths, nodes)
    planned.fused = build == FUSED
    if deadline_seconds is None:
        deadline_seconds = START_SECONDS + SECONDS_PER_PROCESS_STEP * len(planned.specs) * planned.total_steps
    reports: dict[str, Any] = {}
    with (
        tempfile.TemporaryDirectory(prefix="neurotarget-lava-") as folder,
        tqdm(total=len(frames), desc="lava", unit="sample", disable=None if progress else True) as bar,
    ):
        planned.save(Path(folder))

        def on_event(event: dict[str, Any]) -> None:
            reports.update({event["event"]: event})
            if event["event"] == "sample":
                bar.update(event["done"] - bar.n)

        run_child(Path(folder), deadline_seconds, on_event)
        recorded = {}
        for i, record in enumerate(planned.records):
            file, node = Path(folder, f"record{i}.npy"), graph.nodes[record["node"]]
            if not file.is_file():  # Lava builds what is connected to its first Process
                raise LavaError(f"node {node.name}: Lava did not run it, because nothing joins it to the other nodes")
            values = np.load(file).reshape(*frames.shape[:2], *node.output_shape)
            recorded[node.name, record["what"]] = values
    header: dict[str, Any] = {"backend": "lava fused" if build == FUSED else "lava"}
    header |= {"precision": graph.arithmetic if graph.quantised else "float64"}
    header |= {"source": graph.source, "dt": graph.dt}
    header |= {"readout": graph.readout, "latency_steps": timing.total, "latency": dict(timing.latency)}
    header |= {"gap_steps": timing.gap, **{key: reports["built"][key] for key in ("processes", "python")}}
    header |= {"physical_steps": planned.total_steps, "seconds": reports["finished"]["seconds"]}
    spikes = {node.name: recorded[node.name, "spikes"] for node in graph.spiking}
    output = recorded[graph.output.name, "output"]
    if graph.quantised:  # integers leave the network, and only then get their unit
        output = output.astype(np.float64) * np.asarray(graph.fixed[graph.output.name]["scale"]).item()
    states = {name: (recorded[name, "u"], recorded[name, "v"]) for name in nodes}
    return Trace(spikes, output, frames, lengths, labels, header, graph), states


def make_plan(
    graph: Graph, timing: Schedule, frames: np.ndarray, lengths: np.ndarray, states: Collection[str] = ()
) -> plan.Plan:
    """The plan in the arithmetic of the graph; `states` are neurons whose u and v are recorded in fixed point."""
    if graph.quantised:
        planned = fixed_plan.make_plan(graph, timing, frames, lengths, states)
    else:
        planned = plan.make_plan(graph, timing, frames, lengths)
    planned.drop_unread()
    return planned
