"""`python -m hardware.report model.nir --input INPUT --out DIR`: is it the same network, and what does it cost?

Runs the reference simulator, counts every operation, checks the other simulators against it, prices the counts, and
places it on chips, judges claims, and writes `report.json`, `report.html`, `layers.csv`, `energies.csv` and
`model_card.md`, with --latex `report.tex` and `report.bib` (docs/report.md).
"""

from __future__ import annotations

import sys

from neurotarget.hardware.commands import report as main

if __name__ == "__main__":  # before the imports that take long: --help needs none of them
    sys.exit(main())

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurotarget.hardware.chips.fit import Fit
from neurotarget.hardware.energy.claims import Side, check_tables, load_claims
from neurotarget.hardware.energy.prices import load_tables, with_measured
from neurotarget.hardware.page.assembly import Given, make
from neurotarget.hardware.page.card import layers_csv, render_card
from neurotarget.hardware.page.contents import Report, as_json
from neurotarget.hardware.page.origin import made_now
from neurotarget.hardware.page.paper import bibtex, energies_csv, latex, usual_line
from neurotarget.hardware.page.render import render_page
from neurotarget.hardware.sanafe import parent as sanafe
from neurotarget.sim import reference
from neurotarget.sim.graph import Graph, load
from neurotarget.sim.inputs import Input, as_input, open_input
from neurotarget.sim.trace import Trace

from neurotarget.cli import Result
from neurotarget.errors import UserError
from neurotarget.files import as_utf8, check_folder, write_together
from neurotarget.terminal import results

if TYPE_CHECKING:
    from neurotarget.conversion.export.torch_network import TorchNetwork
    from torch import nn


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
    with reference.sharing(arguments.workers, arguments.scheduler):
        made, trace = build(arguments)
    write(arguments.out, made, trace, arguments.command, arguments.latex)
    holds = all(check.holds for check in made.parity if check.required)
    holds &= made.chip_simulation is None or made.chip_simulation.holds
    return Result(as_json(made), words(made, arguments.out), holds)


def words(report: Report, folder: Path) -> str:
    """The report for a terminal."""
    lines = [] if report.silence is None else [report.silence]
    lines += report.activity.sentences()
    rows = [("question", "answer", "standing", "how sure")]
    rows += [(row.question, row.answer, row.standing, row.kind) for row in report.verdict.rows]
    lines += [f"note: {note}" for note in report.model.notes]
    lines += [verdict.sentence for verdict in report.verdicts]
    lines.append(f"usual line: {usual_line(report)}")
    lines += [f"claim: {claim.name}: {claim.answer}{claim.reason and ', '}{claim.reason}" for claim in report.claims]
    for result in report.placement:
        lines.append(result.placed if isinstance(result, Fit) else f"{result.chip}: {result.reason}")
    lines += report.chip_simulation.sentences if report.chip_simulation else ()
    lines += [f"meter: {meter.meter}: {meter.reason}" for meter in report.measured.meters]
    lines += [f"parity: {check.sides}: {check.sentence}" for check in report.parity]
    if report.precision is not None:
        lines.append(f"precision, no parity: {report.precision.sides}: {report.precision.sentence}")
    lines.append(f"written: {folder / 'report.html'}")
    return results(rows, lines, report.verdict.headline, texts=4)


class ReportError(UserError):
    """A report that cannot be made from what was given."""


# ---- the flow --------------------------------------------------------------------------------------------------------


def report(
    file: str | Path,
    frames: Any,
    folder: str | Path,
    *,
    lengths: Any = None,
    labels: Any = None,
    network: nn.Module | None = None,
    lava_samples: int = 3,
    compare_counters: bool = False,
) -> Report:
    """Counts, compares and prices a network on some samples, and writes `report.html`, `report.json` and two more.

    >>> made = neurotarget.report("network.nir", frames, "report", network=network, lava_samples=0)
    >>> made.totals.neurons, [check.holds for check in made.parity if check.required]
    (36, [True])

    Args:
        file: the network's NIR file.
        frames: [samples, steps, ...], an array or a tensor.
        folder: for the report; made if missing.
        lengths, labels: whole numbers [samples].
        network: that the file was made of: adds parity with PyTorch, and its measured energy where there is a meter.
        lava_samples: to run in Lava too; 0 leaves it out.
        compare_counters: run other packages' counters on the network.

    Returns:
        What `report.json` holds (docs/report.md).

    Raises:
        GraphError, InputError, NetworkError: the file, the samples or the network cannot be used.
    """
    check_folder(folder)
    graph, data = load(file), as_input(frames, lengths, labels)
    torch_network = None if network is None else own_network(graph, network, "network", data)
    given = Given(Path(file), graph, data, torch_network, lava_samples=lava_samples, counters=compare_counters)
    made, trace = make(given)
    write(Path(folder), made, trace, f'neurotarget.report("{file}", frames, "{folder}")')
    return made


def build(arguments: argparse.Namespace) -> tuple[Report, Trace]:
    """Everything that `report.json` holds, and the reference run that it was counted from.

    Raises:
        GraphError, TraceError, PriceError, InputError, DataError, CheckpointError, NetworkError: what was given cannot
        be used.
    """
    if arguments.network is not None and arguments.checkpoint is not None:
        raise ReportError("--checkpoint and --network: one network is expected")
    if arguments.weights is not None and arguments.network is None:
        raise ReportError("--weights goes with --network; a checkpoint holds its own")
    if arguments.compare_counters and arguments.checkpoint is None and arguments.network is None:
        raise ReportError("--compare-counters runs the packages on a network; give --checkpoint or --network too")
    if arguments.chip_samples < 1:
        raise ReportError(f"--chip-samples {arguments.chip_samples}: at least 1 is needed")
    if arguments.chip_simulator is not None:
        sanafe.version()  # says at once where there is none
    tables = load_tables(with_measured(arguments.prices))
    claims = [] if arguments.claims is None else load_claims(arguments.claims)
    check_tables(claims, tables)
    graph = load(arguments.model, arguments.dt, arguments.reset)
    network = None
    if arguments.checkpoint is not None:
        from neurotarget.conversion.export.torch_network import of_checkpoint
        from neurotarget.conversion.to_nir import require_same_network

        require_same_network(graph, arguments.checkpoint)
        network = of_checkpoint(arguments.checkpoint)
    data = open_input(arguments.input, graph, split="test", samples=arguments.samples)
    if arguments.network is not None:
        from neurotarget.conversion.export.factory import make_network

        network = own_network(graph, make_network(arguments.network, arguments.weights), arguments.network, data)
    return make(
        Given(
            file=arguments.model,
            graph=graph,
            data=dataclasses.replace(data, spec=arguments.input),
            network=network,
            quantised=arguments.quantized,
            lava_samples=arguments.lava_samples,
            chip_samples=arguments.chip_samples if arguments.chip_simulator else 0,
            counters=arguments.compare_counters,
            tables=tables,
            claims=claims,
            beside=arguments.beside,
            samples=arguments.samples,
            twin=arguments.twin,
            dt=arguments.dt,
        )
    )


def own_network(graph: Graph, network: nn.Module, name: str, data: Input) -> TorchNetwork:
    """A network of the user's own, once it is known to be the file's.

    Raises:
        NetworkError, UnsupportedModule: it is another, or takes the samples in no way that is known.
    """
    from neurotarget.conversion.export.torch_network import of_network
    from neurotarget.conversion.to_nir import require_own_network

    reference.checked_lengths(graph, data.frames, data.lengths)
    require_own_network(graph, network, name, data.frames)
    return of_network(network, data.frames)


# ---- files -----------------------------------------------------------------------------------------------------------


def write(folder: Path, report: Report, trace: Trace, command: str, for_paper: bool = False) -> None:
    """Writes the report's files; none appears under its name before all are complete.

    Args:
        command: that was given, for the page.
        for_paper: LaTeX and BibTeX too.
    """
    texts = {
        "report.json": json.dumps(as_json(report), indent=1) + "\n",
        "report.html": render_page(report, trace, made_now(command)),
        "layers.csv": layers_csv(report),
        "energies.csv": energies_csv(report),
        "model_card.md": render_card(report),
    }
    if for_paper:
        texts |= {"report.tex": latex(report), "report.bib": bibtex(report)}
    folder.mkdir(parents=True, exist_ok=True)
    write_together({folder / name: as_utf8(text) for name, text in texts.items()})
