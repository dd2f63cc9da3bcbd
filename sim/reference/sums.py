"""Sums of weights by events, compiled: what is zero costs nothing.

`y[row] = sum over i of x[row, i] * weight[i]`, the inputs in ascending order, each product rounded before it is added.
So a sum depends neither on what else is in the batch, nor on a matrix library and its threads, nor on the machine, and
it is the same whether x came as bytes or as numbers. Weights lie as `by_input` lays them out.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from neurotarget.sim.reference.vectors import NOTED, noted, weigh, weigh_alone

from neurotarget.compiled import compiled_alone

LINE = 64  # bytes: of a cache line, and of the widest vector
TWO_LINES, FOUR_LINES, EIGHT_LINES = 128, 256, 512
TILE = 16  # rows that are noted, and then summed


def aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Zeros that start at a cache line."""
    size = math.prod(shape) * dtype.itemsize
    room = np.zeros(size + LINE, np.uint8)
    start = -room.ctypes.data % LINE
    return room[start : start + size].view(dtype).reshape(shape)


def by_input(weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """Weights as the sums read them: those of one input side by side, of taps one below the other.

    Args:
        weight: [outputs, inputs], over time [outputs, inputs, taps], depthwise [outputs, taps].
        bias: [outputs]; the weight of one input more, the last, that is always 1.

    Returns:
        [inputs or taps * inputs, and one for the bias; outputs, filled with zeros to a multiple of a cache line].
    """
    columns = weight.transpose(2, 1, 0).reshape(-1, len(weight)) if weight.ndim == 3 else weight.T
    per_line = LINE // weight.itemsize
    lines = -(-len(weight) // per_line)
    laid = aligned((len(columns) + (bias is not None), lines * per_line), weight.dtype)
    laid[: len(columns), : len(weight)] = columns
    if bias is not None:
        laid[-1, : len(weight)] = bias
    return laid


def in_strips(laid: np.ndarray) -> np.ndarray:
    """Weights of `by_input` as `add_up_strips` reads them, flat: those of the columns that it sums at once together."""
    line, column, strips = LINE // laid.itemsize, 0, aligned((laid.size,), laid.dtype)
    while column < laid.shape[1]:
        width = next(lines * line for lines in (4, 2, 1) if column + lines * line <= laid.shape[1])
        strips[len(laid) * column : len(laid) * (column + width)] = laid[:, column : column + width].reshape(-1)
        column += width
    return strips


@numba.njit(inline="always")
def add_up_strips(weight, inputs, columns, places, values, starts, ends, out):
    """Fills rows of the flat `out`, `columns` each, with the noted weights times their values.

    A strip of columns at a time, for all rows. Its weights lie together and so spread over all sets of the first-level
    cache; those of 256 columns, whose rows begin 1,024 bytes apart, would share some of them.

    Args:
        weight: as `in_strips` gives it, of so many inputs, the bias among them.
        columns: those of `by_input`.
    """
    line, column = LINE // weight.itemsize, 0
    while column < columns:
        left, strip = columns - column, column * inputs
        for row in range(starts.shape[0]):
            start, count, at = starts[row], ends[row] - starts[row], row * columns + column
            if left >= 4 * line:
                weigh(FOUR_LINES, weight, strip, 4 * line, places, values, start, count, out, at)
            elif left >= 2 * line:
                weigh(TWO_LINES, weight, strip, 2 * line, places, values, start, count, out, at)
            else:
                weigh(LINE, weight, strip, line, places, values, start, count, out, at)
        column += 4 * line if left >= 4 * line else 2 * line if left >= 2 * line else line


@numba.njit(inline="always")
def add_up(weight, columns, places, values, starts, ends, tail, out, first, outputs):
    """Fills rows of the flat `out` from `first` on with the noted weights times their values.

    As many columns at a time as fit the registers, of all rows: their weights then stay in the cache.
    """
    line, column = tail.shape[0], 0
    while column + 8 * line <= outputs:
        for row in range(starts.shape[0]):
            start, count, at = starts[row], ends[row] - starts[row], (first + row) * outputs + column
            weigh(EIGHT_LINES, weight, column, columns, places, values, start, count, out, at)
        column += 8 * line
    while column + 2 * line <= outputs:
        for row in range(starts.shape[0]):
            start, count, at = starts[row], ends[row] - starts[row], (first + row) * outputs + column
            weigh(TWO_LINES, weight, column, columns, places, values, start, count, out, at)
        column += 2 * line
    while column < outputs:
        for row in range(starts.shape[0]):
            start, count, at = starts[row], ends[row] - starts[row], (first + row) * outputs + column
            weigh(LINE, weight, column, columns, places, values, start, count, tail, 0)
            for n in range(min(line, outputs - column)):
                out[at + n] = tail[n]
        column += line


@numba.njit(inline="always")
def note(x, first, inputs, rows, bias, places, values, starts, ends):
    """Notes the events of some rows of the flat x [.., inputs] from row `first` on, each from its place in `starts` on.

    Args:
        bias: 1 where a weight more follows those of the inputs, and one event of value 1 with it; or 0.
        ends: gets the place behind the last event of each row.
    """
    for row in range(rows):
        end = noted(x, (first + row) * inputs, inputs, places, values, starts[row], 0)
        places[end], values[end] = inputs, 1
        ends[row] = end + bias


@compiled_alone
def weighted(x, weight, out):
    """Fills `out` [rows, outputs] for x [rows, inputs] and weights as `by_input` gives them, with a bias or without.

    Args:
        out: in the type of the weights; or int32, of weights in float32 whose sums are integers.
    """
    rows, inputs = x.shape
    flat, matrix, sums = x.reshape(-1), weight.reshape(-1), out.reshape(-1)
    bias, room = weight.shape[0] - inputs, inputs + NOTED
    places, values = np.empty(TILE * room, np.int32), np.empty(TILE * room, weight.dtype)
    starts, ends = np.arange(TILE) * room, np.empty(TILE, np.int64)
    tail = np.empty(LINE // weight.itemsize, out.dtype)
    for first in range(0, rows, TILE):
        tile = min(TILE, rows - first)
        note(flat, first, inputs, tile, bias, places, values, starts, ends)
        add_up(matrix, weight.shape[1], places, values, starts[:tile], ends, tail, sums, first, out.shape[1])


@numba.njit(inline="always")
def note_taps(counts, noted_at, noted_values, first, rows, taps, look_ahead, bias, places, values, starts, ends):
    """As `note`, of rows that each hold the inputs of all taps side by side: of the steps of a sample from `first` on.

    Args:
        counts: events of each step of the sample; where they are stands in the rows of noted_at, and noted_values.
    """
    steps, inputs = counts.shape[0], noted_at.shape[1] - NOTED
    for row in range(rows):
        end = starts[row]
        for tap in range(taps):
            source = first + row + look_ahead - (taps - 1) + tap
            if source < 0 or source >= steps:
                continue
            for event in range(counts[source]):
                places[end + event] = tap * inputs + noted_at[source, event]
                values[end + event] = noted_values[source, event]
            end += counts[source]
        places[end], values[end] = taps * inputs, 1
        ends[row] = end + bias


@compiled_alone
def weighted_over_time(x, steps, weight, taps, look_ahead, out):
    """As `weighted`, of a convolution over time: tap i of step t reads step `t + look_ahead - (taps - 1) + i`.

    Args:
        x: [samples * steps, inputs].
        weight: of taps * inputs.
        out: [samples * steps, outputs], to fill.
    """
    rows, inputs = x.shape
    flat, matrix, sums = x.reshape(-1), weight.reshape(-1), out.reshape(-1)
    bias, room = weight.shape[0] - taps * inputs, taps * inputs + NOTED
    counts, noted_at = np.empty(steps, np.int64), np.empty((steps, inputs + NOTED), np.int32)
    noted_values = np.empty((steps, inputs + NOTED), weight.dtype)
    places, values = np.empty(TILE * room, np.int32), np.empty(TILE * room, weight.dtype)
    starts, ends = np.arange(TILE) * room, np.empty(TILE, np.int64)
    tail = np.empty(LINE // weight.itemsize, out.dtype)
    for sample in range(rows // steps):
        for step in range(steps):
            start = (sample * steps + step) * inputs
            counts[step] = noted(flat, start, inputs, noted_at[step], noted_values[step], 0, 0)
        for step in range(0, steps, TILE):
            tile, row = min(TILE, steps - step), sample * steps + step
            note_taps(counts, noted_at, noted_values, step, tile, taps, look_ahead, bias, places, values, starts, ends)
            add_up(matrix, weight.shape[1], places, values, starts[:tile], ends, tail, sums, row, out.shape[1])


@compiled_alone
def weighted_alone(x, steps, weight, taps, look_ahead, out):
    """Depthwise convolution over time, taps as of `weighted_over_time`: each neuron by itself, zeros too.

    Args:
        x, out: [samples * steps, neurons].
        weight: of as many outputs as there are neurons, and of taps inputs.
    """
    rows, neurons = x.shape
    columns, matrix = weight.shape[1], weight.reshape(-1)
    line = LINE // weight.itemsize
    numbers, total = np.zeros((steps, columns), weight.dtype), np.empty(columns, weight.dtype)
    flat = numbers.reshape(-1)
    for row in range(rows):
        step = row % steps
        if step == 0:  # the next sample
            for t in range(steps):
                for n in range(neurons):
                    numbers[t, n] = x[row + t, n]
        source = step + look_ahead - (taps - 1)
        tap = max(0, -source)
        count = max(0, min(taps, steps - source) - tap)
        total[:] = 0
        column = 0
        while column < columns:
            start, first = tap * columns + column, (source + tap) * columns + column
            if column + 8 * line <= columns:
                weigh_alone(EIGHT_LINES, matrix, start, flat, first, columns, count, total, column)
                column += 8 * line
            else:
                weigh_alone(LINE, matrix, start, flat, first, columns, count, total, column)
                column += line
        if weight.shape[0] > taps:
            for n in range(columns):
                total[n] += weight[taps, n]
        for n in range(neurons):
            out[row, n] = total[n]
