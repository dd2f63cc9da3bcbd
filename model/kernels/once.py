"""Compiled backward passes, of which autograd knows no derivative."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch


def once(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Refuses a pass whose result is to be differentiated again: that would lack what compiled loops computed.

    PyTorch's `once_differentiable` notices it only where the gradient that arrives is itself to be differentiated, so
    not behind a sum.

    Raises:
        RuntimeError: by the pass, under `create_graph=True`.
    """

    @functools.wraps(backward)
    def refusing(ctx: Any, *gradients: Any) -> Any:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "create_graph=True: the compiled layers of a network on the processor have no second derivative; "
                "leave it out"
            )
        return backward(ctx, *gradients)

    return refusing
