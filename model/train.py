"""Trains a network: `python -m model.train CONFIG.toml --out RUN`.

The run's folder gets `ckpt.pt` (best epoch by validation accuracy), `metrics.csv`, `metrics.json`, `curves.png` and
`last.pt`, from which `--resume` goes on. Order, dropout and augmentation of an epoch depend on the seed and the epoch's
number only, so an interrupted run goes on as if it had not been.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from model import checkpoint, networks, run_folder, settings
from model.data import DataError, Dataset, Split, augment, open_dataset
from model.delays import DelaysNetwork, delay_rate
from model.files import remove_unfinished, write_text
from model.run_folder import COLUMNS, TrainingError
from model.spikescr import readout

KEPT = "what was written before is whole; mend this, then go on with --resume"


def cross_entropy(scores: torch.Tensor, labels: torch.Tensor, rows: np.ndarray) -> torch.Tensor:
    """Mean over the batch of -log softmax(scores) at the label; scores [samples, classes], labels [samples]."""
    return F.cross_entropy(scores, labels)


@dataclasses.dataclass(frozen=True)
class Task:
    """What training starts from and works towards.

    Attributes:
        loss: of scores [samples, classes], labels int64 [samples] and the samples' rows in the train split.
        state: of the network before the first step; random weights when left out.
        description: what a run to resume must have in common besides its settings; texts and numbers.
    """

    loss: Callable[[torch.Tensor, torch.Tensor, np.ndarray], torch.Tensor] = cross_entropy
    state: Mapping[str, torch.Tensor] | None = None
    description: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def train(
    config: settings.Settings,
    out: Path,
    resume: bool,
    tensorboard: bool = False,
    task: Task | None = None,
) -> dict[str, Any]:
    """Trains one network and returns its metrics.

    Args:
        config: data, network, schedule, augmentation.
        out: folder of the run, made when missing.
        resume: go on from `out/last.pt` where there is one, whose settings must be the same.
        tensorboard: also write event files to `out/tensorboard`.
        task: start and loss; random weights and the labels when left out.

    Raises:
        DataError, CheckpointError: input that cannot be used.
        TrainingError: the loss is not finite, or the run to resume has other settings.
        OSError: the run's folder cannot be written; what was in it is whole.
    """
    task = task or Task()
    dataset = open_dataset(config.data)
    config = fitted(config, dataset)
    out.mkdir(parents=True, exist_ok=True)
    remove_unfinished(out)
    torch.manual_seed(config.training.seed)
    device = best_device()
    model = networks.build(config.model).to(device)
    if task.state is not None:
        model.load_state_dict(dict(task.state))
    optimizer = _optimizer(model, config.training)
    identity = {**config.as_dict(), **task.description}
    history: list[dict[str, float]] = []
    if resume and (out / "last.pt").exists():
        history = run_folder.restore(out / "last.pt", identity, model, optimizer)
    events = run_folder.event_writer(out) if tensorboard else None
    bar = tqdm(
        range(len(history) + 1, config.training.epochs + 1),
        desc="training",
        unit="epoch",
        initial=len(history),
        total=config.training.epochs,
        disable=None,
    )
    for epoch in bar:
        row = _epoch(model, optimizer, dataset, config, task, epoch)
        best = max((past["validation_accuracy"] for past in history), default=-1.0)
        history.append(row)
        if row["validation_accuracy"] > best:
            checkpoint.save(out / "ckpt.pt", run_folder.as_checkpoint(model, dataset, config, row))
        run_folder.save_last(out / "last.pt", identity, model, optimizer, history)
        run_folder.write_csv(out / "metrics.csv", history)
        if events is not None:
            for name, value in row.items():
                events.add_scalar(name, value, epoch)
        bar.set_postfix(loss=f"{row['train_loss']:.3f}", validation=f"{row['validation_accuracy']:.3f}")
    best_network = checkpoint.load(out / "ckpt.pt")
    test_loss, test_accuracy = evaluate(best_network.model().to(device), dataset.split("test"), config.training.batch)
    metrics = {**best_network.metrics, "test_loss": test_loss, "test_accuracy": test_accuracy}
    metrics["test_samples"] = len(dataset.split("test").labels)
    metrics["seconds"] = sum(row["seconds"] for row in history)
    checkpoint.save(out / "ckpt.pt", dataclasses.replace(best_network, metrics=metrics))
    write_text(out / "metrics.json", json.dumps({"data": config.data, "settings": identity, **metrics}, indent=2))
    run_folder.plot(out / "curves.png", history, config.data)
    return metrics


def fitted(config: settings.Settings, dataset: Dataset) -> settings.Settings:
    """The settings with the data set's features and classes in the network's shape.

    Raises:
        SettingsError: an augmentation that is larger than the data set's frames.
    """
    how, steps = config.augmentation, dataset.split("train").frames.shape[1]
    if how.feature_mask > dataset.features or how.shift >= steps:
        raise settings.SettingsError(
            f"augmentation: feature_mask {how.feature_mask} and shift {how.shift} do not fit {config.data}, whose "
            f"frames have {dataset.features} features and {steps} steps"
        )
    network = dataclasses.replace(config.model, features=dataset.features, classes=len(dataset.classes))
    return dataclasses.replace(config, model=network)


def _epoch(
    model: networks.Network,
    optimizer: torch.optim.Optimizer,
    dataset: Dataset,
    config: settings.Settings,
    task: Task,
    epoch: int,
) -> dict[str, float]:
    started = time.perf_counter()
    split, schedule = dataset.split("train"), config.training
    rng = np.random.default_rng([schedule.seed, epoch])
    torch.manual_seed(int(rng.integers(2**62)))
    model.train()
    batches = max(1, len(split.labels) // schedule.batch)
    total_loss = correct = seen = 0.0
    for index, rows in enumerate(np.array_split(rng.permutation(len(split.labels)), batches)):
        rate = _begin_step(model, optimizer, schedule, epoch - 1 + index / batches)
        frames, window = augmented(split, rows, config.augmentation, rng)
        x, labels, lengths = _tensors(model, frames, split.labels[rows], window)
        scores = readout(model(x, lengths), lengths)
        loss = task.loss(scores, labels, rows)
        _check_finite(loss, "the loss", epoch, index + 1, schedule)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), schedule.clip)
        _check_finite(norm, "the norm of the gradient", epoch, index + 1, schedule)
        optimizer.step()
        total_loss += loss.item() * len(rows)
        correct += int((scores.argmax(-1) == labels).sum())
        seen += len(rows)
    # Spikes hide NaN: a potential that is none never reaches the threshold, and the loss stays finite.
    largest = torch.stack([value.abs().max().double() for value in model.state_dict().values()]).max()
    _check_finite(largest, "the largest parameter", epoch, batches, schedule)
    validation_loss, validation_accuracy = evaluate(model, dataset.split("validation"), schedule.batch)
    values = (epoch, rate, total_loss / seen, correct / seen, validation_loss, validation_accuracy)
    return dict(zip(COLUMNS, (*values, time.perf_counter() - started), strict=True))


def _optimizer(model: networks.Network, schedule: settings.Training) -> torch.optim.Optimizer:
    """AdamW; learnt delays are a second group, which has a rate of its own and no decay towards zero."""
    delays = [layer.delay for layer in model.delayed()] if isinstance(model, DelaysNetwork) else []
    others = [value for value in model.parameters() if not any(value is delay for delay in delays)]
    groups: list[dict[str, Any]] = [{"params": others}]
    if delays:
        groups.append({"params": delays, "weight_decay": 0.0})
    return torch.optim.AdamW(groups, lr=schedule.learning_rate, weight_decay=schedule.weight_decay)


def _begin_step(
    model: networks.Network, optimizer: torch.optim.Optimizer, schedule: settings.Training, epochs_done: float
) -> float:
    """Sets what depends on the progress of the training, and gives the learning rate of the weights."""
    rates = [learning_rate(schedule, epochs_done)]
    if isinstance(model, DelaysNetwork):
        share = epochs_done / schedule.epochs
        model.anneal(share)
        rates.append(delay_rate(schedule.delay_learning_rate, share))
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    return rates[0]


def _check_finite(value: torch.Tensor, what: str, epoch: int, batch: int, schedule: settings.Training) -> None:
    if not torch.isfinite(value):
        raise TrainingError(
            f"epoch {epoch}, batch {batch}: {what} is {value.item()}; the last good checkpoint is kept; "
            f"lower training.learning_rate (now {schedule.learning_rate:g}) or training.clip ({schedule.clip:g})"
        )


def augmented(
    split: Split, rows: np.ndarray, how: settings.Augmentation, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A batch of the split with its augmentation applied: frames [samples, steps, features], lengths [samples]."""
    frames, lengths = np.array(split.frames[rows]), split.lengths[rows]
    if how.shift:
        lengths = augment.time_shift(frames, lengths, rng, how.shift)
    augment.time_mask(frames, lengths, rng, how.time_mask, how.probability)
    augment.neuron_mask(frames, rng, how.feature_mask, how.probability)
    return frames, lengths


def learning_rate(schedule: settings.Training, epochs_done: float) -> float:
    """Linear warm-up, then a cosine to zero at the last epoch (Loshchilov and Hutter 2017, equation 5)."""
    if epochs_done < schedule.warmup_epochs:
        return schedule.learning_rate * (epochs_done + 0.1) / (schedule.warmup_epochs + 0.1)
    share = (epochs_done - schedule.warmup_epochs) / max(1, schedule.epochs - schedule.warmup_epochs)
    return schedule.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


def evaluate(model: networks.Network, split: Split, batch: int = 64) -> tuple[float, float]:
    """Mean cross-entropy and accuracy on a split; the network is left in evaluation mode."""
    scores = scores_of(model, split, batch)
    labels = torch.from_numpy(split.labels.copy()).to(scores.device)
    return F.cross_entropy(scores, labels).item(), int((scores.argmax(-1) == labels).sum()) / len(labels)


@torch.no_grad()
def scores_of(model: networks.Network, split: Split, batch: int = 64) -> torch.Tensor:
    """Sum over steps of softmax(logits) for every sample of a split: [samples, classes], on the network's device.

    The samples are as they are in the split, without augmentation; the network is left in evaluation mode.
    """
    model.eval()
    scores = []
    for rows in _slices(len(split.labels), batch):
        x, _, lengths = _tensors(model, split.frames[rows], split.labels[rows], split.lengths[rows])
        scores.append(readout(model(x, lengths), lengths))
    return torch.cat(scores)


def best_device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _slices(samples: int, batch: int) -> Iterator[slice]:
    for start in range(0, samples, batch):
        yield slice(start, start + batch)


def _tensors(
    model: networks.Network, frames: np.ndarray, labels: np.ndarray, lengths: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    parameter = model.head.weight
    x = torch.from_numpy(np.array(frames, dtype=np.float32)).to(parameter)
    return (
        x,
        torch.from_numpy(labels.copy()).to(parameter.device),
        torch.from_numpy(lengths.copy()).to(parameter.device),
    )


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m model.train",
        description="Train a network: SpikeSCR, or DCLS-Delays with learnt delays.",
        epilog="example: python -m model.train configs/demo.toml --out runs/demo --set training.epochs=5",
    )
    parser.add_argument("config", type=Path, help="TOML file: data, model, training, augmentation")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="table.key=value")
    parser.add_argument("--resume", action="store_true", help="go on where an interrupted run in --out stopped")
    parser.add_argument("--tensorboard", action="store_true", help="also write TensorBoard events to RUN/tensorboard")
    parser.add_argument(
        "--quantized", type=Path, metavar="model.q.nir", help="fine-tune this quantised file instead, in its integers"
    )
    parser.add_argument("--json", action="store_true", help="print the metrics as JSON")
    return parser


def main(argv: list[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    if arguments.quantized is not None:
        from conversion import fine_tune  # stands above this package, which must not need it

        return fine_tune.command(arguments)
    try:
        config = settings.read(arguments.config, arguments.overrides)
        metrics = train(config, arguments.out, arguments.resume, arguments.tensorboard)
    except (settings.SettingsError, DataError, checkpoint.CheckpointError, TrainingError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename or arguments.out}: {error.strerror or error}; {KEPT}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"interrupted; go on with --resume (state in {arguments.out / 'last.pt'})", file=sys.stderr)
        return 130
    if arguments.json:
        print(json.dumps(metrics))
    else:
        print(
            f"{arguments.out / 'ckpt.pt'}: validation accuracy {metrics['validation_accuracy']:.4f} (epoch "
            f"{metrics['epoch']}), test accuracy {metrics['test_accuracy']:.4f} on {metrics['test_samples']} samples "
            f"of {config.data}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
