"""A linear layer and the LIF neurons that alone read it, in one pass: currents stay in the first-level cache.

The arithmetic is that of sums.py and then of kernels.py, number by number: a tile of steps is summed, and fires.
"""

from __future__ import annotations

import numpy as np
from neurotarget.sim.reference.kernels import fire
from neurotarget.sim.reference.sums import LINE, add_up_strips, note, note_taps
from neurotarget.sim.reference.vectors import NOTED, noted

from neurotarget.compiled import compiled_alone

STEPS = 32  # that are summed, and then fire


@compiled_alone
def weighted_lif(x, weight, taps, look_ahead, constants, reset, v, spikes):
    """Fills `spikes` uint8 [samples, steps, neurons] of neurons whose currents are weighted sums of x.

    Args:
        x: [samples, steps, inputs].
        weight: as `in_strips` gives it.
        taps, look_ahead: as of `weighted_over_time`; taps of `weighted` is 1, and its look-ahead 0.
        constants, reset, v: as of `lif`.

    Returns:
        Whether every current is finite, and every v after each tile.
    """
    samples, steps, inputs = x.shape
    neurons, line = spikes.shape[2], LINE // weight.itemsize
    columns = -(-neurons // line) * line
    flat, fixed, states, fired = x.reshape(-1), constants.reshape(-1), v.reshape(-1), spikes.reshape(-1)
    weighted = weight.shape[0] // columns
    bias, room = weighted - taps * inputs, taps * inputs + NOTED
    noted_steps = steps if taps > 1 else 0
    counts, noted_at = np.empty(noted_steps, np.int64), np.empty((noted_steps, inputs + NOTED), np.int32)
    noted_values = np.empty((noted_steps, inputs + NOTED), weight.dtype)
    places, values = np.empty(STEPS * room, np.int32), np.empty(STEPS * room, weight.dtype)
    starts, ends = np.arange(STEPS) * room, np.empty(STEPS, np.int64)
    current, unobserved = np.empty(STEPS * columns, weight.dtype), np.empty(0, weight.dtype)
    wild = 0
    for sample in range(samples):
        for step in range(noted_steps):
            start = (sample * steps + step) * inputs
            counts[step] = noted(flat, start, inputs, noted_at[step], noted_values[step], 0, 0)
        for step in range(0, steps, STEPS):
            tile, row = min(STEPS, steps - step), sample * steps + step
            if taps > 1:
                note_taps(
                    counts, noted_at, noted_values, step, tile, taps, look_ahead, bias, places, values, starts, ends
                )
            else:
                note(flat, row, inputs, tile, bias, places, values, starts, ends)
            add_up_strips(weight, weighted, columns, places, values, starts[:tile], ends, current)
            own, sent = states[sample * neurons :], fired[row * neurons :]
            wild += fire(current, columns, tile, fixed, neurons, reset, own, sent, unobserved)
    return wild == 0
