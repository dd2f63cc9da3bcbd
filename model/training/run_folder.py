"""What a training run leaves behind: checkpoints, the state to resume from, metrics, curves."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from neurotarget.model.training import checkpoint, registry, settings
from neurotarget.model.training.start import Start

from neurotarget.data import Dataset
from neurotarget.errors import UserError
from neurotarget.files import write_picture, write_text

COLUMNS = (
    "epoch",
    "learning_rate",
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "seconds",
)


class TrainingError(UserError):
    """Training that cannot go on: the message says at which epoch and what to change."""


def as_checkpoint(
    model: registry.Network, dataset: Dataset, config: settings.Settings, metrics: dict[str, float]
) -> checkpoint.Checkpoint:
    return checkpoint.Checkpoint(
        config=config.model,
        state={name: value.detach().cpu().clone() for name, value in model.state_dict().items()},
        metrics=metrics,
        data=config.data,
        classes=dataset.classes,
        step_seconds=dataset.step_seconds,
        versions=checkpoint.versions(),
        standardisation=dataset.standardisation,
    )


def check_start(out: Path, start: Start, files: Sequence[str] = ("ckpt.pt", "last.pt")) -> None:
    """Refuses a folder that holds a run, unless it is to go on or to be replaced.

    Args:
        files: patterns of those by which a run is known.

    Raises:
        TrainingError: names what is there.
    """
    if start is Start.NEW and (found := next((path for name in files for path in sorted(out.glob(name))), None)):
        raise TrainingError(
            f"{out}: holds a run already ({found.relative_to(out)}); go on with it by --resume, replace it by --force, "
            "or choose another --out"
        )


def save_last(
    path: Path,
    identity: Mapping[str, Any],
    model: registry.Network,
    optimizer: torch.optim.Optimizer,
    history: list[dict[str, float]],
    average: Mapping[str, Any],
) -> None:
    content = {"settings": dict(identity), "state": model.state_dict(), "optimizer": optimizer.state_dict()}
    checkpoint.save_by_rename(path, {**content, "history": history, "average": dict(average)})


def read_last(
    path: Path, identity: Mapping[str, Any], defaults: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any] | None:
    """What `save_last` wrote: `settings`, `state`, `optimizer`, `history`, `average`; None where there is no such file.

    Args:
        identity: settings of the run that is to go on.
        defaults: of its settings, table by table. A run made before a setting existed was made with its default.

    Raises:
        CheckpointError: it is damaged.
        TrainingError: it is of a run with other settings than a number of epochs, of more epochs than are wanted, or
            its ckpt.pt is missing.
    """
    if not path.exists():
        return None
    content = checkpoint.load_content(path)
    if missing := [key for key in ("settings", "state", "optimizer", "history") if key not in content]:
        raise checkpoint.CheckpointError(f"{path}: not the state of a run: it lacks {', '.join(missing)}")
    epochs, done = identity["training"]["epochs"], len(content["history"])
    before = {**content["settings"]}
    for table, values in defaults.items():
        before[table] = {**values, **before.get(table, {})}
    before["training"]["epochs"] = epochs
    if changed := differences(before, identity, ("was", "is")):
        raise TrainingError(
            f"{path}: was trained with other settings ({', '.join(changed)}); repeat them, choose another --out, or "
            "start over with --force"
        )
    if done > epochs:
        raise TrainingError(
            f"{path}: {done} epochs are done, training.epochs is {epochs}; give at least {done}, or start over with "
            "--force"
        )
    if not path.with_name("ckpt.pt").exists():
        raise TrainingError(f"{path}: ckpt.pt beside it, the best epoch so far, is missing; start over with --force")
    return content


def differences(
    before: Mapping[str, Any], now: Mapping[str, Any], words: tuple[str, str], prefix: str = ""
) -> list[str]:
    """`training.epochs was 3, is 5` for each value that differs; `was` and `is` are `words`."""
    found = []
    for key in {**before, **now}:
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new, words, f"{prefix}{key}.")
        elif old != new:
            found.append(f"{prefix}{key} {words[0]} {old}, {words[1]} {new}")
    return found


def write_csv(path: Path, history: list[dict[str, float]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(history)
    write_text(path, text.getvalue())


def event_writer(out: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise TrainingError("--tensorboard needs the package: pip install 'neurotarget[tensorboard]'") from None
    return SummaryWriter(str(out / "tensorboard"))


def plot(path: Path, history: list[dict[str, float]], data: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axes = figure.subplots(1, 2)
    for axis, what in zip(axes, ("loss", "accuracy"), strict=True):
        for split in ("train", "validation"):
            axis.plot([row["epoch"] for row in history], [row[f"{split}_{what}"] for row in history], label=split)
        axis.set_xlabel("epoch")
        axis.set_ylabel(what)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False)
    figure.suptitle(data, fontsize=9)
    write_picture(path, figure)
