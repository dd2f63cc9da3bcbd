"""The loss of a student: the labels, and how far its scores are from its teacher's."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from neurotarget.model.training.stages import Distillation


def divergence(
    student: torch.Tensor,
    teacher: torch.Tensor,
    temperature: float = 1.0,
    entropy_weighted: bool = False,
    entropy_gradient: bool = False,
) -> torch.Tensor:
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


def distillation_loss(
    how: Distillation, teacher_scores: Callable[[], torch.Tensor]
) -> Callable[[torch.Tensor, torch.Tensor, np.ndarray], torch.Tensor]:
    """The student's loss as `Task` wants it; `teacher_scores` [train samples, classes] is called when first needed."""

    def loss(scores: torch.Tensor, labels: torch.Tensor, rows: np.ndarray) -> torch.Tensor:
        known = teacher_scores()
        of_batch = known[torch.from_numpy(rows).to(known.device)].to(scores)
        from_teacher = divergence(scores, of_batch, how.temperature, how.entropy_weighted, how.entropy_gradient)
        return how.label_weight * F.cross_entropy(scores, labels) + how.teacher_weight * from_teacher

    return loss
