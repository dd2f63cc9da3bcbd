"""What integers cost in accuracy: `python -m benchmarks.quantisation CONFIG.toml NETWORK.nir... --out RUN --draws 5`.

One network calibrated once says little: which utterances calibrate it and which of those near the border then change
sides is luck, and on a few hundred of them worth more than a point. So each network is quantised several times. Draw 0
is that of conversion.quantize (utterances evenly spaced over the training split), the others are random; fine-tuning
from a draw has its number as seed. RUN gets a folder a network and draw, whose metrics are kept when the command runs
again, and `drops.json`; the table goes to standard output.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from conversion.fine_tune import fine_tune
from conversion.quantize import SAMPLES, quantize_file
from model import settings
from model.data import open_dataset
from model.files import write_text
from sim import reference, run
from sim.graph import load
from sim.trace import accuracy

STAGES = ("calibrated", "fine_tuned")


def calibration_rows(samples: int, draw: int) -> np.ndarray:
    """Rows of the training split that calibrate, int64 [SAMPLES]."""
    if draw == 0:
        return np.linspace(0, samples - 1, SAMPLES).round().astype(int)
    return np.sort(np.random.default_rng(draw).choice(samples, SAMPLES, replace=False))


def float_accuracy(network: Path, spec: str) -> float:
    """Of the float network on the test split, by the reference simulator."""
    test = open_dataset(spec).split("test")
    graph = load(network)
    return float(accuracy(reference.run(graph, test.frames, test.lengths, test.labels), graph.readout) or 0.0)


def one(config: settings.Settings, network: Path, draw: int, out: Path) -> dict[str, Any]:
    """Test accuracy of one network, calibrated on one draw and fine-tuned from there."""
    if (out / "drop.json").exists():
        found: dict[str, Any] = json.loads((out / "drop.json").read_text())
        return found
    out.mkdir(parents=True, exist_ok=True)
    train = open_dataset(config.data).split("train")
    rows = calibration_rows(len(train.labels), draw)
    data = run.Input(config.data, train.frames[rows], train.lengths[rows], train.labels[rows])
    quantize_file(network, out / "calibrated.q.nir", data)
    schedule = dataclasses.replace(config.training, seed=draw)
    tuned = fine_tune(dataclasses.replace(config, training=schedule), out / "calibrated.q.nir", out / "fine_tuned")
    result = {
        "network": str(network),
        "draw": draw,
        "test_samples": tuned["test_samples"],
        "float": float_accuracy(network, config.data),
        "calibrated": tuned["calibrated_test_accuracy"],
        "fine_tuned": tuned["test_accuracy"],
        "epoch": tuned["epoch"],
    }
    write_text(out / "drop.json", json.dumps(result, indent=2))
    return result


def spread(points: Sequence[float]) -> tuple[float, float]:
    """Mean and its standard error; no error from a single value."""
    error = statistics.stdev(points) / math.sqrt(len(points)) if len(points) > 1 else math.nan
    return statistics.fmean(points), error


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Differences to the float network in points of test accuracy, a line a network."""
    lines = [
        f"| network ({rows[0]['test_samples']} test samples) | float | calibrated | mean | fine-tuned | mean |",
        "|---|---|---|---|---|---|",
    ]
    networks = list(dict.fromkeys(row["network"] for row in rows))
    of_network: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for network in networks:
        mine = [row for row in rows if row["network"] == network]
        cells = [network, f"{100 * mine[0]['float']:.1f}"]
        for stage in STAGES:
            points = [100 * (row[stage] - row["float"]) for row in mine]
            of_network[stage].append(statistics.fmean(points))
            cells += [", ".join(f"{point:+.1f}" for point in points), f"{statistics.fmean(points):+.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    for stage in STAGES:
        # Draws of one network share its float accuracy, so the networks are what is independent.
        mean, error = spread(of_network[stage])
        lines.append(f"\n{stage}: {mean:+.2f} points, standard error {error:.2f} over {len(networks)} networks")
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quantisation",
        description="Accuracy lost to calibration and to fine-tuning, over several draws of calibration samples.",
        epilog="example: python -m benchmarks.quantisation configs/demo.toml runs/demo/ckpt.nir --out runs/drops "
        "--set training.epochs=3 --set training.learning_rate=0.0005 --set training.warmup_epochs=0",
    )
    parser.add_argument("config", type=Path, help="TOML file that the networks were trained with")
    parser.add_argument("networks", type=Path, nargs="+", help="float NIR files")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--draws", type=int, default=5, help="sets of calibration samples (default 5)")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="table.key=value")
    return parser


def main(argv: list[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    config = settings.read(arguments.config, arguments.overrides)
    wanted = [(network, draw) for network in arguments.networks for draw in range(arguments.draws)]
    rows = []
    for network, draw in tqdm(wanted, desc="networks and draws", disable=None):
        name = str(network).replace("/", "_").removesuffix(".nir").strip("._")
        rows.append(one(config, network, draw, arguments.out / name / f"draw{draw}"))
    write_text(arguments.out / "drops.json", json.dumps(rows, indent=2))
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
