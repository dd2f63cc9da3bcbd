"""What a student takes over from its teacher when a step lasts longer: the same numbers, or their meaning in seconds.

A student's step lasts `ratio` of its teacher's. Taken over as it is, a kernel of 31 taps reaches 0.31 s at 100 steps
per second and 0.78 s at 40; a rotary angle turns more slowly in seconds, a potential lives longer. Each option of
`Distillation` lets one of them keep its meaning:

    reach_in_seconds      a kernel over time weighs the same past and future, in seconds, as the teacher's: each tap of
                          the student gets the share of each of the teacher's that falls into its step. The sum of the
                          weights stays; taps beyond the teacher's reach start at zero. Learnt delays are divided by
                          `ratio`.
    angles_in_seconds     rotary positions turn by `ratio` times the angle a step
    leak_in_seconds       a potential loses 1 - (1 - 1/tau)^ratio a step, what the teacher's loses in as many seconds.
                          A constant current has to hold the same potential: the scale and offset of the batch
                          normalisation before a neuron are multiplied by the new leak over the old.
    gain_matched          the weights of the first layer are multiplied by mean |frame| of the teacher's training
                          utterances over that of the student's: counts of a longer step are larger
    statistics_estimated  the means and variances of batch normalisation are those of the student's training frames
                          (without augmentation and dropout), before its first epoch
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import torch
from neurotarget.model.networks.delays import DelayedLinear
from neurotarget.model.networks.parts import Rotary, TemporalConv
from neurotarget.model.training import registry
from neurotarget.model.training.checkpoint import Checkpoint
from neurotarget.model.training.evaluation import best_device, class_scores
from neurotarget.model.training.loop import dealt, shown
from neurotarget.model.training.settings import Training, fitted
from neurotarget.model.training.stages import Distillation, Stage
from torch import Tensor, nn

from neurotarget.data import Dataset, Split

ROWS = 256  # of frames that are read at a time


def ratio_of(stage: Stage, teacher: Checkpoint) -> float:
    """How many of the teacher's steps one of the student's lasts."""
    return round(1 / teacher.step_seconds) / stage.steps


def with_leak(stage: Stage, teacher: Checkpoint) -> Stage:
    """The student's stage with the time constant that it takes over, where it does."""
    if not stage.distillation.leak_in_seconds:
        return stage
    tau = tau_of(teacher.config.tau, ratio_of(stage, teacher))
    model = dataclasses.replace(stage.settings.model, tau=tau)
    return dataclasses.replace(stage, settings=dataclasses.replace(stage.settings, model=model))


def tau_of(tau: float, ratio: float) -> float:
    """The time constant, in steps, of a neuron that loses in one step what one of `tau` loses in `ratio` steps."""
    return 1 / (1 - (1 - 1 / tau) ** ratio)


def inherited(
    teacher: Checkpoint, teacher_data: Dataset, stage: Stage, student_data: Dataset
) -> Mapping[str, torch.Tensor]:
    """What the student starts from.

    Args:
        stage: the student's, with its time constant (`with_leak`).
    """
    how, settings = stage.distillation, fitted(stage.settings, student_data)
    with torch.random.fork_rng(devices=[]):
        network = registry.build(settings.model)
    state = in_seconds(network, teacher, ratio_of(stage, teacher), how)
    if how.gain_matched:
        first = next(name for name in state if name.endswith("weight"))
        gain = mean_magnitude(teacher_data.split("train")) / mean_magnitude(student_data.split("train"))
        state[first] = state[first] * gain
    if how.statistics_estimated:
        network.load_state_dict(state)
        estimate_statistics(network.to(best_device()), student_data.split("train"), settings.training)
        state = {name: value.cpu() for name, value in network.state_dict().items()}
    return state


def in_seconds(
    network: registry.Network, teacher: Checkpoint, ratio: float, how: Distillation
) -> dict[str, torch.Tensor]:
    """The teacher's state with kernels, delays, angles and currents as `how` says; `network` is the student's."""
    state = dict(teacher.state)
    currents = teacher.config.tau / network.config.tau
    for name, module in network.named_modules():
        if isinstance(module, TemporalConv) and how.reach_in_seconds:
            state[f"{name}.weight"] = resampled(state[f"{name}.weight"], ratio, module.look_ahead)
        if isinstance(module, DelayedLinear) and how.reach_in_seconds:
            state[f"{name}.delay"] = state[f"{name}.delay"] / ratio
        if isinstance(module, Rotary) and how.angles_in_seconds:
            state[f"{name}.angle"] = state[f"{name}.angle"] * ratio
        if isinstance(module, nn.BatchNorm1d) and how.leak_in_seconds:
            for parameter in ("weight", "bias"):
                state[f"{name}.{parameter}"] = state[f"{name}.{parameter}"] * currents
    return state


def resampled(kernel: Tensor, ratio: float, look_ahead: int) -> Tensor:
    """A kernel over time for steps that last `ratio` of its own; as many taps.

    Args:
        kernel: [..., taps]; tap i sees the step i - (taps - 1 - look_ahead) from now.
        look_ahead: steps that it sees of the future; with none a tap stands for the step that ends there, else for the
            step around its place.
    """
    taps = kernel.shape[-1]
    places = torch.arange(taps, dtype=torch.float64) - (taps - 1 - look_ahead)
    begin = places - (0.5 if look_ahead else 1.0)
    from_, to = begin * ratio, (begin + 1) * ratio  # of the student's taps, in the teacher's steps
    share = (torch.minimum(to[:, None], begin + 1) - torch.maximum(from_[:, None], begin)).clamp(min=0)
    return (kernel.double() @ share.T).to(kernel)


def mean_magnitude(split: Split) -> float:
    """Mean of |frame| over the features and steps of all utterances."""
    sums = 0.0
    for start in range(0, len(split.labels), ROWS):
        sums += float(np.abs(np.asarray(split.frames[start : start + ROWS], np.float64)).sum())
    return sums / (int(split.lengths.sum()) * split.frames.shape[2])


@torch.no_grad()
def estimate_statistics(network: registry.Network, split: Split, schedule: Training) -> None:
    """Sets the means and variances of batch normalisation to the mean over an epoch's batches, as they would train."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d)]
    momenta = [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # which is torch's word for a plain mean
        norm.train()
    for rows in dealt(split, schedule, np.random.default_rng(schedule.seed)):
        class_scores(network, *shown(split.frames[rows], split.lengths[rows], schedule))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()
