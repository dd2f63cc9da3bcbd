"""What a teacher tells its student of each utterance: scores, answers step by step, what its blocks hand on.

A student's step lasts `ratio` of the teacher's. What the teacher says of its steps becomes what it says of a student's
step by a mean over time: each of the teacher's steps counts with the share of it that falls into the student's, and
those beyond the end of the utterance not at all. With a ratio of 2.5 the student's first step is the mean of steps 0,
1 and half of 2. A frame stands for the time from its step's begin to its end, in spikes and in log-mel alike.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from neurotarget.model.networks.parts import windows
from neurotarget.model.training import registry
from neurotarget.model.training.checkpoint import Checkpoint
from neurotarget.model.training.evaluation import answer_of, best_device, in_evaluation, split_scores
from neurotarget.model.training.settings import SettingsError
from torch import Tensor

from neurotarget.data import Split

LARGEST_BYTES = 4 * 2**30  # of the answers that are kept


def pooled(values: Tensor, lengths: Tensor, ratio: float, steps: int) -> tuple[Tensor, Tensor]:
    """The mean over time for steps that last `ratio` of its own.

    Args:
        values: [its steps, samples, channels].
        lengths: int64 [samples], of its own steps.
        ratio: its steps in one of the others, above zero.
        steps: how many of these others are wanted.

    Returns:
        The means [steps, samples, channels], zero where the utterance has ended; and where it has not [steps, samples].
    """
    begin = torch.arange(len(values), dtype=torch.float64)
    from_ = torch.arange(steps, dtype=torch.float64)[:, None] * ratio
    share = (torch.minimum(from_ + ratio, begin + 1) - torch.maximum(from_, begin)).clamp(min=0).to(values)
    inside = windows(values, lengths).to(values)
    time = share @ inside[..., 0]
    sums = (share @ (values * inside).flatten(1)).view(steps, *values.shape[1:])
    return sums / torch.where(time > 0, time, 1)[..., None], time > 0


class Targets:
    """What a teacher says of the utterances of its train split; each is worked out when it is first asked for.

    Args:
        teacher: its answers are those of evaluation, without augmentation, so scores and steps are constants.
        split: the utterances at the teacher's time scale.
        batch: utterances that are answered at a time.
        ratio: the teacher's steps in one of the student's.
        steps: of the student's frames, at most.
        temperature: divides the logits of a step before their softmax.
    """

    def __init__(
        self, teacher: Checkpoint, split: Split, batch: int, ratio: float, steps: int, temperature: float
    ) -> None:
        self.teacher, self.split, self.batch = teacher, split, batch
        self.ratio, self.student_steps, self.temperature = ratio, steps, temperature

    @functools.cached_property
    def network(self) -> registry.Network:
        return self.teacher.model().to(best_device()).eval()

    @functools.cached_property
    def scores(self) -> Tensor:
        """[samples, classes]."""
        return split_scores(in_evaluation(self.network), self.split, self.batch)

    @functools.cached_property
    def steps(self) -> Tensor:
        """Mean over time of softmax(logits / temperature), float16 [samples, student's steps, classes].

        Behind the end of an utterance all classes are zero. Shares of float16 move the divergence by less than 1e-5.

        Raises:
            SettingsError: they are larger than `LARGEST_BYTES`.
        """
        classes = len(self.teacher.classes)
        size = 2 * len(self.split.labels) * self.student_steps * classes
        if size > LARGEST_BYTES:
            raise SettingsError(
                f"distillation: the teacher's answers for step_weight, {len(self.split.labels)} utterances of "
                f"{self.student_steps} steps and {classes} classes in float16, take {size / 1e9:.1f} GB, more than "
                f"{LARGEST_BYTES / 1e9:.1f} GB; give this stage step_weight = 0"
            )

        def scorer(frames: np.ndarray, lengths: np.ndarray) -> Tensor:
            answer = answer_of(self.network, frames, lengths)
            shares = (answer.logits / self.temperature).softmax(dim=-1)
            means, _ = pooled(shares, answer.lengths, self.ratio, self.student_steps)
            return means.transpose(0, 1).half()

        return split_scores(scorer, self.split, self.batch)

    @torch.no_grad()
    def features(self, rows: np.ndarray, steps: int) -> tuple[list[Tensor], Tensor]:
        """Of utterances [samples], each block's output as means over time [steps, samples, width], and where there are.

        They are as large as the student's own, times blocks, and not kept: the teacher answers again.
        """
        lengths = self.split.lengths[rows]
        answer = answer_of(self.network, self.split.frames[rows, : lengths.max()], lengths)
        means = [pooled(values, answer.lengths, self.ratio, steps) for values in answer.features]
        return [values for values, _ in means], means[0][1]
