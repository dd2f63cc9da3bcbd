"""The average of a network's weights over the last epochs of its training, which is then what is validated and kept.

`equal` is the mean of the weights at the end of each epoch (stochastic weight averaging, Izmailov et al. 2018, arXiv
1803.05407); `exponential` follows the weights after every step, average = decay * average + (1 - decay) * weights.
Means and variances of batch normalisation belong to the weights that they were measured with, so those of an average
are measured again on the training frames (the same, section 3.2), after each of its epochs.
"""

from __future__ import annotations

from typing import Any, cast

from neurotarget.model.training import registry
from neurotarget.model.training.inheritance import estimate_statistics
from neurotarget.model.training.settings import Training
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from neurotarget.data import Split


class Average:
    """The average of `network`, empty until the first epoch that counts.

    Args:
        network: that is trained; in one process, before its layers look at several.
        schedule: `average` is equal or exponential.
    """

    def __init__(self, network: registry.Network, schedule: Training) -> None:
        self.schedule = schedule
        self.each_step = schedule.average == "exponential"
        self.model = AveragedModel(
            network, multi_avg_fn=get_ema_multi_avg_fn(schedule.average_decay) if self.each_step else None
        )
        self.averaged = cast(registry.Network, self.model.module)

    @property
    def network(self) -> registry.Network | None:
        """The network of averaged weights; None until there are some."""
        return self.averaged if self.model.n_averaged else None

    def end_step(self, network: nn.Module, epoch: int) -> None:
        """Takes the weights after a step of an epoch, from 1."""
        if self.each_step and self._counts(epoch):
            self.model.update_parameters(network)

    def end_epoch(self, network: nn.Module, split: Split, epoch: int) -> None:
        """Takes the weights after an epoch, and measures the statistics on `split`."""
        if self._counts(epoch):
            if not self.each_step:
                self.model.update_parameters(network)
            estimate_statistics(self.averaged, split, self.schedule)

    def state(self) -> dict[str, Any]:
        """For a run that goes on."""
        return self.model.state_dict()

    def load(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state)

    def _counts(self, epoch: int) -> bool:
        return epoch > self.schedule.epochs - self.schedule.average_epochs
