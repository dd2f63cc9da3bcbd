"""Depthwise convolution along the steps of [T, B, C], forward and backward, compiled for the CPU.

The channels stay where they are, next to each other in memory: every tap is then a product of two rows, and the copies
to [B, C, T] and back that a library's convolution needs fall away.
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
def _convolve(x, taps, before, out):
    """`out[t] = sum over k of taps[k] x[t + k - before]`, zeros beyond the ends; x, out [T, B, C], taps [K, C]."""
    steps, samples, channels = x.shape
    for sample in numba.prange(samples):
        # The rows of one sample lie far apart, at a distance that caches map to the same few places.
        rows, total = x[:, sample].copy(), np.empty(channels, x.dtype)
        for t in range(steps):
            total[:] = 0
            for k in range(max(0, before - t), min(len(taps), steps + before - t)):
                weight, row = taps[k], rows[t + k - before]
                for c in range(channels):
                    total[c] += weight[c] * row[c]
            out[t, sample] = total


@compiled
def _correlate(grad, x, before, grad_taps):
    """`grad_taps[b, k] = sum over t of grad[t] x[t + k - before]`; grad, x [T, B, C], grad_taps [B, K, C]."""
    steps, samples, channels = x.shape
    for sample in numba.prange(samples):
        rows, gradients = x[:, sample].copy(), grad[:, sample].copy()
        total = np.zeros((grad_taps.shape[1], channels), x.dtype)
        for t in range(steps):
            gradient = gradients[t]
            for k in range(max(0, before - t), min(len(total), steps + before - t)):
                of_tap, row = total[k], rows[t + k - before]
                for c in range(channels):
                    of_tap[c] += gradient[c] * row[c]
        grad_taps[sample] = total


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, before: int):
        taps = np.ascontiguousarray(weight.detach().numpy()[:, 0].T)
        out = np.empty(x.shape, taps.dtype)
        _convolve(x.detach().numpy(), taps, before, out)
        ctx.save_for_backward(x, weight)
        ctx.before = before
        return torch.from_numpy(out)

    @staticmethod
    @once
    def backward(ctx: Any, grad: Tensor):
        x, weight = ctx.saved_tensors
        rows = grad.contiguous().numpy()
        taps = np.ascontiguousarray(weight.detach().numpy()[:, 0].T)
        grad_x, grad_taps = np.empty_like(rows), np.empty((rows.shape[1], *taps.shape), rows.dtype)
        _convolve(rows, taps[::-1].copy(), len(taps) - 1 - ctx.before, grad_x)
        _correlate(rows, x.detach().numpy(), ctx.before, grad_taps)
        grad_weight = grad_taps.sum(axis=0).T[:, None]
        return torch.from_numpy(grad_x), torch.from_numpy(np.ascontiguousarray(grad_weight)), None


def depthwise(x: Tensor, weight: Tensor, look_ahead: int) -> Tensor:
    """Convolves each channel with its own taps, zeros beyond the ends.

    Args:
        x: [T, B, C] on the CPU, float32 or float64.
        weight: [C, 1, K], as nn.Conv1d with C groups holds it.
        look_ahead: taps that lie in the future; the other K - 1 - look_ahead in the past, one in the present.

    Returns:
        [T, B, C].
    """
    return _Depthwise.apply(x.contiguous(), weight, weight.shape[-1] - 1 - look_ahead)
