"""Does it fit? A literal list of small rules: each compares one demand with one limit of the chip.

A rule says what is compared, and what would make the network fit. The limit, its source and its grade come from the
chip's file; a rule whose limit the chip does not have does not apply.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from neurotarget.hardware.chips.limits import Limit
from neurotarget.hardware.chips.placement import Placement


@dataclass(frozen=True)
class Demand:
    """How much one thing takes: `where` names the core, layer or population."""

    where: str
    used: float


@dataclass(frozen=True)
class Finding:
    """One thing that does not fit.

    Attributes:
        rule: that is broken.
        where: core, layer or input.
        used, limit, unit: what it takes, and what the chip has.
        remedy: what would make it fit.
        source, grade: of the limit, and how good the evidence is.
        over: `used` - `limit`.
        sentence: the same in words.
    """

    rule: str
    where: str
    used: float
    limit: float
    unit: str
    remedy: str
    source: str
    grade: str
    over: float
    sentence: str


@dataclass(frozen=True)
class Rule:
    """One comparison.

    Attributes:
        name: of the rule.
        limit: key of the chip's limit.
        demands: what a placement takes.
        remedy: what would make it fit.
    """

    name: str
    limit: str
    demands: Callable[[Placement], Iterator[Demand]]
    remedy: str

    def findings(self, placement: Placement) -> list[Finding]:
        """Everything that is over the limit; nothing when the chip has no such limit."""
        if self.limit not in placement.chip.limits:
            return []
        return [
            self._finding(demand, placement.chip.limits[self.limit])
            for demand in self.demands(placement)
            if demand.used > placement.chip.limits[self.limit].value
        ]

    def _finding(self, demand: Demand, limit: Limit) -> Finding:
        over = demand.used - limit.value
        return Finding(
            rule=self.name,
            where=demand.where,
            used=demand.used,
            limit=limit.value,
            unit=limit.unit,
            remedy=self.remedy,
            source=limit.source,
            grade=limit.grade,
            over=over,
            sentence=f"{demand.where}: {demand.used:g} {limit.unit}, the limit is {limit.value:g}, {over:g} over. "
            f"What would make it fit: {self.remedy}.",
        )


def check(placement: Placement) -> list[Finding]:
    """What does not fit, rule by rule; empty when everything does."""
    return [finding for rule in RULES for finding in rule.findings(placement)]


# ---- what a placement takes ------------------------------------------------------------------------------------------


def _per_core(resource: str) -> Callable[[Placement], Iterator[Demand]]:
    def demands(placement: Placement) -> Iterator[Demand]:
        for core in placement.cores:
            names = ", ".join(dict.fromkeys(part.population for part in core.parts))
            yield Demand(f"core {core.index} ({names})", core.use[resource])

    return demands


def _cores(placement: Placement) -> Iterator[Demand]:
    yield Demand("the network", len(placement.cores))


def _neurons(placement: Placement) -> Iterator[Demand]:
    yield Demand("the network", sum(part.use["compartments"] for part in placement.parts))


def _synapses(placement: Placement) -> Iterator[Demand]:
    yield Demand("the network", sum(part.synapses for part in placement.parts))


def _delays(placement: Placement) -> Iterator[Demand]:
    for layer, steps in placement.network.unmet_delays.items():
        yield Demand(f"layer {layer}", steps)
    for population in placement.network.populations.values():
        for projection in population.projections:
            if projection.layer not in placement.network.unmet_delays:
                yield Demand(f"layer {projection.layer}", projection.longest_delay)


def _weight_bits(placement: Placement) -> Iterator[Demand]:
    yield Demand("every layer", placement.weight_bits)


def _payload(placement: Placement) -> Iterator[Demand]:
    if placement.payload_bits is not None:
        yield Demand("the input", placement.payload_bits)


def _programmed(operation: str) -> Callable[[Placement], Iterator[Demand]]:
    def demands(placement: Placement) -> Iterator[Demand]:
        for population in placement.network.populations.values():
            if operation in population.programmed:
                yield Demand(f"layer {population.name}", population.neurons)

    return demands


def _currents(placement: Placement) -> Iterator[Demand]:
    for layer in placement.network.from_currents:
        yield Demand(f"layer {layer}", 1)


RULES = (
    Rule("cores", "cores", _cores, "more chips, fewer bits per weight, or pruning"),
    Rule("compartments", "compartments", _per_core("compartments"), "fewer neurons per core: more cores"),
    Rule(
        "input axons",
        "input_axons",
        _per_core("input_axons"),
        "a smaller fan-in: fewer inputs to the layer, or the layer in two stages",
    ),
    Rule(
        "output axons",
        "output_axons",
        _per_core("output_axons"),
        "fewer readers of the layer, or readers that lie on fewer cores",
    ),
    # bits of synapse memory
    Rule("memory", "memory_bits", _per_core("memory_bits"), "fewer bits per weight, pruning, or a smaller fan-in"),
    # distinct settings of neurons and synapses
    Rule(
        "decays",
        "compartment_configurations",
        _per_core("compartment_configurations"),
        "neurons that share their time constants",
    ),
    Rule(
        "thresholds",
        "threshold_configurations",
        _per_core("threshold_configurations"),
        "neurons that share their threshold, with weights scaled instead",
    ),
    Rule("synapse formats", "synapse_formats", _per_core("synapse_formats"), "fewer layers on the core: more cores"),
    # the longest delay of a synapse, relays used where the path has time for them
    Rule("delays", "delay_steps", _delays, "a shorter kernel over time, or larger steps"),
    Rule("weights", "weight_bits", _weight_bits, "conversion.quantize with fewer bits"),
    Rule(
        "graded input",
        "payload_bits",
        _payload,
        "an input that is coded as unit spikes, a chip with graded spikes, or of real numbers the quantised file, "
        "whose input has 8 bits",
    ),
    # neurons that keep k^T v and multiply it by q
    Rule(
        "attention",
        "programmable_neurons",
        _programmed("attention"),
        "a chip with programmable neurons, or a network without attention",
    ),
    # neurons that keep an oscillator per pair
    Rule(
        "rotary position",
        "programmable_neurons",
        _programmed("rotary"),
        "a chip with programmable neurons, or attention without rotary positions",
    ),
    # neurons whose threshold is taken off where they fire: nothing published has it as a fixed function
    Rule(
        "reset by subtraction",
        "programmable_neurons",
        _programmed("reset"),
        "a chip with programmable neurons, or a network trained with a reset to zero",
    ),
    # synaptic layers that read what another layer sums, without spikes between
    Rule("currents", "current_layers", _currents, "the two layers folded into one, or neurons between them"),
    Rule("neurons", "neurons", _neurons, "more chips"),
    Rule("synapses", "synapses", _synapses, "more chips, or pruning"),
)
