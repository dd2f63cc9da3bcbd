"""Convolution and pooling over space, compiled. A convolution goes by events: what is zero costs nothing.

A matrix product over all receptive fields is faster only where most inputs are not zero, and at most twice (layers of 8
to 64 channels, one core). A choice by density would make the order of a sum, and so its last bit, depend on what else
is in the batch.

A layer over one axis is one over two with a height of 1. Frames are all steps of all samples, one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np

from neurotarget.compiled import compiled_alone


def _plane(values: Sequence[int], absent: int) -> tuple[int, int]:
    """A constant of each axis for two axes: (height, width)."""
    return (absent, int(values[0])) if len(values) == 1 else (int(values[0]), int(values[1]))


def convolve(x: np.ndarray, weight: np.ndarray, p: Any) -> np.ndarray:
    """Sums of a convolution: each input that is not zero is added to the places that it reaches, in order.

    Args:
        x: [frames, channels, *space], uint8 or the type of `weight`.
        weight: [outputs, channels per group, *kernel].
        p: `stride`, `padding`, `dilation` for each axis, and `groups`.

    Returns:
        [frames, outputs, *positions] of the weight's type, without the bias.
    """
    positions = _positions(x, weight.shape[2:], p)
    out = np.empty((len(x), len(weight), math.prod(positions)), weight.dtype)
    groups, kernel = p["groups"], _plane(weight.shape[2:], 1)
    # The weights of one input stand side by side: [groups, channels, height, width, outputs].
    taps = weight.reshape(groups, len(weight) // groups, weight.shape[1], *kernel).transpose(0, 2, 3, 4, 1)
    inputs = x.reshape(len(x), groups, weight.shape[1], *_plane(x.shape[2:], 1))
    _convolve(np.ascontiguousarray(inputs), np.ascontiguousarray(taps), *_axes(p), _plane(positions, 1), out)
    return out.reshape(len(x), len(weight), *positions)


def pooled(x: np.ndarray, kernel: Sequence[int], p: Any) -> np.ndarray:
    """Sums over the windows of each channel of x [frames, channels, *space], row by row, in its type."""
    positions = _positions(x, kernel, p)
    out = np.empty((*x.shape[:2], *_plane(positions, 1)), x.dtype)
    flat = np.ascontiguousarray(x.reshape(*x.shape[:2], *_plane(x.shape[2:], 1)))
    stride, padding, _ = _axes(p)
    _pool(flat, _plane(kernel, 1), stride, padding, out)
    return out.reshape(*x.shape[:2], *positions)


def _positions(x: np.ndarray, kernel: Sequence[int], p: Any) -> tuple[int, ...]:
    """Size of each axis of the output."""
    axes = zip(x.shape[2:], kernel, p["stride"], p["padding"], _dilation(p), strict=True)
    return tuple((size + 2 * pad - dilate * (taps - 1) - 1) // step + 1 for size, taps, step, pad, dilate in axes)


def _dilation(p: Any) -> Sequence[int]:
    """Of pooling, which has none, 1."""
    return tuple(p.get("dilation", (1,) * len(p["stride"])))


def _axes(p: Any) -> tuple[tuple[int, int], ...]:
    return _plane(p["stride"], 1), _plane(p["padding"], 0), _plane(_dilation(p), 1)


@numba.njit
def _place(at, tap, stride, padding, dilation, positions):
    """The output that an input at `at` reaches through a tap on one axis; -1 for none."""
    start = at + padding - tap * dilation
    if start < 0 or start % stride or start // stride >= positions:
        return -1
    return start // stride


@compiled_alone
def _convolve(x, taps, stride, padding, dilation, positions, out):
    frames, groups, channels, height, width = x.shape
    _, _, taps_y, taps_x, outputs = taps.shape
    rows, columns = positions
    for frame in range(frames):
        total = np.empty((rows * columns, outputs), out.dtype)
        for group in range(groups):
            total[:] = 0
            for channel in range(channels):
                for y in range(height):
                    for at in range(width):
                        value = x[frame, group, channel, y, at]
                        if value == 0:
                            continue
                        for tap_y in range(taps_y):
                            row = _place(y, tap_y, stride[0], padding[0], dilation[0], rows)
                            if row < 0:
                                continue
                            for tap_x in range(taps_x):
                                column = _place(at, tap_x, stride[1], padding[1], dilation[1], columns)
                                if column < 0:
                                    continue
                                reached = total[row * columns + column]
                                weights = taps[group, channel, tap_y, tap_x]
                                for n in range(outputs):
                                    reached[n] += value * weights[n]
            for n in range(outputs):
                for place in range(rows * columns):
                    out[frame, group * outputs + n, place] = total[place, n]


@compiled_alone
def _pool(x, size, stride, padding, out):
    frames, channels, height, width = x.shape
    for frame in range(frames):
        for channel in range(channels):
            for row in range(out.shape[2]):
                top = row * stride[0] - padding[0]
                for column in range(out.shape[3]):
                    left = column * stride[1] - padding[1]
                    out[frame, channel, row, column] = 0
                    for y in range(max(top, 0), min(top + size[0], height)):
                        for at in range(max(left, 0), min(left + size[1], width)):
                            out[frame, channel, row, column] += x[frame, channel, y, at]
