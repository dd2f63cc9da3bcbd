"""What the trained twin has in place of spikes: the same architecture as a network that computes once an utterance.

A configuration with `twin = true` builds it: ReLU for every LIF, softmax attention (Vaswani et al., "Attention Is All
You Need", arXiv 1706.03762, equation 1) for each of the spiking attentions that were made to replace it, no membrane
potential and no step to simulate. Tensors are [T, B, C] (steps, samples, channels) as in the spiking network.
"""

from __future__ import annotations

import math

import torch
from neurotarget.model.networks.configuration import SpikeSCRConfig
from neurotarget.model.networks.parts import Rotary, Unit, activation, dropped, published_dropout, rotary_angle
from torch import Tensor, nn


class MatrixProduct(nn.Module):
    """a @ b of two activations, a module so that it can be counted and quantised: [..., n, k] and [..., k, m]."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ b


class SoftmaxProduct(nn.Module):
    """softmax(q k^T / sqrt(d_head)) v over the keys of the window, or over those so far when `causal`."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.scale = 1 / math.sqrt(width // heads)
        self.scores, self.mixture = MatrixProduct(), MatrixProduct()

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        query, key, value = (x.unflatten(-1, (self.heads, -1)).permute(1, 2, 0, 3) for x in (query, key, value))
        scores = self.scores(query, key.transpose(-1, -2)) * self.scale
        steps = scores.shape[-1]
        seen = torch.ones(steps, steps, dtype=torch.bool, device=scores.device)
        seen = seen.tril() if self.causal else seen
        if mask is not None:  # a padded query sees step 0 at least: a window has one step or more
            seen = seen & mask.squeeze(-1).T.bool()[:, None, None]
        share = scores.masked_fill(~seen, -math.inf).softmax(dim=-1)
        return self.mixture(share, value).permute(2, 0, 1, 3).flatten(-2)


class SoftmaxAttention(nn.Module):
    """Softmax attention in the frame of SpikeSCR's: ReLU for LIF; rotary positions where the spiking one has them.

    The LIF after the rotary position makes spikes of turned values again; here they stay as they are.
    """

    def __init__(self, config: SpikeSCRConfig) -> None:
        super().__init__()
        width, heads = config.width, config.heads
        self.query, self.key, self.value = (
            Unit(config, width, width, bias=True, published_dropout=False) for _ in range(3)
        )
        self.query_rotary: nn.Module = nn.Identity()
        self.key_rotary: nn.Module = nn.Identity()
        if config.attention == "spikescr":
            angle = rotary_angle(width // heads)
            self.query_rotary, self.key_rotary = Rotary(angle, heads), Rotary(angle, heads)
        self.product, self.product_lif = SoftmaxProduct(width, heads, config.causal), activation(config)
        self.product_dropout = published_dropout(config)
        self.output = Unit(config, width, width, bias=True)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        query, key = self.query_rotary(self.query(x)), self.key_rotary(self.key(x))
        product = self.product_lif(self.product(query, key, self.value(x), mask))
        return self.output(dropped(self.product_dropout, product))
