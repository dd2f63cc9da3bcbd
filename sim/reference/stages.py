"""The order in which a network runs: what goes node by node, what step by step, and what in one pass."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from neurotarget.sim.graph import Graph
from neurotarget.sim.graph.node import Node

NEURONS, LAYERS = {"if", "lif"}, {"affine", "temporal_conv"}  # which fused_kernels.py runs in one pass


@dataclass(frozen=True, eq=False)
class Stage:
    """What runs at once: one node, or a strongly connected component.

    Attributes:
        names: of the nodes whose values it gives.
        node: the one node; None of a component that goes step by step.
        layer: the linear layer that neurons sum in the same pass; nobody else reads it.
        done: nodes whose values no later stage reads.
    """

    names: tuple[str, ...]
    node: Node | None
    layer: Node | None
    done: tuple[str, ...]

    @property
    def numbers(self) -> float:
        """Numbers of four bytes that pass through memory for a step of one node: its currents, or its spikes alone."""
        return self.node.neurons / (1 if self.layer is None else 4) if self.node else 0


def loops(graph: Graph, component: tuple[str, ...]) -> bool:
    """Several nodes, or one that feeds itself."""
    return len(component) > 1 or (component[0], component[0]) in graph.recurrent_edges


def stages(graph: Graph, fuse: bool) -> tuple[Stage, ...]:
    """The stages of a network, in order.

    Args:
        fuse: run linear layers with the neurons behind them, where they can.
    """
    layers = _fused(graph) if fuse else {}
    found: list[Stage] = []
    read: set[str] = set()
    inside = {layer.name for layer in layers.values()}
    for component in reversed(graph.components):
        if component[0] in inside:
            continue
        node = None if loops(graph, component) else graph.nodes[component[0]]
        layer = layers.get(component[0])
        readers = [layer] if layer else [graph.nodes[name] for name in component]
        sources = {source for reader in readers for source in reader.sources}
        found.append(Stage(component, node, layer, tuple(sources - read)))
        read |= sources
    return tuple(reversed(found))


def _fused(graph: Graph) -> dict[str, Node]:
    """Neurons, by name, and the linear layer that each runs with."""
    alone = {component[0] for component in graph.components if not loops(graph, component)}
    readers = Counter(source for node in graph.nodes.values() for source in node.sources)
    return {
        node.name: layer
        for node in graph.nodes.values()
        if node.kind in NEURONS and node.name in alone and len(node.sources) == 1
        if (layer := graph.nodes[node.sources[0]]).kind in LAYERS and layer.name in alone and readers[layer.name] == 1
        if len(layer.input_shape) == 1
    }
