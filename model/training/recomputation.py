"""Activation checkpointing: what a block computes is not kept for the backward pass, but computed again in it.

Chen, Xu, Zhang and Guestrin, "Training Deep Nets with Sublinear Memory Cost" (arXiv 1604.06174). Of a block only its
input is kept; a step costs another forward pass of the blocks. The gradients keep their bits: the second pass draws
dropout from the same random state, its neurons start at rest again, and the running statistics of batch normalisation
are not moved by it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from neurotarget.model.training import registry
from spikingjelly.activation_based import functional
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def recompute_blocks(network: registry.Network) -> None:
    """Lets every block of a network be computed again in its backward pass. Names and parameters stay."""
    for block in registry.blocks_of(network):
        block.forward = _recomputed(block, block.forward)


def _recomputed(block: nn.Module, forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def from_rest(*inputs: Tensor | None) -> Tensor:
        functional.reset_net(block)
        return forward(*inputs)

    def forward_or_again(*inputs: Tensor | None) -> Tensor:
        if not (block.training and torch.is_grad_enabled()):
            return forward(*inputs)
        contexts = lambda: (contextlib.nullcontext(), _statistics_kept(block))  # noqa: E731
        output: Tensor = checkpoint(from_rest, *inputs, use_reentrant=False, context_fn=contexts)
        return output

    return forward_or_again


@contextlib.contextmanager
def _statistics_kept(block: nn.Module) -> Iterator[None]:
    """Batch normalisation with a momentum of zero: its running statistics keep their bits."""
    norms = [module for module in block.modules() if isinstance(module, nn.BatchNorm1d)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        norm.num_batches_tracked = None if norm.num_batches_tracked is None else norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, batches
