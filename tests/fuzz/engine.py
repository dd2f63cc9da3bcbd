"""The one place where the fuzzing meets the project's own code: a move of a module is mended here."""

from __future__ import annotations

import tempfile
from pathlib import Path

import nir
import numpy as np
from neurotarget.conversion.fixed.verdict import rate_faults
from neurotarget.conversion.quantize import quantize
from neurotarget.sim import reference
from neurotarget.sim.activity import Fired
from neurotarget.sim.graph import dialect, load

from neurotarget.errors import CheckFailed, UserError

extension = dialect.extension
REFUSALS = (UserError, CheckFailed)


def run(
    graph: nir.NIRGraph, frames: np.ndarray, lengths: np.ndarray | None = None, in_file: bool = False
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Spikes and output of the reference simulator: float64, or integers when the graph is quantised.

    Args:
        in_file: write the graph and open the file.
    """
    with tempfile.TemporaryDirectory() as folder:
        if in_file:
            nir.write(Path(folder) / "graph.nir", graph)
        loaded = load(Path(folder) / "graph.nir" if in_file else graph)
    trace = reference.run(loaded, frames, lengths)
    return dict(trace.spikes), trace.output


def quantised(graph: nir.NIRGraph, frames: np.ndarray, lengths: np.ndarray | None = None) -> nir.NIRGraph:
    """The integer file of a float one.

    Raises:
        REFUSALS: what the fixed-point arithmetic cannot express, what overflows it, or a layer whose rate the command
            refuses on the frames that calibrate it.
    """
    whole, _, before = quantize(load(graph), frames, lengths)
    if faults := rate_faults(Fired.of(before), Fired.of(reference.run(load(whole), frames, lengths))):
        raise CheckFailed("; ".join(faults))
    return whole
