"""A set of samples run batch by batch: kept whole as a trace, or folded into what is wanted of it.

A fold is a function of the trace of one batch; what it gives adds up with `+`, in the order of the samples. Only one
batch is in memory at a time, so that a run of any number of samples takes no more than its input and its results.
Batches run here, or where there is enough to do on all cores (workers.py), or on a cluster (cluster.py); no result
depends on which or how many.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from neurotarget.sim.graph import Graph
from neurotarget.sim.graph.kinds import SLIDING
from neurotarget.sim.graph.node import GraphError
from neurotarget.sim.reference import integer, workers
from neurotarget.sim.reference.engine import (
    Prepared,
    check_labels,
    checked_lengths,
    prepare,
    simulate,
)
from neurotarget.sim.reference.room import Batch, Room, layout
from neurotarget.sim.reference.sharing import Crew, chosen_cluster, chosen_processes
from neurotarget.sim.trace import Trace, windowed
from tqdm import tqdm

BATCH = 64
# Products of a run from which workers save more than their start takes, seconds; and from which they do once started.
WORTH_STARTING, WORTH_ASKING = 1e11, 1e9
SHARE = 8  # samples that a worker gets at a time, or a multiple of them
PRODUCTS_PER_NEURON = 50  # that take as long as the update of a neuron

Fold = Callable[[Trace], Any]


def run(
    graph: Graph,
    frames: np.ndarray,
    lengths: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    precision: str = "float64",
    progress: bool = False,
    processes: int | None = None,
) -> Trace:
    """Runs a network on a set of samples and keeps every spike.

    Args:
        frames: [samples, steps, *features], any real dtype.
        lengths: int64 [samples]; all steps when left out.
        labels: int64 [samples], kept in the trace.
        progress: show a bar.
        processes: worker processes that share the batches, 1 for none; when left out, as `sharing` says, or one per
            core where that is worth their start.

    Returns:
        The trace, with every spiking node and the output.

    Raises:
        GraphError: the input does not fit the network.
        WorkerLost: workers died.
    """
    frames, lengths = np.asarray(frames), checked_lengths(graph, frames, lengths)
    check_labels(graph, labels)
    crew = _processes(graph, int(lengths.sum()), processes)
    with Room(layout(graph, *frames.shape[:2]), shared=crew is not None) as room:
        batches = [(room, rows.start, frames[rows], lengths[rows]) for rows in _rows(len(frames), BATCH, crew)]
        peaks: dict[str, np.ndarray] = {}
        for part in _done(_keeping(graph, precision), batches, crew, progress):
            peaks = {name: np.maximum(peak, peaks.get(name, 0)) for name, peak in part.items()}
        sent = Batch.of(graph, room.arrays)
        return Trace(
            spikes=sent.spikes,
            output=sent.output,
            input=windowed(frames, lengths),
            lengths=lengths,
            labels=labels,
            header=_header(graph, precision, peaks),
            graph=graph,
            peaks=peaks,
        )


def folded(
    graph: Graph,
    frames: np.ndarray,
    lengths: np.ndarray | None,
    labels: np.ndarray | None,
    folds: Sequence[Fold],
    precision: str = "float64",
    progress: bool = False,
    batch: int = BATCH,
    processes: int | None = None,
) -> list[Any]:
    """Runs a network and keeps what the folds make of it.

    Args:
        frames, lengths, labels: as of `run`.
        processes: as of `run`; when left out, a cluster goes before them where `sharing` names one.
        folds: what each gives of the trace of a batch is added up over the batches. With workers, what pickles.
        batch: samples at a time; no result depends on it.

    Returns:
        The sum of each fold, in their order.

    Raises:
        GraphError, WorkerLost: as of `run`.
        ClusterError: a worker of the cluster has other packages.
    """
    return functools.reduce(
        _added, in_parts(graph, frames, lengths, labels, folds, precision, progress, batch, processes)
    )


def in_parts(
    graph: Graph,
    frames: np.ndarray,
    lengths: np.ndarray | None,
    labels: np.ndarray | None,
    folds: Sequence[Fold],
    precision: str = "float64",
    progress: bool = False,
    batch: int = BATCH,
    processes: int | None = None,
) -> Iterator[list[Any]]:
    """What the folds give of each batch, in order; arguments and errors as of `folded`."""
    frames, lengths = np.asarray(frames), checked_lengths(graph, frames, lengths)
    check_labels(graph, labels)
    cluster = chosen_cluster() if processes is None else None
    crew = cluster or _processes(graph, int(lengths.sum()), processes)
    batches = [
        (frames[rows], lengths[rows], None if labels is None else labels[rows])
        for rows in _rows(len(frames), batch, crew)
    ]
    yield from _done(Folding(graph, precision, tuple(folds)), batches, crew, progress)


def _added(sums: list[Any], parts: list[Any]) -> list[Any]:
    return list(map(operator.add, sums, parts))


def _processes(graph: Graph, steps: int, count: int | None) -> Crew | None:
    """Workers on this machine for a run of so many steps; None where this process does it alone."""
    count = count or chosen_processes() or _planned(graph, steps)
    return workers.shared(count) if count > 1 else None


def _planned(graph: Graph, steps: int) -> int:
    """Worker processes for a run of so many steps: one per core where that saves time."""
    per_step = 0
    for node in graph.nodes.values():
        weight = node.parameters.get("weight")
        products = 0 if weight is None else node.neurons * weight[0].size if node.kind in SLIDING else weight.size
        per_step += products + PRODUCTS_PER_NEURON * node.neurons
    cores = workers.cores()
    return cores if steps * per_step > (WORTH_ASKING if workers.running(cores) else WORTH_STARTING) else 1


def _rows(samples: int, batch: int, crew: Crew | None) -> list[slice]:
    """Batches; smaller ones where several workers would otherwise get less than four each."""
    if crew is not None:
        batch = min(batch, SHARE * math.ceil(samples / (4 * max(crew.count, 1)) / SHARE))
    return [slice(start, min(start + batch, samples)) for start in range(0, samples, batch)]


def _done(
    task: Callable[..., Any], batches: Sequence[tuple[Any, ...]], crew: Crew | None, progress: bool
) -> Iterator[Any]:
    """`task(*batch)` of every batch, in order: here, or by a crew."""
    answers = (task(*batch) for batch in batches) if crew is None else crew.map(task, batches)
    with tqdm(total=len(batches), desc="reference", unit="batch", disable=None if progress else True) as bar:
        for answer in answers:
            bar.update()
            yield answer


def _header(graph: Graph, precision: str, peaks: dict[str, np.ndarray]) -> dict[str, Any]:
    header = {"backend": "reference", "precision": precision, "source": graph.source, "dt": graph.dt}
    if graph.quantised:
        header |= {"precision": graph.arithmetic, **integer.overflow(peaks)}
    return {**header, "readout": graph.readout, "latency_steps": 0}


# ---- what is done with a batch, here or by a worker ------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Keeping:
    """Runs a batch and puts what it sends in its place in a room; gives the peaks of its neurons."""

    graph: Graph
    precision: str

    @functools.cached_property
    def prepared(self) -> Prepared:
        return prepare(self.graph, self.precision)

    def __call__(self, room: Room, start: int, frames: np.ndarray, lengths: np.ndarray) -> dict[str, np.ndarray]:
        rows = {name: array[start : start + len(frames)] for name, array in room.arrays.items()}
        into = Batch.of(self.graph, rows)
        return dict(simulate(self.prepared, np.require(frames, requirements="A"), lengths, into=into).peaks)


# Of the networks that ran last: workers then have them already.
_keeping = functools.lru_cache(maxsize=4)(Keeping)


@dataclass(frozen=True, eq=False)
class Folding:
    """Runs a batch and folds its trace."""

    graph: Graph
    precision: str
    folds: tuple[Fold, ...]

    @functools.cached_property
    def prepared(self) -> Prepared:
        return prepare(self.graph, self.precision)

    def __call__(self, frames: np.ndarray, lengths: np.ndarray, labels: np.ndarray | None) -> list[Any]:
        trace = trace_of(self.prepared, np.require(frames, requirements="A"), lengths, labels)
        return [fold(trace) for fold in self.folds]


def trace_of(prepared: Prepared, frames: np.ndarray, lengths: np.ndarray, labels: np.ndarray | None) -> Trace:
    """The trace of samples that are known to fit."""
    graph, part = prepared.graph, simulate(prepared, frames, lengths)
    return Trace(
        spikes=part.spikes,
        output=part.output,
        input=windowed(np.asarray(frames), lengths),
        lengths=lengths,
        labels=labels,
        header=_header(graph, prepared.dtype.name, dict(part.peaks)),
        graph=graph,
        peaks=part.peaks,
    )


# ---- for folds -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Again:
    """Runs the samples of a trace again: by another network, or in another precision."""

    graph: Graph
    precision: str = "float64"

    @functools.cached_property
    def prepared(self) -> Prepared:
        return prepare(self.graph, self.precision)

    def __call__(self, trace: Trace) -> Trace:
        """The trace of the same samples.

        Raises:
            GraphError: they do not fit the network.
        """
        lengths = checked_lengths(self.graph, trace.input, trace.lengths)
        check_labels(self.graph, trace.labels)
        return trace_of(self.prepared, trace.input, lengths, trace.labels)


@dataclass(frozen=True)
class Attempt:
    """What a fold found, or why it could not on some samples, and so not on all."""

    found: Any = None
    failed: GraphError | None = None

    def __add__(self, other: Attempt) -> Attempt:
        failed = self.failed or other.failed
        return Attempt(None, failed) if failed else Attempt(self.found + other.found)


@dataclass(frozen=True, eq=False)
class Attempting:
    """A fold that may fail with a GraphError and leaves the others be."""

    fold: Fold

    def __call__(self, trace: Trace) -> Attempt:
        try:
            return Attempt(self.fold(trace))
        except GraphError as error:
            return Attempt(failed=error)
