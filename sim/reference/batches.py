"""A set of samples run batch by batch: kept whole as a trace, or folded into what is wanted of it.

A fold is a function of the trace of one batch; what it gives adds up with `+`, in the order of the samples. Only one
batch is in memory at a time, so that a run of any number of samples takes no more than its input and its results.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from neurotarget.sim.graph import Graph
from neurotarget.sim.graph.node import GraphError
from neurotarget.sim.reference import integer
from neurotarget.sim.reference.engine import Prepared, check_labels, checked_lengths, prepare, simulate
from neurotarget.sim.trace import Trace, windowed
from tqdm import tqdm

BATCH = 64

Fold = Callable[[Trace], Any]


def run(
    graph: Graph,
    frames: np.ndarray,
    lengths: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    precision: str = "float64",
    progress: bool = False,
) -> Trace:
    """Runs a network on a set of samples and keeps every spike.

    Args:
        frames: [samples, steps, *features], any real dtype.
        lengths: int64 [samples]; all steps when left out.
        labels: int64 [samples], kept in the trace.
        progress: show a bar.

    Returns:
        The trace, with every spiking node and the output.

    Raises:
        GraphError: the input does not fit the network.
    """
    whole: Trace | None = None
    at = 0
    for part in traces(graph, frames, lengths, labels, precision, progress=progress):
        if whole is None:
            whole = _empty(part, len(frames))
        rows = slice(at, at + part.samples)
        for name, array in part.spikes.items():
            whole.spikes[name][rows] = array
        whole.output[rows], whole.input[rows], whole.lengths[rows] = part.output, part.input, part.lengths
        if whole.labels is not None:
            whole.labels[rows] = part.labels
        for name, peaks in part.peaks.items():
            np.maximum(whole.peaks[name], peaks, out=whole.peaks[name])
        at += part.samples
    assert whole is not None  # `checked_lengths` refuses none
    return replace(whole, header={**whole.header, **integer.overflow(whole.peaks)}) if graph.quantised else whole


def _empty(part: Trace, samples: int) -> Trace:
    """Room for a run of so many samples like these."""

    def room(array: np.ndarray) -> np.ndarray:
        return np.empty((samples, *array.shape[1:]), array.dtype)

    return Trace(
        spikes={name: room(array) for name, array in part.spikes.items()},
        output=room(part.output),
        input=room(part.input),
        lengths=room(part.lengths),
        labels=None if part.labels is None else room(part.labels),
        header=part.header,
        graph=part.graph,
        peaks={name: np.zeros_like(peaks) for name, peaks in part.peaks.items()},
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
) -> list[Any]:
    """Runs a network and keeps what the folds make of it.

    Args:
        frames, lengths, labels: as of `run`.
        folds: what each gives of the trace of a batch is added up over the batches.
        batch: samples at a time; no result depends on it.

    Returns:
        The sum of each fold, in their order.

    Raises:
        GraphError: the input does not fit the network.
    """
    parts = traces(graph, frames, lengths, labels, precision, batch, progress)
    return functools.reduce(_added, ([fold(trace) for fold in folds] for trace in parts))


def _added(sums: list[Any], parts: list[Any]) -> list[Any]:
    return list(map(operator.add, sums, parts))


def traces(
    graph: Graph,
    frames: np.ndarray,
    lengths: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    precision: str = "float64",
    batch: int = BATCH,
    progress: bool = False,
) -> Iterator[Trace]:
    """The trace of each batch, one after the other.

    Args:
        frames, lengths, labels: as of `run`.

    Raises:
        GraphError: the input does not fit the network; before the first.
    """
    lengths = checked_lengths(graph, frames, lengths)
    check_labels(graph, labels)
    prepared = prepare(graph, precision)
    starts = range(0, len(frames), batch)
    for start in tqdm(starts, desc="reference", unit="batch", disable=None if progress else True):
        rows = slice(start, start + batch)
        yield trace_of(prepared, frames[rows], lengths[rows], None if labels is None else labels[rows])


def trace_of(prepared: Prepared, frames: np.ndarray, lengths: np.ndarray, labels: np.ndarray | None) -> Trace:
    """The trace of samples that are known to fit."""
    graph, part = prepared.graph, simulate(prepared, frames, lengths)
    header = {"backend": "reference", "precision": prepared.dtype.name, "source": graph.source, "dt": graph.dt}
    if graph.quantised:
        header |= {"precision": graph.arithmetic, **integer.overflow(part.peaks)}
    return Trace(
        spikes=part.spikes,
        output=part.output.astype(np.float64, copy=False),
        input=windowed(np.asarray(frames), lengths),
        lengths=lengths,
        labels=labels,
        header={**header, "readout": graph.readout, "latency_steps": 0},
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
