"""A graph as a chip sees it: populations of neurons, and projections that end at them.

On a chip synapses belong to the core of the neurons that they reach, so a synaptic layer is not a thing of its own: it
is a projection from the populations that spike into it to the population that reads it. An operation without synapses
(gate, rotary, attention) becomes a program, or a further compartment, of the neurons that read it.

A path that must wait, waits in the delays of its synapses, which costs bits of each synapse and a copy of the synapses
for each delay; or in relay neurons, which repeat what they get. It takes relays where a synapse cannot hold a spike so
long, and where they take less memory, as in a residual stream whose branches all feed one layer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from neurotarget.hardware.chips import synapses
from neurotarget.hardware.chips.limits import Chip
from neurotarget.hardware.chips.population_axons import SharedKernel, shared_kernel
from neurotarget.sim.graph import Graph
from neurotarget.sim.graph.kinds import CARRIERS, ENTRIES, POOLS, STATEFUL, SYNAPTIC
from neurotarget.sim.graph.node import Node
from neurotarget.sim.schedule import Schedule
from scipy.sparse import csr_array


@dataclass(frozen=True)
class Source:
    """Where the spikes of a projection come from: a population, steps they wait in relays, and in the synapse."""

    population: str
    held: int
    delay: int


@dataclass(frozen=True, eq=False)
class Projection:
    """Synapses that end at one population.

    Attributes:
        layer: node of the graph that holds the weights, or the operation that the spikes enter.
        target: population.
        matrix: [lists, neurons of the target], synapses.
        axons: source population -> [its neurons, lists]: which lists a neuron's spike starts.
        sources: populations that share the lists; those of another synapse delay need lists of their own.
        taps: longest delay among the layer's own synapses, in steps.
        kernel: of a convolution whose weights the chip's population axons share; None elsewhere.
    """

    layer: str
    target: str
    matrix: csr_array
    axons: Mapping[str, csr_array]
    sources: tuple[Source, ...]
    taps: int
    kernel: SharedKernel | None = None

    @property
    def longest_delay(self) -> int:
        return self.taps + max((source.delay for source in self.sources), default=0)

    @property
    def copies(self) -> int:
        """How often the lists are stored: once for each delay among the sources."""
        return len({source.delay for source in self.sources})


@dataclass(eq=False)
class Population:
    """Neurons that one node of the graph becomes.

    Attributes:
        kind: the node's kind, `output`, `input` or `relay`.
        neurons: how many; a neuron is given by its place in `neuron_order`.
        compartments: per neuron.
        state: values per neuron beyond its potential, for memory that the chip counts.
        programmed: the operations that a neuron's program must compute.
        decays, thresholds: a setting for each neuron, equal where neurons can share it; empty: they need none.
    """

    name: str
    kind: str
    neurons: int
    compartments: int = 1
    state: int = 2
    programmed: tuple[str, ...] = ()
    decays: tuple[object, ...] = ()
    thresholds: tuple[object, ...] = ()
    projections: list[Projection] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Network:
    """Populations in the order in which they run, and what no chip of this kind can do with them.

    Attributes:
        from_currents: layers that are fed by another layer's currents and not by spikes.
        unmet_delays: (layer, steps that its longest path needs after all relays that it can have).
    """

    populations: Mapping[str, Population]
    from_currents: tuple[str, ...]
    unmet_delays: Mapping[str, int]


def chip_network(graph: Graph, plan: Schedule, chip: Chip) -> Network:
    """Reads populations and projections off a graph.

    Args:
        plan: the streaming schedule, whose edge delays the chip must hold.
    """
    builder = _Builder(graph, plan, chip)
    for node in graph.nodes.values():
        if node.kind in STATEFUL or node in graph.entries or (node.kind == "output" and builder.reads_currents(node)):
            builder.add(node)
    builder.add_relays()
    return Network(builder.populations, tuple(dict.fromkeys(builder.from_currents)), builder.unmet)


class _Builder:
    def __init__(self, graph: Graph, plan: Schedule, chip: Chip) -> None:
        self.graph, self.plan, self.chip = graph, plan, chip
        self.populations: dict[str, Population] = {}
        self.from_currents: list[str] = []
        self.unmet: dict[str, int] = {}
        self.relays: set[tuple[str, int]] = set()

    def reads_currents(self, node: Node) -> bool:
        """Whether an output needs neurons of its own: not where spikes, or potentials, are read where they are."""
        return any(self.graph.nodes[source].kind not in STATEFUL for source in node.sources)

    def add(self, node: Node) -> None:
        enters = node.kind in ENTRIES
        population = Population(node.name, "input" if enters else node.kind, node.neurons)
        self.populations[node.name] = population
        if enters:
            return
        population.decays, population.thresholds = _settings(node)
        if node.subtracts:
            population.programmed += ("reset",)
        for name in node.sources:
            self._attach(population, node, name)

    def _attach(self, population: Population, reader: Node, name: str, wait: int = 0) -> None:
        """One source of a population's node: spikes, a synaptic layer, or an operation that its neurons compute."""
        node = self.graph.nodes[name]
        if node.kind in STATEFUL | ENTRIES:
            self._project(population, reader, synapses.one_to_one(population.neurons), 0, wait, (name,))
            return
        wait += self._wait(name, reader.name)
        if node.kind in CARRIERS:
            for source in node.sources:
                self._attach(population, node, source, wait + _own_delay(node))
        elif node.kind in SYNAPTIC | POOLS:
            self._project(population, node, synapses.synapse_matrix(node), synapses.tap_delay(node), wait)
        elif node.kind == "gate":
            population.compartments *= self.chip.size("gate_compartments")
            for source in node.sources:
                self._attach(population, node, source, wait)
        elif node.kind == "rotary":
            population.programmed += ("rotary",)
            population.state += 1  # a pair keeps its cosine and sine
            for source in node.sources:
                self._program(population, node, source, 2, wait)
        else:  # attention: the state is one column of width d_head per neuron; queries are replayed once it stands
            width = node.neurons // node.parameters["heads"]
            population.programmed += ("attention",)
            population.state += width
            replay = 0 if node.parameters["causal"] else self.plan.steps
            for role, sources in node.roles.items():
                for source in sources:
                    held = wait + (replay if role == "query" else 0)
                    self._program(population, node, source, 1 if role == "value" else width, held)

    def _program(self, population: Population, node: Node, source: str, width: int, wait: int) -> None:
        matrix = synapses.heads(node.neurons, width) if width > 1 else synapses.one_to_one(node.neurons)
        self._project(population, node, matrix, 0, wait, (source,))

    def _wait(self, source: str, target: str) -> int:
        return int(self.plan.delay.get((source, target), 0))

    def _project(
        self,
        population: Population,
        node: Node,
        matrix: csr_array,
        taps: int,
        wait: int = 0,
        name_of: tuple[str, ...] | None = None,
    ) -> None:
        """A projection into `population` through `node`; `wait` is what its spikes wait beyond the edges' delays."""
        found: list[tuple[str, int]] = []
        axons: dict[str, csr_array] = {}
        for name in node.sources if name_of is None else name_of:
            for origin, delay, lists in self._behind(name, node.name):
                if origin not in self.graph.nodes or self.graph.nodes[origin].kind not in STATEFUL | ENTRIES:
                    self.from_currents.append(node.name)
                    continue
                found.append((origin, delay + wait))
                axons[origin] = synapses.one_to_one(matrix.shape[0]) if lists is None else lists
        if found:
            relayed = self._relays_take_less(found, matrix)
            sources = tuple(dict.fromkeys(self._source(node.name, *path, taps, relayed) for path in found))
            self.relays |= {(source.population, source.held) for source in sources if source.held}
            axons = {
                origin: csr_array(lists[neuron_order(self.graph.nodes[origin])]) for origin, lists in axons.items()
            }
            target = self.graph.nodes[population.name]
            matrix = csr_array(matrix[:, neuron_order(target)])
            kernel = None
            if self.chip.size("population_axon_slots"):
                kernel = shared_kernel(node, target, {origin: self.graph.nodes[origin] for origin in axons}, axons)
            population.projections.append(Projection(node.name, target.name, matrix, axons, sources, taps, kernel))

    def _relays_take_less(self, found: list[tuple[str, int]], matrix: csr_array) -> bool:
        """Whether to wait in relays rather than in synapses, by bits of memory; 8 bits per weight decide."""
        delays = {delay for _, delay in found}
        in_synapses = matrix.nnz * (len(delays) * (8 + synapses.delay_bits(max(delays))) - 8)
        word = self.chip.size("memory_word_bits")
        in_relays = sum(
            self.graph.nodes[origin].neurons * word * -(-delay // (int(self.chip.limit("delay_steps")) + 1))
            for origin, delay in set(found)
        )
        return in_relays < in_synapses

    def _source(self, layer: str, origin: str, delay: int, taps: int, relayed: bool) -> Source:
        """How a path waits `delay` steps. A relay holds up to the limit, and takes the step of its own hop."""
        limit = int(self.chip.limit("delay_steps"))
        if relayed:
            return Source(origin, delay, 0)
        relays = math.ceil(max(delay + taps - limit, 0) / (limit + 1))
        if relays > delay:  # a relay costs a step that the path does not have
            self.unmet[layer] = max(self.unmet.get(layer, 0), delay + taps)
            return Source(origin, 0, delay)
        held = min(relays * (limit + 1), delay)
        return Source(origin, held, delay - held)

    def _behind(self, name: str, reader: str) -> Iterator[tuple[str, int, csr_array | None]]:
        """The populations behind a source: name, delay of the path, and which lists a neuron starts (None: its own)."""
        node = self.graph.nodes[name]
        wait = self._wait(name, reader)
        if node.kind in CARRIERS - ENTRIES:
            for source in node.sources:
                for origin, delay, lists in self._behind(source, name):
                    yield origin, delay + wait + _own_delay(node), lists
        elif node.kind in POOLS:  # linear, so each spike starts the lists of all the pool's outputs that it reaches
            pool = synapses.synapse_matrix(node)
            for source in node.sources:
                for origin, delay, lists in self._behind(source, name):
                    yield origin, delay + wait, pool if lists is None else csr_array(lists @ pool)
        else:
            yield name, wait, None

    def add_relays(self) -> None:
        """Relays for each wait: those of a long one repeat those of a shorter one; readers share them."""
        stage = int(self.chip.limit("delay_steps")) + 1
        needed = {(origin, rest) for origin, held in self.relays for rest in range(held, 0, -stage)}
        for origin, held in sorted(needed, key=lambda pair: (list(self.populations).index(pair[0]), pair[1])):
            neurons = self.populations[origin].neurons
            name, before = relay_name(origin, held), relay_name(origin, max(held - stage, 0))
            same = ("relay",) * neurons
            relay = Population(name, "relay", neurons, decays=same, thresholds=same)
            link = synapses.one_to_one(neurons)
            source = Source(before, 0, min(held, stage) - 1)
            relay.projections.append(Projection(name, name, link, {before: link}, (source,), 0))
            self.populations[name] = relay


def relay_name(origin: str, held: int) -> str:
    """Name of the relays that hold a population's spikes for so many steps; for 0 it is the population itself."""
    return f"{origin}.wait{held}" if held else origin


def neuron_order(node: Node) -> np.ndarray:
    """The order in which a population's neurons are split: of images by position, all channels of one together.

    A part is then a piece of the image, which few neurons reach and which reaches few.
    """
    neurons = np.arange(node.neurons)
    if len(node.output_shape) < 2:
        return neurons
    return np.moveaxis(neurons.reshape(node.output_shape), 0, -1).ravel()


def _own_delay(node: Node) -> int:
    return int(np.max(node.parameters["steps"], initial=0)) if node.kind == "delay" else 0


def _settings(node: Node) -> tuple[tuple[object, ...], tuple[object, ...]]:
    """Decays, and threshold, of each of a node's neurons."""
    p = {key: np.broadcast_to(value, node.output_shape).ravel().tolist() for key, value in _arrays(node).items()}
    taus = [p[key] for key in ("tau", "tau_mem", "tau_syn") if key in p]
    decays: list[object] = list(zip(*taus, strict=True)) if taus else [node.kind] * node.neurons
    thresholds = p.get("v_threshold", p.get("threshold", ()))
    order = neuron_order(node).tolist()
    return tuple(decays[i] for i in order), tuple(thresholds[i] for i in order) if thresholds else ()


def _arrays(node: Node) -> dict[str, np.ndarray]:
    """A neuron's parameters that are arrays."""
    if node.kind not in STATEFUL:
        return {}
    return {key: value for key, value in node.parameters.items() if isinstance(value, np.ndarray)}
