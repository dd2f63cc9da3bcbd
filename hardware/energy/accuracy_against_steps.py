"""Accuracy against steps, and what each costs: the stages of an ablation's arms as a table and a picture."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neurotarget.figures import plus_minus
from neurotarget.files import write_picture

PANELS = {
    "test accuracy": "test_accuracy_by_seed",
    "latency, ms": "latency_ms",
    "energy, µJ (45 nm FP32, operations)": "energy_uj",
}


def table(stages: Sequence[Mapping[str, Any]]) -> str:
    """A row per stage, in Markdown.

    Args:
        stages: `arm`, `steps_per_second`, and by seed `test_accuracy_by_seed`, `latency_steps`, `latency_ms`, `macs`,
            `synops` and `energy_uj`.
    """
    lines = [
        "| arm | steps per second | test accuracy | latency, steps | ms | synaptic operations, M | MACs, M "
        "| 45 nm FP32, operations only, µJ |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in stages:
        accuracy = _shown(row["test_accuracy_by_seed"], 4)
        steps, milliseconds = (_shown(row[key], 0) for key in ("latency_steps", "latency_ms"))
        synops, macs = (_shown(row[key], 3, 1e-6) for key in ("synops", "macs"))
        energy = _shown(row["energy_uj"], 3)
        cells = (row["arm"], row["steps_per_second"], accuracy, steps, milliseconds, synops, macs, energy)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _shown(values: Sequence[float], digits: int, factor: float = 1.0) -> str:
    return plus_minus(statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None, digits, factor)


def plot(path: Path, stages: Sequence[Mapping[str, Any]]) -> None:
    """Accuracy, latency and energy against steps per second: a line per arm through the means, a dot per seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.4 * len(PANELS), 3.4), layout="constrained")
    arms = list(dict.fromkeys(row["arm"] for row in stages))
    steps = sorted({row["steps_per_second"] for row in stages})
    for axis, (title, key) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        for number, arm in enumerate(arms):
            of_arm = [row for row in stages if row["arm"] == arm]
            places = [row["steps_per_second"] for row in of_arm]
            means = [statistics.mean(row[key]) for row in of_arm]
            axis.plot(places, means, marker="_", color=f"C{number}", label=arm.replace("_", " "))
            for place, row in zip(places, of_arm, strict=True):
                axis.plot([place] * len(row[key]), row[key], "o", alpha=0.5, color=f"C{number}", markeredgewidth=0)
        axis.set_xscale("log")
        axis.set_xticks(steps, [str(value) for value in steps])
        axis.set_xticks([], minor=True)
        axis.invert_xaxis()  # the chain runs from left to right
        axis.set_xlabel("steps per second")
        axis.set_title(title, fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False, fontsize=7)
    write_picture(path, figure)
