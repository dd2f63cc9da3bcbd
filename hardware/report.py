"""`python -m hardware.report model.nir --input INPUT --out DIR`: is it the same network, and what does it cost?

Runs the reference simulator, counts every operation, checks the other simulators against it, prices the counts, and
places it on chips, judges claims, and writes `report.json`, `report.html`, `layers.csv` and `model_card.md`
(docs/report.md).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
from neurotarget.hardware.chips.fit import Fit, NotPlaced, fit
from neurotarget.hardware.chips.limits import Chip, load_chip, shipped
from neurotarget.hardware.counts.other_packages import compare_counters
from neurotarget.hardware.counts.summary import Totals, mean_layer
from neurotarget.hardware.energy import twin
from neurotarget.hardware.energy.beside import NetworkRow, network_row
from neurotarget.hardware.energy.claims import Side, check_tables, load_claims
from neurotarget.hardware.energy.judgement import judge
from neurotarget.hardware.energy.memory import by_layer
from neurotarget.hardware.energy.prices import load_tables
from neurotarget.hardware.energy.published import load_published
from neurotarget.hardware.energy.runs import OWN, Runs, run_and_price
from neurotarget.hardware.energy.verdict import verdicts
from neurotarget.hardware.energy.whole_chip import whole_chips
from neurotarget.hardware.page.card import layers_csv, render_card
from neurotarget.hardware.page.contents import (
    FORMAT,
    Environment,
    InputRun,
    Model,
    ParityCheck,
    ParityUnavailable,
    Report,
    as_json,
)
from neurotarget.hardware.page.render import render_page
from neurotarget.sim import lava, reference
from neurotarget.sim.graph import Graph, load
from neurotarget.sim.graph.node import GraphError
from neurotarget.sim.inputs import open_input
from neurotarget.sim.parity import compare
from neurotarget.sim.run import add_reading_arguments
from neurotarget.sim.schedule import schedule
from neurotarget.sim.trace import Trace, unreadable

from neurotarget.cli import Command, Result
from neurotarget.errors import UserError
from neurotarget.files import as_utf8, check_folder, write_together

SYNTHETIC = "synthetic speech, made by a speech synthesiser: says nothing about accuracy on people"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="NIR file")
    parser.add_argument("--input", required=True, help="data SPEC, or an .npz with `input` [samples, steps, features]")
    parser.add_argument("--out", type=Path, required=True, help="folder for the report; made if missing")
    parser.add_argument(
        "--checkpoint", type=Path, help="the ckpt.pt of the model: adds PyTorch parity and the GPU path"
    )
    parser.add_argument("--samples", type=int, default=200, help="samples to count (default 200)")
    parser.add_argument(
        "--lava-samples", type=int, default=3, help="samples to run in Lava too; 0 leaves it out (default 3)"
    )
    parser.add_argument(
        "--prices", type=Path, action="append", default=[], help="a further price table; may be repeated"
    )
    parser.add_argument("--claims", type=Path, help="a TOML file of energy claims to judge; configs/ has examples")
    parser.add_argument(
        "--beside",
        type=beside,
        action="append",
        default=[],
        metavar="MODEL.nir[=INPUT]",
        help="another network to count and price beside this one, on --input or its own; may be repeated",
    )
    parser.add_argument(
        "--compare-counters",
        action="store_true",
        help="run SpikingJelly's op_counter, syops and NeuroBench on the --checkpoint too (requirements-counters.txt)",
    )
    add_reading_arguments(parser)


def beside(text: str) -> Side:
    """What `--beside MODEL.nir` or `--beside MODEL.nir=INPUT` names; without INPUT it runs on the report's own.

    Raises:
        argparse.ArgumentTypeError: no model before the equals sign.
    """
    model, _, spec = text.partition("=")
    if not model:
        raise argparse.ArgumentTypeError(f"{text!r}: MODEL.nir or MODEL.nir=INPUT is expected")
    return Side(model=Path(model), input=spec or None)


def work(arguments: argparse.Namespace) -> Result:
    check_folder(arguments.out)
    report, trace = build(arguments)
    write(arguments.out, report, trace)
    holds = all(check.holds for check in report.parity if check.required)
    return Result(as_json(report), words(report, arguments.out), holds)


def words(report: Report, folder: Path) -> str:
    """The report for a terminal."""
    lines = [f"note: {note}" for note in report.model.notes]
    lines += [verdict.sentence for verdict in report.verdicts]
    lines += [f"claim: {claim.name}: {claim.answer}" for claim in report.claims]
    for result in report.placement:
        lines.append(result.sentence if isinstance(result, Fit) else f"{result.chip}: {result.reason}")
    lines += [f"meter: {meter.meter}: {meter.reason}" for meter in report.measured.meters]
    lines += [f"parity: {check.sides}: {check.sentence}" for check in report.parity]
    if report.precision is not None:
        lines.append(f"precision, no parity: {report.precision.sides}: {report.precision.sentence}")
    return "\n".join([*lines, f"written: {folder / 'report.html'}"])


class ReportError(UserError):
    """A report that cannot be made from what was given."""


# ---- the flow --------------------------------------------------------------------------------------------------------


def build(arguments: argparse.Namespace) -> tuple[Report, Trace]:
    """Everything that `report.json` holds, and the reference run that it was counted from.

    Raises:
        GraphError, TraceError, PriceError, InputError, DataError, CheckpointError: what was given cannot be used.
    """
    if arguments.compare_counters and arguments.checkpoint is None:
        raise ReportError("--compare-counters runs the packages on a checkpoint; give --checkpoint too")
    tables = load_tables(arguments.prices)
    claims = [] if arguments.claims is None else load_claims(arguments.claims)
    check_tables(claims, tables)
    graph = load(arguments.model, arguments.dt, arguments.reset)
    if arguments.checkpoint is not None:
        from neurotarget.conversion.to_nir import require_same_network

        require_same_network(graph, arguments.checkpoint)
    data = open_input(arguments.input, graph, split="test", samples=arguments.samples)
    run = run_and_price(graph, data, tables, progress=True)
    trace, counts = run.trace, run.counts
    parity, unavailable = check_parity(graph, trace, data.frames, arguments.checkpoint, arguments.lava_samples)
    measured = run.measured(arguments.checkpoint)
    runs = Runs(tables, arguments.input, arguments.samples, arguments.dt)
    runs.known[OWN] = run.priced(measured)
    report = Report(
        format=FORMAT,
        model=describe_model(graph, arguments.model, run.totals),
        input=InputRun(arguments.input, trace.samples, trace.sample_steps),
        accuracy=run.accuracy,
        accuracy_note=accuracy_note(arguments.input, run.accuracy, trace),
        latency_steps=schedule(graph, trace.input.shape[1]).total,
        verdicts=tuple(verdicts(run.energy, measured)),
        parity=tuple(parity),
        parity_unavailable=tuple(unavailable),
        precision=None if arguments.checkpoint else single_precision(graph, trace, data.frames),
        layers=tuple(mean_layer(layer) for layer in counts),
        totals=run.totals,
        energy=run.energy,
        memory_layers=tuple(by_layer(counts, tables)),
        networks=networks(arguments, runs),
        twin=twin.compare(counts),
        placement=tuple(placed(graph, load_chip(name), trace) for name in shipped()),
        whole_chips=tuple(whole_chips(counts, tables)),
        claims=tuple(judge(claim, runs) for claim in claims),
        counters=compare_counters(arguments.checkpoint, graph, trace) if arguments.compare_counters else None,
        measured=measured,
        published=tuple(load_published()),
        environment=environment(),
    )
    return report, trace


def networks(arguments: argparse.Namespace, runs: Runs) -> tuple[NetworkRow, ...]:
    """The report's own network and those beside it; none without others."""
    if not arguments.beside:
        return ()
    own = network_row(arguments.model, arguments.input, runs.known[OWN])
    return own, *(network_row(side.model, side.input or arguments.input, runs(side)) for side in arguments.beside)


def placed(graph: Graph, chip: Chip, trace: Trace) -> Fit | NotPlaced:
    """The network on a chip, or the reason why it cannot be placed."""
    try:
        return fit(graph, chip, trace=trace)
    except GraphError as error:  # a graph that cannot stream can still be counted
        return NotPlaced(chip.title, False, str(error))


def check_parity(
    graph: Graph, trace: Trace, frames: np.ndarray, checkpoint: Path | None, lava_samples: int
) -> tuple[list[ParityCheck], list[ParityUnavailable]]:
    """Compares the other simulators with the reference in double precision.

    Returns:
        What was compared, and what could not be, with the reason.
    """
    checks: list[ParityCheck] = []
    unavailable: list[ParityUnavailable] = []

    if checkpoint is None:
        unavailable.append(ParityUnavailable("pytorch against reference", "no --checkpoint was given"))
    else:
        from neurotarget.conversion.export.parity import pytorch_trace

        for precision in ("float64", "float32"):
            run = pytorch_trace(checkpoint, frames, trace.lengths, precision=precision)
            checks.append(parity_check(graph, run, trace, required=precision == "float64"))
    if lava_samples < 1:
        unavailable.append(ParityUnavailable("reference against lava", "left out by --lava-samples 0"))
        return checks, unavailable
    few = trace.rows(slice(lava_samples))
    try:
        streamed = lava.run(graph, few.input, few.lengths, progress=True)
        checks.append(parity_check(graph, few, streamed, required=True))
    except lava.LavaError as error:
        unavailable.append(ParityUnavailable("reference against lava", str(error)))
    return checks, unavailable


def parity_check(graph: Graph, first: Trace, second: Trace, required: bool) -> ParityCheck:
    return ParityCheck(**compare(graph, first, second).as_dict(), required=required)


def single_precision(graph: Graph, trace: Trace, frames: np.ndarray) -> ParityCheck | ParityUnavailable:
    """The reference in single precision against its run in double precision, `trace`."""
    try:
        single = reference.run(graph, frames, trace.lengths, precision="float32")
    except GraphError as error:  # what double precision holds may overflow here
        return ParityUnavailable("reference float32 against reference float64", str(error))
    return parity_check(graph, single, trace, required=False)


def describe_model(graph: Graph, path: Path, totals: Totals) -> Model:
    return Model(
        file=str(path),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        nodes=len(graph.nodes),
        spiking_nodes=len(graph.spiking),
        neurons=totals.neurons,
        parameters=totals.parameters,
        dt_seconds=graph.dt,
        dt_is_default=graph.dt_is_default,
        readout=graph.readout,
        notes=tuple(graph.notes),
    )


def accuracy_note(spec: str, accuracy: float | None, trace: Trace) -> str:
    if accuracy is None:
        return (None if trace.labels is None else unreadable(trace.output)) or "the input has no labels"
    synthetic = spec.partition("?")[0].partition(":")[0] == "synth"
    return f"measured on {trace.samples} samples of {spec}" + (f" ({SYNTHETIC})" if synthetic else "")


def environment() -> Environment:
    """Versions and machine."""
    versions: dict[str, str | None] = {}
    for name in ("numpy", "nir", "torch", "spikingjelly", "numba", "lava-nc", "matplotlib", "neurotarget"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return Environment(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        cores=os.cpu_count(),
        versions=versions,
    )


# ---- files -----------------------------------------------------------------------------------------------------------


def write(folder: Path, report: Report, trace: Trace) -> None:
    """Writes the report's files; none appears under its name before all are complete."""
    texts = {
        "report.json": json.dumps(as_json(report), indent=1) + "\n",
        "report.html": render_page(report, trace),
        "layers.csv": layers_csv(report),
        "model_card.md": render_card(report),
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_together({folder / name: as_utf8(text) for name, text in texts.items()})


main = Command(
    door="hardware.report",
    description="Count, compare and price one network on one input; writes report.json and report.html.",
    example="runs/demo/ckpt.nir --input synth --checkpoint runs/demo/ckpt.pt --out report",
    add_arguments=add_arguments,
    work=work,
    interrupted="interrupted: nothing written",
)

if __name__ == "__main__":
    sys.exit(main())
