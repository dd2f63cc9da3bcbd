"""Spikes that were recorded elsewhere, in any framework or on any chip, against our run of the network's file.

The file is an `.npz` with `input` [samples, steps, ...] and `spikes/<node>` [samples, steps, *neurons] for one spiking
node or more, and may hold `output` [samples, steps, ...] and `length` [samples]; a trace of ours is one. Steps are
those of the input: a recording that lags behind it is to be shifted by whoever wrote it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from neurotarget.sim import reference
from neurotarget.sim.graph import Graph
from neurotarget.sim.inputs import as_input
from neurotarget.sim.parity import Parity, compare
from neurotarget.sim.trace import LARGEST_BYTES, Trace, TraceError, windowed

from neurotarget import kinds
from neurotarget.arrays import read_arrays
from neurotarget.errors import nearest

SPIKES = "spikes/"


def compare_recorded(
    graph: Graph, path: str | Path, samples: int | None = None, precision: str = "float64"
) -> tuple[Parity, list[str]]:
    """Recorded spikes against the reference simulator on the same input.

    Args:
        samples: compare the first so many; all when left out.

    Returns:
        The comparison of what was recorded, and notes about what was not.

    Raises:
        TraceError, InputError: the file is damaged, of another network, or holds no spikes.
        GraphError: its input does not fit the network.
    """
    if mistake := kinds.mistaken(path, kinds.SAMPLES, kinds.TRACE):
        raise TraceError(mistake)
    others = ("input", "output", "length", "header")
    arrays = read_arrays(path, lambda name: name in others or name.startswith(SPIKES), LARGEST_BYTES)
    if "input" not in arrays:
        raise TraceError(f"{path}: an array `input` is expected, of [samples, steps, features], which was run")
    data = as_input(arrays["input"], arrays.get("length"), file=path)
    names = [node.name for node in graph.spiking]
    recorded = {name.removeprefix(SPIKES): array for name, array in arrays.items() if name.startswith(SPIKES)}
    if not recorded:
        known = ", ".join(f"{SPIKES}{name}" for name in names)
        raise TraceError(f"{path}: no spikes; at least one of {known} is expected")
    for name, array in recorded.items():
        if name not in names:
            raise TraceError(
                f"{path}: {SPIKES}{name} is no spiking node of {graph.source}{nearest(name, names)}; they are "
                f"{', '.join(names)}"
            )
        _check(path, f"{SPIKES}{name}", array, data.frames, graph.nodes[name].output_shape)
        if not np.isin(array, (0, 1)).all():
            raise TraceError(f"{path}: {SPIKES}{name} holds other numbers than 0 and 1; spikes are expected")
    if "output" in arrays:
        _check(path, "output", arrays["output"], data.frames, graph.output.output_shape)
    rows = slice(samples)
    ours = reference.run(graph, data.frames[rows], data.lengths[rows], precision=precision)
    theirs = Trace(
        spikes={name: windowed(array[rows].astype(np.uint8), ours.lengths) for name, array in recorded.items()},
        output=windowed(arrays["output"][rows].astype(np.float64), ours.lengths) if "output" in arrays else ours.output,
        input=ours.input,
        lengths=ours.lengths,
        header={"backend": str(path), "precision": _run_of(arrays)},
    )
    notes = [f"{path}: holds no output, which was not compared"] if "output" not in arrays else []
    if missing := [name for name in names if name not in recorded]:
        notes.append(f"{path}: holds no spikes of {', '.join(missing)}, which were not compared")
    return compare(graph, theirs, ours, recorded), notes


def _check(path: str | Path, name: str, array: np.ndarray, frames: np.ndarray, shape: tuple[int, ...]) -> None:
    """Refuses an array that is not finite numbers [samples, steps, *shape] for the samples and steps of the input."""
    expected = (*frames.shape[:2], *shape)
    if array.shape == expected and array.dtype.kind in "biuf" and np.isfinite(array).all():
        return
    swapped = array.shape[:2] == frames.shape[1::-1] and array.shape[2:] == shape
    raise TraceError(
        f"{path}: {name} is {array.dtype} {array.shape}; finite numbers {expected} [samples, steps, ...] are expected"
        + ("; swap its first two axes" if swapped else "")
    )


def _run_of(arrays: Mapping[str, np.ndarray]) -> str:
    """What a trace of ours says of its run; nothing of other files."""
    try:
        header = json.loads(str(arrays["header"]))
        return f"({header['backend']} {header['precision']})"
    except (KeyError, TypeError, json.JSONDecodeError, RecursionError):
        return ""
