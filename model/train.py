"""Trains a network: `python -m model.train CONFIG.toml --out RUN`.

The run's folder gets `ckpt.pt` (best epoch by validation accuracy), `metrics.csv`, `metrics.json`, `curves.png` and
`last.pt`, from which `--resume` goes on, also to more epochs. Order, dropout and augmentation of an epoch depend on the
seed and the epoch's number only (training/loop.py), so an interrupted run goes on as if it had not been. Under torchrun
several processes train one network, each on its share of every batch (training/parallel.py).
"""

from __future__ import annotations

import sys

from neurotarget.model.commands import train as main

if __name__ == "__main__":  # before the imports that take long: --help needs none of them
    sys.exit(main())

import argparse
import contextlib
import dataclasses
import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from neurotarget.model.networks.delays import DelaysNetwork, delay_rate
from neurotarget.model.training import (
    checkpoint,
    loop,
    parallel,
    precision,
    recomputation,
    registry,
    run_folder,
    settings,
)
from neurotarget.model.training.averaging import Average
from neurotarget.model.training.divergence import cross_entropy
from neurotarget.model.training.evaluation import Answer, answer_of, best_device, class_scores, evaluate
from neurotarget.model.training.run_folder import Start, TrainingError, check_start

from neurotarget.cli import Result, complain, run_verb
from neurotarget.data import Dataset, Split, open_dataset
from neurotarget.files import check_folder, only_writer, write_text
from neurotarget.terminal import results


@dataclasses.dataclass(frozen=True)
class Task:
    """What training starts from and works towards.

    Attributes:
        loss: mean over the samples, of the network's answer, labels (`labels.aimed_at`) and the samples' rows in the
            train split.
        state: gives that of the network before the first step; random weights when left out.
        description: what a run to resume must have in common besides its settings; texts and numbers.
        defaults: of the tables in `description`, for runs that were made before a setting existed.
    """

    loss: Callable[[Answer, torch.Tensor, np.ndarray], torch.Tensor] = cross_entropy
    state: Callable[[], Mapping[str, torch.Tensor]] | None = None
    description: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    defaults: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)


def train(
    config: settings.Settings,
    out: Path,
    start: Start = Start.NEW,
    tensorboard: bool = False,
    task: Task | None = None,
) -> dict[str, Any]:
    """Trains one network and returns its metrics; with several processes, in each of them at once.

    Args:
        config: data, network, schedule, augmentation.
        out: folder of the run, made when missing.
        start: what becomes of a run that is in `out`. To resume it the settings must be the same, but there may be
            more epochs: the learning rate then goes on along their schedule, at its place after the epochs done.
        tensorboard: also write event files to `out/tensorboard`.
        task: start and loss; random weights and the labels when left out.

    Raises:
        DataError, CheckpointError: input that cannot be used.
        TrainingError: the folder holds a run, the run to resume has other settings, or the loss is not finite.
        ProcessError: a process of several has ended, or has other data or settings.
        OutputError: another process trains into the same folder.
        OSError: the run's folder cannot be written; what was in it is whole.
    """
    task = task or Task()
    if parallel.first():
        check_start(out, start)
    dataset = open_dataset(config.data)
    config = settings.fitted(config, dataset)
    with only_writer(out) if parallel.first() else contextlib.nullcontext():
        return _train(config, dataset, out, start, tensorboard, task)


def _train(
    config: settings.Settings, dataset: Dataset, out: Path, start: Start, tensorboard: bool, task: Task
) -> dict[str, Any]:
    torch.manual_seed(config.training.seed)
    loop.settle_threads()
    device = best_device()
    network = registry.build(config.model)
    if config.training.initialisation == "xavier_uniform":
        initialise(network)
    network = network.to(device)
    learner = NetworkLearner(network, config.training, task)  # an average is of the network as it is here
    parallel.share_layers(network)
    if config.training.checkpointing:
        recomputation.recompute_blocks(network)
    identity = {**config.as_dict(), **task.description}
    _check_processes(identity, dataset, config.training)
    history: list[loop.Row] = []
    defaults = {**config.defaults(), **task.defaults}
    read_last = functools.partial(run_folder.read_last, out / "last.pt", identity, defaults)
    if start is Start.RESUME and (last := parallel.from_first(read_last)):
        network.load_state_dict(last["state"])
        learner.optimizer.load_state_dict(last["optimizer"])
        history = last["history"]
        # With more epochs others are the last: their average begins anew.
        if learner.average and last["settings"]["training"]["epochs"] == config.training.epochs:
            learner.average.load(last["average"])
        _say_schedule(last["settings"]["training"]["epochs"], config.training, len(history))
    else:
        if task.state is not None:
            network.load_state_dict(dict(task.state()))
        if parallel.first():  # what is interrupted from now on must not go on with an older run
            (out / "last.pt").unlink(missing_ok=True)
    events = run_folder.event_writer(out) if tensorboard and parallel.first() else None

    def keep(row: loop.Row, best: bool) -> None:
        if best:
            checkpoint.save(out / "ckpt.pt", run_folder.as_checkpoint(learner.judged, dataset, config, row))
        average = learner.average.state() if learner.average else {}
        run_folder.save_last(out / "last.pt", identity, network, learner.optimizer, history, average)
        run_folder.write_csv(out / "metrics.csv", history)
        for of_a_whole_run in ("metrics.json", "curves.png"):  # which is another one from now on
            (out / of_a_whole_run).unlink(missing_ok=True)
        if events is not None:
            for name, value in row.items():
                events.add_scalar(name, value, row["epoch"])

    loop.train_epochs(learner, dataset, config, history, "training", keep)
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


def _say_schedule(before: int, schedule: settings.Training, done: int) -> None:
    if schedule.epochs != before and parallel.first():
        rate = loop.learning_rate(schedule, done)
        complain(
            f"note: training.epochs was {before}, is {schedule.epochs}: after {done} epochs the learning rate goes on "
            f"at {rate:.3g}, along the schedule of {schedule.epochs}"
        )


def _check_processes(identity: Mapping[str, Any], dataset: Dataset, schedule: settings.Training) -> None:
    """Every process has the first one's settings and data, and a row of each batch."""
    samples = {name: len(split.labels) for name, split in dataset.splits.items()}
    ours = {**identity, "samples": samples}
    theirs = parallel.from_first(lambda: ours)
    if changed := run_folder.differences(theirs, ours, ("in the first process", "here")):
        raise parallel.ProcessError(
            f"two processes of this training differ: {', '.join(changed)}; give all the same configuration and data"
        )
    if min(schedule.batch, samples["train"]) < parallel.processes() * schedule.accumulate:
        raise parallel.ProcessError(
            f"training.batch {schedule.batch} of {samples['train']} samples leaves some of {parallel.processes()} "
            f"processes, or of training.accumulate {schedule.accumulate} parts, without a sample; ask for fewer"
        )


class NetworkLearner(loop.Learner):
    """A network of the registry on its device, with a task."""

    network: registry.Network

    def __init__(self, network: registry.Network, schedule: settings.Training, task: Task) -> None:
        super().__init__(network, optimizer_of(network, schedule), "the last good checkpoint is kept")
        self.task, self.schedule = task, schedule
        self.average = Average(network, schedule) if schedule.average != "none" else None

    @property
    def judged(self) -> registry.Network:
        """What is validated and kept: the average of the weights once there is one."""
        averaged = self.average.network if self.average else None
        return self.network if averaged is None else averaged

    def begin_epoch(self, rng: np.random.Generator) -> None:
        torch.manual_seed(int(rng.integers(2**62)))
        parallel.align(self.network)
        self.network.train()

    def begin_step(self, schedule: settings.Training, epochs_done: float) -> float:
        rate = super().begin_step(schedule, epochs_done)
        if isinstance(self.network, DelaysNetwork):
            share = epochs_done / schedule.epochs
            self.network.anneal(share)
            for group in self.optimizer.param_groups[1:]:  # of learnt delays, where there are any
                group["lr"] = delay_rate(schedule.delay_learning_rate, share)
        return rate

    def scores(self, frames: np.ndarray, lengths: np.ndarray) -> torch.Tensor:
        return class_scores(self.network, frames, lengths)

    def scores_and_loss(
        self, frames: np.ndarray, lengths: np.ndarray, labels: torch.Tensor, rows: np.ndarray
    ) -> tuple[torch.Tensor, torch.Tensor]:
        with precision.autocast(self.schedule.precision, labels.device):
            answer = answer_of(self.network, frames, lengths)
        return answer.scores, self.task.loss(answer, labels, rows)

    def evaluate(self, split: Split, batch: int) -> tuple[float, float]:
        return evaluate(self.judged, split, batch)

    def end_step(self, epoch: int) -> None:
        if self.average:
            self.average.end_step(self.network, epoch)

    def end_epoch(self, split: Split, epoch: int) -> None:
        if self.average:
            self.average.end_epoch(self.network, split, epoch)

    def merit(self, row: loop.Row) -> tuple[float, ...]:
        return (-row["validation_loss"],) if self.schedule.select_by == "loss" else super().merit(row)


@torch.no_grad()
def initialise(network: registry.Network) -> None:
    """Xavier's uniform distribution (Glorot and Bengio 2010, equation 16) for every weight but those of channels."""
    for name, value in network.named_parameters():
        if name.endswith("weight") and value.dim() > 1:
            torch.nn.init.xavier_uniform_(value)


def optimizer_of(network: registry.Network, schedule: settings.Training) -> torch.optim.Optimizer:
    """AdamW; learnt delays are a second group, which has a rate of its own and no decay towards zero."""
    delays = [layer.delay for layer in network.delayed()] if isinstance(network, DelaysNetwork) else []
    others = [value for value in network.parameters() if not any(value is delay for delay in delays)]
    groups: list[dict[str, Any]] = [{"params": others}]
    if delays:
        groups.append({"params": delays, "weight_decay": 0.0})
    return torch.optim.AdamW(groups, lr=schedule.learning_rate, weight_decay=schedule.weight_decay)


def work(arguments: argparse.Namespace) -> Result | int | None:
    check_folder(arguments.out)
    parallel.join()
    if arguments.quantized is not None:
        return _fine_tune(arguments)
    config = settings.read(arguments.config, arguments.overrides)
    if getattr(config.model, "layer_normalisation", False) and parallel.first():
        complain("note: model.layer_normalisation=true: what is trained can be evaluated, but not exported to NIR")
    metrics = train(config, arguments.out, arguments.start, arguments.tensorboard)
    rows = [("split", "accuracy")]
    rows += [(split, f"{metrics[f'{split}_accuracy']:.4f}") for split in ("validation", "test")]
    verdict = (
        f"{arguments.out / 'ckpt.pt'}: written, of epoch {metrics['epoch']}; "
        f"{metrics['test_samples']} test samples of {config.data}"
    )
    return parallel.spoken(Result(metrics, results(rows, [], verdict)))


def _fine_tune(arguments: argparse.Namespace) -> int:
    """The command that trains quantised files stands above this package, which must not need it."""
    if parallel.processes() > 1:
        raise parallel.ProcessError("--quantized trains in one process; start it without torchrun")
    for option, given in (("resume", arguments.start is Start.RESUME), ("tensorboard", arguments.tensorboard)):
        if given:
            raise TrainingError(f"--{option} does not go with --quantized, which always starts from its file")
    argv = [str(arguments.config), "--quantized", str(arguments.quantized), "--out", str(arguments.out)]
    argv += [f"--set={override}" for override in arguments.overrides]
    argv += ["--force"] if arguments.start is Start.FORCE else []
    return run_verb("fine-tune", [*argv, *(["--json"] if arguments.json else [])])
