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
from typing import Any

import numpy as np
from neurotarget.hardware.chips.limits import load_chip, shipped
from neurotarget.hardware.counts.layers import LayerCount
from neurotarget.hardware.counts.summary import layer_row, totals_row
from neurotarget.hardware.energy import beside, twin
from neurotarget.hardware.energy.claims import check_tables, judge, load_claims
from neurotarget.hardware.energy.memory import by_layer
from neurotarget.hardware.energy.prices import load_tables
from neurotarget.hardware.energy.published import PUBLISHED
from neurotarget.hardware.energy.runs import OWN, Runs, run_and_price
from neurotarget.hardware.energy.verdict import verdicts
from neurotarget.hardware.meters.measurement import measure
from neurotarget.hardware.place import describe, sentence
from neurotarget.sim import reference
from neurotarget.sim.graph import Graph, load
from neurotarget.sim.graph.node import GraphError
from neurotarget.sim.inputs import open_input
from neurotarget.sim.schedule import schedule
from neurotarget.sim.trace import Trace, unreadable

from neurotarget.cli import Command, Result
from neurotarget.errors import UserError
from neurotarget.files import as_utf8, check_folder, write_together

FORMAT = 1
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
        type=beside.side,
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
    parser.add_argument("--dt", type=float, help="seconds a step, for a file that does not say (default 1e-4)")


def work(arguments: argparse.Namespace) -> Result:
    check_folder(arguments.out)
    report, trace = build(arguments)
    write(arguments.out, report, trace)
    lines = [f"note: {note}" for note in report["model"]["notes"]]
    lines += [verdict["sentence"] for verdict in report["verdicts"]]
    lines += [f"claim: {claim['name']}: {claim['answer']}" for claim in report["claims"]]
    for result in report["placement"]:
        lines.append(f"{result['chip']}: {result['reason']}" if "reason" in result else sentence(result))
    lines += [f"meter: {meter['meter']}: {meter['reason']}" for meter in report["measured"]["meters"]]
    lines += [f"parity: {entry['sides']}: {parity_words(entry)}" for entry in report["parity"]]
    lines.append(f"written: {arguments.out / 'report.html'}")
    holds = all(entry["holds"] for entry in report["parity"] if entry["required"])
    return Result(report, "\n".join(lines), holds)


class ReportError(UserError):
    """A report that cannot be made from what was given."""


# ---- the flow --------------------------------------------------------------------------------------------------------


def build(arguments: argparse.Namespace) -> tuple[dict[str, Any], Trace]:
    """Everything that `report.json` holds, and the reference run that it was counted from.

    Raises:
        GraphError, TraceError, PriceError, InputError, DataError, CheckpointError: what was given cannot be used.
    """
    if arguments.compare_counters and arguments.checkpoint is None:
        raise ReportError("--compare-counters runs the packages on a checkpoint; give --checkpoint too")
    tables = load_tables(arguments.prices)
    claims = [] if arguments.claims is None else load_claims(arguments.claims)
    check_tables(claims, [table.name for table in tables])
    graph = load(arguments.model, arguments.dt)
    if arguments.checkpoint is not None:
        from neurotarget.conversion.to_nir import require_same_network

        require_same_network(graph, arguments.checkpoint)
    data = open_input(arguments.input, graph, split="test", samples=arguments.samples)
    run = run_and_price(graph, data, tables, progress=True)
    trace, counts = run.trace, run.counts
    parity, unavailable = check_parity(graph, trace, data.frames, arguments.checkpoint, arguments.lava_samples)
    measured = measure(arguments.checkpoint, data.frames, data.lengths, run.figures)
    counters = None
    if arguments.compare_counters:
        from neurotarget.hardware.counts.other_packages import compare_counters

        counters = compare_counters(arguments.checkpoint, graph, trace)
    runs = Runs(tables, arguments.input, arguments.samples, arguments.dt)
    own = runs.known[OWN] = run.summary(measured)
    report = {
        "format": FORMAT,
        "model": describe_model(graph, arguments.model, counts),
        "input": {"spec": arguments.input, "samples": trace.samples, "steps": trace.sample_steps},
        "accuracy": run.accuracy,
        "accuracy_note": accuracy_note(arguments.input, run.accuracy, trace),
        "latency_steps": schedule(graph, trace.input.shape[1]).total,
        "verdicts": [verdict.as_dict() for verdict in verdicts(run.energy, measured)],
        "parity": parity,
        "parity_unavailable": unavailable,
        "layers": [layer_row(layer) for layer in counts],
        "totals": run.totals,
        "energy": run.energy,
        "memory_layers": by_layer(counts, tables),
        "networks": beside.networks(own, arguments.model, arguments.input, arguments.beside, runs),
        "twin": twin.compare(counts),
        "placement": placements(graph, trace),
        "claims": judge(claims, runs),
        "counters": counters,
        "measured": measured,
        "published": [figure.as_dict() for figure in PUBLISHED],
        "environment": environment(),
    }
    return report, trace


def placements(graph: Graph, trace: Trace) -> list[dict[str, Any]]:
    """The network on each chip that ships, or the reason why it cannot be placed."""
    result: list[dict[str, Any]] = []
    for name in shipped():
        chip = load_chip(name)
        try:
            result.append(describe(graph, chip, trace=trace))
        except GraphError as error:  # a graph that cannot stream can still be counted
            result.append({"chip": chip.title, "fits": False, "reason": str(error)})
    return result


def check_parity(
    graph: Graph, trace: Trace, frames: np.ndarray, checkpoint: Path | None, lava_samples: int
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Compares the other simulators with the reference in double precision.

    Returns:
        Entries of `parity`; those with `required` decide the exit code, the single-precision one is a measurement. And
        what could not be checked, with the reason.
    """
    from neurotarget.sim.parity import compare

    entries: list[dict[str, Any]] = []
    unavailable: list[dict[str, str]] = []

    def add(first: Trace, second: Trace, required: bool) -> None:
        entries.append(compare(graph, first, second).as_dict() | {"required": required})

    if checkpoint is not None:
        from neurotarget.conversion.export.parity import pytorch_trace

        for precision in ("float64", "float32"):
            run = pytorch_trace(checkpoint, frames, trace.lengths, precision=precision)
            add(run, trace, required=precision == "float64")
    else:
        unavailable.append({"sides": "pytorch against reference", "reason": "no --checkpoint was given"})
        try:
            add(reference.run(graph, frames, trace.lengths, precision="float32"), trace, required=False)
        except GraphError as error:  # what double precision holds may overflow here
            unavailable.append({"sides": "reference float32 against reference float64", "reason": str(error)})
    if lava_samples < 1:
        unavailable.append({"sides": "reference against lava", "reason": "left out by --lava-samples 0"})
        return entries, unavailable
    from neurotarget.sim.lava import LavaError

    few = trace.rows(slice(lava_samples))
    try:
        from neurotarget.sim import lava

        add(few, lava.run(graph, few.input, few.lengths, progress=True), required=True)
    except LavaError as error:
        unavailable.append({"sides": "reference against lava", "reason": str(error)})
    return entries, unavailable


def parity_words(entry: dict[str, Any]) -> str:
    """A parity entry in words."""
    if entry["holds"]:
        ties = f", {entry['near_threshold']} ties" if entry["near_threshold"] else ""
        return f"equal, {entry['spikes']} spikes over {entry['samples']} samples and {entry['steps']} steps{ties}"
    if not entry["mismatched"]:
        return (
            f"no spike differs in {entry['samples']} samples, outputs differ by up to {entry['output_difference']:.3g}"
        )
    difference = f"first divergence: {entry['first_divergence']}"
    return f"{entry['mismatched']} of {entry['spikes']} spikes differ in {entry['samples']} samples, {difference}"


def describe_model(graph: Graph, path: Path, counts: list[LayerCount]) -> dict[str, Any]:
    totals = totals_row(counts)
    return {
        "file": str(path),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "nodes": len(graph.nodes),
        "spiking_nodes": len(graph.spiking),
        "neurons": totals["neurons"],
        "parameters": totals["parameters"],
        "dt_seconds": graph.dt,
        "dt_is_default": graph.dt_is_default,
        "readout": graph.readout,
        "notes": list(graph.notes),
    }


def accuracy_note(spec: str, accuracy: float | None, trace: Trace) -> str:
    if accuracy is None:
        return (None if trace.labels is None else unreadable(trace.output)) or "the input has no labels"
    synthetic = spec.partition("?")[0].partition(":")[0] == "synth"
    return f"measured on {trace.samples} samples of {spec}" + (f" ({SYNTHETIC})" if synthetic else "")


def environment() -> dict[str, Any]:
    """Versions and machine."""
    names = ("numpy", "nir", "torch", "spikingjelly", "numba", "lava-nc", "matplotlib", "neurotarget")
    versions: dict[str, str | None] = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "versions": versions,
    }


# ---- files -----------------------------------------------------------------------------------------------------------


def write(folder: Path, report: dict[str, Any], trace: Trace) -> None:
    """Writes the report's files; none appears under its name before all are complete."""
    from neurotarget.hardware.page.card import layers_csv, model_card
    from neurotarget.hardware.page.render import render

    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "report.json": json.dumps(report, indent=1, allow_nan=False) + "\n",
        "report.html": render(report, trace),
        "layers.csv": layers_csv(report),
        "model_card.md": model_card(report),
    }
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
