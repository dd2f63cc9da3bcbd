"""A network on a simulated chip: are the spikes ours, what does an inference take, and why does a price list differ?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from neurotarget.hardware.chips.limits import load_chip
from neurotarget.hardware.chips.placement import Placement, place
from neurotarget.hardware.chips.populations import chip_network
from neurotarget.hardware.counts.layers import LayerCount, count
from neurotarget.hardware.energy.figure import PJ_PER_UJ
from neurotarget.hardware.energy.operations import neurons_pj, synapses_pj
from neurotarget.hardware.energy.prices import SHIPPED, PriceTable, load_table
from neurotarget.hardware.sanafe import parent
from neurotarget.hardware.sanafe.child import SUMS
from neurotarget.hardware.sanafe.plan import COMPUTED, DRIVEN, INPUT, LEFT_OUT, RELAY, Plan, make_plan, placed_spikes
from neurotarget.sim.graph import Graph
from neurotarget.sim.schedule import Schedule, schedule
from neurotarget.sim.trace import Trace

from neurotarget.figures import rounded

CHIP, PRICE_LIST = "loihi1", "loihi1-sanafe"  # SANA-FE ships one description of Loihi; the list holds its prices
EQUAL, DIFFERS, NOT_TESTED = "equal", "differs", "not tested"
MICRO, NANO = 1e6, 1e9


@dataclass(frozen=True)
class SimulatedPopulation:
    """A population of neurons and its part in the simulation.

    Attributes:
        name: of the node in the NIR file.
        part: `computed` by the simulator, `driven` by our recorded spikes, `relay`, `read-out`, `input` or `left out`.
        reason: why it is not computed; empty where it is.
        neurons: how many.
        spikes: that we recorded, in the samples that ran; `null` where it is not computed.
        differing: places, of neurons times steps, where the simulator has another spike; `null` as above.
    """

    name: str
    part: str
    reason: str
    neurons: int
    spikes: int | None
    differing: int | None


@dataclass(frozen=True)
class EnergyPart:
    """One part of the energy per inference, simulated and by the price list that holds the simulator's prices.

    Attributes:
        part: `synapses`, `neurons` or `messages`.
        simulated_uj, list_uj: energy.
        simulated_events, list_events: what was paid for: synaptic operations, neurons times steps, messages.
        reason: why they differ.
    """

    part: str
    simulated_uj: float
    list_uj: float
    simulated_events: float
    list_events: float
    reason: str


@dataclass(frozen=True)
class ChipSimulation:
    """A placed network on a simulated chip (docs/chip_simulator.md). Figures are per inference, means over the samples.

    Attributes:
        simulator, description: its name and version, and what it was told of the chip.
        samples: that ran.
        steps: that the chip takes for one: those of the window, and until the last neuron is done.
        synapses: that were handed over.
        populations: and how each took part.
        outcome: `equal` or `differs`, of the spikes of computed populations; `not tested` where none fires.
        spikes, differing: recorded by us, and places where the simulator differs, over all samples.
        first_divergence: in words; `null` without one.
        required: whether a difference is a fault: in whole numbers the two are equal or one is wrong, in floating point
            SANA-FE rounds its weights.
        energy_uj, list_uj: simulated, and by the price list.
        energy_parts: the same part by part.
        time_per_step_us, longest_step_us: on a chip that starts each step when the last is done.
        latency_us: of all steps together.
        energy_delay_uj_ms: energy times latency.
        messages: from core to core or within one.
        input_messages: of these, from the input, and from echoes that stand for long delays.
        hops: per message.
        on_the_way_ns, blocked_ns: time of a message on the mesh, and how long it waits for a full buffer.
        kind: `simulated`.
    """

    simulator: str
    description: str
    samples: int
    steps: float
    synapses: int
    populations: tuple[SimulatedPopulation, ...]
    outcome: str
    spikes: int
    differing: int
    first_divergence: str | None
    required: bool
    energy_uj: float
    list_uj: float
    energy_parts: tuple[EnergyPart, ...]
    time_per_step_us: float
    longest_step_us: float
    latency_us: float
    energy_delay_uj_ms: float
    messages: float
    input_messages: float
    hops: float
    on_the_way_ns: float
    blocked_ns: float
    kind: str

    def names(self, part: str) -> tuple[str, ...]:
        """Names of the populations that take this part."""
        return tuple(population.name for population in self.populations if population.part == part)

    @property
    def complete(self) -> bool:
        """Whether every spiking population was computed."""
        return not self.names(DRIVEN) and not self.names(LEFT_OUT)

    @property
    def holds(self) -> bool:
        """Whether nothing that must be equal differs."""
        return self.outcome != DIFFERS or not self.required

    @property
    def sentences(self) -> tuple[str, ...]:
        """The answer in words: spikes, then figures."""
        computed = len(self.names(COMPUTED))
        silent = [population.name for population in self.populations if population.spikes == 0]
        if self.outcome == EQUAL:
            answer = f"equal, {self.spikes} spikes of {computed} populations in {self.samples} samples"
            answer += f"; not tested in {', '.join(silent)}, which never fire" if silent else ""
        elif self.outcome == DIFFERS:
            answer = f"{self.differing} places differ beside {self.spikes} spikes; first: {self.first_divergence}"
        else:
            answer = f"not tested: none of {computed} computed populations fires in {self.samples} samples"
        if others := self.names(DRIVEN):
            answer += f"; driven by our run: {', '.join(others)}"
        if left := self.names(LEFT_OUT):
            answer += f"; left out: {', '.join(left)}"
        figures = (
            f"{rounded(self.energy_uj)} µJ per inference (price list: {rounded(self.list_uj)}), "
            f"{rounded(self.time_per_step_us)} µs per step, {rounded(self.latency_us / 1000)} ms per inference, "
            f"energy-delay product {rounded(self.energy_delay_uj_ms)} µJ ms, {rounded(self.hops)} hops per message"
        )
        return f"{self.simulator}: spikes: {answer}", f"{self.simulator}: {figures} (simulated)"


def simulate(graph: Graph, trace: Trace, samples: int) -> ChipSimulation:
    """Runs the first samples of a recorded run in SANA-FE on Loihi 1, placed as `hardware.place` places it.

    Args:
        trace: of the reference simulator.

    Raises:
        GraphError: the graph cannot stream.
        SanafeError: SANA-FE is missing, failed, or did not finish in time.
    """
    chip = load_chip(CHIP)
    timing = schedule(graph, trace.input.shape[1])
    placement = place(chip_network(graph, timing, chip), chip)
    played = trace.rows(slice(0, samples))
    plan = make_plan(graph, timing, placement, played)
    found = parent.run(plan.content, plan.synapses)
    return _read(graph, timing, placement, played, plan, found)


def _read(
    graph: Graph, timing: Schedule, placement: Placement, trace: Trace, plan: Plan, found: dict[str, Any]
) -> ChipSimulation:
    runs = found["samples"]
    populations, first = _compare(graph, timing, placement, trace, plan, runs)
    compared = [population for population in populations if population.part == COMPUTED]
    spikes = sum(population.spikes or 0 for population in compared)
    differing = sum(population.differing or 0 for population in compared)
    mean = {key: sum(run[key] for run in runs) / len(runs) for key in SUMS}
    steps = [step for run in runs for step in run["step_s"]]
    energy_uj = MICRO * sum(run["energy_j"]["total"] for run in runs) / len(runs)
    latency_us = MICRO * sum(steps) / len(runs)
    parts = _parts(graph, trace, populations, plan, runs, mean)
    messages = max(mean["messages"], 1)
    return ChipSimulation(
        simulator=f"SANA-FE {found['version']}",
        description=f"Loihi 1 as SANA-FE ships it (SHA-256 {found['description_sha256'][:12]}), delays in the dendrite",
        samples=len(runs),
        steps=len(steps) / len(runs),
        synapses=plan.synapses,
        populations=populations,
        outcome=DIFFERS if differing else EQUAL if spikes else NOT_TESTED,
        spikes=spikes,
        differing=differing,
        first_divergence=first,
        required=graph.quantised,
        energy_uj=energy_uj,
        list_uj=sum(part.list_uj for part in parts),
        energy_parts=parts,
        time_per_step_us=MICRO * float(np.mean(steps)),
        longest_step_us=MICRO * max(steps),
        latency_us=latency_us,
        energy_delay_uj_ms=energy_uj * latency_us / 1000,
        messages=mean["messages"],
        input_messages=mean["input_messages"],
        hops=(mean["east_west_hops"] + mean["north_south_hops"]) / messages,
        on_the_way_ns=NANO * mean["on_the_way_s"] / messages,
        blocked_ns=NANO * mean["blocked_s"] / messages,
        kind="simulated",
    )


# ---- spikes ----------------------------------------------------------------------------------------------------------


def _compare(
    graph: Graph, timing: Schedule, placement: Placement, trace: Trace, plan: Plan, runs: Sequence[dict[str, Any]]
) -> tuple[tuple[SimulatedPopulation, ...], str | None]:
    """Each population with its differences, and the first one: by sample, then by layer, then by step."""
    found, firsts = [], []
    for place_of, (name, role) in enumerate(plan.roles.items()):
        neurons = placement.network.populations[name].neurons
        spikes = differing = None
        if role.part == COMPUTED:
            spikes = differing = 0
            recorded = placed_spikes(graph, trace, name)
            for sample, run in enumerate(runs):
                ours = recorded[sample, : int(trace.lengths[sample])]
                theirs = _aligned(run["spikes"][name], timing.latency[name], ours.shape)
                spikes += int(ours.sum())
                places = np.argwhere(ours != theirs)
                differing += len(places)
                if len(places):
                    step, neuron = map(int, places[0])
                    word = f"layer {name}, step {step}, neuron {neuron} (sample {sample}): {ours[step, neuron]} in ours"
                    firsts.append(((sample, place_of), f"{word}, {theirs[step, neuron]} in SANA-FE"))
        found.append(SimulatedPopulation(name, role.part, role.reason, neurons, spikes, differing))
    return tuple(found), min(firsts)[1] if firsts else None


def _aligned(spikes: tuple[list[int], list[int]], latency: int, shape: tuple[int, ...]) -> np.ndarray:
    """uint8 [steps of the window, neurons] from physical steps and neurons."""
    steps, neurons = (np.array(values, np.int64) for values in spikes)
    out = np.zeros(shape, np.uint8)
    inside = (steps >= latency) & (steps < latency + shape[0])
    out[steps[inside] - latency, neurons[inside]] = 1
    return out


# ---- energy ----------------------------------------------------------------------------------------------------------


def _parts(
    graph: Graph,
    trace: Trace,
    populations: Sequence[SimulatedPopulation],
    plan: Plan,
    runs: Sequence[dict[str, Any]],
    mean: dict[str, float],
) -> tuple[EnergyPart, ...]:
    """The three parts of the energy, each beside the price list's on the same samples."""
    energy = {part: MICRO * sum(run["energy_j"][part] for run in runs) / len(runs) for part in runs[0]["energy_j"]}
    table = load_table(SHIPPED / f"{PRICE_LIST}.toml")
    counts = count(graph, trace)
    ours = _by_list(counts, table, len(runs))
    on_chip = sum(p.neurons for p in populations if p.part not in (INPUT, LEFT_OUT))
    relays = sum(p.neurons for p in populations if p.part == RELAY)
    steps = sum(len(run["step_s"]) for run in runs) / len(runs)
    window = trace.sample_steps / len(runs)
    own = "It also has the products of gates, rotaries and attention; SANA-FE only the spikes that reach them."
    reasons = {
        "synapses": "Both pay 35.5 pJ per operation. SANA-FE has one per event and synapse, also into relays; the "
        "list takes a number as that many spikes. " + (own if graph.of_kind("gate", "rotary", "attention") else ""),
        "neurons": f"SANA-FE accesses {on_chip} neurons, {relays} of them relays, in each of {rounded(steps)} steps "
        f"until the last is done; the list those of the network in the {rounded(window)} steps of the window. Both "
        "with spikes out.",
        "messages": "SANA-FE sends one message per spike and core that it reaches, from relays and the input too, and "
        f"pays {rounded(mean['east_west_hops'] + mean['north_south_hops'])} hops; the list one per spike and layer, "
        "without hops.",
    }
    simulated = {
        "synapses": (energy["synapse"] + energy["dendrite"], mean["synaptic_operations"]),
        "neurons": (energy["soma"], on_chip * steps),
        "messages": (energy["network"], mean["messages"]),
    }
    return tuple(
        EnergyPart(part, uj, ours[part][0], events, ours[part][1], reasons[part].strip())
        for part, (uj, events) in simulated.items()
    )


def _by_list(counts: Sequence[LayerCount], table: PriceTable, samples: int) -> dict[str, tuple[float, float]]:
    """Energy in microjoule and number of events per inference; spikes out are paid with the neurons, as in SANA-FE."""
    spikes = sum(layer.spikes or 0 for layer in counts)
    messages = sum(layer.messages for layer in counts)
    price = table.prices_pj
    pj = {
        "synapses": sum(synapses_pj(layer, table) for layer in counts),
        "neurons": sum(neurons_pj(layer, table) for layer in counts) + price["spike"] * spikes,
        "messages": price["message"] * messages,
    }
    events = {
        "synapses": pj["synapses"] / price["synaptic_operation"],
        "neurons": sum(layer.neuron_updates for layer in counts),
        "messages": messages,
    }
    return {part: (pj[part] / samples / PJ_PER_UJ, events[part] / samples) for part in pj}
