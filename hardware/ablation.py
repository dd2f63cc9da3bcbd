"""What do the arms of an ablation cost? `python -m hardware.ablation RUN`, and the end of `python -m model.ablation`.

Every network of the run becomes a NIR file beside its checkpoint, runs test utterances on the reference simulator, and
is counted and priced by every table, so that "60 % fewer steps, about half the energy, comparable accuracy" (Wang et
al. 2025, arXiv 2412.12858) stands beside its spread over seeds and over tables; and so is every stage of the arms that
have several. The run's folder gets `ablation_cost.json`, `ablation.md`, `ablation.png` and `steps.png`
(docs/training.md).
"""

from __future__ import annotations

import sys

from neurotarget.hardware.commands import ablation as main

if __name__ == "__main__":  # before the imports that take long: --help needs none of them
    sys.exit(main())

import argparse
import hashlib
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neurotarget.conversion.to_nir import convert_checkpoint, proven
from neurotarget.hardware.counts.twin_products import run_and_count
from neurotarget.hardware.energy import accuracy_against_steps
from neurotarget.hardware.energy.figure import OPERATIONS
from neurotarget.hardware.energy.prices import PriceTable, load_tables
from neurotarget.hardware.energy.runs import run_and_price
from neurotarget.hardware.energy.trained_twin import FLOAT_BITS, trained_twin
from neurotarget.model.ablation import checkpoint_of, compare, stage_checkpoint, standard_deviation
from neurotarget.model.training import checkpoint
from neurotarget.model.training.settings import SettingsError
from neurotarget.sim import reference
from neurotarget.sim.graph import load
from neurotarget.sim.inputs import open_input
from neurotarget.sim.parity import DIFFERS
from neurotarget.sim.schedule import latency_ms, schedule
from tqdm import tqdm

from neurotarget.cli import Result
from neurotarget.errors import CheckFailed
from neurotarget.figures import plus_minus
from neurotarget.files import check_folder, write_picture, write_text
from neurotarget.terminal import results

SHOWN = ("45nm-fp32", OPERATIONS)  # table and boundary of the column and the panel in microjoule: the paper's
COUNTS = ("steps_per_sample", "synops", "acs", "macs", "dense_macs", "neuron_updates", "spikes", "spike_rate")


class ParityError(CheckFailed):
    """A network whose NIR file does not compute what PyTorch computes: its costs would be those of another one."""


# ---- one network -----------------------------------------------------------------------------------------------------


def priced(path: Path, samples: int, tables: Sequence[PriceTable]) -> dict[str, Any]:
    """Counts and energies of one checkpoint on test utterances of its own data, means over the samples.

    Args:
        path: a `ckpt.pt`; its NIR file is written beside it.
        samples: test utterances, evenly spaced over the split.
        tables: those that price a spiking network are used.

    Raises:
        ParityError: PyTorch and the reference disagree about it.
        CheckpointError, UnsupportedModule, DataError: it cannot be used.
    """
    if checkpoint.load(path).config.twin:
        return priced_twin(path, samples, tables)
    target = path.with_suffix(".nir")
    checks = convert_checkpoint(path, target)
    for what, parity in checks:
        if parity.outcome == DIFFERS:
            raise ParityError(f"{path}: PyTorch and the reference differ on {what}: {parity.first_divergence}")
    if not proven(checks):
        raise ParityError(f"{path}: {checks[-1][1].untested} on {checks[-1][0]}: silence proves nothing")
    graph = load(target)
    data = open_input(checkpoint.load(path).data, graph, split="test", samples=samples)
    run = run_and_price(graph, data, tables, precision="float32")
    latency = schedule(graph, round(run.totals.steps_per_sample)).total
    return {
        "samples": run.observed.samples,
        **{key: getattr(run.totals, key) for key in COUNTS},
        "latency_steps": latency,
        "latency_ms": latency_ms(graph, latency),
        "energy": [
            {"table": figure.table, "boundary": figure.boundary, "title": figure.title, "snn_uj": figure.snn_uj}
            for figure in run.energy
            if figure.snn_uj is not None
        ],
    }


def priced_twin(path: Path, samples: int, tables: Sequence[PriceTable]) -> dict[str, Any]:
    """The same of a network without spikes: it fires nothing, and computes once the utterance is complete."""
    loaded = checkpoint.load(path)
    data = open_input(loaded.data, None, split="test", samples=samples)
    run = run_and_count(loaded.model(), data.frames, data.lengths)
    twin = trained_twin(str(path), FLOAT_BITS, FLOAT_BITS, None, run, tables, ())
    steps = float(data.lengths.mean())
    return {
        "samples": twin.samples,
        **dict.fromkeys(COUNTS, 0.0),
        "steps_per_sample": steps,
        "macs": twin.macs,
        "dense_macs": twin.macs,
        "latency_steps": round(steps),
        "latency_ms": 1000 * loaded.step_seconds * round(steps),
        "energy": [
            {"table": figure.table, "boundary": figure.boundary, "title": figure.title, "snn_uj": figure.twin_uj}
            for figure in twin.energies
        ],
    }


# ---- all of them -----------------------------------------------------------------------------------------------------


def cost(run: Path, samples: int = 200) -> dict[str, Any]:
    """Prices every network of a run and returns what `ablation_cost.json` holds.

    Rows of an earlier call stand where checkpoint, number of samples and price tables are the same.

    Raises:
        SettingsError: `run` is not the folder of an ablation, a network of it is missing, or what an earlier call left
            is damaged. Otherwise as `priced`.
    """
    summary, tables = read(run), load_tables()
    path = run / "ablation_cost.json"
    known = _counted_before(path)
    prices = hashlib.sha256(repr(tables).encode()).hexdigest()
    folders = {seed: run / f"seed{seed}" for seed in summary["seeds"]}
    wanted = [
        *((seed, arm["arm"], checkpoint_of(folders[seed], arm["arm"])) for seed in folders for arm in summary["arms"]),
        *(
            (seed, stage["arm"], stage_checkpoint(folders[seed], stage))
            for seed in folders
            for stage in summary.get("stages", ())  # there are none in runs of before
        ),
    ]
    rows = []
    for seed, arm, network in tqdm(wanted, desc="price", unit="network", disable=None):
        name, digest = network.relative_to(run).as_posix(), hashlib.sha256(network.read_bytes()).hexdigest()
        identity = {"checkpoint": name, "sha256": digest, "prices": prices, "samples_asked": samples}
        row = next((row for row in known if identity.items() <= row.items() and "latency_steps" in row), None)
        if row is None:
            row = {"seed": seed, "arm": arm, **identity, **priced(network, samples, tables)}
            known.append(row)
            write_text(path, json.dumps({"rows": known}, indent=1))  # an interrupted call has not counted in vain
        rows.append({**row, "arm": arm})
    of_arms = len(folders) * len(summary["arms"])
    result = {
        "rows": rows[:of_arms],
        "arms": by_arm(rows[:of_arms]),
        "stages": by_stage(run, summary, rows[of_arms:]),
        "stage_rows": rows[of_arms:],
    }
    write_text(path, json.dumps(result, indent=1))
    return result


def _counted_before(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        content = json.loads(path.read_text())
        return [dict(row) for row in (*content["rows"], *content.get("stage_rows", ()))]
    except (ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"{path}: damaged ({error}); remove it, and every network is counted again") from error


def read(run: Path) -> dict[str, Any]:
    """`metrics.json` of an ablation."""
    path = run / "metrics.json"
    try:
        summary: dict[str, Any] = json.loads(path.read_text())
        if not {"seeds", "arms"} <= set(summary):
            raise ValueError("it has no seeds and arms")
        summary.setdefault("comparisons", compare(summary["arms"], summary["test_samples"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"{path}: not the summary of an ablation ({error}); model.ablation writes one") from error
    return summary


def by_arm(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Means and spreads over seeds; `ratio` is to the energy of the same seed's teacher, where that was trained."""
    arms: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        arms.setdefault(row["arm"], []).append(row)
    teachers = arms.get("teacher")
    result = []
    for arm, of_arm in arms.items():
        figures = []
        for place, figure in enumerate(of_arm[0]["energy"]):
            energy = [row["energy"][place]["snn_uj"] for row in of_arm]
            ratio = None
            if teachers is not None:
                ratio = [uj / row["energy"][place]["snn_uj"] for uj, row in zip(energy, teachers, strict=True)]
            named = {key: figure[key] for key in ("table", "boundary", "title")}
            figures.append(
                {**named, "snn_uj": over_seeds(energy), "ratio": None if ratio is None else over_seeds(ratio)}
            )
        counts = {key: over_seeds([row[key] for row in of_arm]) for key in COUNTS}
        result.append({"arm": arm, **counts, "energy": figures})
    return result


def by_stage(run: Path, summary: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What the summary says of each stage, and by seed what it costs; energy under `SHOWN`."""
    by_network = {row["checkpoint"]: row for row in rows}
    found = []
    for stage in summary.get("stages", ()):
        networks = [stage_checkpoint(run / f"seed{seed}", stage) for seed in summary["seeds"]]
        of_seeds = [by_network[network.relative_to(run).as_posix()] for network in networks]
        costs = {key: [row[key] for row in of_seeds] for key in ("latency_steps", "latency_ms", "synops", "macs")}
        found.append({**stage, **costs, "energy_uj": [shown_energy(row) for row in of_seeds]})
    return found


def over_seeds(values: Sequence[float]) -> dict[str, Any]:
    return {"mean": statistics.mean(values), "standard_deviation": standard_deviation(values), "by_seed": list(values)}


# ---- table and picture -----------------------------------------------------------------------------------------------


def shown_energy(arm: Mapping[str, Any]) -> Any:
    """Energy in microjoule of an arm, or of one network, under `SHOWN`."""
    return next(row["snn_uj"] for row in arm["energy"] if (row["table"], row["boundary"]) == SHOWN)


def table(summary: Mapping[str, Any], costs: Mapping[str, Any]) -> str:
    """Accuracy, operations and energy of the arms, and what the comparisons say, in Markdown."""
    several = len(summary["seeds"]) > 1
    lines = [
        f"{summary['data']}: {summary['test_samples']} test utterances; operations and energy per utterance, "
        f"estimated, {costs['rows'][0]['samples']} utterances counted. "
        + (f"Mean ± standard deviation of {len(summary['seeds'])} seeds." if several else "One seed."),
        "",
        "| arm | steps per second | test accuracy | synaptic operations, M | 45 nm FP32, operations only, µJ "
        "| of the teacher's energy by table: operations only | with memory |",
        "|---|---|---|---|---|---|---|",
    ]
    for row, arm in zip(summary["arms"], costs["arms"], strict=True):
        accuracy = plus_minus(row["test_accuracy"], row["test_accuracy_standard_deviation"], 4)
        synops, energy = (
            plus_minus(figure["mean"], figure["standard_deviation"], 3, factor)
            for figure, factor in ((arm["synops"], 1e-6), (shown_energy(arm), 1.0))
        )
        ratios = " | ".join(ratio_range(arm, only_operations) for only_operations in (True, False))
        lines.append(f"| {row['arm']} | {row['steps_per_second']} | {accuracy} | {synops} | {energy} | {ratios} |")
    lines.append("")
    for comparison in summary["comparisons"]:
        points = plus_minus(comparison["difference"], comparison["standard_deviation"], 2, 100)
        error = f"test utterances: ± {100 * comparison['standard_error']:.2f}"
        if spread := comparison.get("bootstrap"):
            paired = f"{100 * spread['low']:.2f} to {100 * spread['high']:.2f}"
            error = f"paired, 95 % over {spread['units']} {spread['over']}: {paired}"
        answer = "holds" if comparison["holds"] else "does not hold"
        lines.append(f"- {comparison['name'].replace('_', ' ')}: {points} points ({error}); {answer}")
    return "\n".join(lines)


def ratio_range(arm: Mapping[str, Any], only_operations: bool) -> str:
    """Least and largest energy over the tables of a boundary, as a share of the teacher's; a dash without a teacher."""
    figures = [row["ratio"] for row in arm["energy"] if (row["boundary"] == OPERATIONS) == only_operations]
    if None in figures:
        return "–"
    low, high = (f"{bound(figure['mean'] for figure in figures):.3f}" for bound in (min, max))
    tables = f" ({len(figures)} tables)" if len(figures) > 1 else ""
    return (low if low == high else f"{low} to {high}") + tables


def plot(path: Path, summary: Mapping[str, Any], costs: Mapping[str, Any]) -> None:
    """Accuracy, synaptic operations and energy of every arm: a dot per seed, a bar the mean."""
    from matplotlib.figure import Figure

    panels = {
        "test accuracy": [row["test_accuracy_by_seed"] for row in summary["arms"]],
        "synaptic operations, millions": [[n / 1e6 for n in arm["synops"]["by_seed"]] for arm in costs["arms"]],
        "energy, µJ (45 nm FP32, operations)": [shown_energy(arm)["by_seed"] for arm in costs["arms"]],
    }
    names = [f"{row['arm'].replace('_', ' ')}\n{row['steps_per_second']} steps/s" for row in summary["arms"]]
    figure = Figure(figsize=(1 + 2.6 * len(panels) * max(1.0, len(names) / 4), 3.4), layout="constrained")
    for axis, (title, arms) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for place, values in enumerate(arms):
            axis.plot([place] * len(values), values, "o", alpha=0.5, color="C0", markeredgewidth=0)
            axis.hlines(statistics.mean(values), place - 0.3, place + 0.3, color="C1", linewidth=2)
        axis.set_xticks(range(len(names)), names, fontsize=7)
        axis.set_xlim(-0.6, len(names) - 0.4)
        axis.set_title(title, fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
        if title != "test accuracy":
            axis.set_ylim(bottom=0)
    write_picture(path, figure)


# ---- the command -----------------------------------------------------------------------------------------------------


def work(arguments: argparse.Namespace) -> Result:
    check_folder(arguments.run)
    with reference.sharing(arguments.workers, arguments.scheduler):
        summary, costs = read(arguments.run), cost(arguments.run, arguments.samples)
    text = table(summary, costs)
    if costs["stages"]:
        text += f"\n\n{accuracy_against_steps.table(costs['stages'])}"
        accuracy_against_steps.plot(arguments.run / "steps.png", costs["stages"])
    write_text(arguments.run / "ablation.md", text + "\n")
    plot(arguments.run / "ablation.png", summary, costs)
    verdict = f"{arguments.run / 'ablation.md'}: written, and ablation.png beside it"
    return Result({**summary, "cost": costs}, results([], [text], verdict))
