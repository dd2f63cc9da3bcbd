"""Which values must share one unit when a network is written in integers.

What is summed must count in the same unit: the float value of one integer step. Spikes have unit 1, the input has its
own, and a synapse's output has the unit that its weights are rounded to. So all synapses that meet at one place form a
group, and a group gets one unit. Values that only pass through (delays, pooling, flattening, a gate) carry it on.
"""

from __future__ import annotations

import graphlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from neurotarget.sim.graph import Graph
from neurotarget.sim.graph.kinds import CARRIERS, POOLS, SPIKING, STATEFUL, SYNAPTIC
from neurotarget.sim.graph.node import GraphError, Node
from neurotarget.sim.graph.wiring import infer_shapes, order

MAKERS = SYNAPTIC | {"rotary", "attention"}  # their output has a unit of their own choice
KEEPING = CARRIERS | POOLS | {"gate"}  # their output has the unit of their input


@dataclass(frozen=True)
class Group:
    """Values in one unit.

    Attributes:
        members: nodes that make or carry the values, in the order in which they run.
        synapses: those of them that make them.
        neurons: the neurons that read them.
        outputs: whether the network's output reads them.
    """

    members: tuple[str, ...]
    synapses: tuple[str, ...]
    neurons: tuple[str, ...]
    outputs: bool

    @property
    def name(self) -> str:
        """The neurons that it feeds, or the output, or its synapses where neither reads it."""
        return " + ".join(self.neurons or (("output",) if self.outputs else self.synapses))


def inputs_of(node: Node) -> dict[str, tuple[str, ...]]:
    """Sources by role; the one role of a node without any is the empty name."""
    return dict(node.roles) or {"": node.sources}


def has_chosen_unit(graph: Graph, name: str) -> bool:
    """Whether the value of a node comes from a synapse without a neuron in between."""
    node = graph.nodes[name]
    if node.kind not in KEEPING:
        return node.kind in MAKERS
    sources = node.roles["current"] if node.kind == "gate" else node.sources
    return has_chosen_unit(graph, sources[0])


def give_every_neuron_a_synapse(graph: Graph) -> Graph:
    """Puts a Scale of ones where spikes or the input reach a neuron, or meet currents, without a weight between.

    Lava's neurons read synapses, and a spike counts 1 where a current counts in finer steps.
    """
    nodes = dict(graph.nodes)
    for node in graph.nodes.values():
        roles = {}
        for role, sources in inputs_of(node).items():
            chosen = [has_chosen_unit(graph, source) for source in sources]
            renamed = []
            for source, is_chosen in zip(sources, chosen, strict=True):
                if not is_chosen and (node.kind in STATEFUL or any(chosen)):
                    synapse = f"{source}.to.{node.name}"
                    ones = np.ones(graph.nodes[source].output_shape)
                    nodes[synapse] = Node(synapse, "scale", (source,), {"weight": ones})
                    source = synapse
                renamed.append(source)
            roles[role] = tuple(renamed)
        sources = tuple(source for names in roles.values() for source in names)
        nodes[node.name] = replace(node, sources=sources, roles=roles if node.roles else {})
    if len(nodes) == len(graph.nodes):
        return graph
    components, recurrent = order(nodes)
    shaped = infer_shapes(nodes, components, recurrent)
    return replace(graph, nodes=shaped, components=components, recurrent_edges=recurrent)


def groups(graph: Graph) -> list[Group]:
    """The groups, those that others read first.

    Raises:
        GraphError: values of different units meet, or currents feed back without a neuron that spikes.
    """
    parent = {name: name for name in graph.nodes}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for node in graph.nodes.values():
        for role, sources in inputs_of(node).items():
            chosen = [source for source in sources if has_chosen_unit(graph, source)]
            if node.kind in KEEPING and role in ("", "current") and chosen:
                chosen.append(node.name)
            for other in chosen[1:]:
                parent[root(other)] = root(chosen[0])
    members: dict[str, list[str]] = {}
    for name in graph.nodes:
        if has_chosen_unit(graph, name):
            members.setdefault(root(name), []).append(name)
    found = {key: _group(graph, tuple(names)) for key, names in members.items()}
    return [found[key] for key in _sorted(graph, found, root)]


def _group(graph: Graph, members: tuple[str, ...]) -> Group:
    synapses = tuple(name for name in members if graph.nodes[name].kind in MAKERS)
    fixed = [name for name in synapses if graph.nodes[name].kind not in SYNAPTIC]
    if fixed and len(synapses) > 1:
        raise GraphError(
            f"node {fixed[0]}: it is summed with {sorted({*synapses} - {*fixed[:1]})}, which integers cannot"
        )
    factor: dict[str, float] = {}  # of the group's unit: an average pool becomes a sum of finer steps
    for name in members:
        node = graph.nodes[name]
        if name in synapses:
            factor[name] = 1.0
            continue
        sources = node.roles["current"] if node.kind == "gate" else node.sources
        factor[name] = _same(node, {factor[s] for s in sources})
        if node.kind == "avg_pool":
            factor[name] /= float(np.prod(node.parameters["kernel_size"]))
    readers = [node for node in graph.nodes.values() if set(members) & set(node.sources)]
    for reader in readers:
        for sources in inputs_of(reader).values():
            _same(reader, {factor[s] for s in sources if s in factor} or {1.0})
    neurons = tuple(node.name for node in readers if node.kind in STATEFUL)
    return Group(members, synapses, neurons, any(node.kind == "output" for node in readers))


def _same(node: Node, factors: set[float]) -> float:
    if len(factors) > 1:
        raise GraphError(f"node {node.name}: it sums pooled and unpooled currents, which have different integer units")
    return next(iter(factors))


def _sorted(graph: Graph, found: Mapping[str, Group], root: object) -> list[str]:
    """Keys of the groups, each after those whose unit its own synapses multiply."""
    group_of = {name: key for key, group in found.items() for name in group.members}

    def behind(name: str, seen: frozenset[str]) -> set[str]:
        """Groups whose unit the value of `name` has: its own, or behind a neuron that sends its potential."""
        if name in group_of:
            return {group_of[name]}
        node = graph.nodes[name]
        if node.kind in (STATEFUL - SPIKING) | KEEPING:
            return {key for s in node.sources if s not in seen for key in behind(s, seen | {s})}
        return set()

    needs = {
        key: {k for name in group.synapses for s in graph.nodes[name].sources for k in behind(s, frozenset({s}))}
        for key, group in found.items()
    }
    try:
        return list(graphlib.TopologicalSorter(needs).static_order())
    except graphlib.CycleError as error:
        names = ", ".join(found[key].name for key in error.args[1][:-1])
        raise GraphError(f"{names}: a loop in which nothing spikes has no integer unit") from None
