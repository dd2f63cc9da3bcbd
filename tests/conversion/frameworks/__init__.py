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
        no_integers: why it has no fixed-point integers, as `conversion.quantize` says it; empty where it has.
    """

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    no_integers: str = ""


def louder(network: nn.Module, factor: float = 3.0) -> nn.Module:
    """Larger weights, so that every layer fires on sparse random frames, as after training."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                module.weight.mul_(factor)
    return network
