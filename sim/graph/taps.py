"""Convolutions over time: parallel linear maps that see one source at different steps become one layer.

A file holds such a layer in nodes that any reader can run one by one (docs/nir_extensions.md): a linear map for each
tap, straight from the source, behind a Delay or behind a look-ahead. As one node it runs as one matrix product and is
counted, placed and quantised as one layer. Joining changes nothing of what is computed, and asks for the wiring only:
no name decides.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np
from neurotarget.sim.graph.node import Node

SPARSEST = (
    8  # places of a kernel for each of its taps, unless the file says that they are one layer: the rest are zeros
)
LARGEST_KERNEL = 2**26  # elements: half a GiB of float64


@dataclass(frozen=True, eq=False)
class Tap:
    """A linear map that sees `sources` `offset` steps later (above 0) or earlier; `behind` is the node that shifts."""

    node: Node
    sources: tuple[str, ...]
    offset: int
    behind: str | None


def join_taps(nodes: Mapping[str, Node], looped: Collection[str], by_layer: bool) -> dict[str, Node]:
    """Joins all taps of one layer into a node of kind `temporal_conv` or `depthwise_conv`.

    Taps belong together when they see the same sources at different steps, feed the same readers, which sum them, lie
    in no loop, and the file does not say that they are of different layers. A tap alone is a layer where the file says
    so: its matrix is then known to be sparse, and zeros in it are no synapses.

    Args:
        nodes: flat nodes, before their shapes are known.
        looped: nodes inside loops, which run step by step.
        by_layer: join only what the file says to be one layer: in integers a shift acts on the layer's sum.
    """
    readers = readers_of(nodes)
    groups: dict[tuple[object, ...], list[Tap]] = {}
    for node in nodes.values():
        if _is_tap(node) and node.name not in looped and (node.layer or not by_layer):
            tap = _tap(node, nodes, readers)
            groups.setdefault((tap.sources, frozenset(readers[node.name]), node.layer), []).append(tap)
    joined = dict(nodes)
    for taps in groups.values():
        if len(taps) == 1 and not taps[0].node.layer:
            continue
        multiplied = any(nodes[reader].roles for reader in readers[taps[0].node.name])
        if (len(taps) > 1 and multiplied) or (kernel := _kernel(taps)) is None:
            continue
        for name in {tap.node.name for tap in taps} | {tap.behind for tap in taps if tap.behind is not None}:
            del joined[name]
        layer = _name(taps, joined)
        first, *rest = [tap.node.name for tap in taps]
        joined = redirect(joined, {first: (layer,)} | dict.fromkeys(rest, ()))
        joined[layer] = Node(layer, kernel[0], taps[0].sources, kernel[1])
    return joined


def readers_of(nodes: Mapping[str, Node]) -> dict[str, list[str]]:
    """The nodes that read each node."""
    readers: dict[str, list[str]] = {name: [] for name in nodes}
    for node in nodes.values():
        for source in set(node.sources):
            readers.setdefault(source, []).append(node.name)
    return readers


def redirect(nodes: Mapping[str, Node], sources_of: Mapping[str, tuple[str, ...]]) -> dict[str, Node]:
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


def _is_tap(node: Node) -> bool:
    """A linear map of a vector."""
    return bool(node.sources) and (
        node.kind == "affine" or (node.kind == "scale" and node.parameters["weight"].ndim == 1)
    )


def _tap(node: Node, nodes: Mapping[str, Node], readers: Mapping[str, list[str]]) -> Tap:
    """What the map sees: through a Delay or look-ahead that serves it alone and shifts all neurons alike."""
    before = nodes[node.sources[0]] if len(node.sources) == 1 and node.sources[0] in nodes else None
    if before is not None and before.kind in ("delay", "look_ahead") and readers[before.name] == [node.name]:
        steps = np.unique(before.parameters["steps"])
        if steps.size == 1 and before.sources:
            offset = int(steps[0]) if before.kind == "look_ahead" else -int(steps[0])
            return Tap(node, tuple(sorted(before.sources)), offset, before.name)
    return Tap(node, tuple(sorted(node.sources)), 0, None)


def _kernel(taps: list[Tap]) -> tuple[str, dict[str, object]] | None:
    """Kind and parameters of the layer, or None where the taps make up none."""
    offsets = [tap.offset for tap in taps]
    if len(set(offsets)) != len(taps):
        return None
    look_ahead, oldest = max(*offsets, 0), min(*offsets, 0)
    places = look_ahead - oldest + 1
    weights = [tap.node.parameters["weight"] for tap in taps]
    diagonals = [w if w.ndim == 1 else _diagonal(w) for w in weights]
    depthwise = all(d is not None for d in diagonals) and any(w.ndim == 1 for w in weights)
    if not depthwise and any(w.ndim == 1 for w in weights):
        return None
    chosen = [d for d in diagonals if d is not None] if depthwise else weights
    biases = [bias for tap in taps if (bias := tap.node.parameters.get("bias")) is not None]
    if len({w.shape for w in chosen}) != 1 or any(bias.shape != chosen[0].shape[:1] for bias in biases):
        return None
    said = bool(taps[0].node.layer)
    if (places > SPARSEST * len(taps) and not said) or places * chosen[0].size > LARGEST_KERNEL:
        return None
    kernel = np.zeros((*chosen[0].shape, places))
    for offset, weight in zip(offsets, chosen, strict=True):
        kernel[..., offset - oldest] = weight
    parameters = {"weight": kernel, "bias": sum(biases) if biases else None, "look_ahead": look_ahead}
    return "depthwise_conv" if depthwise else "temporal_conv", parameters


def _diagonal(weight: np.ndarray) -> np.ndarray | None:
    diagonal = np.diagonal(weight)
    square = weight.shape[0] == weight.shape[1]
    return diagonal if square and np.count_nonzero(weight) == np.count_nonzero(diagonal) else None


def _name(taps: list[Tap], others: Mapping[str, Node]) -> str:
    """The layer's name: what the file says, else what the names of its taps begin with, else the newest tap's."""
    said = {tap.node.layer for tap in taps}
    parts = zip(*(tap.node.name.split(".") for tap in taps), strict=False)
    shared = ".".join(same[0] for same in takewhile(lambda same: len(set(same)) == 1, parts))
    for name in (said.pop() if len(said) == 1 else "", shared):
        if name and name not in others:
            return name
    return max(taps, key=lambda tap: tap.offset).node.name
