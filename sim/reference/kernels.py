"""Neuron dynamics over whole utterances, compiled.

Every kernel takes currents [samples, steps, neurons] and parameters [neurons] in one precision and writes spikes
uint8 [samples, steps, neurons]. Inside a sample the steps are in order and the neurons are contiguous, so that each
step is one vector loop. `v` [samples, neurons] and `u` carry the state from call to call, so that the same kernel
serves one step of a recurrent network and a whole utterance.

The arithmetic is Euler's, in this order, because parity is judged to the last bit:
`v = v * (1 - dt/tau) + dt/tau * (v_leak + r * I)`, then `v > v_threshold`, then `v = v_reset`
(NIR 1.0.8, nir/ir/neuron.py: `tau dv/dt = v_leak - v + r I`). For tau = 2 steps this is bit-identical to
SpikingJelly's `v = v * (1 - 1/tau) + I` with the input's factor tau folded into the weights. A reset by subtraction
takes theta off in place of that: at once, or a step late, after the leak and the input (snnTorch 0.9,
snntorch/_neurons/leaky.py, `reset_delay`).
"""

from __future__ import annotations

import numba
import numpy as np
from neurotarget.sim.reference.vectors import NOTED, integrate_and_fire, noted

from neurotarget.compiled import compiled_alone

LINE, FOUR_LINES = 64, 256  # bytes that vectors take
CONSTANTS = ("decay", "gain", "offset", "v_threshold", "v_reset", "theta")  # of `lif`, in this order


@numba.njit(inline="always")
def fire(current, columns, steps, constants, neurons, reset, v, spikes, potential):
    """LIF and IF over steps of one sample, all arrays flat: arguments as of `integrate_and_fire`.

    Returns:
        How many vectors met what is not finite.
    """
    line = LINE // current.itemsize
    n, wild = 0, 0
    while n < neurons:
        own, fixed, sent, kept = v[n:], constants[n:], spikes[n:], potential[n:]
        if n + 4 * line <= neurons:
            wild += integrate_and_fire(FOUR_LINES, current[n:], columns, steps, fixed, neurons, reset, own, sent, kept)
            n += 4 * line
        elif n + line <= neurons:
            wild += integrate_and_fire(LINE, current[n:], columns, steps, fixed, neurons, reset, own, sent, kept)
            n += line
        else:
            wild += integrate_and_fire(1, current[n:], columns, steps, fixed, neurons, reset, own, sent, kept)
            n += 1
    return wild


@compiled_alone
def lif(current, constants, reset, v, spikes, potential):
    """LIF and IF: `v = v * decay + (gain * I + offset)`.

    Args:
        constants: [6, neurons], the rows of `CONSTANTS`; theta counts where a reset subtracts it.
        reset: the place of the word in `RESETS`: 0 zero, 1 subtract, 2 subtract_at_once.
        potential: receives v before the reset where it has the shape of `current`; an array of no samples otherwise.

    Returns:
        Whether every current and every v at the end is finite.
    """
    samples, steps, neurons = current.shape
    flat, fixed, states = current.reshape(-1), constants.reshape(-1), v.reshape(-1)
    fired, kept = spikes.reshape(-1), potential.reshape(-1)
    wild = 0
    for sample in range(samples):
        at = sample * steps * neurons
        own = states[sample * neurons :]
        wild += fire(flat[at:], neurons, steps, fixed, neurons, reset, own, fired[at:], kept[at:])
    return wild == 0


@compiled_alone
def leaky(current, decay, gain, offset, v, out):
    """LI and I, which never fire: the potential is the output."""
    samples, steps, neurons = current.shape
    for sample in range(samples):
        for step in range(steps):
            for n in range(neurons):
                v[sample, n] = v[sample, n] * decay[n] + (gain[n] * current[sample, step, n] + offset[n])
                out[sample, step, n] = v[sample, n]


@compiled_alone
def synaptic_current(current, decay, gain, u, out):
    """Current-based synapse of CubaLI and CubaLIF: `u = u * (1 - dt/tau_syn) + dt/tau_syn * w_in * I`."""
    samples, steps, neurons = current.shape
    for sample in range(samples):
        for step in range(steps):
            for n in range(neurons):
                u[sample, n] = u[sample, n] * decay[n] + gain[n] * current[sample, step, n]
                out[sample, step, n] = u[sample, n]


def as_rows(array: np.ndarray, neurons: int) -> np.ndarray:
    """View of [samples, steps, *shape] as contiguous [samples, steps, neurons]."""
    return np.ascontiguousarray(array).reshape(*array.shape[:2], neurons)


@compiled_alone
def turned(x, cos, sin, scale, out):
    """Pairs of neighbours of x [samples, steps, 2 * pairs] turned by the angles of cos, sin [steps, pairs], scaled."""
    samples, steps, pairs = x.shape[0], cos.shape[0], cos.shape[1]
    for sample in range(samples):
        for step in range(steps):
            for pair in range(pairs):
                even, odd = x[sample, step, 2 * pair], x[sample, step, 2 * pair + 1]
                c, s = cos[step, pair], sin[step, pair]
                out[sample, step, 2 * pair] = (even * c - odd * s) * scale
                out[sample, step, 2 * pair + 1] = (even * s + odd * c) * scale


@compiled_alone
def coincidences(query, key, value, heads, causal, out):
    """Fills `out` float32 [samples, steps, width] with q (k^T v) of each head by events: numbers of coincidences.

    Args:
        query, key, value: uint8 [samples, steps, width].
        causal: whether a step sees those up to it, and not all.
    """
    samples, steps, width = out.shape
    own = width // heads
    state, values = np.empty((width, own), np.float32), np.empty(width, np.float32)
    places, times = np.empty(width + NOTED, np.int32), np.empty(width + NOTED, np.float32)
    first_of_head = np.arange(width) // own * own
    queries, keys = query.reshape(-1), key.reshape(-1)
    for sample in range(samples):
        state[:] = 0
        for turn in range(1 if causal else 2):
            for step in range(steps):
                start = (sample * steps + step) * width
                if turn == 0:
                    for n in range(width):
                        values[n] = value[sample, step, n]
                    for event in range(noted(keys, start, width, places, times, 0, 0)):
                        kept = state[places[event]]
                        seen = values[first_of_head[places[event]] :]
                        for n in range(own):
                            kept[n] += times[event] * seen[n]
                if causal or turn == 1:
                    total = out[sample, step]
                    total[:] = 0
                    for event in range(noted(queries, start, width, places, times, 0, 0)):
                        kept = state[places[event]]
                        found = total[first_of_head[places[event]] :]
                        for n in range(own):
                            found[n] += times[event] * kept[n]
