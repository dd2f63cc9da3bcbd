"""The reference simulator: whole utterances, in batches, layer by layer over all steps.

A node without a loop around it runs once over [samples, steps, ...]: synapses as sums by events, neurons in a
compiled loop over steps. A strongly connected component runs step by step with the same functions, which carry their
state from call to call. operations.py is the instruction set.

The window of a sample is its steps 0 .. length - 1. Input and spikes outside it are zero, so that neither padding nor
the bias of a layer reaches a look-ahead or an attention from there.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numba
import numpy as np
from neurotarget.sim.graph import Graph
from neurotarget.sim.graph.kinds import SPIKING, STATEFUL, WHOLE_UTTERANCE
from neurotarget.sim.graph.node import GraphError, Node
from neurotarget.sim.reference import integer
from neurotarget.sim.reference.operations import (
    OPERATIONS,
    Call,
    Overflow,
    Parameters,
    State,
    all_finite,
    cast_parameters,
    summed,
    weighted_spiking,
)
from neurotarget.sim.reference.room import Batch, Room, layout
from neurotarget.sim.reference.stages import Stage, loops, stages
from neurotarget.sim.trace import masked, partial_window, windowed

# Numbers that the widest layer passes in a chunk, whose samples go through all nodes together: what passes between them
# then stays in the second-level cache. And those of neurons from which a second thread saves more than its start takes.
CHUNK_NUMBERS, THREAD_NUMBERS = 204_800, 20_000
# What is not finite reaches one of these: spiking neurons look at what they receive, of the others it is looked at.
ENDS = STATEFUL - SPIKING | {"output"}


@dataclass(frozen=True, eq=False)
class Prepared:
    """A graph with its parameters cast to one precision, thresholds moved to that precision's neighbour of theta.

    A quantised graph has one precision, Lava's integers, and the operations of integer.py.
    """

    graph: Graph
    dtype: np.dtype
    parameters: Mapping[str, Parameters]
    operations: Mapping[str, Callable[[Call, Any], np.ndarray]]

    @functools.cached_property
    def one_by_one(self) -> tuple[Stage, ...]:
        """Each node by itself."""
        return stages(self.graph, fuse=False)

    @functools.cached_property
    def fused(self) -> tuple[Stage, ...]:
        """Several nodes at once where their numbers are the same; of integers none."""
        return stages(self.graph, fuse=not self.graph.quantised)


def prepare(graph: Graph, precision: str = "float64") -> Prepared:
    """Casts the parameters of a graph.

    Args:
        precision: `float64` for parity, `float32` for speed; a quantised graph runs in integers whatever it says.

    Raises:
        GraphError: a loop holds an operation that needs more than the present step, a parameter overflows the
            precision, or the integers of a quantised graph are incomplete or too wide.
    """
    for component in graph.components:
        for name in component if loops(graph, component) else ():
            if graph.nodes[name].kind in WHOLE_UTTERANCE:
                raise GraphError(f"node {name}: {graph.nodes[name].kind} inside a loop cannot run step by step")
    if graph.quantised:
        whole = {
            name: integer.integer_parameters(node, graph.fixed.get(name, {})) for name, node in graph.nodes.items()
        }
        return Prepared(graph, integer.INTEGER, whole, integer.INTEGER_OPERATIONS)
    dtype = np.dtype(precision)
    with np.errstate(over="ignore"):  # found below, and said by name
        cast = {name: cast_parameters(node, graph, dtype) for name, node in graph.nodes.items()}
    for name, node in graph.nodes.items():
        arrays = [value for value in cast[name].values() if isinstance(value, np.ndarray)]
        _refuse_overflow(node, "parameters", arrays, dtype)
    return Prepared(graph, dtype, cast, OPERATIONS)


def checked_lengths(graph: Graph, frames: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
    """Lengths as int64 [samples], once input and network are known to fit.

    Raises:
        GraphError: wrong feature shape, no samples, no steps, or a length outside 0 .. steps.
    """
    shape = graph.input.output_shape
    if frames.ndim != 2 + len(shape) or frames.shape[2:] != shape:
        parts = [f"{node.name} {node.output_shape}" for node in graph.of_kind("input_part")]
        raise GraphError(
            f"input has shape {frames.shape}; the network of {graph.source} takes [samples, steps, "
            f"{', '.join(map(str, shape))}]" + (f", side by side {', '.join(parts)}" if parts else "")
        )
    if not frames.shape[0] or not frames.shape[1]:
        raise GraphError(f"input of shape {frames.shape} holds no sample or no step")
    checked = np.full(len(frames), frames.shape[1]) if lengths is None else np.asarray(lengths)
    if checked.shape != (len(frames),) or checked.min() < 0 or checked.max() > frames.shape[1]:
        raise GraphError(f"lengths must be {len(frames)} numbers from 0 to {frames.shape[1]}")
    return checked.astype(np.int64)


def check_labels(graph: Graph, labels: np.ndarray | None) -> None:
    """Refuses labels that no output can match: the accuracy would be wrong, and nobody would see why.

    Raises:
        GraphError: a label outside 0 .. outputs - 1 of a network whose output is a vector.
    """
    shape = graph.output.output_shape
    if labels is None or len(shape) != 1:
        return
    outside = np.flatnonzero((labels < 0) | (labels >= shape[0]))
    if len(outside):
        raise GraphError(
            f"label {labels[outside[0]]} of sample {outside[0]} is no output of {graph.source}, which has {shape[0]} "
            f"(0 .. {shape[0] - 1}); {len(outside)} of {len(labels)} labels are outside: use the data that it was "
            "trained on, or leave the labels out"
        )


def simulate(
    prepared: Prepared,
    frames: np.ndarray,
    lengths: np.ndarray,
    observe: Collection[str] = (),
    into: Batch | None = None,
) -> Batch:
    """Runs one batch, a chunk of samples at a time through all nodes: what they send each other stays in the cache.

    Chunks run side by side in as many threads as numba takes; a sample has the same bits in any chunk.

    Args:
        frames: [samples, steps, *features].
        lengths: int64 [samples].
        observe: neurons whose potentials are wanted.
        into: arrays for spikes and output; new ones when left out.

    Raises:
        GraphError: values of a node overflow.
    """
    graph, samples = prepared.graph, len(frames)
    sent = Batch.of(graph, Room(layout(graph, *frames.shape[:2]), shared=False).arrays) if into is None else into
    chunk, threads = _chunks(prepared, *frames.shape[:2])

    def run(start: int) -> Batch:
        rows = slice(start, start + chunk)
        own = Batch({name: array[rows] for name, array in sent.spikes.items()}, sent.output[rows])
        try:
            return _simulate(prepared, frames[rows], lengths[rows], observe, own, careful=False)
        except Overflow:  # again, to find the node where it began
            return _simulate(prepared, frames[rows], lengths[rows], observe, own, careful=True)

    starts = range(0, samples, chunk)
    if threads == 1:
        parts = list(map(run, starts))
    else:
        with ThreadPoolExecutor(threads) as pool:
            parts = list(pool.map(run, starts))
    return replace(
        sent,
        potentials={name: np.concatenate([part.potentials[name] for part in parts]) for name in observe},
        peaks={name: np.max([part.peaks[name] for part in parts], axis=0) for name in parts[0].peaks},
    )


def _chunks(prepared: Prepared, samples: int, steps: int) -> tuple[int, int]:
    """Samples of a chunk, and threads that run chunks side by side."""
    if any(stage.node is None for stage in prepared.fused):
        return samples, 1  # a loop goes step by step, and is the faster the more samples go with it
    neurons = [(stage, stage.node) for stage in prepared.fused if stage.node and stage.node.kind in STATEFUL]
    numbers = samples * steps * max((node.neurons for _, node in neurons), default=1)
    passed = samples * steps * max((stage.numbers for stage, _ in neurons), default=1)
    threads = min(numba.get_num_threads(), samples, 1 + numbers // THREAD_NUMBERS)
    rounds = math.ceil(passed / CHUNK_NUMBERS / threads)  # each thread has as many chunks as the others
    return math.ceil(samples / (rounds * threads)), threads


def _simulate(
    prepared: Prepared, frames: np.ndarray, lengths: np.ndarray, observe: Collection[str], sent: Batch, careful: bool
) -> Batch:
    mask = partial_window(lengths, frames.shape[1])
    run = Run(prepared, mask, {name: np.empty(0) for name in observe}, careful=careful)
    values: dict[str, np.ndarray] = {}
    for stage in prepared.one_by_one if careful or observe else prepared.fused:
        if stage.node is None:
            run.loop(stage.names, values)
        else:
            first = stage.layer or stage.node
            inputs = masked(np.asarray(frames), mask) if first.kind == "input" else run.gather(first, values)
            place = sent.spikes.get(stage.node.name)
            values[stage.node.name] = run.apply(stage.node, inputs, {}, place, stage.layer)
        for name in stage.names:
            if (place := sent.spikes.get(name)) is not None and values[name] is not place:
                place[...] = values[name]
                values[name] = place
        for name in stage.done:
            del values[name]  # the batch's currents need not all be held at once
    sent.output[...] = values[prepared.graph.output.name]
    return replace(sent, potentials=run.potentials, peaks=run.peaks)


def potentials(graph: Graph, frames: np.ndarray, lengths: np.ndarray, nodes: Collection[str]) -> dict[str, np.ndarray]:
    """Membrane potentials before the reset, float64 [samples, steps, *neurons], of the given neurons.

    Of a quantised graph int64, at the scale of v.
    """
    if graph.quantised:
        return {name: v for name, (_, v) in states(graph, frames, lengths, nodes).items()}
    return dict(simulate(prepare(graph), frames, checked_lengths(graph, frames, lengths), nodes).potentials)


def states(
    graph: Graph, frames: np.ndarray, lengths: np.ndarray | None, nodes: Collection[str]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """u and v before the reset of the given neurons of a quantised graph, int64 [samples, steps, *neurons] each.

    Lava's Var holds v after the reset: 0 where the neuron spiked. Both are zero outside the window of the sample.
    """
    lengths = checked_lengths(graph, frames, lengths)
    observed = simulate(prepare(graph), frames, lengths, nodes).potentials
    inside = {name: windowed(both, lengths) for name, both in observed.items()}
    return {name: (both[..., 0], both[..., 1]) for name, both in inside.items()}


# ---- running one node ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Run:
    """One batch under way, and what it observes.

    Attributes:
        mask: [samples, steps], the windows; None where all steps lie inside.
        potentials: a key for each neuron to observe, filled as it runs.
        peaks: filled as integer neurons run.
        careful: look at every value of every node, not only at what neurons receive and what the network gives.
    """

    prepared: Prepared
    mask: np.ndarray | None
    potentials: dict[str, np.ndarray] = field(default_factory=dict)
    peaks: dict[str, np.ndarray] = field(default_factory=dict)
    careful: bool = True

    def gather(self, node: Node, values: Mapping[str, np.ndarray]) -> Any:
        """What the sources of a node send it, summed; by role where it has roles."""
        dtype = self.prepared.dtype
        if node.roles:
            return {role: summed((values[s] for s in sources), dtype) for role, sources in node.roles.items()}
        return summed((values[source] for source in node.sources), dtype)

    def apply(
        self, node: Node, inputs: Any, state: State, place: np.ndarray | None = None, layer: Node | None = None
    ) -> np.ndarray:
        """Runs one node over the steps in `inputs`; spikes outside the window are removed.

        Args:
            place: for the spikes of a spiking node.
            layer: the linear layer in front of it, for which the inputs are.
        """
        parameters, dtype = self.prepared.parameters[node.name], self.prepared.dtype
        call = Call(node, parameters, dtype, state, self.mask, self.potentials, place)
        with np.errstate(over="ignore", invalid="ignore"):  # found below, and said by name
            try:
                if layer is None:
                    out = self.prepared.operations[node.kind](call, inputs)
                else:
                    out = weighted_spiking(call, layer, self.prepared.parameters[layer.name], inputs)
            except Overflow as error:
                raise _overflow(node, "values", self.prepared.dtype) if self.careful else error from None
        if self.careful:
            _refuse_overflow(node, "values", [out, *state.values()], self.prepared.dtype)
        elif node.kind in ENDS and not all(map(all_finite, (out, *state.values()))):
            raise Overflow(node.name)
        if "peaks" in state:
            self.peaks[node.name] = state["peaks"]
        return masked(out, self.mask) if node.kind in SPIKING | {"output"} else out

    def loop(self, component: tuple[str, ...], values: dict[str, np.ndarray]) -> None:
        """Runs a strongly connected component step by step; a recurrent edge carries the value of the step before.

        Adds to `values` what its nodes send, from what stands there of the nodes outside.
        """
        graph, nodes = self.prepared.graph, [self.prepared.graph.nodes[name] for name in component]
        outside = {s: values[s] for node in nodes for s in node.sources if s not in component}
        samples, steps = next(iter(outside.values())).shape[:2]
        states: dict[str, State] = {name: {} for name in component}
        previous = {node.name: np.zeros((samples, 1, *node.output_shape), self.prepared.dtype) for node in nodes}
        out: dict[str, list[np.ndarray]] = {name: [] for name in component}
        seen: dict[str, list[np.ndarray]] = {name: [] for name in self.potentials if name in component}
        for step in range(steps):
            present = {name: value[:, step : step + 1] for name, value in outside.items()}
            mask = None if self.mask is None else self.mask[:, step : step + 1]
            now = Run(self.prepared, mask, {name: np.empty(0) for name in seen}, self.peaks, self.careful)
            for node in nodes:
                recurrent = {s for s in node.sources if (s, node.name) in graph.recurrent_edges}
                arriving = {s: previous[s] if s in recurrent else present[s] for s in node.sources}
                present[node.name] = now.apply(node, now.gather(node, arriving), states[node.name])
                out[node.name].append(present[node.name])
            for name, observed in seen.items():
                observed.append(now.potentials[name])
            previous = {name: present[name] for name in component}
        values |= {name: np.concatenate(parts, axis=1) for name, parts in out.items()}
        self.potentials.update((name, np.concatenate(parts, axis=1)) for name, parts in seen.items())


def _refuse_overflow(node: Node, what: str, arrays: Iterable[np.ndarray], dtype: np.dtype) -> None:
    if not all(map(all_finite, arrays)):
        raise _overflow(node, what, dtype)


def _overflow(node: Node, what: str, dtype: np.dtype) -> GraphError:
    return GraphError(
        f"node {node.name} ({node.kind}): its {what} overflow {dtype}, whose largest number is "
        f"{np.finfo(dtype).max:.3g}; make its weights or its input smaller"
    )
