"""From NIR's nested, unordered nodes to a flat list that can run in order."""

from __future__ import annotations

import graphlib
from collections.abc import Collection, Mapping
from dataclasses import replace

import nir
import numpy as np
from neurotarget.sim.graph.kinds import STATEFUL
from neurotarget.sim.graph.node import GraphError, Node
from neurotarget.sim.graph.primitives import convert_node, output_shape
from neurotarget.sim.graph.resets import reset_word
from neurotarget.sim.graph.taps import redirect


def flatten(graph: nir.NIRGraph, dt: float, prefix: str = "") -> dict[str, Node]:
    """Splices nested graphs into their parent; an extension operation stays one node."""
    reset_word(f"graph {prefix.rstrip('.')}".strip(), graph.metadata or {}, own=False)
    edges = [(prefix + source, prefix + target) for source, target in graph.edges]
    nodes: dict[str, Node] = {}
    for short_name, raw in graph.nodes.items():
        name = prefix + short_name
        sources = tuple(sorted(source for source, target in edges if target == name))
        if isinstance(raw, nir.NIRGraph) and "op" not in (raw.metadata or {}):
            inner = flatten(raw, dt, name + ".")
            entry, exit_ = _one(inner, "input", name), _one(inner, "output", name)
            if both := sorted(inner.keys() & nodes.keys()):
                raise GraphError(f"node {both[0]}: two nodes have this path, one of them inside the graph {name}")
            # The nested Input and Output only carry values: what reads them reads their own sources.
            nodes |= redirect(inner, {entry: sources})
            nodes[name] = replace(nodes.pop(exit_), name=name, kind="junction")
            nodes.pop(entry)
            continue
        if name in nodes:
            raise GraphError(f"node {name}: two nodes have this path, one of them inside a nested graph")
        try:
            nodes[name] = convert_node(name, raw, sources, dt, prefix)
        except GraphError:
            raise
        except (ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:
            raise GraphError(f"node {name} ({type(raw).__name__}): {error}") from error
    while junctions := [node for node in nodes.values() if node.kind == "junction"]:
        junction = junctions[0]
        del nodes[junction.name]
        nodes = redirect(nodes, {junction.name: junction.sources})
    return nodes


def _one(nodes: Mapping[str, Node], kind: str, name: str) -> str:
    found = [node.name for node in nodes.values() if node.kind == kind]
    if len(found) != 1:
        raise GraphError(f"nested graph {name}: {len(found)} {kind} nodes; exactly one is supported")
    return found[0]


def join_inputs(nodes: Mapping[str, Node]) -> dict[str, Node]:
    """Makes one input of several: a vector of all their values, in the order of their names. Each Input is a part.

    Raises:
        GraphError: an Input whose shape the file does not say.
    """
    entries = sorted((node for node in nodes.values() if node.kind == "input"), key=lambda node: node.name)
    if len(entries) < 2:
        return dict(nodes)
    whole = "inputs"
    while whole in nodes:
        whole += "_"
    joined, start = dict(nodes), 0
    for node in entries:
        shape = node.parameters["shape"]
        if shape is None:
            raise GraphError(f"node {node.name}: the file does not say the shape of its input")
        joined[node.name] = Node(node.name, "input_part", (whole,), {"start": start, "shape": shape})
        start += int(np.prod(shape))
    joined[whole] = Node(whole, "input", (), {"shape": (start,)})
    return joined


# ---- order and shapes ------------------------------------------------------------------------------------------------


Edges = set[tuple[str, str]]


def edges_of(nodes: Mapping[str, Node]) -> Edges:
    """(source, target) of all nodes.

    Raises:
        GraphError: a source does not exist.
    """
    edges = {(source, node.name) for node in nodes.values() for source in node.sources}
    for source, target in sorted(edges):
        if source not in nodes:
            raise GraphError(f"node {target}: its source {source} does not exist")
    return edges


def strong_components(names: Collection[str], edges: Edges) -> list[list[str]]:
    """Strongly connected components, each sorted by name. Edges to other names are left out."""
    number = {name: i for i, name in enumerate(sorted(names))}
    inside = [(s, t) for s, t in edges if s in number and t in number]
    sorter = graphlib.TopologicalSorter(dict.fromkeys(number, ()))
    for source, target in inside:
        sorter.add(target, source)
    try:
        sorter.prepare()
    except graphlib.CycleError:
        return _looped_components(number, inside)
    return [[name] for name in number]


def _looped_components(number: Mapping[str, int], edges: Collection[tuple[str, str]]) -> list[list[str]]:
    from scipy.sparse import coo_array  # takes long to import, and only a network with loops needs it
    from scipy.sparse.csgraph import connected_components

    rows, columns = [number[s] for s, _ in edges], [number[t] for _, t in edges]
    matrix = coo_array((np.ones(len(edges)), (rows, columns)), shape=(len(number), len(number)))
    count, label = connected_components(matrix, directed=True, connection="strong")
    members: list[list[str]] = [[] for _ in range(count)]
    for name, i in number.items():
        members[label[i]].append(name)
    return members


def loops(names: Collection[str], edges: Edges) -> list[list[str]]:
    """The components that hold a loop: several nodes, or one that feeds itself."""
    return [c for c in strong_components(names, edges) if len(c) > 1 or (c[0], c[0]) in edges]


def order(nodes: Mapping[str, Node]) -> tuple[tuple[tuple[str, ...], ...], frozenset[tuple[str, str]]]:
    """Strongly connected components in the order in which they run, and the edges that reach back one step.

    The wiring alone decides which edges those are: a loop is entered at one node, and the edges from inside the loop to
    that node close it. What still loops without them is a loop of its own, entered at one node.

    Raises:
        GraphError: a source does not exist, a loop holds no neuron, or a loop is entered at no or at several nodes.
    """
    edges = edges_of(nodes)
    label_of = {name: i for i, members in enumerate(strong_components(nodes, edges)) for name in members}
    members: dict[int, list[str]] = {}
    for name in sorted(nodes):
        members.setdefault(label_of[name], []).append(name)
    sorter: graphlib.TopologicalSorter[int] = graphlib.TopologicalSorter(dict.fromkeys(members, ()))
    for source, target in ((source, node.name) for node in nodes.values() for source in node.sources):
        if label_of[source] != label_of[target]:
            sorter.add(label_of[target], label_of[source])
    recurrent = _closing_edges(nodes, edges)
    components: list[tuple[str, ...]] = []
    for component in sorter.static_order():
        inside = set(members[component])
        inner = {
            name: sorted(s for s in nodes[name].sources if s in inside and (s, name) not in recurrent)
            for name in members[component]
        }
        components.append(tuple(graphlib.TopologicalSorter(inner).static_order()))
    return tuple(components), frozenset(recurrent)


def _closing_edges(nodes: Mapping[str, Node], edges: Edges) -> Edges:
    closing: Edges = set()
    left = loops(nodes, edges)
    for loop in left:
        if not any(nodes[name].kind in STATEFUL for name in loop):
            raise GraphError(f"loop {' -> '.join(loop)} holds no neuron: its value at a step is not defined")
    while left:
        loop = left.pop()
        inside = set(loop)
        entries = sorted({t for s, t in edges - closing if t in inside and s not in inside})
        if len(entries) != 1:
            where = f"at {len(entries)} nodes, {', '.join(entries)}" if entries else "nowhere"
            raise GraphError(
                f"loop of {', '.join(loop)}: it is entered {where}, so nothing says which of its edges carries the "
                "value of the step before; lead what enters it through one node"
            )
        closing |= {(s, t) for s, t in edges if t == entries[0] and s in inside}
        left += loops(loop, edges - closing)
    return closing


def infer_shapes(
    nodes: Mapping[str, Node], components: tuple[tuple[str, ...], ...], recurrent: frozenset[tuple[str, str]]
) -> dict[str, Node]:
    """Gives every node its shapes.

    Raises:
        GraphError: sources of different shapes meet at a node, or a node cannot take what it gets.
    """
    shaped: dict[str, Node] = {}
    for name in (name for component in components for name in component):
        node = nodes[name]
        found = {s: shaped[s].output_shape for s in node.sources if s in shaped}
        if node.kind == "input":
            shape = node.parameters["shape"]
            if shape is None:
                raise GraphError(f"node {name}: the file does not say the shape of its input")
        elif not node.sources:
            raise GraphError(f"node {name} ({node.kind}) has no input")
        elif len(set(found.values())) != 1:
            raise GraphError(f"node {name} ({node.kind}): its inputs differ in shape: {found}")
        else:
            shape = next(iter(found.values()))
        if node.kind in STATEFUL and not node.output_shape:  # parameters without a shape hold for every neuron
            node = replace(
                node, parameters={key: np.broadcast_to(value, shape) for key, value in node.parameters.items()}
            )
        shaped[name] = replace(node, input_shape=shape, output_shape=output_shape(node, shape))
    for source, target in recurrent:
        if shaped[source].output_shape != shaped[target].input_shape:
            raise GraphError(
                f"loop edge {source} -> {target}: {shaped[source].output_shape} meets {shaped[target].input_shape}"
            )
    return shaped
