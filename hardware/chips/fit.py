"""Does a network fit a chip? Its placement with everything that it takes, and every limit that is passed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from neurotarget.hardware.chips import synapses
from neurotarget.hardware.chips.limits import Chip, ChipError
from neurotarget.hardware.chips.mesh import Traffic, tile_of, traffic
from neurotarget.hardware.chips.placement import RESOURCES, Placement, place
from neurotarget.hardware.chips.populations import chip_network
from neurotarget.hardware.chips.rules import RULES, Finding, check
from neurotarget.hardware.commands import STEPS
from neurotarget.sim.graph import Graph
from neurotarget.sim.observed import Observed
from neurotarget.sim.schedule import schedule

ASSUMED_RATE = 0.1
REAL_BITS = 64


@dataclass(frozen=True)
class CoreLoad:
    """One core and what lies on it.

    Attributes:
        index: of the core, from 0.
        tile: chip, row, column.
        populations: names, in order.
        neurons: population: first neuron, last + 1.
        layers_memory_bits: layer: bits of synapse memory.
        use: by resource, what is taken; by configuration, how many distinct settings.
        shares: by resource, share of the limit.
        fullest: the largest share.
    """

    index: int
    tile: tuple[int, int, int]
    populations: tuple[str, ...]
    neurons: Mapping[str, tuple[int, int]]
    layers_memory_bits: Mapping[str, int]
    use: Mapping[str, int]
    shares: Mapping[str, float]
    fullest: float


@dataclass(frozen=True)
class Grid:
    """The chip as it is drawn.

    Attributes:
        columns, rows: of tiles.
        tile_cores: cores per tile.
        cores: of the chip.
    """

    columns: int
    rows: int
    tile_cores: int
    cores: int


@dataclass(frozen=True)
class LimitUsed:
    """A limit of the chip.

    Attributes:
        name, value, unit: of the limit.
        source, grade: where the number is from, and how good the evidence is.
    """

    name: str
    value: float
    unit: str
    source: str
    grade: str


@dataclass(frozen=True)
class Fit:
    """A network on a chip, as `hardware.place --json` gives it ([hardware_limits.md](hardware_limits.md)).

    Attributes:
        format: 1.
        chip, conditions: its name, and what its limits hold for.
        model: NIR file.
        fits: whether no limit is passed.
        steps: of an utterance.
        weight_bits: bits per weight.
        cores_needed, cores_of_chip: cores that the network takes, and that the chip has.
        compartments: in use, on all cores.
        relay_neurons: of these, neurons that only wait.
        synapses: stored.
        memory_bits: in use, on all cores.
        findings: what does not fit; empty when everything does.
        rules: names of those applied.
        cores: one row per core.
        mesh: spikes between cores.
        grid: for the picture.
        limits: of the chip.
        kind: `estimated`.
    """

    format: int
    chip: str
    conditions: str
    model: str
    fits: bool
    steps: int
    weight_bits: int
    cores_needed: int
    cores_of_chip: int
    compartments: int
    relay_neurons: int
    synapses: int
    memory_bits: int
    findings: tuple[Finding, ...]
    rules: tuple[str, ...]
    cores: tuple[CoreLoad, ...]
    mesh: Traffic
    grid: Grid
    limits: tuple[LimitUsed, ...]
    kind: str

    @property
    def sentence(self) -> str:
        """The answer in one sentence."""
        cores = f"{self.cores_needed} of {self.cores_of_chip} cores"
        if self.fits:
            return f"Fits {self.chip}: {cores}, {self.relay_neurons} relay neurons."
        rules = ", ".join(dict.fromkeys(finding.rule for finding in self.findings))
        return f"Does not fit {self.chip} ({rules}); it would take {cores}."

    @property
    def placed(self) -> str:
        """The answer, and of which file."""
        return f"{self.sentence} Placed: {self.model}."


@dataclass(frozen=True)
class NotPlaced:
    """A network that cannot be placed, such as one that cannot stream.

    Attributes:
        chip: its name.
        fits: `false`.
        reason: why it cannot.
    """

    chip: str
    fits: bool
    reason: str


def fit(graph: Graph, chip: Chip, steps: int = STEPS, run: Observed | None = None, weight_bits: int = 8) -> Fit:
    """Places a network.

    Args:
        steps: of an utterance, when there is no run.
        run: for spike rates, payloads of the input and steps.

    Raises:
        ChipError: bits that no synapse has.
        GraphError: the graph cannot stream.
    """
    if weight_bits not in synapses.WEIGHT_BITS:
        raise ChipError(f"--weight-bits {weight_bits}: {', '.join(map(str, synapses.WEIGHT_BITS))} are supported")
    if run is not None:
        steps = run.steps
    network = chip_network(graph, schedule(graph, steps), chip)
    largest = None if run is None else largest_payload(graph, run.largest_input)
    placement = place(network, chip, weight_bits, None if run is None else payload_bits(largest))
    spikes, rate_source = _spikes(placement, run, steps)
    findings = check(placement)
    cores = tuple(_load(placement, index) for index in range(len(placement.cores)))
    columns, rows, tile_cores = (int(chip.mesh[key].value) for key in ("tile_columns", "tile_rows", "tile_cores"))
    return Fit(
        format=1,
        chip=chip.title,
        conditions=chip.conditions,
        model=graph.source,
        fits=not findings,
        steps=steps,
        weight_bits=weight_bits,
        cores_needed=len(cores),
        cores_of_chip=int(chip.limit("cores")),
        compartments=sum(core.use["compartments"] for core in cores),
        relay_neurons=sum(p.neurons for p in network.populations.values() if p.kind == "relay"),
        synapses=sum(part.synapses for part in placement.parts),
        memory_bits=sum(core.use["memory_bits"] for core in cores),
        findings=tuple(findings),
        rules=tuple(rule.name for rule in RULES if rule.limit in chip.limits),
        cores=cores,
        mesh=traffic(placement, spikes, rate_source),
        grid=Grid(columns, rows, tile_cores, columns * rows * tile_cores),
        limits=tuple(
            LimitUsed(item.name, item.value, item.unit, item.source, item.grade) for item in chip.limits.values()
        ),
        kind="estimated",
    )


def largest_payload(graph: Graph, largest_input: int | None) -> int | None:
    """The largest |payload| that enters the chip: of a quantised network what its input is graded to, within bounds."""
    if not graph.quantised:
        return largest_input
    found = []
    for entry in graph.entries:
        fixed = graph.fixed[entry.name]
        bound = max(abs(fixed["minimum"]), abs(fixed["maximum"]))
        found.append(bound if largest_input is None else min(bound, round(largest_input / fixed["scale"])))
    return int(max(found))


def payload_bits(largest: int | None) -> int:
    """Bits that the largest |payload| needs: 1 for spikes, `REAL_BITS` for numbers that are not integers, None."""
    return REAL_BITS if largest is None else max(largest.bit_length(), 1)


def _spikes(placement: Placement, run: Observed | None, steps: int) -> tuple[Mapping[str, float], str]:
    """Spikes per inference of each population, and how they are known."""
    if run is None:
        neurons = {name: p.neurons for name, p in placement.network.populations.items()}
        return {name: ASSUMED_RATE * steps * n for name, n in neurons.items()}, f"assumed, {ASSUMED_RATE} per step"
    samples = max(run.samples, 1)
    return {name: spikes / samples for name, spikes in run.fired.spikes.items()}, f"counted, {samples} samples"


def _load(placement: Placement, index: int) -> CoreLoad:
    core, chip = placement.cores[index], placement.chip
    use = core.use
    layers: dict[str, int] = {}
    for part in core.parts:
        for layer, bits in part.layers.items():
            layers[layer] = layers.get(layer, 0) + bits
    shares = {key: use[key] / chip.limit(key) for key in RESOURCES}
    return CoreLoad(
        index=index,
        tile=tile_of(chip, index),
        populations=tuple(dict.fromkeys(part.population for part in core.parts)),
        neurons={part.population: (part.start, part.stop) for part in core.parts},
        layers_memory_bits=layers,
        use=use,
        shares=shares,
        fullest=max(shares.values()),
    )
