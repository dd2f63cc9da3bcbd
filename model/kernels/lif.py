"""LIF over a whole utterance as one compiled forward and one compiled backward pass on the CPU.

SpikingJelly's torch implementation launches a handful of small tensor operations per step; here each neuron's steps run
in one loop and only the membrane potential before the reset is kept for the gradient.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import torch
from neurotarget.model.kernels.once import once

from neurotarget.compiled import compiled

CHUNK = 512  # neurons per task: their potentials stay in the first-level cache


# Both loops over neurons work on slices of one step and a local array: the compiler then knows that nothing overlaps
# and vectorises them, measured ten times faster. Literals would widen float32, hence `zero` and `one`.
@compiled
def _forward(x, decay, threshold, reset, v, spikes, charged):
    """x, spikes [steps, neurons]; v [neurons] in and out; charged [steps, neurons], or no rows when not wanted."""
    steps, neurons = x.shape
    keep = charged.shape[0] > 0
    zero, one = decay - decay, decay / decay
    for chunk in numba.prange((neurons + CHUNK - 1) // CHUNK):
        start = chunk * CHUNK
        size = min(neurons, start + CHUNK) - start
        potential = v[start : start + size].copy()
        for t in range(steps):
            current, fired = x[t, start : start + size], spikes[t, start : start + size]
            if keep:
                kept = charged[t, start : start + size]
                for n in range(size):
                    kept[n] = (potential[n] - reset) * decay + reset + current[n]
            for n in range(size):
                h = (potential[n] - reset) * decay + reset + current[n]
                fired[n] = one if h >= threshold else zero
                potential[n] = reset if h >= threshold else h
        v[start : start + size] = potential


@compiled
def _backward(grad_spikes, charged, decay, threshold, slope, peak, grad_x):
    """Surrogate gradient, reset detached: grad_h[t] = grad_s[t] g'(h - threshold) + (1 - s[t]) decay grad_h[t + 1]."""
    steps, neurons = charged.shape
    zero, one = decay - decay, decay / decay
    for chunk in numba.prange((neurons + CHUNK - 1) // CHUNK):
        start = chunk * CHUNK
        size = min(neurons, start + CHUNK) - start
        later = np.zeros(size, charged.dtype)
        for back in range(steps):
            t = steps - 1 - back
            kept, grad, out = (
                charged[t, start : start + size],
                grad_spikes[t, start : start + size],
                grad_x[t, start : start + size],
            )
            for n in range(size):
                distance = kept[n] - threshold
                scaled = slope * distance
                out[n] = grad[n] * (peak / (one + scaled * scaled)) + (later[n] if distance < zero else zero)
                later[n] = out[n] * decay


def atan_slope_and_peak(alpha: float) -> tuple[float, float]:
    """ATan surrogate (SpikingJelly, surrogate.ATan): g'(x) = peak / (1 + (slope x)^2), alpha / 2 and pi / 2 alpha."""
    return math.pi / 2 * alpha, alpha / 2


class _FusedLIF(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        v: torch.Tensor,
        decay: float | torch.Tensor,
        threshold: float,
        reset: float,
        alpha: float,
    ):
        rows = x.detach().reshape(len(x), -1).numpy()
        scalar = rows.dtype.type
        spikes = np.empty_like(rows)
        charged = np.empty(rows.shape if any(ctx.needs_input_grad) else (0, 0), rows.dtype)
        last = v.detach().reshape(-1).numpy().copy()
        _forward(rows, scalar(float(decay)), scalar(threshold), scalar(reset), last, spikes, charged)
        ctx.save_for_backward(torch.from_numpy(charged), v)
        ctx.constants = float(decay), threshold, reset, alpha
        final = torch.from_numpy(last).view_as(v)
        ctx.mark_non_differentiable(final)
        return torch.from_numpy(spikes).view_as(x), final

    @staticmethod
    @once
    def backward(ctx: Any, grad_spikes: torch.Tensor, grad_v: torch.Tensor):
        charged, first = (saved.detach().numpy() for saved in ctx.saved_tensors)
        scalar = charged.dtype.type
        decay, threshold, reset, alpha = ctx.constants
        grad_x = np.empty_like(charged)
        rows = grad_spikes.contiguous().reshape(charged.shape).numpy()
        slope, peak = (scalar(number) for number in atan_slope_and_peak(alpha))
        _backward(rows, charged, scalar(decay), scalar(threshold), slope, peak, grad_x)
        grad_decay = None
        if ctx.needs_input_grad[2]:  # sum over all steps and neurons of grad_h[t] (v[t - 1] - reset)
            before = np.concatenate([first.reshape(1, -1), np.where(charged[:-1] < threshold, charged[:-1], reset)])
            grad_decay = torch.tensor(np.sum(grad_x * (before - reset), dtype=np.float64).astype(scalar))
        return torch.from_numpy(grad_x).view_as(grad_spikes), None, grad_decay, None, None, None


def lif(
    x: torch.Tensor, v: torch.Tensor, decay: float | torch.Tensor, threshold: float, reset: float, alpha: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Spikes [steps, ...] and the membrane potential after the last step [...], into which no gradient flows.

    `v = reset + decay (v - reset) + x; fire at v >= threshold; v = reset`.

    Args:
        x: [steps, ...] on the CPU, float32 or float64.
        v: [...], the potential before the first step.
        decay: share of the potential that a step leaves; a tensor of one number gets its gradient.
        alpha: slope of the ATan surrogate gradient.
    """
    spikes, last = _FusedLIF.apply(x.contiguous(), v, decay, threshold, reset, alpha)
    return spikes, last
