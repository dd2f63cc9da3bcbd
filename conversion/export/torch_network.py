"""A network in PyTorch as one callable on whole utterances, whatever way its forward pass takes them."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from neurotarget.conversion.export.frameworks import reset
from neurotarget.conversion.export.network import STEP_BY_STEP, WAYS, copy_of, follow, in_one_call, stepped
from neurotarget.model.training import checkpoint, registry
from torch import Tensor, nn


@dataclass(frozen=True)
class TorchNetwork:
    """A copy of a network, and how it takes an utterance.

    Attributes:
        module: in evaluation mode.
        ways: that it takes its frames in, the first one is used; none for a network of `model/`, which takes samples
            first, and their lengths.
    """

    module: nn.Module
    ways: tuple[str, ...] = WAYS

    def __call__(self, frames: Tensor, lengths: Tensor) -> Any:
        """One inference from a fresh state, of frames [samples, steps, ...] and int64 lengths [samples]."""
        if not self.ways:
            return self.module(frames, lengths)
        reset(self.module)
        if self.ways[0] == STEP_BY_STEP:
            return list(stepped(self.module, frames.unbind(1)))
        return self.module(in_one_call(frames, self.ways[0]))

    def to(self, device: torch.device | str, dtype: torch.dtype) -> TorchNetwork:
        """A copy on that device and in that precision."""
        return replace(self, module=copy.deepcopy(self.module).to(device, dtype))


def of_checkpoint(path: str | Path) -> TorchNetwork:
    """The network of a checkpoint.

    Raises:
        CheckpointError: it cannot be used.
    """
    return TorchNetwork(checkpoint.load(path).model(), ())


def of_network(network: nn.Module, frames: np.ndarray) -> TorchNetwork:
    """A network of anybody's; how it takes frames [samples, steps, ...] is found by trying.

    Raises:
        UnsupportedModule: it takes them in no way that is known.
    """
    module = copy_of(network)
    if isinstance(network, registry.Network):
        return TorchNetwork(module, ())
    return TorchNetwork(module, (follow(network, frames[[0, -1]]).way,))
