"""The one place where the fuzzing meets the project's own code: a move of a module is mended here."""

from __future__ import annotations

import nir
import numpy as np

from conversion.choice import WrapAround
from conversion.quantize import quantize
from sim import dialect, reference
from sim.graph import load
from sim.node import GraphError

extension = dialect.extension
REFUSALS = (GraphError, WrapAround)


def run(
    graph: nir.NIRGraph, frames: np.ndarray, lengths: np.ndarray | None = None
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Spikes and output of the reference simulator: float64, or integers when the graph is quantised."""
    trace = reference.run(load(graph), frames, lengths)
    return dict(trace.spikes), trace.output


def quantised(graph: nir.NIRGraph, frames: np.ndarray, lengths: np.ndarray | None = None) -> nir.NIRGraph:
    """The integer file of a float one.

    Raises:
        REFUSALS: what the fixed-point arithmetic cannot express, or what overflows it.
    """
    return quantize(load(graph), frames, lengths)[0]
