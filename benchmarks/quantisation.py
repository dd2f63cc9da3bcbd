"""What integers cost in accuracy: `python -m benchmarks.quantisation CONFIG.toml NETWORK.nir... --out RUN --draws 5`.

One network calibrated once and tested once says little: which of the utterances near a border change sides is luck, and
on a few hundred of them worth more than a point. So each network is quantised several times, and each result is tested
several times, on utterances that begin a few steps earlier or later.

Draw 0 of the calibration samples is that of conversion.quantize (evenly spaced over the training split), the others are
random; fine-tuning from a draw has its number as seed. RUN gets a folder a network and draw, whose `drop.json` is kept
when the command runs again, and `drops.json`; the table goes to standard output.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import hashlib
import json
import math
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from neurotarget.conversion.commands import CALIBRATION_SAMPLES
from neurotarget.conversion.fine_tune import fine_tune
from neurotarget.conversion.quantize import quantize_file
from neurotarget.model.training import settings
from neurotarget.model.training.run_folder import TrainingError
from neurotarget.sim import reference, run
from neurotarget.sim.commands import add_workers_arguments
from neurotarget.sim.graph import load
from neurotarget.sim.observed import observe
from tqdm import tqdm

from neurotarget.cli import Command, Result, UsageError
from neurotarget.data import Split, open_dataset
from neurotarget.files import check_folder, write_text

STAGES = ("calibrated", "fine_tuned")
MOVES = (-4, -2, 0, 2, 4)  # steps by which the test utterances are moved


def calibration_rows(samples: int, draw: int) -> np.ndarray:
    """Rows of the training split that calibrate, int64 [CALIBRATION_SAMPLES]; all of a smaller split."""
    wanted = min(CALIBRATION_SAMPLES, samples)
    if draw == 0:
        return np.linspace(0, samples - 1, wanted).round().astype(int)
    return np.sort(np.random.default_rng(draw).choice(samples, wanted, replace=False))


def moved(split: Split, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames and lengths of utterances that begin so many steps later (earlier when negative), zeros before."""
    frames = np.zeros_like(split.frames)
    late, early = max(0, steps), max(0, -steps)
    end = frames.shape[1]
    frames[:, late : end - early] = split.frames[:, early : end - late]
    return frames, np.clip(split.lengths + steps, 1, end)


def accuracies(network: Path, test: Split) -> list[float]:
    """By the reference simulator, for each of `MOVES`."""
    graph = load(network)
    runs = [reference.folded(graph, *moved(test, steps), test.labels, [observe], "float32")[0] for steps in MOVES]
    return [found.accuracy for found in runs if found.accuracy is not None]  # a data set has labels


@functools.cache
def float_accuracies(network: Path, spec: str) -> list[float]:
    """Of the float network, which every draw of it is compared with."""
    return accuracies(network, open_dataset(spec).split("test"))


def one(config: settings.Settings, network: Path, draw: int, out: Path) -> dict[str, Any]:
    """Test accuracies of one network, calibrated on one draw and fine-tuned from there.

    Raises:
        TrainingError: `out` holds those of another network or of other settings.
    """
    digest = hashlib.sha256(network.read_bytes()).hexdigest()
    identity = {"network": str(network), "sha256": digest, "draw": draw, "settings": config.as_dict()}
    if (out / "drop.json").exists():
        found: dict[str, Any] = json.loads((out / "drop.json").read_text())
        if not identity.items() <= found.items():
            raise TrainingError(
                f"{out}: holds the result of another network or of other settings; choose another --out"
            )
        return found
    out.mkdir(parents=True, exist_ok=True)
    dataset = open_dataset(config.data)
    train, test = dataset.split("train"), dataset.split("test")
    rows = calibration_rows(len(train.labels), draw)
    calibrated, fine_tuned = out / "calibrated.q.nir", out / "fine_tuned"
    data = run.Input(config.data, train.frames[rows], train.lengths[rows], train.labels[rows])
    quantize_file(network, calibrated, data)
    schedule = dataclasses.replace(config.training, seed=draw)
    tuning = dataclasses.replace(config, training=schedule)
    fine_tune(tuning, calibrated, fine_tuned, force=True)  # a draw that was cut short is done again
    result = {
        **identity,
        "test_samples": len(test.labels),
        "moves": MOVES,
        "float": float_accuracies(network, config.data),
        "calibrated": accuracies(calibrated, test),
        "fine_tuned": accuracies(fine_tuned / "model.q.nir", test),
    }
    write_text(out / "drop.json", json.dumps(result, indent=2))
    return result


def mean_and_error(points: Sequence[float]) -> str:
    """Mean and its standard error over networks, in words; draws of one network share its float accuracy."""
    mean = f"{statistics.fmean(points):+.2f} points"
    if len(points) == 1:
        return f"{mean}, one network"
    error = statistics.stdev(points) / math.sqrt(len(points))
    return f"{mean}, standard error {error:.2f} over {len(points)} networks"


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Differences to the float network in points of test accuracy, a line a network and stage."""
    lines = [
        f"| network ({rows[0]['test_samples']} test samples) | float | | by draw | mean | moved, mean |",
        "|---|---|---|---|---|---|",
    ]
    networks = list(dict.fromkeys(row["network"] for row in rows))
    still = rows[0]["moves"].index(0)
    means: dict[tuple[str, str], list[float]] = {}
    for network in networks:
        mine = [row for row in rows if row["network"] == network]
        for stage in STAGES:
            points = [100 * (np.array(row[stage]) - np.array(row["float"])) for row in mine]
            as_it_is = [float(of_draw[still]) for of_draw in points]
            both = statistics.fmean(as_it_is), float(np.mean(points))
            means.setdefault((stage, "as they are"), []).append(both[0])
            means.setdefault((stage, "moved"), []).append(both[1])
            by_draw = ", ".join(f"{point:+.1f}" for point in as_it_is)
            accuracy_percent = 100 * mine[0]["float"][still]
            lines.append(
                f"| {network} | {accuracy_percent:.1f} | {stage} | {by_draw} | {both[0]:+.2f} | {both[1]:+.2f} |"
            )
    for (stage, how), of_network in means.items():
        lines.append(f"\n{stage}, utterances {how}: {mean_and_error(of_network)}")
    return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, help="TOML file that the networks were trained with")
    parser.add_argument("networks", type=Path, nargs="+", help="float NIR files")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--draws", type=int, default=5, help="sets of calibration samples (default 5)")
    add_workers_arguments(parser)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="table.key=value")


def work(arguments: argparse.Namespace) -> Result:
    if arguments.draws < 1:
        raise UsageError(f"--draws {arguments.draws}: at least 1 is needed")
    check_folder(arguments.out)
    config = settings.read(arguments.config, arguments.overrides)
    wanted = [(network, draw) for network in arguments.networks for draw in range(arguments.draws)]
    rows = []
    with reference.sharing(arguments.workers, arguments.scheduler):
        for network, draw in tqdm(wanted, desc="networks and draws", disable=None):
            name = str(network).replace("/", "_").removesuffix(".nir").strip("._")
            rows.append(one(config, network, draw, arguments.out / name / f"draw{draw}"))
    write_text(arguments.out / "drops.json", json.dumps(rows, indent=2))
    return Result({"rows": rows}, table(rows))


main = Command(
    door="benchmarks.quantisation",
    description="Accuracy lost to calibration and to fine-tuning, over several draws of calibration samples.",
    example="configs/demo.toml runs/demo/ckpt.nir --out runs/drops "
    "--set training.epochs=3 --set training.learning_rate=0.0005 --set training.warmup_epochs=0",
    add_arguments=add_arguments,
    work=work,
    interrupted="interrupted; the same command goes on after the last whole draw",
)

if __name__ == "__main__":
    sys.exit(main())
