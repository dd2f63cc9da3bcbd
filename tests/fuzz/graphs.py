"""Random NIR graphs with their input, each from one seed.

In half of the graphs all numbers are dyadic (halves and quarters, time constants of one or two steps) and few enough
steps run that float64 rounds nowhere: two simulators must then agree in every bit. The other half takes any floats and
extreme parameters.

A loop is entered at one node, because only then do the documents say which edge closes it (plain.closing_edges). A
look-ahead never feeds the delayed taps of a convolution over time, whose reading is being changed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import nir
import numpy as np

from tests.fuzz.draft import Shape, pruned
from tests.fuzz.structures import Network

DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")


@dataclass(frozen=True)
class Case:
    """One graph and what runs on it.

    Attributes:
        frames: [samples, steps, *features], in one of `DTYPES`.
        lengths: int64 [samples], or None for all steps.
        exact: whether float64 should round nowhere.
        in_file: whether it should be written and read, not passed in memory.
        kinds: how many nodes of each kind the graph holds.
    """

    seed: int
    graph: nir.NIRGraph
    frames: np.ndarray
    lengths: np.ndarray | None
    exact: bool
    in_file: bool
    kinds: Counter[str]


def case(seed: int, dtypes: tuple[str, ...] = DTYPES, quantisable: bool = False) -> Case:
    """The graph of a seed.

    Args:
        dtypes: of the input.
        quantisable: leave out what conversion.quantize refuses by name.
    """
    rng = np.random.default_rng(seed)
    exact = bool(rng.random() < 0.5) and not quantisable
    dt = 2.0**-10 if exact else float(rng.choice([1e-4, 1e-3, 0.01]))
    dtype = str(rng.choice(dtypes))
    in_file = bool(rng.random() < 0.1)
    draft = Network(rng, exact, dt, quantisable, tidy=quantisable or in_file)
    shapes = [draft.input_shape() for _ in range(rng.choice([1, 1, 1, 2, 3]))]
    steps = int(rng.integers(100, 200) if quantisable else rng.integers(1, 9 if exact else 25))
    samples = int(rng.integers(1, 4))
    features = shapes[0] if len(shapes) == 1 else (sum(int(np.prod(shape)) for shape in shapes),)
    frames, size = input_frames(rng, exact, dtype, (samples, steps, *features), quantisable)
    for shape in shapes:
        draft.add(nir.Input(input_type={"input": np.array(shape)}), (), shape, size=size)
    for _ in range(int(rng.integers(1, 9))):
        draft.grow()
    draft.close()
    if draft.tidy:
        frames = pruned(draft, frames)
    metadata: dict[str, object] = {"dt": dt} if dt != 1e-4 or rng.random() < 0.5 else {}
    if rng.random() < 0.3 and not quantisable:
        metadata["rule"] = ">="
        reach(draft.nodes)
    lengths = rng.integers(0, steps + 1, samples) if rng.random() < 0.4 else None
    return Case(seed, draft.graph(metadata), frames, lengths, exact, in_file, draft.kinds)


def input_frames(
    rng: np.random.Generator, exact: bool, dtype: str, shape: Shape, quantisable: bool
) -> tuple[np.ndarray, float]:
    """Spikes, small numbers, or numbers to the ends of the type, and their usual size."""
    mode = rng.choice(["spikes", "small", "small" if quantisable else "ends"])
    if mode == "spikes" or dtype == "bool":
        return (rng.random(shape) < 0.4).astype(dtype), 0.5
    kind = np.dtype(dtype)
    if mode == "ends" and kind.kind in "ui":
        ends = np.iinfo(kind)
        top = min(int(ends.max), 2**40) if rng.random() < 0.8 or not exact else int(ends.max)
        bottom = max(int(ends.min), -top)
        return rng.integers(bottom, top, shape, endpoint=True, dtype=kind), top / 2
    if mode == "ends":
        top = {"float16": 2048.0, "float32": 2.0**24, "float64": 2.0**30}[dtype]
        return np.rint(rng.uniform(-top, top, shape)).astype(kind), top / 2
    if kind.kind in "ui":
        return rng.integers(-4 if kind.kind == "i" else 0, 5, shape).astype(kind), 2.0
    numbers = rng.integers(-8, 9, shape) / 4 if exact else rng.normal(0, 1, shape)
    return numbers.astype(kind), 1.0


def reach(nodes: dict[str, nir.NIRNode]) -> None:
    """Rule >=: the file holds the number below each threshold."""
    for node in nodes.values():
        for key in ("v_threshold", "threshold"):
            if hasattr(node, key):
                setattr(node, key, np.nextafter(getattr(node, key), -np.inf))
        if isinstance(node, nir.NIRGraph):
            reach(node.nodes)
