"""Energy against accuracy of a spiking network and its trained twin: `python -m benchmarks.twin CONFIG.toml --out RUN`.

Both sides are trained by model.train with the same configuration, data, budget and seeds, once for each width (an MLP's
hidden width is the same). Each network is then counted and priced on the same test utterances: the spiking one in float
and in its 8-bit integers, the twin in 32, 8 and fewer bits, with and without its zeros. What is compared is one
precision under one price table. Nothing is chosen on test data: the epoch is by validation, and all widths are shown.

RUN gets a folder for each side, width and seed, whose `points.json` is kept when the command runs again, `twin.json`
and `twin.png`; the tables go to standard output.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from neurotarget.conversion.commands import CALIBRATION_SAMPLES
from neurotarget.conversion.quantize import quantize_file
from neurotarget.conversion.to_nir import convert_checkpoint, proven
from neurotarget.hardware.energy.prices import load_tables
from neurotarget.hardware.energy.runs import run_and_price
from neurotarget.hardware.energy.twin_file import trained_twins
from neurotarget.model.train import train
from neurotarget.model.training import checkpoint, settings
from neurotarget.model.training.run_folder import Start, TrainingError
from neurotarget.sim.graph import load
from neurotarget.sim.inputs import open_input
from tqdm import tqdm

from neurotarget.cli import Command, Result, UsageError
from neurotarget.files import check_folder, write_picture, write_text

SPIKING, TWIN = "spiking", "twin"
# table, form of the spiking network, beginning of the twin's form: one precision on both sides
COMPARED = (("45nm-fp32", "float", "fp32"), ("lemaire2022-joined", "float", "fp32"), ("45nm-int8", "int8", "int"))


@dataclasses.dataclass(frozen=True)
class Point:
    """One network in one form under one price table.

    Attributes:
        side: `spiking` or `twin`.
        form: `float` or `int8` of a spiking network; `fp32`, `int8`, `int7` ... of a twin, with `, zeros skipped`.
        width, seed: of the network.
        accuracy: share of the test utterances.
        table: of the prices.
        uj: per inference, mean over the utterances.
    """

    side: str
    form: str
    width: int
    seed: int
    accuracy: float
    table: str
    uj: float


# ---- networks --------------------------------------------------------------------------------------------------------


def measured(side: str, width: int, seed: int, folder: Path, samples: int) -> list[Point]:
    """The points of one trained network; those of an earlier call stand while its checkpoint is the same.

    Raises:
        TrainingError: the spiking network's file does not spike as it does.
    """
    digest = hashlib.sha256((folder / "ckpt.pt").read_bytes()).hexdigest()
    identity, path = {"sha256": digest, "samples": samples}, folder / "points.json"
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text())
        if identity.items() <= found.items():
            return [Point(**point) for point in found["points"]]
    forms = spiking_forms(folder, samples) if side == SPIKING else twin_forms(folder, samples)
    points = [
        Point(side, form, width, seed, accuracy, table, uj)
        for form, accuracy, energies in forms
        for table, uj in energies.items()
    ]
    write_text(path, json.dumps({**identity, "points": [dataclasses.asdict(point) for point in points]}, indent=1))
    return points


Form = tuple[str, float, dict[str, float]]  # name, accuracy, energy in microjoule by table


def spiking_forms(folder: Path, samples: int) -> list[Form]:
    """In float and in integers, each counted from its own run."""
    file, integers = folder / "ckpt.nir", folder / "ckpt.q.nir"
    if not proven(convert_checkpoint(folder / "ckpt.pt", file)):
        raise TrainingError(f"{folder}: its NIR file does not spike as PyTorch does, or nothing fired; train it longer")
    spec = checkpoint.load(folder / "ckpt.pt").data
    quantize_file(file, integers, open_input(spec, load(file), split="train", samples=CALIBRATION_SAMPLES))
    forms = []
    for form, path in (("float", file), ("int8", integers)):
        graph, tables = load(path), [table for table in load_tables() if table.name in prices_of(SPIKING, form)]
        data = open_input(spec, graph, split="test", samples=samples)
        run = run_and_price(graph, data, tables, precision="float32")
        energies = {figure.table: figure.snn_uj for figure in run.energy if figure.snn_uj is not None}
        assert run.accuracy is not None  # a data set has labels
        forms.append((form, run.accuracy, energies))
    return forms


def twin_forms(folder: Path, samples: int) -> list[Form]:
    """In 32, 8 and fewer bits, each with every product and with those alone that have no zero."""
    data = open_input(checkpoint.load(folder / "ckpt.pt").data, None, split="test", samples=samples)
    wanted = {table for table, _, _ in COMPARED}
    tables = [table for table in load_tables() if table.name in wanted]
    forms = []
    for twin in trained_twins(folder / "ckpt.pt", data, tables):
        assert twin.accuracy is not None
        forms.append((twin.name, twin.accuracy, {row.table: row.twin_uj for row in twin.energies}))
        skipping = {row.table: row.skipping_uj for row in twin.energies}
        forms.append((f"{twin.name}, zeros skipped", twin.accuracy, skipping))
    return forms


def prices_of(side: str, form: str) -> set[str]:
    """The tables under which a form is compared."""
    return {
        table for table, of_spiking, of_twin in COMPARED if form.startswith(of_spiking if side == SPIKING else of_twin)
    }


# ---- equal accuracy --------------------------------------------------------------------------------------------------


def energy_at(level: float, ladder: Sequence[tuple[float, float]]) -> tuple[float, bool]:
    """Energy at which a ladder reaches an accuracy, and whether that is a bound from above.

    The least network that reaches it, on the straight line from the one before. Where the first one does, no smaller
    one was trained, and its own energy is a bound.

    Args:
        ladder: (energy, accuracy) of one seed, by rising energy.

    Raises:
        ValueError: none reaches it.
    """
    for index, (energy, accuracy) in enumerate(ladder):
        if accuracy >= level:
            if index == 0:
                return energy, accuracy > level
            below, accuracy_below = ladder[index - 1]
            return below + (energy - below) * (level - accuracy_below) / (accuracy - accuracy_below), False
    raise ValueError(f"no network reaches {level}")


def at_equal_accuracy(points: Iterable[Point], table: str, of_spiking: str, of_twin: str) -> dict[str, Any]:
    """Both sides at the highest accuracy that both reach, seed by seed, and mean and spread of the ratio.

    `ratio` is twin / spiking: above 1 the spiking network takes less. It is `at_most` where the least twin is already
    better than that accuracy, `at_least` where the least spiking network is; both where neither side says more.
    """
    ladders: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for point in points:
        if point.table == table and point.form == (of_spiking if point.side == SPIKING else of_twin):
            ladders.setdefault((point.side, point.seed), []).append((point.uj, point.accuracy))
    seeds = sorted(seed for side, seed in ladders if side == SPIKING and (TWIN, seed) in ladders)
    rows = []
    for seed in seeds:
        spiking, twin = (sorted(ladders[side, seed]) for side in (SPIKING, TWIN))
        level = min(max(accuracy for _, accuracy in ladder) for ladder in (spiking, twin))
        (spiking_uj, least_spiking), (twin_uj, least_twin) = energy_at(level, spiking), energy_at(level, twin)
        rows.append(
            {
                "seed": seed,
                "accuracy": level,
                "spiking_uj": spiking_uj,
                "twin_uj": twin_uj,
                "ratio": twin_uj / spiking_uj,
                "at_most": least_twin,
                "at_least": least_spiking,
            }
        )
    ratios = [row["ratio"] for row in rows]
    return {
        "table": table,
        "spiking": of_spiking,
        "twin": of_twin,
        "seeds": rows,
        "ratio": statistics.fmean(ratios),
        "ratio_std": statistics.stdev(ratios) if len(ratios) > 1 else None,
    }


# ---- what is shown ---------------------------------------------------------------------------------------------------


def spread(values: Sequence[float], digits: int, factor: float = 1.0) -> str:
    """Mean and standard deviation in words."""
    mean = f"{factor * statistics.fmean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {factor * statistics.stdev(values):.{digits}f}"


def grouped(points: Iterable[Point]) -> Mapping[tuple[str, str, str, int], list[Point]]:
    """Points by table, side, form and width: one of each seed."""
    found: dict[tuple[str, str, str, int], list[Point]] = {}
    for point in points:
        if point.table in prices_of(point.side, point.form):
            found.setdefault((point.table, point.side, point.form, point.width), []).append(point)
    return found


def words(points: Sequence[Point], compared: Sequence[Mapping[str, Any]]) -> str:
    """Both tables in Markdown: all networks, and what both sides take at equal accuracy."""
    lines = ["| prices | network | width | seeds | accuracy % | µJ per inference |", "|---|---|---|---|---|---|"]
    for (table, side, form, width), mine in sorted(grouped(points).items()):
        accuracies, energies = [point.accuracy for point in mine], [point.uj for point in mine]
        lines.append(
            f"| {table} | {side}, {form} | {width} | {len(mine)} | {spread(accuracies, 1, 100)} | "
            f"{spread(energies, 2)} |"
        )
    lines += ["", "| prices | twin | accuracy % that both reach | spiking µJ | twin µJ | twin / spiking |"]
    lines.append("|---|---|---|---|---|---|")
    for row in compared:
        seeds = row["seeds"]
        accuracy, spiking_uj, twin_uj, ratio = (
            spread([seed[key] for seed in seeds], digits, factor)
            for key, digits, factor in (("accuracy", 1, 100), ("spiking_uj", 2, 1), ("twin_uj", 2, 1), ("ratio", 2, 1))
        )
        lines.append(
            f"| {row['table']} | {row['twin']} | {accuracy} | {spiking_uj} | {twin_uj} | {bound(seeds)}{ratio} |"
        )
    return "\n".join(lines)


def bound(seeds: Sequence[Mapping[str, Any]]) -> str:
    """What stands before a ratio whose side is the least network that was trained."""
    most, least = (any(seed[key] for seed in seeds) for key in ("at_most", "at_least"))
    if most and least:
        return "open, near "
    return "at most " if most else "at least " if least else ""


def plot(path: Path, points: Sequence[Point], spec: str) -> None:
    """Energy against accuracy, a panel for each comparison; a line joins the means of the widths."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(COMPARED), 3.6), layout="constrained")
    for axis, (table, of_spiking, of_twin) in zip(figure.subplots(1, len(COMPARED)), COMPARED, strict=True):
        lines: dict[str, list[list[Point]]] = {}
        for (priced, side, form, _), mine in sorted(grouped(points).items()):
            if priced == table:
                lines.setdefault(f"{side}, {form}", []).append(mine)
        for label, widths in lines.items():
            means = [[statistics.fmean(getattr(point, key) for point in mine) for mine in widths] for key in XY]
            style = "o-" if label.startswith(SPIKING) else "s--"
            (line,) = axis.plot(means[0], [100 * mean for mean in means[1]], style, markersize=4, label=label)
            for mine in widths:
                seeds = [point.uj for point in mine], [100 * point.accuracy for point in mine]
                axis.plot(*seeds, ".", color=line.get_color(), alpha=0.4, markersize=4)
        axis.set_xscale("log")
        axis.set_xlabel("µJ per inference, estimated")
        axis.set_ylabel("test accuracy, %")
        axis.set_title(f"{table} ({of_spiking} against {of_twin})", fontsize=9)
        axis.legend(frameon=False, fontsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(spec, fontsize=9)
    write_picture(path, figure)


XY = ("uj", "accuracy")


# ---- command ---------------------------------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, help="TOML file that both sides are trained with")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--widths", type=int, nargs="+", default=[32, 64, 128], help="of both sides")
    parser.add_argument(
        "--twin-widths",
        type=int,
        nargs="+",
        help="of the twin, where its ladder is to begin lower (default as --widths)",
    )
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds, from training.seed on (default 3)")
    parser.add_argument("--samples", type=int, default=200, help="test utterances (default 200)")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="table.key=value")


def work(arguments: argparse.Namespace) -> Result:
    if arguments.seeds < 1:
        raise UsageError(f"--seeds {arguments.seeds}: at least 1 is needed")
    check_folder(arguments.out)
    config = settings.read(arguments.config, arguments.overrides)
    first = config.training.seed
    seeds = range(first, first + arguments.seeds)
    widths = {SPIKING: arguments.widths, TWIN: arguments.twin_widths or arguments.widths}
    wanted = [(seed, width, side) for seed in seeds for side in widths for width in widths[side]]
    for _, width, side in wanted:  # before hours of training
        try:
            changed(config, side, width, first)
        except ValueError as error:
            raise UsageError(f"{side} of width {width}: {error}") from error
    points: list[Point] = []
    for seed, width, side in tqdm(wanted, desc="networks", disable=None):
        folder = arguments.out / side / f"width{width}" / f"seed{seed}"
        train(changed(config, side, width, seed), folder, Start.RESUME)
        points += measured(side, width, seed, folder, arguments.samples)
    forms = {(table, point.form) for table, _, _ in COMPARED for point in points if point.side == TWIN}
    compared = [
        at_equal_accuracy(points, table, of_spiking, form)
        for table, of_spiking, of_twin in COMPARED
        for priced, form in sorted(forms)
        if priced == table and form.startswith(of_twin)
    ]
    found = {
        "data": config.data,
        "settings": config.as_dict(),
        "samples": arguments.samples,
        "points": [dataclasses.asdict(point) for point in points],
        "equal_accuracy": compared,
    }
    write_text(arguments.out / "twin.json", json.dumps(found, indent=1))
    plot(arguments.out / "twin.png", points, config.data)
    return Result(found, words(points, compared))


def changed(config: settings.Settings, side: str, width: int, seed: int) -> settings.Settings:
    """The configuration of one network."""
    sizes: dict[str, Any] = {"width": width, "twin": side == TWIN}
    if hasattr(config.model, "hidden"):
        sizes["hidden"] = width
    return dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, **sizes),
        training=dataclasses.replace(config.training, seed=seed),
    )


main = Command(
    door="benchmarks.twin",
    description="Energy against accuracy of a spiking network and its trained twin, over widths and seeds.",
    example="configs/demo.toml --out runs/twin --set training.epochs=8",
    add_arguments=add_arguments,
    work=work,
    interrupted="interrupted; the same command goes on where it stopped",
)

if __name__ == "__main__":
    sys.exit(main())
