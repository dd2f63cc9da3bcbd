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


def refuse_loops_without_spikes(graph: Graph) -> Graph:
    """The graph, every loop of which holds a neuron that spikes.

    Raises:
        GraphError: a loop in which nothing spikes, by its nodes.
    """
    quiet = {name: node.sources for name, node in graph.nodes.items() if node.kind not in SPIKING}
    try:
        graphlib.TopologicalSorter(quiet).prepare()
    except graphlib.CycleError as error:
        names = [*reversed(error.args[1])]
        raise GraphError(
            f"node {names[0]}: a loop in which nothing spikes ({' -> '.join(names)}) has no integer unit"
        ) from None
    return graph


def has_chosen_unit(nodes: Mapping[str, Node], name: str) -> bool:
    """Whether the value of a node comes from a synapse without a neuron in between."""
    return _origins(nodes, name) == {CHOSEN}


CHOSEN = ("synapse", 1.0)


def _origins(nodes: Mapping[str, Node], name: str) -> set[tuple[str, float]]:
    """What gives the value of a node its unit, each with the factor of the average pools on the way.

    A spike, the input and each neuron that sends its potential have a unit of their own. That of synapses is chosen.
    """
    node = nodes[name]
    if node.kind in MAKERS:
        return {CHOSEN}
    if node.kind not in KEEPING:
        return {("spike" if node.kind in SPIKING else name, 1.0)}
    found = set().union(
        *(_origins(nodes, source) for source in (node.roles["current"] if node.kind == "gate" else node.sources))
    )
    if node.kind != "avg_pool":
        return found
    # Synapses take the factor of a pool behind them; `groups` refuses what does not go together.
    area = float(np.prod(node.parameters["kernel_size"]))
    return {origin if origin == CHOSEN else (origin[0], origin[1] * area) for origin in found}


def give_every_neuron_a_synapse(graph: Graph) -> Graph:
    """Puts a Scale of ones where a neuron reads what no synapse sends, or where values of several units are summed.

    Lava's neurons read synapses, and a spike counts 1 where a current counts in finer steps.

    Args:
        graph: every loop of it holds a neuron that spikes.

    Raises:
        GraphError: with the synapse another edge of a loop would carry the value of the step before.
    """
    nodes = dict(graph.nodes)
    quiet = {name: set(node.sources) for name, node in nodes.items() if node.kind not in SPIKING}
    added: dict[str, str] = {}  # synapse -> what it reads
    for name in graphlib.TopologicalSorter(quiet | {node.name: () for node in graph.spiking}).static_order():
        node, roles = nodes[name], {}
        for role, sources in inputs_of(node).items():
            origins: set[tuple[str, float]] = set().union(*(_origins(nodes, source) for source in sources))
            renamed = []
            for source in sources:
                chosen = has_chosen_unit(nodes, source)
                if not chosen and (node.kind in STATEFUL or len(origins) > 1):
                    synapse = f"{source}.to.{name}"
                    ones = np.ones(graph.nodes[source].output_shape)
                    nodes[synapse] = Node(synapse, "scale", (source,), {"weight": ones})
                    added[synapse] = source
                    source = synapse
                renamed.append(source)
            roles[role] = tuple(renamed)
        sources = tuple(source for names in roles.values() for source in names)
        nodes[name] = replace(node, sources=sources, roles=roles if node.roles else {})
    if not added:
        return graph
    components, recurrent = order(nodes)
    reader = {source: node.name for node in nodes.values() for source in node.sources if source in added}
    late = {(added.get(source, source), reader.get(target, target)) for source, target in recurrent}
    if late != graph.recurrent_edges:
        source, target = sorted(late ^ graph.recurrent_edges)[0]
        raise GraphError(
            f"node {target}: it needs a synapse for what {source} sends, and with it another edge of their loop would "
            "be the late one; put a Scale there and export again"
        )
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
            chosen = [source for source in sources if has_chosen_unit(graph.nodes, source)]
            if node.kind in KEEPING and role in ("", "current") and chosen:
                chosen.append(node.name)
            for other in chosen[1:]:
                parent[root(other)] = root(chosen[0])
    members: dict[str, list[str]] = {}
    for name in graph.nodes:
        if has_chosen_unit(graph.nodes, name):
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

    def factor_of(name: str) -> float:
        if name not in factor:
            node = graph.nodes[name]
            sources = node.roles["current"] if node.kind == "gate" else node.sources
            found = 1.0 if name in synapses else _same(node, {factor_of(source) for source in sources})
            area = np.prod(node.parameters["kernel_size"]) if node.kind == "avg_pool" else 1
            factor[name] = found / float(area)
        return factor[name]

    for name in members:
        factor_of(name)
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
