"""A checked, executable view of a NIR file: flat nodes, known shapes, an order in which they can run.

`load` is the one door. It opens the file, resolves nested graphs, recognises the extension operations of dialect.py,
joins the parallel delayed taps that make up a convolution over time, works out every shape, and refuses by name
whatever it cannot run. Simulators, counters and placers see only `Graph`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nir
import numpy as np

from sim import dialect
from sim.node import SPIKING, GraphError, Node
from sim.wiring import flatten, infer_shapes, join_taps, order


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in an order in which they can run.

    `components` are the strongly connected components in that order: one node runs over all steps at once, several run
    step by step together. `recurrent_edges` are the (source, target) pairs inside a component that carry the value
    of the step before.
    """

    nodes: Mapping[str, Node]
    components: tuple[tuple[str, ...], ...]
    recurrent_edges: frozenset[tuple[str, str]]
    dt: float
    dt_is_default: bool
    rule: str
    readout: str
    source: str
    arithmetic: str = dialect.ARITHMETIC_FLOAT
    fixed: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def quantised(self) -> bool:
        """Whether the numbers are integers for Lava's fixed-point arithmetic; `fixed` then completes them by node."""
        return self.arithmetic == dialect.ARITHMETIC_LAVA_FIXED

    def of_kind(self, *kinds: str) -> list[Node]:
        return [node for node in self.nodes.values() if node.kind in kinds]

    @property
    def spiking(self) -> list[Node]:
        return self.of_kind(*SPIKING)

    @property
    def input(self) -> Node:
        return self.of_kind("input")[0]

    @property
    def output(self) -> Node:
        return self.of_kind("output")[0]

    def targets(self, name: str) -> list[Node]:
        return [node for node in self.nodes.values() if name in node.sources]


def load(source: str | Path | nir.NIRGraph, dt: float | None = None) -> Graph:
    """Opens a NIR file, or takes a NIR graph, and checks that every node of it can run.

    Args:
        source: path of a `.nir` file, or a graph in memory.
        dt: seconds a step, for files that do not say; a file's own dt wins and must agree.

    Raises:
        GraphError: the file is missing, foreign or inconsistent, or holds something that cannot be run.
    """
    origin = "graph in memory" if isinstance(source, nir.NIRGraph) else str(source)
    raw = source if isinstance(source, nir.NIRGraph) else _read(Path(source))
    metadata = raw.metadata or {}
    if str(metadata.get(dialect.KEY_DIALECT, dialect.DIALECT)) != dialect.DIALECT:
        raise GraphError(f"{origin}: dialect {metadata[dialect.KEY_DIALECT]!r}, this version reads {dialect.DIALECT!r}")
    dt, dt_is_default = _time_step(metadata, dt, origin)
    nodes = join_taps(flatten(raw, dt))
    for kind in ("input", "output"):
        count = sum(node.kind == kind for node in nodes.values())
        if count != 1:
            raise GraphError(f"{origin}: {count} {kind} nodes; exactly one is supported")
    components, recurrent = order(nodes)
    return Graph(
        nodes=infer_shapes(nodes, components, recurrent),
        components=components,
        recurrent_edges=recurrent,
        dt=dt,
        dt_is_default=dt_is_default,
        rule=str(metadata.get(dialect.KEY_RULE, dialect.RULE_EXCEEDS)),
        readout=str(metadata.get(dialect.KEY_READOUT, dialect.READOUT_SUM)),
        source=origin,
        arithmetic=_arithmetic(metadata, origin),
        fixed=_fixed(metadata, origin),
    )


def _read(path: Path) -> nir.NIRGraph:
    if not path.is_file():
        raise GraphError(f"{path}: no such file")
    try:
        return nir.read(path, type_check=True)
    except Exception as error:  # nir raises anything from KeyError to a bare AssertionError on foreign files
        reason = str(error).split("\n")[0] or type(error).__name__
        raise GraphError(f"{path}: not a NIR file that can be run: {reason}") from error


def _arithmetic(metadata: Mapping[str, Any], origin: str) -> str:
    arithmetic = str(metadata.get(dialect.KEY_ARITHMETIC, dialect.ARITHMETIC_FLOAT))
    known = (dialect.ARITHMETIC_FLOAT, dialect.ARITHMETIC_LAVA_FIXED)
    if arithmetic not in known:
        raise GraphError(f"{origin}: arithmetic {arithmetic!r}, this version runs {' and '.join(known)}")
    return arithmetic


def _fixed(metadata: Mapping[str, Any], origin: str) -> Mapping[str, Mapping[str, Any]]:
    fixed = metadata.get(dialect.KEY_FIXED, {})
    if not isinstance(fixed, Mapping) or not all(isinstance(keys, Mapping) for keys in fixed.values()):
        raise GraphError(f"{origin}: metadata {dialect.KEY_FIXED!r} must hold a table of numbers for each node")
    return fixed


def _time_step(metadata: Mapping[str, Any], asked: float | None, origin: str) -> tuple[float, bool]:
    written = metadata.get(dialect.KEY_DT)
    if written is not None and asked is not None and not np.isclose(float(written), asked, rtol=1e-9):
        raise GraphError(f"{origin}: written for dt = {float(written):g} s, asked to run at {asked:g} s")
    chosen = asked if written is None else float(written)
    if chosen is None:
        return dialect.DEFAULT_DT_SECONDS, True
    if not np.isfinite(chosen) or chosen <= 0:
        raise GraphError(f"{origin}: dt = {chosen} s; it must be positive and finite")
    return chosen, False
