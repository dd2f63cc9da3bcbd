"""Sums of weights by events, compiled: what is zero costs nothing.

`y[row] = sum over i of x[row, i] * weight[i]`, the inputs in ascending order, each product rounded before it is added.
So a sum depends neither on what else is in the batch, nor on a matrix library and its threads, nor on the machine, and
it is the same whether x came as bytes or as numbers. The weights of one input stand side by side: [inputs, outputs].
"""

from __future__ import annotations

import numba
import numpy as np

from neurotarget.compiled import compiled_alone


@numba.njit(inline="always")
def _noted(x, row, places):
    """Notes the places of what is not zero in a row, and gives how many there are."""
    count = 0
    for i in range(x.shape[1]):
        places[count] = i
        count += x[row, i] != 0
    return count


@numba.njit(inline="always")
def _sum(places, values, count, weight, bias, out, row):
    """Fills a row of `out` with the weights of the noted places times their values, and the bias after them."""
    for n in range(out.shape[1]):
        out[row, n] = 0
    event = 0
    while event + 4 <= count:  # four at a time: the total is read and written once
        a, b, c, d = places[event], places[event + 1], places[event + 2], places[event + 3]
        va, vb, vc, vd = values[event], values[event + 1], values[event + 2], values[event + 3]
        for n in range(out.shape[1]):
            total = (out[row, n] + va * weight[a, n]) + vb * weight[b, n]
            out[row, n] = (total + vc * weight[c, n]) + vd * weight[d, n]
        event += 4
    while event < count:
        place, value = places[event], values[event]
        for n in range(out.shape[1]):
            out[row, n] += value * weight[place, n]
        event += 1
    if bias.shape[0]:
        for n in range(out.shape[1]):
            out[row, n] += bias[n]


@compiled_alone
def weighted(x, weight, bias, out):
    """Fills `out` [rows, outputs] for x [rows, inputs].

    Args:
        bias: [outputs], added to each sum; of length 0 for none.
    """
    rows, inputs = x.shape
    places, values = np.empty(inputs + 1, np.int32), np.empty(inputs, weight.dtype)
    for row in range(rows):
        count = _noted(x, row, places)
        for event in range(count):
            values[event] = x[row, places[event]]
        _sum(places, values, count, weight, bias, out, row)


@compiled_alone
def weighted_over_time(x, steps, weight, look_ahead, bias, out):
    """As `weighted`, of a convolution over time: tap i of step t reads step `t + look_ahead - (taps - 1) + i`.

    Args:
        x: [samples * steps, inputs].
        weight: [taps * inputs, outputs], the inputs of a tap side by side.
        out: [samples * steps, outputs], to fill.
    """
    rows, inputs = x.shape
    taps = weight.shape[0] // inputs
    counts, noted = np.empty(rows, np.int64), np.empty((rows, inputs + 1), np.int32)
    places, values = np.empty(taps * inputs, np.int32), np.empty(taps * inputs, weight.dtype)
    for row in range(rows):
        counts[row] = _noted(x, row, noted[row])
    for row in range(rows):
        first = row // steps * steps
        count = 0
        for tap in range(taps):
            source = row + look_ahead - (taps - 1) + tap
            if source < first or source >= first + steps:
                continue
            for event in range(counts[source]):
                places[count] = tap * inputs + noted[source, event]
                values[count] = x[source, noted[source, event]]
                count += 1
        _sum(places, values, count, weight, bias, out, row)


@compiled_alone
def weighted_alone(x, steps, weight, look_ahead, bias, out):
    """Depthwise convolution over time, taps as of `weighted_over_time`: each neuron by itself, zeros too.

    Args:
        x, out: [samples * steps, neurons].
        weight: [taps, neurons].
    """
    rows, neurons = x.shape
    taps = weight.shape[0]
    for row in range(rows):
        first = row // steps * steps
        for n in range(neurons):
            out[row, n] = 0
        for tap in range(taps):
            source = row + look_ahead - (taps - 1) + tap
            if source < first or source >= first + steps:
                continue
            for n in range(neurons):
                out[row, n] += weight[tap, n] * x[source, n]
        if bias.shape[0]:
            for n in range(neurons):
                out[row, n] += bias[n]
