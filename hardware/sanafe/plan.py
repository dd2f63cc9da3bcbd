"""What SANA-FE is handed: neurons on cores, links, and spikes to play, as a dictionary that JSON holds.

Groups are the populations of the placement (chips/populations.py), each on its cores, in one of two kinds of unit:

- `loihi_lif`: neurons that SANA-FE computes, relays, those of a read-out, which never fire, and driven neurons, which
  SANA-FE has no model of. They play our recorded spikes; what reaches them is carried and summed like any spike, with
  weights of 0;
- `loihi_inputs`: what enters the chip. It costs nothing but its messages, and sits on the cores after the last one
  used.

SANA-FE's dendrite holds a spike for at most `LONGEST_DELAY` steps. A longer delay starts at an echo of the population:
a group of `loihi_inputs` on its cores, or the nearest with room, that plays its recorded spikes when so much of the
delay is over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from neurotarget.hardware.chips.mesh import tile_of
from neurotarget.hardware.chips.placement import Placement
from neurotarget.hardware.chips.populations import Population, Projection, neuron_order, relay_name
from neurotarget.hardware.sanafe import SanafeError, neurons
from neurotarget.hardware.sanafe.entries import entry
from neurotarget.hardware.sanafe.weights import links
from neurotarget.sim.graph import Graph
from neurotarget.sim.graph.kinds import SPIKING
from neurotarget.sim.schedule import Schedule
from neurotarget.sim.trace import Trace

INPUTS_PER_CORE = 512  # each is a unit of its own in SANA-FE, on every core
NEURONS_PER_CORE = 1024  # inputs and echoes among them
LARGEST_SYNAPSES = 3_000_000  # SANA-FE takes 1.4 kB for each
LONGEST_DELAY = 5  # SANA-FE 2.2.9, `accumulator_with_delay`
COMPUTED, DRIVEN, RELAY, READ_OUT, INPUT, LEFT_OUT = "computed", "driven", "relay", "read-out", "input", "left out"
LIF_UNIT, INPUT_UNIT = "loihi_lif", "loihi_inputs"


@dataclass(frozen=True)
class Role:
    """How a population takes part: one of the words above, and why it is not computed; empty where it is."""

    part: str
    reason: str = ""


@dataclass(frozen=True, eq=False)
class Plan:
    """What is handed over.

    Attributes:
        content: for child.py, which documents it.
        roles: population -> how it takes part.
        synapses: that are handed over, with those of each number that an input carries.
    """

    content: dict[str, Any]
    roles: Mapping[str, Role]
    synapses: int


def make_plan(graph: Graph, timing: Schedule, placement: Placement, trace: Trace) -> Plan:
    """Reads the plan off a placement and the run that is played.

    Args:
        trace: the samples to play, of the reference simulator.
    """
    builder = _Builder(graph, timing, placement, trace)
    groups = [group for name in builder.roles if (group := builder.group(name)) is not None]
    groups += [builder.echo(*echo) for echo in builder.echoes]
    content = {
        "groups": groups,
        "links": builder.links,
        "samples": [builder.sample(index) for index in range(trace.samples)],
    }
    return Plan(content, builder.roles, builder.synapses)


class _Builder:
    def __init__(self, graph: Graph, timing: Schedule, placement: Placement, trace: Trace) -> None:
        self.graph, self.timing, self.placement, self.trace = graph, timing, placement, trace
        self.network = placement.network
        self.entries = {node.name: entry(graph, node, trace) for node in graph.entries}
        self.links: list[dict[str, Any]] = []
        self.echoes: dict[tuple[str, int], str] = {}
        self.synapses = 0
        self.cores = self._cores()
        self.roles = self._roles()
        self.neurons, self.inputs = Counter[int](), Counter[int]()
        for name, role in self.roles.items():
            for start, stop, core in self.cores[name]:
                (self.inputs if role.part == INPUT else self.neurons)[core] += stop - start

    # ---- roles -------------------------------------------------------------------------------------------------------

    def _cores(self) -> dict[str, list[tuple[int, int, int]]]:
        """Where each population lies: (first neuron, last + 1, core); inputs on the cores after the last one used."""
        found: dict[str, list[tuple[int, int, int]]] = {}
        for core in self.placement.cores:
            for part in core.parts:
                found.setdefault(part.population, []).append((part.start, part.stop, core.index))
        last = int(self.placement.chip.limit("cores"))
        wanted = sum(-(-len(one.channel) // INPUTS_PER_CORE) for one in self.entries.values())
        if wanted >= last:
            raise SanafeError(f"SANA-FE: the input takes {wanted} of {last} cores, {INPUTS_PER_CORE} neurons each")
        free = min(len(self.placement.cores), last - wanted)
        for name, one in self.entries.items():
            found[name] = []
            for start in range(0, len(one.channel), INPUTS_PER_CORE):
                found[name].append((start, min(start + INPUTS_PER_CORE, len(one.channel)), free))
                free += 1
        return found

    def _roles(self) -> dict[str, Role]:
        """How each population takes part: as many, in order, as fit the chip and SANA-FE's speed."""
        last = int(self.placement.chip.limit("cores")) - sum(len(self.cores[name]) for name in self.entries)
        roles: dict[str, Role] = {name: Role(INPUT) for name in self.entries}
        stored = 0
        for name, population in self.network.populations.items():
            if name in roles:
                continue
            stored += sum(p.matrix.nnz * p.copies * self._numbers(p) for p in population.projections)
            if any(core >= last for _, _, core in self.cores[name]):
                roles[name] = Role(LEFT_OUT, f"it lies beyond the {last} cores that its inputs leave")
            elif stored > LARGEST_SYNAPSES:
                roles[name] = Role(LEFT_OUT, f"the first {LARGEST_SYNAPSES:,} synapses are handed over")
            else:
                roles[name] = self._role(population)
        for name, role in roles.items():
            if role.part in (COMPUTED, RELAY) and (reason := self._unknown_source(name, roles)):
                roles[name] = Role(DRIVEN, reason)
        return roles

    def _numbers(self, projection: Projection) -> float:
        """How often its synapses are handed over: once per number that its input carries."""
        entries = [
            self.entries[source.population] for source in projection.sources if source.population in self.entries
        ]
        return max((len(one.channel) / len(np.unique(one.channel)) for one in entries if len(one.channel)), default=1.0)

    def _role(self, population: Population) -> Role:
        if population.kind == "relay":
            repeats_input = self._origin(population.name) in self.entries
            return Role(DRIVEN, "it repeats the input") if repeats_input else Role(RELAY)
        node = self.graph.nodes[population.name]
        if node.kind not in SPIKING:
            return Role(READ_OUT, "it is read, and sends no spikes")
        if any(node.name in self.trace.header.get(key, ()) for key in ("wrapped_u", "clipped_v")):
            return Role(DRIVEN, "its potential left the 24 bits of the chip, and SANA-FE does not cut it off")
        reason = neurons.why_driven(self.graph, self.network, population)
        return Role(COMPUTED) if reason is None else Role(DRIVEN, reason)

    def _unknown_source(self, name: str, roles: Mapping[str, Role]) -> str | None:
        for projection in self.network.populations[name].projections:
            for source in projection.sources:
                origin = relay_name(source.population, source.held)
                if roles[origin].part == LEFT_OUT:
                    return f"it reads {origin}, which is left out"
                if source.population in self.entries:
                    one = self.entries[source.population]
                    if one.graded or (source.held and not one.unit):
                        return one.graded or "the input carries numbers, and waits in relays"
        return None

    # ---- groups and links --------------------------------------------------------------------------------------------

    def group(self, name: str) -> dict[str, Any] | None:
        """One group, whose links are added to the others; None for what is left out."""
        role = self.roles[name]
        if role.part == LEFT_OUT:
            return None
        places = [[start, stop, *self._address(core)] for start, stop, core in self.cores[name]]
        size = len(self.entries[name].channel) if name in self.entries else self.network.populations[name].neurons
        group: dict[str, Any] = {"name": name, "neurons": size, "cores": places}
        if name in self.entries:
            return group | {"unit": INPUT_UNIT}
        population = self.network.populations[name]
        found = [link for projection in population.projections for link in self._links(projection, role)]
        constants = self._constants(population, role, found)
        group |= {key: getattr(constants, key).tolist() for key in ("decay", "bias", "threshold", "reset", "initial")}
        group |= {"unit": LIF_UNIT, "reset_mode": constants.reset_mode}
        group["start"] = self.timing.latency[name] if role.part == COMPUTED else None
        for link in found:
            link["weights"] *= constants.gain[link["columns"]]
            self.synapses += len(link["rows"])
            self.links.append({k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in link.items()})
        return group

    def echo(self, source: str, passed: int) -> dict[str, Any]:
        """The group of an echo."""
        places = []
        for start, stop, core in self.cores[source]:
            there = self._nearest(core, stop - start)
            self.inputs[there] += stop - start
            places.append([start, stop, *self._address(there)])
        size = max(stop for _, stop, *_ in places)
        return {"name": self.echoes[source, passed], "neurons": size, "unit": INPUT_UNIT, "cores": places}

    def _nearest(self, core: int, wanted: int) -> int:
        """The core nearest to one that has room for so many inputs more."""

        def hops(other: int) -> tuple[int, int]:
            here, there = tile_of(self.placement.chip, core), tile_of(self.placement.chip, other)
            return sum(abs(a - b) for a, b in zip(here, there, strict=True)), abs(other - core)

        def has_room(other: int) -> bool:
            inputs = self.inputs[other] + wanted
            return inputs <= INPUTS_PER_CORE and self.neurons[other] + inputs <= NEURONS_PER_CORE

        found = [other for other in range(int(self.placement.chip.limit("cores"))) if has_room(other)]
        if not found:
            raise SanafeError("SANA-FE: no core has room for the echoes that long delays need; a smaller network does")
        return min(found, key=hops)

    def _address(self, core: int) -> tuple[int, int]:
        """Tile and place on it: SANA-FE numbers tiles column by column."""
        _, row, column = tile_of(self.placement.chip, core)
        rows, each = (int(self.placement.chip.mesh[key].value) for key in ("tile_rows", "tile_cores"))
        return column * rows + row, core % each

    def _links(self, projection: Projection, role: Role) -> Iterator[dict[str, Any]]:
        layer = self.graph.nodes.get(projection.layer)
        unit = neurons.weight_unit(self.graph, layer)
        weighted = role.part != DRIVEN
        for population, held, rows, columns, weights, delay in links(self.graph, projection, weighted):
            source = relay_name(population, held)
            if self.roles[source].part == LEFT_OUT:
                continue
            if source in self.entries:
                rows, columns, weights = self.entries[source].spread(rows, columns, weights)
            passed = delay - delay % (LONGEST_DELAY + 1)
            if passed:
                source = self.echoes.setdefault((source, passed), f"{source} after {passed} steps")
            yield {
                "source": source,
                "target": projection.target,
                "delay": delay - passed,
                "rows": rows,
                "columns": columns,
                "weights": weights * unit,
            }

    def _constants(self, population: Population, role: Role, found: list[dict[str, Any]]) -> neurons.Constants:
        if role.part != COMPUTED:
            return (
                neurons.repeating(population.neurons) if role.part != READ_OUT else neurons.silent(population.neurons)
            )
        largest = np.zeros(population.neurons)
        for link in found:
            largest += np.bincount(link["columns"], np.abs(link["weights"]), population.neurons)
        return neurons.constants(self.graph, self.graph.nodes[population.name], largest, self.timing.steps)

    # ---- spikes ------------------------------------------------------------------------------------------------------

    def sample(self, index: int) -> dict[str, Any]:
        """One sample: its window, the steps that the chip takes for it, and what is played."""
        window = int(self.trace.lengths[index])
        played = {}
        playing = [(name, name, 0) for name, role in self.roles.items() if role.part in (INPUT, DRIVEN)]
        for name, source, passed in [*playing, *((echo, *key) for key, echo in self.echoes.items())]:
            steps, places = np.nonzero(self._played(source)[index, :window])
            inside = steps + self._start(source) + passed < window + self.timing.longest
            steps = steps[inside] + self._start(source) + passed
            played[name] = {"steps": steps.tolist(), "neurons": places[inside].tolist()}
        return {"window": window, "steps": window + self.timing.longest, "played": played}

    def _played(self, name: str) -> np.ndarray:
        """bool [samples, steps, neurons]: what a group fires, by our run; relays repeat their origin."""
        if name in self.entries:
            return self.entries[name].events
        origin = self._origin(name)
        if origin not in self.entries:
            return placed_spikes(self.graph, self.trace, origin) != 0
        one = self.entries[origin]
        whole = np.zeros((*one.events.shape[:2], self.network.populations[name].neurons), bool)
        for neuron, channel in enumerate(one.channel):
            whole[:, :, channel] |= one.events[:, :, neuron]
        return whole

    def _origin(self, name: str) -> str:
        relay = name not in self.entries and self.network.populations[name].kind == "relay"
        return name.rpartition(".wait")[0] if relay else name

    def _start(self, name: str) -> int:
        """Physical step of the first logical one."""
        origin = self._origin(name)
        held = int(name.rpartition(".wait")[2]) if origin != name else 0
        return self.timing.latency[origin] + held


def placed_spikes(graph: Graph, trace: Trace, name: str) -> np.ndarray:
    """Recorded spikes of a population in the order of placement, uint8 [samples, steps, neurons]."""
    node = graph.nodes[name]
    return trace.spikes[name].reshape(*trace.input.shape[:2], -1)[:, :, neuron_order(node)]
