"""Does the network answer in integers as it does in float? Its quantised file on the samples of the report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from neurotarget.sim import reference
from neurotarget.sim.graph import Graph, load
from neurotarget.sim.graph.node import GraphError
from neurotarget.sim.trace import Trace, accuracy, classify, unreadable


@dataclass(frozen=True)
class IntegerForm:
    """The quantised file of the network, run on the same samples by the integer simulator.

    Attributes:
        file: its path.
        samples: that were run.
        accuracy_float, accuracy: share of them classified right in float and in integers; `null` without labels.
        equal: share of them that get the same class in both.
    """

    file: str
    samples: int
    accuracy_float: float | None
    accuracy: float | None
    equal: float


def quantised_beside(file: Path) -> Path | None:
    """The file that `conversion.quantize` makes of a NIR file by default, where it is there."""
    path = file.with_name(f"{file.name.removesuffix('.nir')}.q.nir")
    return path if path.is_file() else None


def compare_integers(graph: Graph, trace: Trace, file: Path) -> IntegerForm:
    """Runs the quantised file on the inputs of a run in float.

    Args:
        graph, trace: of the network in float.

    Raises:
        GraphError: the file is in float, or is of another network, or the answers are no classes.
    """
    integers = load(file)
    shapes = [{node.name: node.output_shape for node in one.spiking} for one in (graph, integers)]
    if not integers.quantised:
        raise GraphError(f"{file}: its numbers are in float; a file that conversion.quantize wrote is expected")
    if shapes[0] != shapes[1]:
        raise GraphError(f"{file}: of another network than {graph.source}; its spiking layers differ")
    if why := unreadable(trace.output):
        raise GraphError(f"{file}: {why}")
    run = reference.run(integers, trace.input, trace.lengths, trace.labels)
    answers = [classify(one.output, one.lengths, of.readout) for one, of in ((trace, graph), (run, integers))]
    return IntegerForm(
        file=str(file),
        samples=trace.samples,
        accuracy_float=accuracy(trace, graph.readout),
        accuracy=accuracy(run, integers.readout),
        equal=float(np.mean(answers[0] == answers[1])),
    )
