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
from neurotarget.sim.graph import dialect, nir_file
from neurotarget.sim.graph.kinds import SPIKING
from neurotarget.sim.graph.node import GraphError, Node
from neurotarget.sim.graph.resets import SILENT, reset_word, settle_resets
from neurotarget.sim.graph.taps import join_taps
from neurotarget.sim.graph.wiring import edges_of, flatten, infer_shapes, join_inputs, loops, order

from neurotarget.standardisation import Standardisation
from neurotarget.terminal import aligned


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in an order in which they can run.

    `components` are the strongly connected components in that order: one node runs over all steps at once, several run
    step by step together. `recurrent_edges` are the (source, target) pairs inside a component that carry the value
    of the step before. `notes` are sentences for the user about what a file left open and what was assumed.
    Where a file says so, `classes` names the outputs, `standardisation` how log-mel frames were brought to mean 0.
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
    notes: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    standardisation: Standardisation | None = None

    def __repr__(self) -> str:
        """A table for people, as long as the graph has nodes: no arrays."""
        rows = [["node", "kind", "reads", "sends", "parameters"]]
        for node in self.nodes.values():
            size = sum(np.size(value) for value in node.parameters.values() if isinstance(value, np.ndarray))
            sends = " x ".join(map(str, node.output_shape))
            rows.append([node.name, node.kind, ", ".join(node.sources), sends, str(size)])
        step = f"{self.dt:g} s{' (the file does not say)' * self.dt_is_default}"
        head = f"{self.source}: {len(self.spiking)} spiking nodes, arithmetic {self.arithmetic}, a step of {step}"
        return "\n".join([head, *aligned(rows, texts=4), *(f"note: {note}" for note in self.notes)])

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
    def entries(self) -> list[Node]:
        """Where input enters: the input, or its parts where the file has several Inputs."""
        return self.of_kind("input_part") or [self.input]

    @property
    def output(self) -> Node:
        return self.of_kind("output")[0]

    def targets(self, name: str) -> list[Node]:
        return [node for node in self.nodes.values() if name in node.sources]


def load(
    source: str | Path | nir.NIRGraph | Graph,
    dt: float | None = None,
    reset: str | None = None,
    content: bytes | None = None,
) -> Graph:
    """Opens a NIR file, or takes a NIR graph, and checks that every node of it can run.

    >>> graph = neurotarget.load("network.nir")
    >>> [node.name for node in graph.spiking]
    ['1', '3']

    Args:
        source: path of a `.nir` file, or a graph in memory; one that is checked already comes back as it is.
        dt: seconds per step, for files that do not say; a file's own dt wins and must agree.
        reset: one of `RESETS`, for neurons of which a file does not say it; what a file says must agree.
        content: what the file will hold, where it is not written yet.

    Raises:
        GraphError: the file is missing, foreign or inconsistent, or holds something that cannot be run.
    """
    if isinstance(source, Graph):
        return source
    if isinstance(source, nir.NIRGraph):
        file, origin = nir_file.NirFile(source, {}, ()), "graph in memory"
    else:
        file, origin = nir_file.read(Path(source), content), str(source)
    raw, metadata = file.graph, file.graph.metadata or {}
    try:
        raw.validate_structure()  # every edge joins nodes that exist, once
    except ValueError as error:
        remedy = "; a node and its edges need one name: mend it in the tool that wrote the file" * (
            "exist" in str(error)
        )
        raise GraphError(f"{origin}: {error}{remedy}") from error
    if str(metadata.get(dialect.KEY_DIALECT, dialect.DIALECT)) != dialect.DIALECT:
        raise GraphError(f"{origin}: dialect {metadata[dialect.KEY_DIALECT]!r}, this version reads {dialect.DIALECT!r}")
    words = _words(metadata, origin)
    try:
        classes, standardisation = dialect.classes_of(metadata), dialect.standardisation_of(metadata)
    except ValueError as error:
        raise GraphError(f"{origin}: {error}") from error
    dt, dt_is_default = _time_step(metadata, dt, origin)
    nodes = flatten(raw, dt)
    _check_ports(nodes, origin)
    said = dialect.KEY_DIALECT in metadata or bool(reset_word("graph", metadata, own=False))
    nodes, assumed = settle_resets(nodes, reset, foreign=not said)
    notes = (*_silent_resets(nodes, file.without_reset, assumed, origin), *file.notes, *_doubly_shifted(nodes))
    looped = {name for loop in loops(nodes, edges_of(nodes)) for name in loop}
    nodes = join_taps(nodes, looped, words[dialect.KEY_ARITHMETIC] == dialect.ARITHMETIC_LAVA_FIXED)
    nodes = join_inputs(nodes)
    components, recurrent = order(nodes)
    nodes = infer_shapes(nodes, components, recurrent)
    _check_declared(nodes, file.declared)
    return Graph(
        nodes=nodes,
        components=components,
        recurrent_edges=recurrent,
        dt=dt,
        dt_is_default=dt_is_default,
        rule=words[dialect.KEY_RULE],
        readout=words[dialect.KEY_READOUT],
        source=origin,
        arithmetic=words[dialect.KEY_ARITHMETIC],
        fixed=_fixed(metadata, origin),
        notes=notes,
        classes=classes,
        standardisation=standardisation,
    )


def _words(metadata: Mapping[str, Any], origin: str) -> dict[str, str]:
    """What the metadata say of the arithmetic; a word that is not known is refused, because it changes the spikes."""
    words = {}
    for key, known in dialect.WORDS.items():
        words[key] = str(metadata.get(key, known[0]))
        if words[key] not in known:
            raise GraphError(f"{origin}: {key} {words[key]!r}, this version runs {' and '.join(known)}")
    return words


def _check_ports(nodes: Mapping[str, Node], origin: str) -> None:
    """Inputs begin a network and one Output ends it."""
    for node in nodes.values():
        if node.kind == "input" and node.sources:
            raise GraphError(f"node {node.name}: an Input begins the network, but {node.sources[0]} feeds it")
        if ended := [name for name in node.sources if name in nodes and nodes[name].kind == "output"]:
            raise GraphError(f"node {ended[0]}: an Output ends the network, but it feeds {node.name}")
    inputs, outputs = ([n.name for n in nodes.values() if n.kind == kind] for kind in ("input", "output"))
    if not inputs:
        raise GraphError(f"{origin}: no Input node")
    if len(outputs) != 1:
        raise GraphError(f"{origin}: {len(outputs)} output nodes {outputs}; exactly one is supported")


def _silent_resets(nodes: Mapping[str, Node], without: tuple[str, ...], assumed: bool, origin: str) -> list[str]:
    """Notes on neurons whose reset, or the potential that they reset to, the file does not say."""
    silent = [name for name in without if not (name in nodes and nodes[name].subtracts)]
    said = f"{origin} does not say v_reset of {', '.join(silent)}: NIR's default holds, a reset to 0"
    return [*([said] if silent else []), *([SILENT] if assumed else [])]


def _doubly_shifted(nodes: Mapping[str, Node]) -> list[str]:
    """A note where a Delay reads a look-ahead, which older files held for a tap with the net offset of both."""
    found = [
        node.name
        for node in nodes.values()
        if node.kind == "delay" and any(nodes[source].kind == "look_ahead" for source in node.sources)
    ]
    if not found:
        return []
    more = f" and {len(found) - 1} more" if found[1:] else ""
    return [
        f"{found[0]}{more}: a Delay behind a look_ahead; they are read one "
        "after the other, so the first steps are zero. If neurotarget wrote this file before it wrote net offsets, "
        "export it again"
    ]


def _check_declared(nodes: Mapping[str, Node], declared: Mapping[str, tuple[int, ...]]) -> None:
    """A convolution's or flattening's own word about its input must hold too."""
    for name, shape in declared.items():
        if name not in nodes or not shape:
            continue
        found = nodes[name].input_shape[1:] if nodes[name].kind.startswith("conv") else nodes[name].input_shape
        if shape != found:
            raise GraphError(f"node {name}: the file says that its input has shape {shape}, but it gets {found}")


def _fixed(metadata: Mapping[str, Any], origin: str) -> Mapping[str, Mapping[str, Any]]:
    fixed = metadata.get(dialect.KEY_FIXED, {})
    if not isinstance(fixed, Mapping) or not all(isinstance(keys, Mapping) for keys in fixed.values()):
        raise GraphError(f"{origin}: metadata {dialect.KEY_FIXED!r} must hold a table of numbers for each node")
    return fixed


def _time_step(metadata: Mapping[str, Any], asked: float | None, origin: str) -> tuple[float, bool]:
    try:
        given = None if dialect.KEY_DT not in metadata else np.asarray(metadata[dialect.KEY_DT])
        if given is not None and given.dtype.kind == "c":
            raise ValueError
        written = None if given is None else float(given.item())
    except (TypeError, ValueError):
        raise GraphError(f"{origin}: dt = {metadata[dialect.KEY_DT]!r} in the metadata is no real number") from None
    if written is not None and asked is not None and not np.isclose(written, asked, rtol=1e-9):
        raise GraphError(f"{origin}: written for dt = {written:g} s, asked to run at {asked:g} s")
    chosen = asked if written is None else written
    if chosen is None:
        return dialect.DEFAULT_DT_SECONDS, True
    if not np.isfinite(chosen) or chosen <= 0:
        raise GraphError(f"{origin}: dt = {chosen} s; it must be positive and finite")
    return chosen, False
