"""From NIR's nested, unordered nodes to a flat list that can run in order."""

from __future__ import annotations

import graphlib
import re
from collections.abc import Mapping
from dataclasses import replace

import nir
import numpy as np
from neurotarget.sim.graph.kinds import STATEFUL
from neurotarget.sim.graph.node import GraphError, Node
from neurotarget.sim.graph.primitives import convert_node, output_shape, require_hard_reset
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def flatten(graph: nir.NIRGraph, dt: float, prefix: str = "") -> dict[str, Node]:
    """Splices nested graphs into their parent; an extension operation stays one node."""
    require_hard_reset(f"graph {prefix.rstrip('.')}".strip(), graph.metadata or {})
    edges = [(prefix + source, prefix + target) for source, target in graph.edges]
    nodes: dict[str, Node] = {}
    for short_name, raw in graph.nodes.items():
        name = prefix + short_name
        sources = tuple(sorted(source for source, target in edges if target == name))
        if isinstance(raw, nir.NIRGraph) and "op" not in (raw.metadata or {}):
            inner = flatten(raw, dt, name + ".")
            entry, exit_ = _one(inner, "input", name), _one(inner, "output", name)
            # The nested Input and Output only carry values: what reads them reads their own sources.
            nodes |= _redirect(inner, {entry: sources})
            nodes[name] = replace(nodes.pop(exit_), name=name, kind="junction")
            nodes.pop(entry)
            continue
        try:
            nodes[name] = convert_node(name, raw, sources, dt)
        except GraphError:
            raise
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise GraphError(f"node {name} ({type(raw).__name__}): {error}") from error
    while junctions := [node for node in nodes.values() if node.kind == "junction"]:
        junction = junctions[0]
        del nodes[junction.name]
        nodes = _redirect(nodes, {junction.name: junction.sources})
    return nodes


def _one(nodes: Mapping[str, Node], kind: str, name: str) -> str:
    found = [node.name for node in nodes.values() if node.kind == kind]
    if len(found) != 1:
        raise GraphError(f"nested graph {name}: {len(found)} {kind} nodes; exactly one is supported")
    return found[0]


def _redirect(nodes: Mapping[str, Node], sources_of: Mapping[str, tuple[str, ...]]) -> dict[str, Node]:
    """Replaces a source by the sources that stand behind it."""

    def behind(sources: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(new for old in sources for new in sources_of.get(old, (old,)))

    return {
        name: replace(
            node,
            sources=behind(node.sources),
            roles={role: behind(names) for role, names in node.roles.items()},
        )
        for name, node in nodes.items()
    }


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


# ---- convolution over time -------------------------------------------------------------------------------------------

TAP = re.compile(r"(?P<layer>.+)\.tap(?P<number>\d+)")


def join_taps(nodes: Mapping[str, Node]) -> dict[str, Node]:
    """Replaces parallel delayed linear maps by the convolution over time that they make up.

    The file holds a temporal convolution `X` in standard NIR: `X.ahead` (look-ahead, unless causal), then for each tap
    `X.delayK` and `X.tapK` (Linear, or Scale when depthwise; one of them an Affine that carries the bias), which all
    feed the same nodes. As one node it runs as one matrix product and is counted as one layer. Taps that do not have
    this structure stay as they are.
    """
    groups: dict[str, list[Node]] = {}
    for node in nodes.values():
        if (match := TAP.fullmatch(node.name)) and node.kind in ("affine", "scale"):
            groups.setdefault(match["layer"], []).append(node)
    joined = dict(nodes)
    for layer, taps in groups.items():
        merged = _merge(layer, taps, joined)
        if merged is None or layer in joined:
            continue
        convolution, absorbed = merged
        for name in absorbed:
            del joined[name]
        first, *rest = [tap.name for tap in taps]
        joined = _redirect(joined, {first: (layer,)} | dict.fromkeys(rest, ()))
        joined[layer] = convolution
    return joined


def _merge(layer: str, taps: list[Node], nodes: Mapping[str, Node]) -> tuple[Node, set[str]] | None:
    absorbed, delays, origins = {tap.name for tap in taps}, [], set()
    for tap in taps:
        steps, sources = 0, tap.sources
        if len(sources) == 1 and (delay := nodes[sources[0]]).kind == "delay":
            if len(np.unique(delay.parameters["steps"])) != 1:
                return None
            steps, sources = int(delay.parameters["steps"].flat[0]), delay.sources
            absorbed.add(delay.name)
        delays.append(steps)
        origins.add(sources)
    readers = {frozenset(node.name for node in nodes.values() if tap.name in node.sources) for tap in taps}
    if len(origins) != 1 or len(readers) != 1 or len(set(delays)) != len(taps):
        return None
    (sources,) = origins
    look_ahead = 0
    if len(sources) == 1 and nodes[sources[0]].kind == "look_ahead":
        ahead = nodes[sources[0]]
        look_ahead, sources = int(ahead.parameters["steps"]), ahead.sources
        absorbed.add(ahead.name)
    inside = absorbed - {tap.name for tap in taps}
    if any(node.name not in absorbed for name in inside for node in nodes.values() if name in node.sources):
        return None
    weights = [tap.parameters["weight"] for tap in taps]
    diagonals = [w if w.ndim == 1 else _diagonal(w) for w in weights]
    depthwise = all(d is not None for d in diagonals) and any(w.ndim == 1 for w in weights)
    if not depthwise and any(w.ndim == 1 for w in weights):
        return None
    chosen = [d for d in diagonals if d is not None] if depthwise else weights
    kernel = np.zeros((*chosen[0].shape, max(delays) + 1))
    for steps, weight in zip(delays, chosen, strict=True):
        kernel[..., max(delays) - steps] = weight
    biases = [b for tap in taps if (b := tap.parameters.get("bias")) is not None]
    parameters = {"weight": kernel, "bias": sum(biases) if biases else None, "look_ahead": look_ahead}
    kind = "depthwise_conv" if depthwise else "temporal_conv"
    return Node(layer, kind, sources, parameters), absorbed


def _diagonal(weight: np.ndarray) -> np.ndarray | None:
    diagonal = np.diagonal(weight)
    square = weight.shape[0] == weight.shape[1]
    return diagonal if square and np.count_nonzero(weight) == np.count_nonzero(diagonal) else None


# ---- order and shapes ------------------------------------------------------------------------------------------------


def order(nodes: Mapping[str, Node]) -> tuple[tuple[tuple[str, ...], ...], frozenset[tuple[str, str]]]:
    """Strongly connected components in the order in which they run, and the edges that reach back one step.

    Inside a component a depth-first walk from the nodes that are fed from outside decides: an edge to a node that the
    walk is still below closes a loop, and carries the value of the step before.

    Raises:
        GraphError: a source does not exist, or a loop holds no neuron.
    """
    names = sorted(nodes)
    number = {name: i for i, name in enumerate(names)}
    edges = [(source, node.name) for node in nodes.values() for source in node.sources]
    for source, target in edges:
        if source not in nodes:
            raise GraphError(f"node {target}: its source {source} does not exist")
    rows, columns = [number[s] for s, _ in edges], [number[t] for _, t in edges]
    matrix = coo_array((np.ones(len(edges)), (rows, columns)), shape=(len(names), len(names)))
    _, label = connected_components(matrix, directed=True, connection="strong")
    label_of = {name: int(label[number[name]]) for name in names}
    sorter: graphlib.TopologicalSorter[int] = graphlib.TopologicalSorter({label_of[name]: () for name in names})
    for source, target in edges:
        if label_of[source] != label_of[target]:
            sorter.add(label_of[target], label_of[source])
    members: dict[int, list[str]] = {}
    for name in names:
        members.setdefault(label_of[name], []).append(name)
    components: list[tuple[str, ...]] = []
    recurrent: set[tuple[str, str]] = set()
    for component in sorter.static_order():
        inside = members[component]
        back = _back_edges(nodes, inside)
        if back and not any(nodes[name].kind in STATEFUL for name in inside):
            raise GraphError(f"loop {' -> '.join(inside)} holds no neuron: its value at a step is not defined")
        recurrent |= back
        inner = {name: [s for s in nodes[name].sources if s in inside and (s, name) not in back] for name in inside}
        components.append(tuple(graphlib.TopologicalSorter(inner).static_order()))
    return tuple(components), frozenset(recurrent)


def _back_edges(nodes: Mapping[str, Node], inside: list[str]) -> set[tuple[str, str]]:
    targets = {name: [other for other in inside if name in nodes[other].sources] for name in inside}
    entries = [name for name in inside if any(source not in inside for source in nodes[name].sources)]
    back: set[tuple[str, str]] = set()
    done: set[str] = set()
    for entry in [*entries, *inside]:
        path: list[str] = [] if entry in done else [entry]
        while path:
            name = path[-1]
            back |= {(name, target) for target in targets[name] if target in path}
            ahead = [t for t in targets[name] if t not in done and t not in path]
            if ahead:
                path.append(ahead[0])
            else:
                done.add(path.pop())
    return back


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
