"""How well a network does on a split: the readout's scores of every sample, and what they say of the labels."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from neurotarget.model.networks.neuron import single
from neurotarget.model.networks.parts import moved, readout
from neurotarget.model.training import parallel, registry

from neurotarget.data import Split

# Frames [samples, steps, features] and lengths [samples] to scores [samples, classes].
Scorer = Callable[[np.ndarray, np.ndarray], torch.Tensor]


def best_device() -> torch.device:
    """The GPU where there is one; of several processes, each its own."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclasses.dataclass(frozen=True, eq=False)
class Answer:
    """What a network says of a batch, on its device.

    Attributes:
        scores: [samples, classes], what the network's `readout` makes of the logits.
        logits: [steps, samples, classes].
        features: what each block hands on, [steps, samples, width]; of DCLS-Delays each hidden layer.
        lengths: int64 [samples], steps of each sample, on the CPU.
    """

    scores: torch.Tensor
    logits: torch.Tensor
    features: tuple[torch.Tensor, ...]
    lengths: torch.Tensor


def answer_of(network: registry.Network, frames: np.ndarray, lengths: np.ndarray) -> Answer:
    """What a network says of frames [samples, steps, features], of any type of numbers, and lengths int64 [samples]."""
    parameter = network.head.weight
    x = moved(torch.from_numpy(np.array(frames, dtype=np.float32)), parameter.device).to(parameter.dtype)
    window = torch.from_numpy(lengths.copy())  # here, where asking for the longest makes no GPU wait
    features: list[torch.Tensor] = []
    with contextlib.ExitStack() as hooks:
        for block in registry.blocks_of(network):
            hooks.enter_context(block.register_forward_hook(lambda *call: features.append(call[-1])))
        logits = single(network(x, window))
    return Answer(readout(logits, window, network.config.readout), logits, tuple(features), window)


def class_scores(network: registry.Network, frames: np.ndarray, lengths: np.ndarray) -> torch.Tensor:
    """The scores of `answer_of` alone, [samples, classes]."""
    return answer_of(network, frames, lengths).scores


@torch.no_grad()
def split_scores(scorer: Scorer, split: Split, batch: int = 64) -> torch.Tensor:
    """Scores of every sample of a split, without augmentation: [samples, classes], in the split's order.

    Batches are of similar length and cut to their longest: what stands behind an utterance changes nothing. Of several
    processes each computes its share and has all scores.
    """
    samples = len(split.labels)
    order = np.argsort(split.lengths, kind="stable")
    mine = parallel.share(samples)
    batches = [order[start : min(start + batch, mine.stop)] for start in range(mine.start, mine.stop, batch)]
    batches = batches or [order[:1]]  # a share may be empty; no scores still have their classes
    scores = torch.cat(
        [scorer(split.frames[rows, : split.lengths[rows].max()], split.lengths[rows]) for rows in batches]
    )
    of_all = parallel.gather(scores[: mine.stop - mine.start], samples)
    return of_all[torch.from_numpy(np.argsort(order)).to(of_all.device)]


def loss_and_accuracy(scores: torch.Tensor, split: Split) -> tuple[float, float]:
    """Mean cross-entropy and share of right answers of the scores of a split."""
    labels = torch.from_numpy(split.labels.copy()).to(scores.device)
    return F.cross_entropy(scores, labels).item(), int((scores.argmax(-1) == labels).sum()) / len(labels)


def in_evaluation(network: registry.Network) -> Scorer:
    """`class_scores` of a network that is put into evaluation mode."""
    return functools.partial(class_scores, network.eval())


def evaluate(network: registry.Network, split: Split, batch: int = 64) -> tuple[float, float]:
    """Mean cross-entropy and accuracy on a split; the network is left in evaluation mode."""
    return loss_and_accuracy(split_scores(in_evaluation(network), split, batch), split)
