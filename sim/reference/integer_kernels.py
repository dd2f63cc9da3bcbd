"""Lava's fixed-point neuron over whole utterances, compiled, bit for bit.

Source of every line: lava-nc 0.10.0, lava/proc/lif/models.py, `AbstractPyLifModelFixed.subthr_dynamics` and
`PyLifModelBitAcc`. Currents are int64 [samples, steps, neurons] at the scale of the synapses; u and v are 64 times
finer. A decay is given as `keep` = 4096 - d, where d = du + 1 for u and d = dv for v.
"""

from __future__ import annotations

import numba
import numpy as np
from neurotarget.sim.reference.vectors import ALIGN_BITS, DECAY_BITS, STATE_LIMIT, integrate_and_fire_integers

from neurotarget.compiled import compiled_alone

FAST_LIMIT = 2**17  # of |current|: u = current << 6 then fits its 24 bits
LINE, FOUR_LINES = 64, 256  # bytes that vectors take


@numba.njit
def decayed(state, keep):
    """`sign(x) * (|x * keep| >> 12)`: towards zero."""
    product = state * keep
    return product >> DECAY_BITS if product >= 0 else -((-product) >> DECAY_BITS)


@numba.njit
def wrapped(u):
    """One turn around the 24-bit circle, as Lava takes it."""
    if u > STATE_LIMIT:
        return u - 2 * STATE_LIMIT
    if u <= -STATE_LIMIT:
        return u + 2 * STATE_LIMIT
    return u


@compiled_alone
def neuron(current, keep_u, keep_v, bias, threshold, fires, reset, u, v, spikes, potential, states, peaks):
    """`u = decay(u) + (a << 6)`, wrapped; `v = clip(decay(v) + u + bias)`; fire at `v > threshold`; then `v = 0`.

    A reset by subtraction is ours: Lava has none. Late, the threshold is taken off the sum before that is clipped; at
    once, off v, which stays above 0.

    Args:
        bias: int64 [neurons], at the scale of v.
        threshold: `vth << 6`.
        fires: false for a neuron that only integrates.
        reset: place of the word in `RESETS`: 0 zero, 1 subtract, 2 subtract_at_once.
        u, v: int64 [samples, neurons], carried from call to call.
        spikes: uint8 [samples, steps, neurons]; of no samples when the neuron does not fire.
        potential: int64 [samples, steps, neurons], v of a neuron that does not fire; of no samples otherwise.
        states: int64 [samples, steps, neurons, 2], u and v before the reset; of no samples when not recorded.
        peaks: int64 [samples, 2], largest |u| before it wraps and |v| before it is clipped; kept over calls.

    Returns:
        The largest |current|.
    """
    samples, steps, neurons = current.shape
    record = states.shape[0] > 0
    largest = 0
    for sample in range(samples):
        peak_u, peak_v = peaks[sample, 0], peaks[sample, 1]
        own_u, own_v = u[sample].copy(), v[sample].copy()  # local: nothing overlaps, and the loops become vector code
        for step in range(steps):
            for n in range(neurons):
                arriving = current[sample, step, n]
                largest = max(largest, abs(arriving))
                new_u = decayed(own_u[n], keep_u) + (arriving << ALIGN_BITS)
                peak_u = max(peak_u, abs(new_u))
                own_u[n] = wrapped(new_u)
            for n in range(neurons):
                new_v = decayed(own_v[n], keep_v) + own_u[n] + bias[n]
                if reset == 1 and fires:
                    new_v -= threshold if own_v[n] > threshold else 0
                peak_v = max(peak_v, abs(new_v))
                own_v[n] = min(max(new_v, -STATE_LIMIT + 1), STATE_LIMIT - 1)
            if record:
                for n in range(neurons):
                    states[sample, step, n, 0], states[sample, step, n, 1] = own_u[n], own_v[n]
            if not fires:
                for n in range(neurons):
                    potential[sample, step, n] = own_v[n]
                continue
            for n in range(neurons):
                spikes[sample, step, n] = own_v[n] > threshold
            if reset != 1:
                for n in range(neurons):
                    after = 0 if reset == 0 else own_v[n] - threshold
                    own_v[n] = after if own_v[n] > threshold else own_v[n]
        for n in range(neurons):
            u[sample, n], v[sample, n] = own_u[n], own_v[n]
        peaks[sample, 0], peaks[sample, 1] = peak_u, peak_v
    return largest


@compiled_alone
def fast(current, keep_v, bias, threshold, reset, v, spikes, peaks):
    """As `neuron`, for one that fires and whose u keeps nothing of the step before (`keep_u` = 0), in 32 bits.

    Right where every |current| is below `FAST_LIMIT`: u neither wraps nor needs more bits.

    Args:
        current: int32.
        bias, v: int32 of the same shapes.
        peaks: int32 [samples, 2] to fill: the largest |current| and |v|.
    """
    samples, steps, neurons = current.shape
    line = LINE // 4
    flat, states, fired = current.reshape(-1), v.reshape(-1), spikes.reshape(-1)
    keep, theta = np.int32(keep_v), np.int32(threshold)
    for sample in range(samples):
        largest = peaks[sample]
        largest[:] = 0
        n, own, start = 0, sample * neurons, sample * steps * neurons
        while n < neurons:
            first = start + n
            if n + 4 * line <= neurons:
                integrate_and_fire_integers(
                    FOUR_LINES,
                    flat,
                    first,
                    neurons,
                    steps,
                    keep,
                    bias,
                    n,
                    theta,
                    reset,
                    states,
                    own + n,
                    fired,
                    largest,
                )
                n += 4 * line
            elif n + line <= neurons:
                integrate_and_fire_integers(
                    LINE, flat, first, neurons, steps, keep, bias, n, theta, reset, states, own + n, fired, largest
                )
                n += line
            else:
                integrate_and_fire_integers(
                    1, flat, first, neurons, steps, keep, bias, n, theta, reset, states, own + n, fired, largest
                )
                n += 1


@compiled_alone
def turned(x, cos, sin, drop, out):
    """Pairs of neighbours of x [samples, steps, 2 * pairs] turned by cos, sin [steps, pairs]; floor of `>> drop`."""
    samples, steps, pairs = x.shape[0], cos.shape[0], cos.shape[1]
    for sample in range(samples):
        for step in range(steps):
            for pair in range(pairs):
                even, odd = np.int64(x[sample, step, 2 * pair]), np.int64(x[sample, step, 2 * pair + 1])
                c, s = cos[step, pair], sin[step, pair]
                out[sample, step, 2 * pair] = (even * c - odd * s) >> drop
                out[sample, step, 2 * pair + 1] = (even * s + odd * c) >> drop


@compiled_alone
def graded(x, scale, minimum, maximum, out):
    """Fills the flat `out` with rint(x / scale), ties to even, clipped."""
    for n in range(x.shape[0]):
        out[n] = min(max(np.rint(np.float64(x[n]) / scale), minimum), maximum)


@compiled_alone
def oscillate(cos, sin, bits, c, s):
    """Per-pair oscillators: state (1, 0) at step 0, turned by one angle a step; products floor by `>> bits`.

    Args:
        cos, sin: int64 [pairs], of the angle a step, with `bits` bits of fraction.
        c, s: int64 [steps, pairs] to fill.
    """
    steps, pairs = c.shape
    for pair in range(pairs):
        x, y = 1 << bits, 0
        for step in range(steps):
            c[step, pair], s[step, pair] = x, y
            x, y = (x * cos[pair] - y * sin[pair]) >> bits, (x * sin[pair] + y * cos[pair]) >> bits
