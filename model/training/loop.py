"""The loop that training and fine-tuning share: schedule, batches, augmentation, checks, validation, epoch by epoch.

Order and augmentation of an epoch depend on the seed and the epoch's number only. Of several processes each takes its
share of every batch (parallel.py).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numba
import numpy as np
import torch
import torch.nn.functional as F
from neurotarget.model.networks.parts import moved
from neurotarget.model.training import parallel, precision
from neurotarget.model.training.augmentation import augmented
from neurotarget.model.training.evaluation import loss_and_accuracy, split_scores
from neurotarget.model.training.labels import aimed_at
from neurotarget.model.training.run_folder import COLUMNS, TrainingError
from neurotarget.model.training.settings import Settings, Training
from torch import nn
from tqdm import tqdm

from neurotarget.data import Dataset, Split

SORTED_TOGETHER = 16  # batches: of fewer, utterances of a batch differ more in length, of more, batches are less random

MADE_AHEAD = ("cuda",)  # devices that compute while the processor makes the next batch

MEASURED = ("the loss", "the norm of the gradient", "the largest parameter")  # what has to be finite

Row = dict[str, float]  # of `COLUMNS`: what an epoch gave
Item = TypeVar("Item")


class Learner:
    """A network that is trained; subclasses say how it scores a batch, and what else is theirs.

    Args:
        network: its parameters are trained.
        optimizer: of these parameters; every group has the schedule's learning rate.
        kept: what is left of the run when it cannot go on.
    """

    def __init__(self, network: nn.Module, optimizer: torch.optim.Optimizer, kept: str) -> None:
        self.network, self.optimizer, self.kept = network, optimizer, kept

    def begin_epoch(self, rng: np.random.Generator) -> None:
        """Precedes the batches of an epoch; `rng` then draws their order and augmentation."""

    def begin_step(self, schedule: Training, epochs_done: float) -> float:
        """Sets what depends on the progress of the training, and gives the learning rate of the weights."""
        rate = learning_rate(schedule, epochs_done)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def scores(self, frames: np.ndarray, lengths: np.ndarray) -> torch.Tensor:
        """[samples, classes] of frames [samples, steps, features] and lengths [samples]."""
        raise NotImplementedError

    def scores_and_loss(
        self, frames: np.ndarray, lengths: np.ndarray, labels: torch.Tensor, rows: np.ndarray
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores of a batch, and the mean loss over it; labels as of `aimed_at`, rows of the train split [samples]."""
        scores = self.scores(frames, lengths)
        return scores, F.cross_entropy(scores, labels)

    def end_step(self, epoch: int) -> None:
        """Follows each step of the optimizer in an epoch, from 1."""

    def end_epoch(self, split: Split, epoch: int) -> None:
        """Follows the last step of an epoch; `split` is what it was trained on."""

    def evaluate(self, split: Split, batch: int) -> tuple[float, float]:
        """Mean cross-entropy and accuracy on a split."""
        return loss_and_accuracy(split_scores(self.scores, split, batch), split)

    def merit(self, row: Row) -> tuple[float, ...]:
        """By which the best epoch is chosen, of equals the first."""
        return (row["validation_accuracy"],)


def train_epochs(
    learner: Learner,
    dataset: Dataset,
    config: Settings,
    history: list[Row],
    words: str,
    keep: Callable[[Row, bool], None],
) -> None:
    """Trains the epochs that follow those in `history`, and appends their rows.

    Args:
        words: what the progress bar says.
        keep: called after every epoch, in the first process only, with its row and whether it is the best so far.

    Raises:
        TrainingError: a loss, gradient or parameter is not finite.
    """
    done, epochs = int(history[-1]["epoch"]) if history else 0, config.training.epochs
    silent = None if parallel.first() else True
    bar = tqdm(range(done + 1, epochs + 1), desc=words, unit="epoch", initial=done, total=epochs, disable=silent)
    for epoch in bar:
        row = train_epoch(learner, dataset, config, epoch)
        best = all(learner.merit(row) > learner.merit(past) for past in history)
        history.append(row)
        if parallel.first():
            keep(row, best)
        bar.set_postfix(loss=f"{row['train_loss']:.3f}", validation=f"{row['validation_accuracy']:.3f}")


def train_epoch(learner: Learner, dataset: Dataset, config: Settings, epoch: int) -> Row:
    """Trains one epoch and validates."""
    started = time.perf_counter()
    split, schedule = dataset.split("train"), config.training
    rng = np.random.default_rng([schedule.seed, epoch])
    learner.begin_epoch(rng)
    parameters = list(learner.network.parameters())
    batches = dealt(split, schedule, rng)
    measured, correct = [], torch.zeros((), dtype=torch.float64, device=parameters[0].device)
    silent = None if parallel.first() else True
    bar = tqdm(batches, desc=f"epoch {epoch}", unit="batch", leave=False, disable=silent)
    made = (batch_of(dataset, rows, config, rng) for rows in batches)
    shows = prefetched(made) if correct.device.type in MADE_AHEAD else made
    for index, (rows, (frames, lengths, aims)) in enumerate(zip(bar, shows, strict=True)):
        rate = learner.begin_step(schedule, epoch - 1 + index / len(batches))
        learner.optimizer.zero_grad(set_to_none=True)
        losses = []
        for part in np.array_split(np.arange(len(rows)), schedule.accumulate):
            mine = part[parallel.begin_batch(len(part))]
            labels = moved(torch.from_numpy(aims[mine]), correct.device)
            with precision.products(schedule.precision):
                scores, mean = learner.scores_and_loss(frames[mine], lengths[mine], labels, rows[mine])
                share = mean * (len(mine) / len(rows))
                share.backward()
            losses.append(share.detach())
            correct += (scores.argmax(-1) == (labels if labels.dim() == 1 else labels.argmax(-1))).sum()
        loss = parallel.add(torch.stack(losses).sum())
        parallel.add_gradients(learner.network)
        norm = torch.nn.utils.clip_grad_norm_(parameters, schedule.clip or math.inf)
        measured.append(torch.stack([loss.double(), norm.double()]))
        if not loss.is_cuda:  # a GPU would have to be waited for: its numbers are read once an epoch
            _check_finite(measured[-1].tolist(), learner, epoch, index + 1, schedule)
        learner.optimizer.step()
        learner.end_step(epoch)
    of_batches = torch.stack(measured).tolist()
    for number, found in enumerate(of_batches, start=1):
        _check_finite(found, learner, epoch, number, schedule)
    # Spikes hide NaN: a potential that is none never reaches the threshold, and the loss stays finite.
    state = learner.network.state_dict().values()
    largest = torch.stack([value.abs().max().double() for value in state]).max()
    _check_finite([0.0, 0.0, largest.item()], learner, epoch, len(batches), schedule)
    samples = len(split.labels)
    total_loss = sum(loss * len(rows) for (loss, _), rows in zip(of_batches, batches, strict=True))
    trained = rate, total_loss / samples, parallel.add(correct).item() / samples
    learner.end_epoch(split, epoch)
    validated = learner.evaluate(dataset.split("validation"), schedule.batch)
    return dict(zip(COLUMNS, (epoch, *trained, *validated, time.perf_counter() - started), strict=True))


def _check_finite(found: Sequence[float], learner: Learner, epoch: int, batch: int, schedule: Training) -> None:
    """`found` are the values of `MEASURED`, or the first of them."""
    for what, value in zip(MEASURED, found, strict=False):
        if not math.isfinite(value):
            raise TrainingError(
                f"epoch {epoch}, batch {batch}: {what} is {value}; {learner.kept}; lower training.learning_rate "
                f"(now {schedule.learning_rate:g}) or training.clip ({schedule.clip:g})"
            )


def dealt(split: Split, schedule: Training, rng: np.random.Generator) -> list[np.ndarray]:
    """The rows of the split in batches, each once, of sizes that differ by one at most.

    `sorted` batches are dealt from as many utterances as `SORTED_TOGETHER` batches have, in the order of their lengths.
    """
    order, batches = rng.permutation(len(split.labels)), max(1, len(split.labels) // schedule.batch)
    if schedule.batches != "sorted":
        return np.array_split(order, batches)
    together = np.array_split(order, -(-batches // SORTED_TOGETHER))
    order = np.concatenate([rows[np.argsort(split.lengths[rows], kind="stable")] for rows in together])
    found = np.array_split(order, batches)
    return [found[index] for index in rng.permutation(batches)]


def batch_of(
    dataset: Dataset, rows: np.ndarray, config: Settings, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a batch of the train split shows and aims at: frames [samples, steps, features], lengths, labels."""
    frames, lengths, mix = augmented(dataset, rows, config.augmentation, rng)
    labels = dataset.split("train").labels[rows]
    aims = aimed_at(labels, len(dataset.classes), config.training.label_smoothing, mix)
    return *shown(frames, lengths, config.training), aims


def prefetched(items: Iterator[Item]) -> Iterator[Item]:
    """The same items in the same order; a thread makes the next one while one is worked on."""
    with ThreadPoolExecutor(1) as thread:
        following = thread.submit(next, items, None)
        while (item := following.result()) is not None:
            following = thread.submit(next, items, None)
            yield item


def shown(frames: np.ndarray, lengths: np.ndarray, schedule: Training) -> tuple[np.ndarray, np.ndarray]:
    """A batch without the steps that none of its utterances has, unless batches are padded."""
    return (frames if schedule.batches == "padded" else frames[:, : lengths.max()]), lengths


def learning_rate(schedule: Training, epochs_done: float) -> float:
    """Linear warm-up, then a cosine from the peak to zero (Loshchilov and Hutter 2017, equation 5), once or again."""
    if epochs_done < schedule.warmup_epochs:
        return schedule.learning_rate * (epochs_done + 0.1) / (schedule.warmup_epochs + 0.1)
    since = epochs_done - schedule.warmup_epochs
    match schedule.schedule:
        case "cosine":
            share = min(1.0, since / max(1, schedule.epochs - schedule.warmup_epochs))
        case "warm_restarts":
            share = since / schedule.restart_epochs % 1
        case _:  # periodic, as the cosine is
            share = since / schedule.restart_epochs
    return schedule.learning_rate * 0.5 * (1 + math.cos(math.pi * share))


def settle_threads() -> None:
    """Lets numba use as many threads as PyTorch.

    Its pool, when it starts at the first spike, sets OpenMP's number of threads for all to the number of cores; with
    OMP_NUM_THREADS below that, sums of the first batch had another order than those of a resumed run.
    """
    threads = torch.get_num_threads()
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    torch.set_num_threads(threads)
