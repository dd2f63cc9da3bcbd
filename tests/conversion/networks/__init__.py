"""Networks as their users write them, in three frameworks: each one a row of the table in docs/your_network.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Row:
    """One network.

    Attributes:
        name: what the table calls it.
        build: makes it, with weights under which every layer fires.
        shape: of one step of one sample.
        no_lava: why Lava does not run it here, in one phrase of the table; empty where it does.
        no_integers: why Lava's fixed-point integers do not.
    """

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    no_lava: str = ""
    no_integers: str = ""


def louder(network: nn.Module, factor: float = 3.0) -> nn.Module:
    """Larger weights, so that every layer fires on sparse random frames, as after training."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                module.weight.mul_(factor)
    return network
