"""A network run on the reference simulator, counted and priced; each network that a report names is run once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurotarget.hardware.chips.fit import Fit, NotPlaced
from neurotarget.hardware.counts.layers import LayerCount, layer_counts
from neurotarget.hardware.counts.summary import Totals, sum_up
from neurotarget.hardware.counts.tallies import Counting
from neurotarget.hardware.energy.claims import ClaimError, Side
from neurotarget.hardware.energy.figure import EnergyFigure
from neurotarget.hardware.energy.judgement import PricedRun
from neurotarget.hardware.energy.memory import energies
from neurotarget.hardware.energy.prices import MEASURED_GPU, PriceTable
from neurotarget.hardware.energy.reserved import place_everywhere, reservations, reserve
from neurotarget.hardware.energy.sensitivity import PriceParts, price_parts
from neurotarget.hardware.meters.measurement import DenseEstimate, Measured, Unmeasured, measure
from neurotarget.sim.graph import Graph, load
from neurotarget.sim.inputs import Input, open_input
from neurotarget.sim.observed import Observed, observe
from neurotarget.sim.reference import Fold, folded
from neurotarget.sim.run import print_notes

if TYPE_CHECKING:
    from neurotarget.conversion.export.torch_network import TorchNetwork

AT_ONCE = 8  # samples that are counted together: what all nodes send is then held in double precision
OWN = (None, None, None, None)  # key of the report's own model
GPU_TABLES = ("gpu-a100-fp32", "gpu-a100-fp16", "gpu-orin-nano-gemm64")  # what stands beside a measurement


@dataclass(frozen=True, eq=False)
class Run:
    """What one run of a network did, and what that takes by the prices.

    Attributes:
        also: what the folds gave that the caller added.
    """

    data: Input
    observed: Observed
    counts: list[LayerCount]
    totals: Totals
    placement: tuple[Fit | NotPlaced, ...]
    energy: tuple[EnergyFigure, ...]
    parts: PriceParts
    also: tuple[Any, ...] = ()

    @property
    def accuracy(self) -> float | None:
        return self.observed.accuracy

    def measured(self, network: TorchNetwork | Path | None) -> Measured | Unmeasured:
        """The same inference measured in PyTorch, or why it was not; beside it, what a GPU should take."""
        by_table = {figure.table: figure for figure in self.energy}
        here = [figure for figure in self.energy if figure.group == MEASURED_GPU]
        chosen = here or [by_table[name] for name in GPU_TABLES if name in by_table]
        estimate = [DenseEstimate(row.table, row.ann_uj, row.kind, row.source, row.grade, row.title) for row in chosen]
        return measure(network, self.data.frames, self.data.lengths, estimate)

    def on_chips(self, graph: Graph, observed: Observed) -> Run:
        """The run with its network placed, and its prices marked where a chip does not hold it.

        Args:
            graph, observed: the form of the network that a chip would take, and a run of it on the same samples.
        """
        placement = place_everywhere(graph, observed)
        return replace(self, placement=placement, energy=reserve(self.energy, reservations(placement)))

    def priced(self, measured: Measured | Unmeasured) -> PricedRun:
        return PricedRun(self.totals, self.energy, self.accuracy, measured, self.parts)


def run_and_price(
    graph: Graph, data: Input, tables: Sequence[PriceTable], precision: str = "float64", progress: bool = False
) -> Run:
    """Runs, counts, prices and places one network.

    Raises:
        GraphError: the input does not fit the network.
    """
    run = count_and_price(graph, data, tables, precision, progress)
    return run.on_chips(graph, run.observed)


def count_and_price(
    graph: Graph,
    data: Input,
    tables: Sequence[PriceTable],
    precision: str = "float64",
    progress: bool = False,
    also: Sequence[Fold] = (),
) -> Run:
    """Runs, counts and prices one network, and places it nowhere yet.

    Args:
        also: folds of the same run.

    Raises:
        GraphError: the input does not fit the network.
    """
    counting = Counting(graph)
    folds: list[Fold] = [observe, counting, *also]
    observed, tallies, *others = folded(
        graph, data.frames, data.lengths, data.labels, folds, precision, progress, AT_ONCE
    )
    counts = layer_counts(counting, tallies)
    energy, parts = tuple(energies(counts, tables)), price_parts(counts, tables)
    return Run(data, observed, counts, sum_up(counts), (), energy, parts, tuple(others))


@dataclass
class Runs:
    """The models that claims and `--beside` name; each is run once."""

    tables: list[PriceTable]
    input: str
    samples: int
    dt: float | None
    known: dict[tuple[Path | None, str | None, int | None, Path | None], PricedRun] = field(default_factory=dict)

    def __call__(self, side: Side) -> PricedRun:
        """A side's model on its input.

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
            if not side.model.is_file():
                raise ClaimError(f"{side.model}: no such file; a path in a claims file starts from the file's folder")
            graph = load(side.model, self.dt)
            print_notes(graph)
            data = open_input(spec, graph, split="test", samples=side.samples or self.samples)
            run = run_and_price(graph, data, self.tables, progress=True)
            self.known[key] = run.priced(run.measured(side.checkpoint))
        return self.known[key]
