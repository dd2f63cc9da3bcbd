"""Populations on cores: each is split into parts that fit a core, and the parts are packed, first fit, in order.

Nothing is optimised: the result is an upper bound on the cores that a network needs under the chip's encoding, and a
fair one, because neighbours in the network become neighbours on the chip. What no split can mend stays on a core of
its own, over its limit, for rules.py to find.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from neurotarget.hardware.chips import synapses
from neurotarget.hardware.chips.limits import Chip
from neurotarget.hardware.chips.populations import Network, Projection, relay_name
from scipy.sparse import csr_array

# What a core has only so much of, in the order in which it is shown; names are those of the chip's limits.
RESOURCES = ("compartments", "input_axons", "output_axons", "memory_bits")
CONFIGURATIONS = ("compartment_configurations", "threshold_configurations", "synapse_formats")


@dataclass(frozen=True, eq=False)
class CorePart:
    """Neurons `start` to `stop` of one population, and what they take of a core.

    Attributes:
        use: resource -> amount, for `RESOURCES`.
        sets: configuration -> the distinct settings, for `CONFIGURATIONS`.
        layers: layer -> its bits of memory.
        synapses: stored.
    """

    population: str
    start: int
    stop: int
    use: Mapping[str, int]
    sets: Mapping[str, frozenset[object]]
    layers: Mapping[str, int]
    synapses: int


@dataclass(eq=False)
class Core:
    """One core and the parts on it."""

    index: int
    parts: list[CorePart] = field(default_factory=list)

    @property
    def use(self) -> dict[str, int]:
        """Amount of each resource, and how many distinct settings of each configuration."""
        amounts = {key: sum(part.use[key] for part in self.parts) for key in RESOURCES}
        return amounts | {key: len(frozenset().union(*(p.sets[key] for p in self.parts))) for key in CONFIGURATIONS}

    def fits(self, chip: Chip, part: CorePart) -> bool:
        """Whether the part fits beside what is there."""
        return within(chip, Core(self.index, [*self.parts, part]).use)


@dataclass(frozen=True, eq=False)
class Placement:
    """A network on a chip.

    Attributes:
        weight_bits: of every synapse.
        cores: as many as it takes, which may be more than the chip has.
        payload_bits: bits that the largest input needs, None when no input was given.
    """

    chip: Chip
    network: Network
    cores: tuple[Core, ...]
    weight_bits: int
    payload_bits: int | None = None

    @property
    def parts(self) -> list[CorePart]:
        return [part for core in self.cores for part in core.parts]


def within(chip: Chip, use: Mapping[str, int]) -> bool:
    """Whether no amount is above the chip's limit per core."""
    return all(amount <= chip.limit(key) for key, amount in use.items())


def place(network: Network, chip: Chip, weight_bits: int = 8, payload_bits: int | None = None) -> Placement:
    """Splits and packs a network.

    Args:
        weight_bits: of every synapse.
        payload_bits: bits of the largest input, for the rule on graded spikes.
    """
    on_chip = {name: p for name, p in network.populations.items() if p.kind != "input"}
    splits = dict.fromkeys(on_chip, 1)
    for _ in range(4):  # a loop's output axons depend on its own split: repeat until nothing moves
        before = dict(splits)
        for name in reversed(list(on_chip)):
            splits[name] = _split(network, chip, name, splits, weight_bits)
        if splits == before:
            break
    cores: list[Core] = []
    for name in on_chip:
        for part in _parts(network, chip, name, splits, weight_bits):
            home = next((core for core in cores if core.fits(chip, part)), None)
            if home is None:
                home = Core(len(cores))
                cores.append(home)
            home.parts.append(part)
    return Placement(chip, network, tuple(cores), weight_bits, payload_bits)


def bounds(neurons: int, parts: int) -> list[int]:
    """Borders of even parts: parts + 1 of them, from 0 to `neurons`."""
    return [neurons * index // parts for index in range(parts + 1)]


def _split(network: Network, chip: Chip, name: str, splits: Mapping[str, int], weight_bits: int) -> int:
    """The fewest parts of which each fits an empty core; as many as neurons where none does."""

    def parts(count: int) -> list[CorePart]:
        return _parts(network, chip, name, {**splits, name: count}, weight_bits)

    def fit(count: int) -> bool:
        return all(within(chip, Core(0, [part]).use) for part in parts(count))

    def least(keys: Iterable[str]) -> int:
        # No amount shrinks when it is split, so that a part of n holds at least an n-th of the whole.
        return min(max(1, *(math.ceil(whole.use[key] / chip.limit(key)) for key in keys)), neurons)

    neurons = network.populations[name].neurons
    whole = parts(1)[0]
    count = least(RESOURCES)
    while count < neurons:
        if fit(count):
            return count
        count = min(neurons, max(count + 1, count * 9 // 8))
    alone = parts(neurons)
    # Where one neuron is too much for a core, no split mends that: split as far as the other resources ask.
    hopeless = {key for key in RESOURCES if any(part.use[key] > chip.limit(key) for part in alone)}
    return least(["compartments", *(set(RESOURCES) - hopeless)]) if hopeless else neurons


def _parts(network: Network, chip: Chip, name: str, splits: Mapping[str, int], weight_bits: int) -> list[CorePart]:
    """The parts of one population with what each takes, given into how many parts each population is split."""
    population = network.populations[name]
    edges = bounds(population.neurons, splits[name])
    sizes = np.diff(edges)
    inputs = np.zeros(len(sizes), np.int64)
    stored = np.zeros(len(sizes), np.int64)
    memory: list[dict[str, int]] = [{} for _ in sizes]
    formats: list[set[object]] = [set() for _ in sizes]
    for projection in population.projections:
        lists, arriving = _lists_of_parts(chip, projection, edges)
        inputs += arriving
        for index, size in enumerate(sizes):
            counts, targets = lists[index]
            bits, held, form = _stored(chip, projection, counts[counts > 0], int(size), targets, weight_bits)
            stored[index] += held * projection.copies
            taken = memory[index].get(projection.layer, 0)
            memory[index][projection.layer] = taken + bits * projection.copies
            formats[index].add(form)
    outputs = _output_axons(network, chip, name, edges, splits)
    state = population.state * chip.size("state_bits")
    result = []
    for index, size in enumerate(sizes):
        start, stop = edges[index], edges[index + 1]
        use = {
            "compartments": int(size) * population.compartments,
            "input_axons": int(inputs[index]),
            "output_axons": int(outputs[index]),
            "memory_bits": sum(memory[index].values()) + int(size) * state,
        }
        sets = {
            "compartment_configurations": frozenset(population.decays[start:stop]),
            "threshold_configurations": frozenset(population.thresholds[start:stop]),
            "synapse_formats": frozenset(formats[index]),
        }
        result.append(CorePart(name, start, stop, use, sets, memory[index], int(stored[index])))
    return result


def _lists_of_parts(
    chip: Chip, projection: Projection, edges: list[int]
) -> tuple[list[tuple[np.ndarray, int]], np.ndarray]:
    """For each part, the synapses of each of its lists and how many targets an index must tell; and its input axons."""
    if projection.kernel is None:
        lists = _lists(projection, edges)
        links, reach = projection.axons, (lists > 0).astype(np.int64)
        parts = list(zip(lists.toarray().T, np.diff(edges).tolist(), strict=True))
    else:
        links, reach = projection.kernel.axons, projection.kernel.reach(edges)
        bases = chip.size("population_axon_bases")
        parts = [projection.kernel.lists(start, stop, bases) for start, stop in itertools.pairwise(edges)]
    inputs = np.zeros(len(parts), np.int64)
    for source in projection.sources:
        inputs += np.asarray((links[source.population] @ reach).sum(axis=0)).ravel()
    return parts, inputs


def axons_between(network: Network, placement_bounds: Mapping[str, list[int]]) -> list[tuple[str, str, np.ndarray]]:
    """Axons from part to part: (source population, reading population, int [source parts, reader parts])."""
    found = []
    for reader in network.populations.values():
        for projection in reader.projections:
            reach = (_lists(projection, placement_bounds[reader.name]) > 0).astype(np.int32)
            for source in projection.sources:
                name = relay_name(source.population, source.held)
                counts = (projection.axons[source.population] @ reach).toarray()
                starts = placement_bounds[name][:-1]
                found.append((name, reader.name, np.add.reduceat(counts, starts, axis=0)))
    return found


def _lists(projection: Projection, edges: list[int]) -> csr_array:
    """Synapses of each list in each part: [lists, parts]."""
    neurons = projection.matrix.shape[1]
    owner = np.searchsorted(edges, np.arange(neurons), side="right") - 1
    indicator = csr_array((np.ones(neurons, np.int32), (np.arange(neurons), owner)), shape=(neurons, len(edges) - 1))
    return csr_array(projection.matrix @ indicator)


def _stored(
    chip: Chip, projection: Projection, counts: np.ndarray, size: int, targets: int, weight_bits: int
) -> tuple[int, int, synapses.Format]:
    """Bits that the lists of a part take, the synapses that they hold, and how these are stored.

    Lists that hold every neuron of the part once need no index. So zero weights are stored too where that takes less
    than an index of each other weight.

    Args:
        counts: int [lists], synapses of each list that has any.
        targets: as of `synapses.index_bits`.
    """
    delays = synapses.delay_bits(projection.longest_delay)
    # A part has at most 4096 compartments or is split further; an index beyond that is reported as the widest.
    ways = [(counts, synapses.Format(weight_bits, delays, synapses.index_bits(min(targets, 4096))))]
    if projection.taps == 0 and projection.kernel is None:
        ways.insert(0, (np.full_like(counts, size), synapses.Format(weight_bits, delays, 0)))
    found = [(synapses.memory_bits(chip, held, form), int(held.sum()), form) for held, form in ways]
    return min(found, key=lambda way: way[:2])


def _output_axons(network: Network, chip: Chip, name: str, edges: list[int], splits: Mapping[str, int]) -> np.ndarray:
    """Output axons of each part of a population: one for each list that a neuron starts on each part of each reader.

    A population axon is one for all channels of a position, and takes more than one place.
    """
    total = np.zeros(len(edges) - 1, np.int64)
    for reader in network.populations.values():
        for projection in reader.projections:
            for source in projection.sources:
                if relay_name(source.population, source.held) != name:
                    continue
                borders = bounds(reader.neurons, splits.get(reader.name, 1))
                kernel = projection.kernel
                if kernel is None:
                    reach = (_lists(projection, borders) > 0).astype(np.int64)
                    counts = np.asarray((projection.axons[source.population] @ reach).sum(axis=1)).ravel()
                    width, slots = 1, 1
                else:
                    counts = (kernel.axons[source.population] @ kernel.reach(borders)).sum(axis=1)
                    width, slots = kernel.channels[source.population], chip.size("population_axon_slots")
                for index, (start, stop) in enumerate(itertools.pairwise(edges)):
                    total[index] += slots * int(counts[start // width : -(-stop // width)].sum())
    return total
