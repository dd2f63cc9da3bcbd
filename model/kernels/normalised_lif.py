"""Batch normalisation, LIF and dropout of a whole utterance as one compiled forward and one compiled backward pass.

In training on the CPU each of the three reads and writes [T, B, C] arrays that no cache holds, forward and backward,
and memory is what a step waits for. Here all is one pass after the moments are known; the potentials that the surrogate
gradient needs are worked out again from the input, in the cache, rather than kept.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from neurotarget.model.kernels.lif import CHUNK, atan_slope_and_peak
from neurotarget.model.kernels.once import once
from torch import Tensor

from neurotarget.compiled import compiled

# What is not finite is said once, by whoever trains, of the loss, the gradient and the parameters.
silent = np.errstate(invalid="ignore", over="ignore")
ROWS = 256  # rows of a block whose moments are taken in one go: 128 KB of float32 at 128 channels


@compiled
def _moments(rows, means, squares):
    """Of each block of `ROWS` rows [rows, channels]: mean and sum of squared distances from it, [blocks, channels]."""
    count, channels = rows.shape
    for block in numba.prange(means.shape[0]):
        start, stop = block * ROWS, min(count, (block + 1) * ROWS)
        mean, square = np.zeros(channels, rows.dtype), np.zeros(channels, rows.dtype)
        for r in range(start, stop):
            row = rows[r]
            for c in range(channels):
                mean[c] += row[c]
        for c in range(channels):
            mean[c] /= stop - start
        for r in range(start, stop):
            row = rows[r]
            for c in range(channels):
                square[c] += (row[c] - mean[c]) * (row[c] - mean[c])
        means[block], squares[block] = mean, square


@silent
def moments(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and (biased) variance of each column, float64 [channels]; blocks are merged as Chan et al. 1983 do."""
    blocks = -(-len(rows) // ROWS)
    means, squares = (np.empty((blocks, rows.shape[1]), rows.dtype) for _ in range(2))
    _moments(rows, means, squares)
    sizes = np.diff(np.minimum(np.arange(blocks + 1) * ROWS, len(rows)))[:, None].astype(np.float64)
    mean = (sizes * means).sum(axis=0) / len(rows)
    return mean, (squares.astype(np.float64) + sizes * (means - mean) ** 2).sum(axis=0) / len(rows)


@compiled
def _forward(x, scale, shift, keep, decay, threshold, out):
    """x, out [steps, neurons]; scale, shift and keep (the dropout's mask) [neurons]; membranes start and reset at 0."""
    steps, neurons = x.shape
    zero = decay - decay
    for chunk in numba.prange((neurons + CHUNK - 1) // CHUNK):
        start = chunk * CHUNK
        size = min(neurons, start + CHUNK) - start
        a, b, kept = scale[start : start + size].copy(), shift[start : start + size].copy(), keep[start : start + size]
        potential = np.zeros(size, x.dtype)
        for t in range(steps):
            current, fired = x[t, start : start + size], out[t, start : start + size]
            for n in range(size):
                h = potential[n] * decay + (current[n] * a[n] + b[n])
                fired[n] = kept[n] if h >= threshold else zero
                potential[n] = zero if h >= threshold else h


@compiled
def _backward(grad, x, scale, shift, keep, mean, deviation, decay, threshold, slope, peak, grad_y, sums, products):
    """Gradient at the normalised input, and of each neuron its sum over steps, alone and times the normalised value.

    grad, x, grad_y [steps, neurons]; everything else but the numbers [neurons]. The neuron's gradient is that of
    lif.py; `deviation` is 1 / sqrt(variance + eps).
    """
    steps, neurons = x.shape
    zero, one = decay - decay, decay / decay
    for chunk in numba.prange((neurons + CHUNK - 1) // CHUNK):
        start = chunk * CHUNK
        size = min(neurons, start + CHUNK) - start
        a, b, kept = scale[start : start + size].copy(), shift[start : start + size].copy(), keep[start : start + size]
        centre, width = mean[start : start + size].copy(), deviation[start : start + size].copy()
        distance = np.empty((steps, size), x.dtype)  # of the potential from the threshold
        potential = np.zeros(size, x.dtype)
        for t in range(steps):
            current, row = x[t, start : start + size], distance[t]
            for n in range(size):
                h = potential[n] * decay + (current[n] * a[n] + b[n])
                row[n] = h - threshold
                potential[n] = zero if h >= threshold else h
        later, total, product = np.zeros(size, x.dtype), np.zeros(size, x.dtype), np.zeros(size, x.dtype)
        for back in range(steps):
            t = steps - 1 - back
            row, current = distance[t], x[t, start : start + size]
            arriving, leaving = grad[t, start : start + size], grad_y[t, start : start + size]
            for n in range(size):
                scaled = slope * row[n]
                value = arriving[n] * kept[n] * (peak / (one + scaled * scaled)) + (later[n] if row[n] < zero else zero)
                later[n] = value * decay
                total[n] += value
                product[n] += value * ((current[n] - centre[n]) * width[n])
                leaving[n] = value
        sums[start : start + size], products[start : start + size] = total, product


@compiled
def _combine(grad_y, x, a, b, c):
    """`grad_y = a grad_y + b x + c` in place; rows [rows, channels], a, b, c [channels]."""
    count, channels = x.shape
    for block in numba.prange((count + ROWS - 1) // ROWS):
        for r in range(block * ROWS, min(count, (block + 1) * ROWS)):
            gradient, row = grad_y[r], x[r]
            for channel in range(channels):
                gradient[channel] = a[channel] * gradient[channel] + b[channel] * row[channel] + c[channel]


class _NormalisedLIF(torch.autograd.Function):
    """Gradients of batch normalisation: Ioffe and Szegedy 2015 (arXiv 1502.03167), section 3."""

    @staticmethod
    @silent
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, keep: Tensor, statistics: Any, constants: Any):
        rows = x.detach().numpy()
        steps, samples, channels = rows.shape
        mean, deviation = statistics
        scale = weight.detach().numpy() * deviation
        shift = bias.detach().numpy() - mean * scale
        ctx.channel_arrays = scale, mean, deviation
        ctx.neuron_arrays = tuple(np.tile(array.astype(rows.dtype), samples) for array in (scale, shift))
        ctx.keep, ctx.constants = keep.reshape(-1).numpy(), constants
        decay, threshold, _, _ = (rows.dtype.type(number) for number in constants)
        out = np.empty((steps, samples * channels), rows.dtype)
        _forward(rows.reshape(steps, -1), *ctx.neuron_arrays, ctx.keep, decay, threshold, out)
        ctx.save_for_backward(x)
        return torch.from_numpy(out).view_as(x)

    @staticmethod
    @once
    @silent
    def backward(ctx: Any, grad: Tensor):
        x = ctx.saved_tensors[0].detach().numpy()
        steps, samples, channels = x.shape
        scale, mean, deviation = ctx.channel_arrays
        tiled = [np.tile(array.astype(x.dtype), samples) for array in (mean, deviation)]
        constants = [x.dtype.type(number) for number in ctx.constants]
        grad_x = np.empty((steps, samples * channels), x.dtype)
        sums, products = (np.empty(samples * channels, x.dtype) for _ in range(2))
        rows = grad.contiguous().numpy().reshape(steps, -1)
        _backward(rows, x.reshape(steps, -1), *ctx.neuron_arrays, ctx.keep, *tiled, *constants, grad_x, sums, products)
        grad_bias, grad_weight = (
            array.reshape(samples, -1).sum(axis=0, dtype=np.float64) for array in (sums, products)
        )
        # grad_x = scale (grad_y - mean(grad_y) - x_hat mean(grad_y x_hat)), x_hat = (x - mean) deviation
        b = -scale * deviation * grad_weight / (steps * samples)
        c = -scale * grad_bias / (steps * samples) - b * mean
        flat = grad_x.reshape(-1, channels)
        _combine(flat, x.reshape(-1, channels), *(array.astype(x.dtype) for array in (scale, b, c)))
        by_channel = (torch.from_numpy(array.astype(x.dtype)) for array in (grad_weight, grad_bias))
        return torch.from_numpy(grad_x).view_as(grad), *by_channel, None, None, None


def normalised_lif(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    keep: Tensor,
    statistics: tuple[np.ndarray, np.ndarray],
    decay: float,
    threshold: float,
    alpha: float,
) -> Tensor:
    """`keep * lif(weight (x - mean) / sqrt(variance + eps) + bias)` of neurons that start and reset at 0.

    Args:
        x: [T, B, C] on the CPU, contiguous, float32 or float64.
        weight, bias: [C].
        keep: [B, C], the dropout's mask.
        statistics: mean and 1 / sqrt(variance + eps) of x, float64 [C]; the gradient flows through them into x.
        alpha: slope of the ATan surrogate gradient.

    Returns:
        [T, B, C].
    """
    constants = decay, threshold, *atan_slope_and_peak(alpha)
    out: Tensor = _NormalisedLIF.apply(x, weight, bias, keep, statistics, constants)
    return out
