"""Does the network answer in integers as it does in float? Its quantised file on the samples of the report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from neurotarget.sim.graph import Graph, load
from neurotarget.sim.graph.node import GraphError
from neurotarget.sim.observed import Observed, observe
from neurotarget.sim.reference import Again
from neurotarget.sim.trace import Trace, unreadable


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


def load_integers(graph: Graph, file: Path) -> Graph:
    """The quantised file of a network in float.

    Raises:
        GraphError: the file is in float, or is of another network, or the answers are no classes.
    """
    integers = load(file)
    shapes = [{node.name: node.output_shape for node in one.spiking} for one in (graph, integers)]
    if not integers.quantised:
        raise GraphError(f"{file}: its numbers are in float; a file that conversion.quantize wrote is expected")
    if shapes[0] != shapes[1]:
        raise GraphError(f"{file}: of another network than {graph.source}; its spiking layers differ")
    if why := unreadable(np.empty((0, 0, *graph.output.output_shape))):
        raise GraphError(f"{file}: {why}")
    return integers


@dataclass(frozen=True, eq=False)
class InIntegers:
    """A fold: what is observed of the quantised file on the samples of a run in float."""

    again: Again

    def __call__(self, trace: Trace) -> Observed:
        return observe(self.again(trace))


def integer_form(file: Path, in_float: Observed, in_integers: Observed) -> IntegerForm:
    """The two runs of the same samples beside each other."""
    assert in_float.predicted is not None  # `load_integers` refuses outputs that are no classes
    return IntegerForm(
        file=str(file),
        samples=in_float.samples,
        accuracy_float=in_float.accuracy,
        accuracy=in_integers.accuracy,
        equal=float(np.mean(in_float.predicted == in_integers.predicted)),
    )
