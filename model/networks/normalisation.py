"""Where a network normalises: the batch normalisations that a configuration asks for, and LayerNorm before a branch."""

from __future__ import annotations

from neurotarget.model.networks.configuration import SpikeSCRConfig
from spikingjelly.activation_based import layer
from torch import Tensor, nn


def batch_norm(config: SpikeSCRConfig, channels: int, embedding_or_gate: bool = False) -> nn.Module:
    """Batch normalisation of [T, B, C], or nothing where the configuration has none.

    Args:
        embedding_or_gate: whether it is one of the two that the public code's `use_bn` governs.
    """
    everywhere = config.batch_normalisation == "everywhere"
    if everywhere or (config.batch_normalisation == "without_embedding_and_gate" and not embedding_or_gate):
        return layer.BatchNorm1d(channels, step_mode="m")
    return nn.Identity()


class StepNorm(nn.LayerNorm):
    """LayerNorm over the channels of each step of [T, B, C] (Ba, Kiros and Hinton 2016, arXiv 1607.06450)."""


class Entry(nn.Module):
    """What a branch of a block begins with, where the public code's `use_ln` is set.

    Args:
        neuron: in the attention's branch, a neuron follows.
    """

    def __init__(self, width: int, neuron: nn.Module | None = None) -> None:
        super().__init__()
        self.norm = StepNorm(width)
        self.lif = neuron or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        spikes: Tensor = self.lif(self.norm(x))
        return spikes
