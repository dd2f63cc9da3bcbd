"""Does the network answer in integers as it does in float? Its quantised file on the samples of the report."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from neurotarget.sim.graph import Graph, load
from neurotarget.sim.graph.node import GraphError
from neurotarget.sim.observed import Observed, observe
from neurotarget.sim.reference import Again
from neurotarget.sim.trace import Trace, unreadable


@dataclass(frozen=True)
class IntegerLayer:
    """A spiking layer in float and in integers, over all samples.

    Attributes:
        name: of the layer.
        places: its neurons times the steps.
        spikes_float, spikes: in float and in integers.
        differing: places with a spike in one and none in the other.
        share: `differing` / `places`.
    """

    name: str
    places: int
    spikes_float: int
    spikes: int
    differing: int
    share: float


@dataclass(frozen=True)
class IntegerForm:
    """The quantised file of the network, run on the same samples by the integer simulator.

    Attributes:
        file: its path.
        samples: that were run.
        accuracy_float, accuracy: share of them classified right in float and in integers; `null` without labels.
        equal: share of them that get the same class in both.
        layers: the spiking layers, in order.
    """

    file: str
    samples: int
    accuracy_float: float | None
    accuracy: float | None
    equal: float
    layers: tuple[IntegerLayer, ...]


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
class Beside:
    """A run in integers beside the same samples in float; of two parts of a run, the sum is that of both.

    Attributes:
        observed: in integers.
        differing: layer -> places whose spikes differ; a layer without one may be missing.
    """

    observed: Observed
    differing: Counter[str]

    def __add__(self, other: Beside) -> Beside:
        return Beside(self.observed + other.observed, self.differing + other.differing)


@dataclass(frozen=True, eq=False)
class InIntegers:
    """A fold: the quantised file on the samples of a run in float."""

    again: Again

    def __call__(self, trace: Trace) -> Beside:
        run = self.again(trace)
        differing = {name: int(np.count_nonzero(run.spikes[name] != spikes)) for name, spikes in trace.spikes.items()}
        return Beside(observe(run), Counter(differing))


def integer_form(file: Path, in_float: Observed, beside: Beside) -> IntegerForm:
    """The two runs of the same samples beside each other."""
    assert in_float.predicted is not None  # `load_integers` refuses outputs that are no classes
    fired = in_float.fired
    return IntegerForm(
        file=str(file),
        samples=in_float.samples,
        accuracy_float=in_float.accuracy,
        accuracy=beside.observed.accuracy,
        equal=float(np.mean(in_float.predicted == beside.observed.predicted)),
        layers=tuple(
            IntegerLayer(
                name=name,
                places=places,
                spikes_float=fired.spikes[name],
                spikes=beside.observed.fired.spikes[name],
                differing=beside.differing[name],
                share=beside.differing[name] / max(places, 1),
            )
            for name, places in fired.places.items()
        ),
    )
