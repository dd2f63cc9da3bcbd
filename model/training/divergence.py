"""The loss of a student: the labels, and how far it is from its teacher: in scores, step by step, in features."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from neurotarget.model.networks.parts import moved, windows
from neurotarget.model.training.evaluation import Answer
from neurotarget.model.training.stages import Distillation
from neurotarget.model.training.targets import Targets
from torch import Tensor


def divergence(
    student: Tensor,
    teacher: Tensor,
    temperature: float = 1.0,
    entropy_weighted: bool = False,
    entropy_gradient: bool = False,
) -> Tensor:
    """T^2 times the mean over samples of KL(softmax(teacher / T) || softmax(student / T)).

    Args:
        student: scores [samples, classes].
        teacher: scores [samples, classes], no gradient.
        temperature: T; its square keeps the gradient's size (Hinton, Vinyals, Dean 2015, section 2.1).
        entropy_weighted: weigh each sample with H(softmax(student / T)) / log(classes), from 0 to 1, so that samples of
            which the student is sure count less.
        entropy_gradient: let the gradient through this weight, which then pays for being unsure where it learns most.
    """
    log_student = F.log_softmax(student / temperature, dim=-1)
    log_teacher = F.log_softmax(teacher / temperature, dim=-1)
    of_sample = (log_teacher.exp() * (log_teacher - log_student)).sum(-1)
    if entropy_weighted:
        entropy = -(log_student.exp() * log_student).sum(-1)
        of_sample = of_sample * (entropy if entropy_gradient else entropy.detach()) / math.log(student.shape[-1])
    return temperature**2 * of_sample.mean()


def divergence_of_steps(logits: Tensor, targets: Tensor, lengths: Tensor, temperature: float = 1.0) -> Tensor:
    """T^2 times the mean over samples of the mean over their steps of KL(target || softmax(logits / T)).

    Args:
        logits: the student's, [steps, samples, classes].
        targets: the teacher's shares of each class at T, [steps, samples, classes], whatever they add up to; a step of
            which all are zero does not count.
        lengths: int64 [samples]; steps from there on do not count.
        temperature: T.
    """
    whole = targets.sum(-1, keepdim=True)
    shares = targets / torch.where(whole > 0, whole, 1)
    log_student = F.log_softmax(logits / temperature, dim=-1)
    of_step = F.kl_div(log_student, shares, reduction="none").sum(-1)
    return temperature**2 * mean_over_time(of_step, (whole > 0) & windows(logits, lengths))


def feature_distance(student: Tensor, teacher: Tensor, counted: Tensor, kind: str) -> Tensor:
    """Mean over samples of the mean over their steps of the distance between two vectors.

    Args:
        student, teacher: [steps, samples, width].
        counted: bool [steps, samples], which steps of a sample count.
        kind: `squared`, the mean over the width of the squared differences (Romero et al. 2015, arXiv 1412.6550,
            equation 3, up to its factor); `cosine`, half the squared distance of the vectors at length 1, which is one
            minus their cosine. A vector shorter than 1, as none of spikes is but that of silence, stays as it is: it
            may have no direction.
    """
    if kind == "cosine":
        one, other = (F.normalize(values, dim=-1, eps=1.0) for values in (student, teacher))
        of_step = (one - other).square().sum(-1) / 2
    else:
        of_step = (student - teacher).square().mean(-1)
    return mean_over_time(of_step, counted[..., None])


def mean_over_time(of_step: Tensor, counted: Tensor) -> Tensor:
    """The mean over samples of [steps, samples], each the mean over its steps that are counted [steps, samples, 1]."""
    counts = counted.squeeze(-1)
    return (torch.where(counts, of_step, 0).sum(0) / counts.sum(0).clamp(min=1)).mean()


def cross_entropy(answer: Answer, labels: Tensor, rows: np.ndarray) -> Tensor:
    """Mean over the batch of -log softmax(scores) at the label; labels as of `aimed_at`."""
    return F.cross_entropy(answer.scores, labels)


def distillation_loss(how: Distillation, targets: Targets) -> Callable[[Answer, Tensor, np.ndarray], Tensor]:
    """The student's loss as `Task` wants it."""

    def loss(answer: Answer, labels: Tensor, rows: np.ndarray) -> Tensor:
        scores, logits = answer.scores, answer.logits
        picked = moved(torch.from_numpy(rows), targets.scores.device)
        of_batch = targets.scores[picked].to(scores)
        from_teacher = divergence(scores, of_batch, how.temperature, how.entropy_weighted, how.entropy_gradient)
        total = how.label_weight * cross_entropy(answer, labels, rows) + how.teacher_weight * from_teacher
        if how.step_weight:
            of_steps = targets.steps[picked, : len(logits)].to(logits).transpose(0, 1)
            total = total + how.step_weight * divergence_of_steps(logits, of_steps, answer.lengths, how.temperature)
        if how.feature_weight:
            features, taught = targets.features(rows, len(logits))
            counted = taught & windows(logits, answer.lengths)[..., 0]
            distances = [
                feature_distance(own, theirs, counted, how.feature_distance)
                for own, theirs in zip(answer.features, features, strict=True)
            ]
            total = total + how.feature_weight * torch.stack(distances).mean()
        return total

    return loss
