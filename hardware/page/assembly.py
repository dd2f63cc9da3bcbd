"""How a report comes about: one run, and everything that is counted, compared, placed, priced and judged from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from neurotarget.hardware.commands import SAMPLES
from neurotarget.hardware.counts import other_packages
from neurotarget.hardware.counts.summary import mean_layer
from neurotarget.hardware.energy import sensitivity, twin
from neurotarget.hardware.energy.beside import NetworkRow, network_row
from neurotarget.hardware.energy.claims import Claim, Side
from neurotarget.hardware.energy.front_end import TABLE, FrontEnd, front_end
from neurotarget.hardware.energy.judgement import judge
from neurotarget.hardware.energy.memory import by_layer
from neurotarget.hardware.energy.prices import PriceTable, load_tables, with_measured
from neurotarget.hardware.energy.published import load_published
from neurotarget.hardware.energy.reserved import reservations
from neurotarget.hardware.energy.runs import OWN, Run, Runs, count_and_price
from neurotarget.hardware.energy.trained_twin import TrainedTwin
from neurotarget.hardware.energy.verdict import verdicts as by_boundary
from neurotarget.hardware.energy.whole_chip import whole_chips
from neurotarget.hardware.energy.withheld import at_chance, silent
from neurotarget.hardware.meters.measurement import Measured, measure
from neurotarget.hardware.page.checks import InSinglePrecision, check_parity, single_precision
from neurotarget.hardware.page.contents import FORMAT, InputRun, Report
from neurotarget.hardware.page.origin import accuracy_note, describe_model, environment
from neurotarget.hardware.sanafe.simulation import simulate
from neurotarget.hardware.verdict import questions
from neurotarget.hardware.verdict.integers import (
    InIntegers,
    IntegerForm,
    integer_form,
    load_integers,
    quantised_beside,
)
from neurotarget.hardware.verdict.left_out import left_out
from neurotarget.hardware.verdict.rows import conclude
from neurotarget.hardware.verdict.words import words_of
from neurotarget.sim import reference
from neurotarget.sim.activity import activity
from neurotarget.sim.graph import Graph
from neurotarget.sim.graph.node import GraphError
from neurotarget.sim.inputs import Input
from neurotarget.sim.observed import Observed
from neurotarget.sim.reference import Again, Attempt, Attempting, Fold
from neurotarget.sim.schedule import latency_ms, schedule
from neurotarget.sim.trace import Trace

if TYPE_CHECKING:
    from neurotarget.conversion.export.torch_network import TorchNetwork


@dataclass(frozen=True, eq=False)
class Given:
    """What a report is made of.

    Attributes:
        file: of the network.
        graph: in it.
        data: samples to run.
        network: in PyTorch, for parity, other packages' counters and measured energy.
        quantised: file of the network in integers; one that lies beside the network's file is found.
        lava_samples: to run in Lava too.
        chip_samples: to run in the chip simulator; 0 leaves it out.
        counters: run other packages' counters.
        tables: price tables, by default those that ship and those of measured devices.
        claims: to judge.
        beside: other networks to count and price.
        samples: of their inputs.
        twin: checkpoint of the trained twin.
        dt: seconds per step, for files that do not say.
    """

    file: Path
    graph: Graph
    data: Input
    network: TorchNetwork | None = None
    quantised: Path | None = None
    lava_samples: int = 3
    chip_samples: int = 0
    counters: bool = False
    tables: list[PriceTable] = field(default_factory=lambda: load_tables(with_measured()))
    claims: Sequence[Claim] = ()
    beside: Sequence[Side] = ()
    samples: int = SAMPLES
    twin: Path | None = None
    dt: float | None = None


def make(given: Given) -> tuple[Report, Trace]:
    """Runs, counts, compares and prices: the report, and the reference run of the first samples."""
    graph, data, tables = given.graph, given.data, given.tables
    integers, why_no_integers = integers_of(given)
    folds: dict[str, Fold] = {}
    if given.network is None:
        folds["single"] = InSinglePrecision(Again(graph, "float32"))
    if integers is not None:
        folds["integers"] = InIntegers(Again(integers))
    run = count_and_price(graph, data, tables, progress=True, also=list(map(Attempting, folds.values())))
    also = dict(zip(folds, run.also, strict=True))
    run = run.on_chips(*for_chips(given, run, integers, also.get("integers")))
    observed, counts = run.observed, run.counts
    first = data.rows(slice(max(sensitivity.SAMPLES, other_packages.SAMPLES, given.lava_samples, given.chip_samples)))
    head = reference.run(graph, first.frames, first.lengths, first.labels)
    parity, unavailable = check_parity(graph, data, head, given.network, given.lava_samples)
    measured = run.measured(given.network)
    beside_it = given.twin if isinstance(measured, Measured) else None
    measured_twin = None if beside_it is None else measure(beside_it, data.frames, data.lengths)
    runs = Runs(tables, data.spec, given.samples, given.dt)
    runs.known[OWN] = run.priced(measured)
    latency = schedule(graph, observed.steps).total
    withheld = silent(run.totals) or at_chance(observed)
    verdicts = by_boundary(run.energy, measured, withheld)
    placement = run.placement
    words = words_of(data.spec, data.frames.ndim)
    twins = twin.compare(counts, sample=words.a_sample)
    simulation = simulate(graph, head, given.chip_samples) if given.chip_samples else None
    trained = rivals(given, run)
    sound = sound_of(given, run)
    integer_run, why_no_integers = in_integers(given, observed, also.get("integers"), why_no_integers)
    seconds = None if graph.dt_is_default else graph.dt * run.totals.steps_per_sample
    made = Report(
        format=FORMAT,
        model=describe_model(graph, given.file, run.totals),
        input=InputRun(data.spec, observed.samples, observed.sample_steps),
        accuracy=run.accuracy,
        accuracy_note=accuracy_note(data.spec, observed),
        activity=activity(graph, observed.fired),
        latency_steps=latency,
        latency_ms=latency_ms(graph, latency),
        withheld=withheld,
        verdict=conclude(
            [
                questions.float_row(parity, unavailable),
                questions.integers_row(integer_run, why_no_integers),
                questions.chip_row(placement),
                *([] if simulation is None else [questions.simulated_row(simulation)]),
                questions.twin_row(twins, trained, run.accuracy, withheld),
                questions.dense_row(verdicts, withheld),
                questions.measured_row(measured, measured_twin),
            ],
            left_out(sound, observed, run.totals.parameters, seconds, words.a_sample),
        ),
        verdicts=tuple(verdicts),
        parity=tuple(parity),
        parity_unavailable=tuple(unavailable),
        precision=single_precision(graph, also["single"]) if "single" in also else None,
        integers=integer_run,
        layers=tuple(mean_layer(layer) for layer in counts),
        totals=run.totals,
        energy=run.energy,
        memory_layers=tuple(by_layer(counts, tables)),
        uncertainty=tuple(sensitivity.uncertainties(graph, head, counts, tables)),
        front_end=None if isinstance(sound, str) else sound,
        networks=networks(given, runs),
        twin=twins,
        trained_twins=trained,
        placement=placement,
        chip_simulation=simulation,
        whole_chips=tuple(whole_chips(counts, tables, reservations(placement))),
        claims=tuple(judge(claim, runs) for claim in given.claims),
        counters=other_packages.compare_counters(given.network, graph, head)
        if given.counters and given.network
        else None,
        measured=measured,
        measured_twin=measured_twin,
        published=tuple(load_published()),
        environment=environment(),
    )
    return made, head


def integers_of(given: Given) -> tuple[Graph | None, str]:
    """The network in integers, or the reason why there is none.

    Raises:
        GraphError: the quantised file that was given cannot be compared; one that was only found is left out.
    """
    if given.graph.quantised:
        return None, f"{given.file} is in integers itself; report on its file in float, with --quantized {given.file}"
    file = given.quantised or quantised_beside(given.file)
    if file is None:
        return None, f"no quantised file: make one with conversion.quantize {given.file}, or name it by --quantized"
    try:
        return load_integers(given.graph, file), ""
    except GraphError as error:
        if given.quantised is not None:
            raise
        return None, str(error)


def for_chips(given: Given, run: Run, integers: Graph | None, attempt: Attempt | None) -> tuple[Graph, Observed]:
    """What a chip would take, with a run of it: the network in integers where it ran, else as it is."""
    if integers is None or attempt is None or attempt.failed is not None:
        return given.graph, run.observed
    return integers, attempt.found.observed


def in_integers(given: Given, in_float: Observed, attempt: Attempt | None, why: str) -> tuple[IntegerForm | None, str]:
    """The network's answers in integers, or the reason why they are not known.

    Raises:
        GraphError: the quantised file that was given cannot be compared; one that was only found is left out.
    """
    if attempt is None:
        return None, why
    if attempt.failed is not None:
        if given.quantised is not None:
            raise attempt.failed
        return None, str(attempt.failed)
    file = given.quantised or quantised_beside(given.file)
    assert file is not None
    return integer_form(file, in_float, attempt.found), ""


def sound_of(given: Given, run: Run) -> FrontEnd | str:
    """The front end that the samples need, or why it is not known."""
    table = next((table for table in given.tables if table.name == TABLE), None)
    figure = next((row for row in run.energy if row.table == TABLE), None)
    if table is None or figure is None:
        return f"no price table {TABLE}"
    return front_end(given.data.spec, run.totals.steps_per_sample, table, figure.snn_uj, figure.ann_uj)


def networks(given: Given, runs: Runs) -> tuple[NetworkRow, ...]:
    """The report's own network and those beside it; none without others."""
    if not given.beside:
        return ()
    own = network_row(given.file, given.data.spec, runs.known[OWN])
    others = [(side.model or given.file, side.input or given.data.spec, runs(side)) for side in given.beside]
    return own, *(network_row(*other) for other in others)


def rivals(given: Given, run: Run) -> tuple[TrainedTwin, ...]:
    """The forms of the trained twin on the report's input; none without `--twin`."""
    if given.twin is None:
        return ()
    from neurotarget.hardware.energy.twin_file import trained_twins

    return trained_twins(given.twin, run.data, given.tables, run.energy, run.parts)
