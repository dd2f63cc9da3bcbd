"""Trains a network: `python -m model.train CONFIG.toml --out RUN`.

The run's folder gets `ckpt.pt` (best epoch by validation accuracy), `metrics.csv`, `metrics.json`, `curves.png` and
`last.pt`, from which `--resume` goes on. Order, dropout and augmentation of an epoch depend on the seed and the epoch's
number only, so an interrupted run goes on as if it had not been. Under torchrun several processes train one network,
each on its share of every batch (parallel.py).
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

import numba
import numpy as np
import torch
import torch.nn.functional as F
from neurotarget.model.networks.delays import DelaysNetwork, delay_rate
from neurotarget.model.spikescr import readout
from neurotarget.model.training import checkpoint, parallel, run_folder, settings
from neurotarget.model.training import registry as networks
from neurotarget.model.training.run_folder import COLUMNS, TrainingError
from tqdm import tqdm

from neurotarget.cli import Command, Result, run_verb
from neurotarget.data import Dataset, Split, augment, open_dataset
from neurotarget.files import check_folder, remove_unfinished, write_text

KEPT = "what was written before is whole; mend this, then go on with --resume"


def cross_entropy(scores: torch.Tensor, labels: torch.Tensor, rows: np.ndarray) -> torch.Tensor:
    """Mean over the batch of -log softmax(scores) at the label; scores [samples, classes], labels [samples]."""
    return F.cross_entropy(scores, labels)


@dataclasses.dataclass(frozen=True)
class Task:
    """What training starts from and works towards.

    Attributes:
        loss: mean over the samples, of scores [samples, classes], labels int64 [samples] and the samples' rows in the
            train split.
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
    """Trains one network and returns its metrics; with several processes, in each of them at once.

    Args:
        config: data, network, schedule, augmentation.
        out: folder of the run, made when missing.
        resume: go on from `out/last.pt` where there is one, whose settings must be the same.
        tensorboard: also write event files to `out/tensorboard`.
        task: start and loss; random weights and the labels when left out.

    Raises:
        DataError, CheckpointError: input that cannot be used.
        TrainingError: the loss is not finite, or the run to resume has other settings.
        ProcessError: a process of several has ended, or has other data or settings.
        OSError: the run's folder cannot be written; what was in it is whole.
    """
    task = task or Task()
    dataset = open_dataset(config.data)
    config = fitted(config, dataset)
    if parallel.first():
        out.mkdir(parents=True, exist_ok=True)
        remove_unfinished(out)
    torch.manual_seed(config.training.seed)
    settle_threads()
    device = best_device()
    model = networks.build(config.model).to(device)
    if task.state is not None:
        model.load_state_dict(dict(task.state))
    optimizer = _optimizer(model, config.training)
    parallel.spread(model)
    identity = {**config.as_dict(), **task.description}
    _check_processes(identity, dataset, config.training)
    history: list[dict[str, float]] = []
    if last := parallel.from_first(lambda: run_folder.read_last(out / "last.pt", identity) if resume else None):
        model.load_state_dict(last["state"])
        optimizer.load_state_dict(last["optimizer"])
        history = last["history"]
    events = run_folder.event_writer(out) if tensorboard and parallel.first() else None
    bar = tqdm(
        range(len(history) + 1, config.training.epochs + 1),
        desc="training",
        unit="epoch",
        initial=len(history),
        total=config.training.epochs,
        disable=None if parallel.first() else True,
    )
    for epoch in bar:
        row = _epoch(model, optimizer, dataset, config, task, epoch)
        best = max((past["validation_accuracy"] for past in history), default=-1.0)
        history.append(row)
        if parallel.first():
            if row["validation_accuracy"] > best:
                checkpoint.save(out / "ckpt.pt", run_folder.as_checkpoint(model, dataset, config, row))
            run_folder.save_last(out / "last.pt", identity, model, optimizer, history)
            run_folder.write_csv(out / "metrics.csv", history)
        if events is not None:
            for name, value in row.items():
                events.add_scalar(name, value, epoch)
        bar.set_postfix(loss=f"{row['train_loss']:.3f}", validation=f"{row['validation_accuracy']:.3f}")
    best_network = parallel.from_first(lambda: checkpoint.load(out / "ckpt.pt"))
    test_loss, test_accuracy = evaluate(best_network.model().to(device), dataset.split("test"), config.training.batch)
    metrics = {**best_network.metrics, "test_loss": test_loss, "test_accuracy": test_accuracy}
    metrics["test_samples"] = len(dataset.split("test").labels)
    metrics["seconds"] = sum(row["seconds"] for row in history)
    if parallel.first():
        checkpoint.save(out / "ckpt.pt", dataclasses.replace(best_network, metrics=metrics))
        write_text(out / "metrics.json", json.dumps({"data": config.data, "settings": identity, **metrics}, indent=2))
        run_folder.plot(out / "curves.png", history, config.data)
    return metrics


def _check_processes(identity: Mapping[str, Any], dataset: Dataset, schedule: settings.Training) -> None:
    """Every process has the first one's settings and data, and a row of each batch."""
    samples = {name: len(split.labels) for name, split in dataset.splits.items()}
    ours = {**identity, "samples": samples}
    theirs = parallel.from_first(lambda: ours)
    if changed := run_folder.differences(theirs, ours, ("in the first process", "here")):
        raise parallel.ProcessError(
            f"two processes of this training differ: {', '.join(changed)}; give all the same configuration and data"
        )
    if min(schedule.batch, samples["train"]) < parallel.processes():
        raise parallel.ProcessError(
            f"training.batch {schedule.batch} of {samples['train']} samples leaves some of {parallel.processes()} "
            "processes without a sample; start fewer"
        )


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
    parallel.align(model)
    model.train()
    batches = max(1, len(split.labels) // schedule.batch)
    total_loss = correct = seen = 0.0
    for index, rows in enumerate(np.array_split(rng.permutation(len(split.labels)), batches)):
        rate = _begin_step(model, optimizer, schedule, epoch - 1 + index / batches)
        frames, window = augmented(split, rows, config.augmentation, rng)
        mine = parallel.begin_batch(len(rows))
        x, labels, lengths = _tensors(model, frames[mine], split.labels[rows[mine]], window[mine])
        scores = readout(model(x, lengths), lengths)
        part = task.loss(scores, labels, rows[mine]) * (len(labels) / len(rows))
        loss = parallel.add(part.detach().clone())
        _check_finite(loss, "the loss", epoch, index + 1, schedule)
        optimizer.zero_grad(set_to_none=True)
        part.backward()
        parallel.add_gradients(model)
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), schedule.clip)
        _check_finite(norm, "the norm of the gradient", epoch, index + 1, schedule)
        optimizer.step()
        total_loss += loss.item() * len(rows)
        correct += int((scores.argmax(-1) == labels).sum())
        seen += len(rows)
    correct = parallel.add(torch.tensor(correct, dtype=torch.float64, device=model.head.weight.device)).item()
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

    The samples are as they are in the split, without augmentation; the network is left in evaluation mode. Of several
    processes each computes its share and has all scores.
    """
    model.eval()
    samples = len(split.labels)
    scores = [model.head.weight.new_zeros(0, len(model.head.weight))]  # a share may be empty
    for rows in _slices(parallel.share(samples), batch):
        x, _, lengths = _tensors(model, split.frames[rows], split.labels[rows], split.lengths[rows])
        scores.append(readout(model(x, lengths), lengths))
    return parallel.gather(torch.cat(scores), samples)


def settle_threads() -> None:
    """Lets numba use as many threads as PyTorch.

    Its pool, when it starts at the first spike, sets OpenMP's number of threads for all to the number of cores; with
    OMP_NUM_THREADS below that, sums of the first batch had another order than those of a resumed run.
    """
    threads = torch.get_num_threads()
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    torch.set_num_threads(threads)


def best_device() -> torch.device:
    """The GPU where there is one; of several processes, each its own."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _slices(rows: slice, batch: int) -> Iterator[slice]:
    for start in range(rows.start, rows.stop, batch):
        yield slice(start, min(start + batch, rows.stop))


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


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that every training shares."""
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="table.key=value")
    parser.add_argument("--resume", action="store_true", help="go on where an interrupted run in --out stopped")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, help="TOML file: data, model, training, augmentation")
    add_run_arguments(parser)
    parser.add_argument("--tensorboard", action="store_true", help="also write TensorBoard events to RUN/tensorboard")
    parser.add_argument(
        "--quantized", type=Path, metavar="model.q.nir", help="fine-tune this quantised file instead, in its integers"
    )


def work(arguments: argparse.Namespace) -> Result | int | None:
    check_folder(arguments.out)
    parallel.join()
    if arguments.quantized is not None:
        return _fine_tune(arguments)
    config = settings.read(arguments.config, arguments.overrides)
    metrics = train(config, arguments.out, arguments.resume, arguments.tensorboard)
    text = (
        f"{arguments.out / 'ckpt.pt'}: validation accuracy {metrics['validation_accuracy']:.4f} (epoch "
        f"{metrics['epoch']}), test accuracy {metrics['test_accuracy']:.4f} on {metrics['test_samples']} samples "
        f"of {config.data}"
    )
    return parallel.spoken(Result(metrics, text))


def _fine_tune(arguments: argparse.Namespace) -> int:
    """The command that trains quantised files stands above this package, which must not need it."""
    if parallel.processes() > 1:
        raise parallel.ProcessError("--quantized trains in one process; start it without torchrun")
    for option in ("resume", "tensorboard"):
        if getattr(arguments, option):
            raise TrainingError(f"--{option} does not go with --quantized, which always starts from its file")
    argv = [str(arguments.config), "--quantized", str(arguments.quantized), "--out", str(arguments.out)]
    argv += [f"--set={override}" for override in arguments.overrides]
    return run_verb("fine-tune", [*argv, *(["--json"] if arguments.json else [])])


main = Command(
    door="model.train",
    description="Train a network: SpikeSCR, or DCLS-Delays with learnt delays.",
    example="configs/demo.toml --out runs/demo --set training.epochs=5",
    add_arguments=add_arguments,
    work=work,
    interrupted="interrupted; go on with --resume (state in {out}/last.pt)",
    unwritten=KEPT,
    complain=parallel.complain,
)

if __name__ == "__main__":
    sys.exit(main())
