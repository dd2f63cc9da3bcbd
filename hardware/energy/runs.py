"""A network run on the reference simulator, counted and priced; each network that a report names is run once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neurotarget.hardware.counts.layers import LayerCount, count
from neurotarget.hardware.counts.summary import energy_row, totals_row
from neurotarget.hardware.energy.claims import ClaimError, Side
from neurotarget.hardware.energy.memory import energies
from neurotarget.hardware.energy.operations import EnergyFigure
from neurotarget.hardware.energy.prices import PriceTable
from neurotarget.hardware.meters.measurement import measure
from neurotarget.sim import reference
from neurotarget.sim.graph import Graph, load
from neurotarget.sim.inputs import Input, open_input
from neurotarget.sim.trace import Trace, accuracy

OWN = (None, None, None, None)  # key of the report's own model


@dataclass(frozen=True, eq=False)
class PricedRun:
    """What one run of a network did and took."""

    trace: Trace
    counts: list[LayerCount]
    totals: dict[str, Any]
    figures: list[EnergyFigure]
    accuracy: float | None

    @property
    def energy(self) -> list[dict[str, Any]]:
        """The figures as `report.json` holds them."""
        return [energy_row(figure, self.totals["spike_rate"]) for figure in self.figures]

    def summary(self, measured: dict[str, Any]) -> dict[str, Any]:
        """What a claim or a comparison needs to know of it."""
        return {
            "energy": self.energy,
            "totals": self.totals,
            "accuracy": self.accuracy,
            "measured": measured,
            "spike_rate": self.totals["spike_rate"],
            "steps": self.totals["steps_per_sample"],
        }


def run_and_price(
    graph: Graph, data: Input, tables: Sequence[PriceTable], precision: str = "float64", progress: bool = False
) -> PricedRun:
    """Runs, counts and prices one network.

    Raises:
        GraphError: the input does not fit the network.
    """
    trace = reference.run(graph, data.frames, data.lengths, data.labels, precision, progress)
    counts = count(graph, trace, progress=progress)
    return PricedRun(trace, counts, totals_row(counts), energies(counts, tables), accuracy(trace, graph.readout))


@dataclass
class Runs:
    """Summaries of the models that claims and `--beside` name; each is run once."""

    tables: list[PriceTable]
    input: str
    samples: int
    dt: float | None
    known: dict[tuple[Path | None, str | None, int | None, Path | None], dict[str, Any]] = field(default_factory=dict)

    def __call__(self, side: Side) -> dict[str, Any]:
        """The summary of a side's model on its input.

        Raises:
            ClaimError: its checkpoint is missing.
            GraphError, InputError, DataError: its model or its input cannot be used.
        """
        if side.model is None:
            return self.known[OWN]
        spec = side.input or self.input
        key = (side.model, spec, side.samples, side.checkpoint)
        if key not in self.known:
            if side.checkpoint is not None and not side.checkpoint.is_file():  # without a meter nobody would open it
                raise ClaimError(f"{side.checkpoint}: no such file; it is the checkpoint of {side.model}")
            graph = load(side.model, self.dt)
            data = open_input(spec, graph, split="test", samples=side.samples or self.samples)
            run = run_and_price(graph, data, self.tables, progress=True)
            measured = measure(side.checkpoint, data.frames, data.lengths, run.figures)
            self.known[key] = run.summary(measured)
        return self.known[key]
