"""Rotation of neighbouring channels of [T, B, C], forward and backward, compiled for the CPU.

In torch's own operations the even and the odd channels are two strided halves that are multiplied four times, added
and interleaved again; here each pair is read and written once. Products and sums are rounded as torch rounds them.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from neurotarget.model.kernels.once import once
from torch import Tensor

from neurotarget.compiled import compiled


@compiled
def _turn(x, cos, sin, out):
    """x, out [T, rows, 2 * pairs]; cos, sin [T, pairs]."""
    steps, rows, channels = x.shape
    for t in numba.prange(steps):
        c, s = cos[t], sin[t]
        for r in range(rows):
            row, turned = x[t, r], out[t, r]
            for pair in range(channels // 2):
                even, odd = row[2 * pair], row[2 * pair + 1]
                turned[2 * pair] = even * c[pair] - odd * s[pair]
                turned[2 * pair + 1] = even * s[pair] + odd * c[pair]


class _Turn(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: np.ndarray, sin: np.ndarray):
        ctx.angles = cos, sin
        out = np.empty(x.shape, cos.dtype)
        _turn(x.detach().numpy(), cos, sin, out)
        return torch.from_numpy(out)

    @staticmethod
    @once
    def backward(ctx: Any, grad: Tensor):
        cos, sin = ctx.angles
        out = np.empty(grad.shape, cos.dtype)
        _turn(grad.contiguous().numpy(), cos, -sin, out)
        return torch.from_numpy(out), None, None


def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turns pair i of step t: (even, odd) -> (even cos - odd sin, even sin + odd cos).

    Args:
        x: [T, B, C] on the CPU, float32 or float64; channels 2 i and 2 i + 1 are pair i.
        cos, sin: [T, C / 2], of the angles, in the precision of x; no gradient flows into them.

    Returns:
        [T, B, C].
    """
    return _Turn.apply(x.contiguous(), cos.numpy(), sin.numpy())
