"""The instruction set of the reference simulator: one function an operation, one table.

Arrays are [samples, steps, *shape]. A function may be called for one step or for all of them: what must last between
calls (membrane potential, delay line) lives in `Call.state`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from neurotarget.sim.graph import Graph, dialect
from neurotarget.sim.graph.kinds import KINDS, LEAKY, SPIKING, STATEFUL
from neurotarget.sim.graph.node import GraphError, Node
from neurotarget.sim.reference import fused_kernels, kernels, spatial_kernels, sums
from neurotarget.sim.resets import RESET_ZERO, RESETS
from neurotarget.sim.trace import masked

Parameters = Mapping[str, Any]
State = dict[str, np.ndarray]
LINEAR = {"affine", "temporal_conv", "depthwise_conv"}


class Overflow(GraphError):
    """A neuron, named, received what is not finite; which node made it is not known yet."""


@dataclass(frozen=True, eq=False)
class Call:
    """What an operation needs beside its inputs.

    Attributes:
        out: where a spiking neuron's spikes belong, contiguous uint8 [samples, steps, *neurons]; None where no place
            is waiting.
    """

    node: Node
    parameters: Parameters
    dtype: np.dtype
    state: State
    mask: np.ndarray | None
    potentials: dict[str, np.ndarray]
    out: np.ndarray | None = None

    def masked(self, array: np.ndarray) -> np.ndarray:
        """The array in this precision, zero outside the window."""
        return masked(array.astype(self.dtype, copy=False), self.mask)


def all_finite(array: np.ndarray) -> bool:
    """Whether all values are; integers, and so spikes, always."""
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def summed(arrays: Iterable[np.ndarray], dtype: np.dtype) -> np.ndarray:
    """Sum of what several sources send, in the precision of the run; of one source, what it sends.

    Spikes stay bytes until a weight meets them, where a byte holds their sum.
    """
    first, *rest = arrays
    if not rest:
        return first
    bytes_hold_it = all(a.dtype == np.uint8 for a in (first, *rest)) and (
        sum(int(a.max(initial=0)) for a in (first, *rest)) <= np.iinfo(np.uint8).max
    )
    total: np.ndarray = first.astype(np.uint8 if bytes_hold_it else dtype)
    for array in rest:
        total += array.astype(total.dtype, copy=False)
    return total


def cast_parameters(node: Node, graph: Graph, dtype: np.dtype) -> Parameters:
    """Parameters in the simulation's precision; neurons get decay, gain and offset per step."""
    p = dict(node.parameters)
    for key in ("weight", "bias"):
        if p.get(key) is not None:
            p[key] = p[key].astype(dtype, copy=False)
    if node.kind in LINEAR:
        p["by_input"] = sums.by_input(p["weight"], p["bias"])
        p["in_strips"] = sums.in_strips(p["by_input"])
    if node.kind in STATEFUL:
        ones = np.ones(node.neurons)
        flat = {key: np.broadcast_to(value, node.output_shape).reshape(-1) for key, value in p.items()}
        alpha = graph.dt / flat.get("tau", flat.get("tau_mem", np.inf * ones))
        if node.kind in LEAKY:
            p = {"decay": 1 - alpha, "gain": alpha * flat["r"], "offset": alpha * flat["v_leak"]}
        elif KINDS[node.kind].states:  # no leak: dv/dt = r I
            p = {"decay": ones, "gain": graph.dt * flat["r"], "offset": 0 * ones}
        if KINDS[node.kind].states == 2:
            alpha_synapse = graph.dt / flat["tau_syn"]
            p |= {"decay_synapse": 1 - alpha_synapse, "gain_synapse": alpha_synapse * flat["w_in"]}
        if node.kind in SPIKING:
            threshold = flat["threshold" if node.kind == "threshold" else "v_threshold"]
            p["v_threshold"] = _threshold(threshold, graph.rule, dtype)
            p["v_reset"] = flat.get("v_reset", 0 * ones)
            if node.subtracts:
                p["theta"] = theta_of(threshold, graph.rule)
        if dialect.KEY_V_INITIAL in flat:
            p["v_initial"] = flat[dialect.KEY_V_INITIAL]
        p = {key: np.ascontiguousarray(value, dtype=dtype) for key, value in p.items() if key != "threshold"}
        if node.kind in SPIKING and KINDS[node.kind].states:
            p["constants"] = np.stack([p.get(key, p["v_threshold"]) for key in kernels.CONSTANTS])
    return p


def theta_of(v_threshold: np.ndarray, rule: str) -> np.ndarray:
    """The threshold itself, float64: under rule `>=` the file holds nextafter(theta, -inf)."""
    return v_threshold if rule == dialect.RULE_EXCEEDS else np.nextafter(v_threshold, np.inf)


def _threshold(v_threshold: np.ndarray, rule: str, dtype: np.dtype) -> np.ndarray:
    """The number that v must exceed, in the run's precision."""
    theta = theta_of(v_threshold, rule).astype(dtype)
    return theta if rule == dialect.RULE_EXCEEDS else np.nextafter(theta, dtype.type(-np.inf))


def state(call: Call, key: str, samples: int) -> np.ndarray:
    """u or v, [samples, neurons]: of the call before, or at the start of the window."""
    if key not in call.state:
        start = call.parameters.get("v_initial", 0) if key == "v" else 0
        call.state[key] = np.full((samples, call.node.neurons), start, call.dtype)
    return call.state[key]


def _rows(call: Call, x: np.ndarray) -> np.ndarray:
    return kernels.as_rows(x.astype(call.dtype, copy=False), call.node.neurons)


def _current(call: Call, x: np.ndarray) -> np.ndarray:
    """Input of the membrane: the synaptic input itself, or the filtered one of current-based neurons."""
    rows = _rows(call, x)
    if "decay_synapse" not in call.parameters:
        return rows
    out = np.empty_like(rows)
    p = call.parameters
    kernels.synaptic_current(rows, p["decay_synapse"], p["gain_synapse"], state(call, "u", len(x)), out)
    return out


def spikes_of(call: Call, samples: int, steps: int) -> np.ndarray:
    """An array for spikes [samples, steps, neurons]: where they belong, if a place is waiting."""
    shape = samples, steps, call.node.neurons
    return np.empty(shape, np.uint8) if call.out is None else kernels.as_rows(call.out, call.node.neurons)


def _spiking(call: Call, x: np.ndarray) -> np.ndarray:
    p, current = call.parameters, _current(call, x)
    spikes = spikes_of(call, *x.shape[:2])
    observe = call.node.name in call.potentials
    potential = np.empty(current.shape if observe else (0, 0, 0), call.dtype)
    reset = RESETS.index(call.node.reset or RESET_ZERO)
    if not kernels.lif(current, p["constants"], reset, state(call, "v", len(x)), spikes, potential):
        raise Overflow(call.node.name)
    if observe:
        call.potentials[call.node.name] = potential.reshape(x.shape)
    return spikes.reshape(x.shape) if call.out is None else call.out


def weighted_spiking(call: Call, layer: Node, weights: Parameters, x: np.ndarray) -> np.ndarray:
    """Spikes of neurons whose currents are those of a linear layer of x [samples, steps, inputs], bit for bit.

    Args:
        call: of the neurons.
        weights: parameters of the layer.
    """
    taps, ahead = 1, 0
    if layer.kind == "temporal_conv":
        x, taps, ahead = masked(x, call.mask), weights["weight"].shape[-1], weights["look_ahead"]
    spikes, v = spikes_of(call, *x.shape[:2]), state(call, "v", len(x))
    weighted = np.ascontiguousarray(typed(call, x)), weights["in_strips"], taps, ahead
    reset = RESETS.index(call.node.reset or RESET_ZERO)
    if not fused_kernels.weighted_lif(*weighted, call.parameters["constants"], reset, v, spikes):
        raise Overflow(call.node.name)
    return spikes.reshape(*x.shape[:2], *call.node.output_shape) if call.out is None else call.out


def _leaky(call: Call, x: np.ndarray) -> np.ndarray:
    p, current = call.parameters, _current(call, x)
    out = np.empty_like(current)
    kernels.leaky(current, p["decay"], p["gain"], p["offset"], state(call, "v", len(x)), out)
    return out.reshape(x.shape)


def _compare(call: Call, x: np.ndarray) -> np.ndarray:
    if not all_finite(x):
        raise Overflow(call.node.name)
    threshold = call.parameters["v_threshold"].reshape(call.node.output_shape)
    return (x.astype(call.dtype) > threshold).astype(np.uint8)


def typed(call: Call, x: np.ndarray) -> np.ndarray:
    """x in the precision of the run; bytes stay bytes, which a weight turns into it."""
    return x if x.dtype == np.uint8 else x.astype(call.dtype, copy=False)


def linear(call: Call, x: np.ndarray, weight: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Sums of the weights of a linear layer by what arrives, x [samples, steps, ..., inputs], and the bias.

    Args:
        weight: as `sums.by_input` gives it.
        dtype: of the sums: that of the weights, or int32 where weights in float32 give integers.
    """
    p, kind = call.parameters, call.node.kind
    outputs = len(p["weight"])
    out = np.empty((*x.shape[:-1], outputs), dtype)
    rows, filled = np.ascontiguousarray(typed(call, x).reshape(-1, x.shape[-1])), out.reshape(-1, outputs)
    if kind == "affine":
        sums.weighted(rows, weight, filled)
    else:
        fill = sums.weighted_alone if kind == "depthwise_conv" else sums.weighted_over_time
        fill(rows, x.shape[1], weight, p["weight"].shape[-1], p["look_ahead"], filled)
    return out


def _affine(call: Call, x: np.ndarray) -> np.ndarray:
    return linear(call, x, call.parameters["by_input"], call.dtype)


def _scale(call: Call, x: np.ndarray) -> np.ndarray:
    return x.astype(call.dtype, copy=False) * call.parameters["weight"]


def as_frames(x: np.ndarray) -> np.ndarray:
    """[samples, steps, channels, *space] as [samples * steps, channels, *space]."""
    return x.reshape(-1, *x.shape[2:])


def _conv(call: Call, x: np.ndarray) -> np.ndarray:
    p = call.parameters
    frames = as_frames(typed(call, x))
    out = spatial_kernels.convolve(frames, p["weight"], p)
    out += p["bias"].reshape(-1, *(1,) * (out.ndim - 2))
    return out.reshape(*x.shape[:2], *out.shape[1:])


def _pool(call: Call, x: np.ndarray) -> np.ndarray:
    kernel = call.parameters["kernel_size"]
    out = spatial_kernels.pooled(as_frames(x.astype(call.dtype, copy=False)), kernel, call.parameters)
    if call.node.kind == "avg_pool":
        out /= call.dtype.type(np.prod(kernel))
    return out.reshape(*x.shape[:2], *out.shape[1:])


def _flatten(call: Call, x: np.ndarray) -> np.ndarray:
    return x.reshape(*x.shape[:2], *call.node.output_shape)


def _input_part(call: Call, x: np.ndarray) -> np.ndarray:
    start = call.parameters["start"]
    return x[..., start : start + call.node.neurons].reshape(*x.shape[:2], *call.node.output_shape)


def _shift(x: np.ndarray, steps: int) -> np.ndarray:
    """y[t] = x[t + steps], zero where x ends; steps may be negative."""
    out = np.zeros_like(x)
    if abs(steps) < x.shape[1]:
        out[:, max(0, -steps) : x.shape[1] - max(0, steps)] = x[:, max(0, steps) : x.shape[1] - max(0, -steps)]
    return out


def _delay(call: Call, x: np.ndarray) -> np.ndarray:
    delay = np.broadcast_to(call.parameters["steps"], x.shape[2:])
    longest = int(delay.max(initial=0))
    before = call.state.get("before", np.zeros((len(x), longest, *x.shape[2:]), x.dtype))
    history = np.concatenate([before, x], axis=1)
    call.state["before"] = history[:, history.shape[1] - longest :]
    out = np.empty(x.shape, history.dtype)  # a sum that a byte held now may have needed more before
    for steps in np.unique(delay):
        start = longest - int(steps)
        out[:, :, delay == steps] = history[:, start : start + x.shape[1]][:, :, delay == steps]
    return out


def _look_ahead(call: Call, x: np.ndarray) -> np.ndarray:
    return _shift(call.masked(x), call.parameters["steps"])


def _temporal_conv(call: Call, x: np.ndarray) -> np.ndarray:
    """y[t] = sum over i of W[..., i] x[t + look_ahead - (taps - 1) + i] + b."""
    return _affine(call, masked(x, call.mask))


def _gate(call: Call, x: Mapping[str, np.ndarray]) -> np.ndarray:
    return x["current"].astype(call.dtype, copy=False) * x["gate"].astype(call.dtype)


@functools.lru_cache(maxsize=32)
def _turns(angles: bytes, steps: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin of step * angle, [steps, pairs] each, of float64 angles; every chunk of a run asks for the same."""
    turn = np.arange(steps, dtype=np.float64)[:, None] * np.frombuffer(angles)
    return np.cos(turn).astype(dtype), np.sin(turn).astype(dtype)


def _rotary(call: Call, x: np.ndarray) -> np.ndarray:
    """Turns pair i by step * angle[i]: Su et al. 2021 (arXiv 2104.09864), equation 34, neighbours as pairs."""
    cos, sin = _turns(call.parameters["angle"].tobytes(), x.shape[1], call.dtype)
    out = np.empty(x.shape, call.dtype)
    kernels.turned(typed(call, x), cos, sin, call.dtype.type(call.parameters["scale"]), out)
    return out


def _attention(call: Call, x: Mapping[str, np.ndarray]) -> np.ndarray:
    """o = q (k^T v) * scale per head; without softmax `(q k^T) v` needs no matrix of steps by steps."""
    p, dtype = call.parameters, call.dtype
    counts = coincidences(call, x)
    out = heads_product(x, call.masked, p["heads"], p["causal"]) if counts is None else counts.astype(dtype, copy=False)
    return out * dtype.type(p["scale"])


def coincidences(call: Call, x: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """q (k^T v) of each head, float32; None unless all three are bytes and no sum leaves the integers of float32."""
    if any(array.dtype != np.uint8 for array in x.values()):
        return None
    query, key, value = (np.ascontiguousarray(masked(x[role], call.mask)) for role in ("query", "key", "value"))
    _, steps, width = query.shape
    heads = call.parameters["heads"]
    if math.prod(int(array.max(initial=0)) for array in (query, key, value)) * steps * (width // heads) >= 2**24:
        return None
    out = np.empty(query.shape, np.float32)
    kernels.coincidences(query, key, value, heads, call.parameters["causal"], out)
    return out


def heads_product(
    x: Mapping[str, np.ndarray], cast: Callable[[np.ndarray], np.ndarray], heads: int, causal: bool
) -> np.ndarray:
    """q (k^T v) of each head by matrix products, in the type that `cast` gives."""
    samples, steps, width = x["query"].shape

    def split(array: np.ndarray) -> np.ndarray:
        return cast(array).reshape(samples, steps, heads, width // heads).swapaxes(1, 2)

    query, key, value = (split(x[role]) for role in ("query", "key", "value"))
    keys = key.swapaxes(-1, -2)
    out = np.tril(query @ keys) @ value if causal else query @ (keys @ value)
    return out.swapaxes(1, 2).reshape(samples, steps, width)


def _pass(call: Call, x: np.ndarray) -> np.ndarray:
    return x


def _output(call: Call, x: np.ndarray) -> np.ndarray:
    return x.astype(call.dtype)


OPERATIONS: dict[str, Callable[[Call, Any], np.ndarray]] = {
    "input": _pass,
    "input_part": _input_part,
    "output": _output,
    "affine": _affine,
    "scale": _scale,
    "conv1d": _conv,
    "conv2d": _conv,
    "temporal_conv": _temporal_conv,
    "depthwise_conv": _temporal_conv,
    "sum_pool": _pool,
    "avg_pool": _pool,
    "flatten": _flatten,
    "delay": _delay,
    "integrator": _leaky,
    "li": _leaky,
    "cuba_li": _leaky,
    "if": _spiking,
    "lif": _spiking,
    "cuba_lif": _spiking,
    "threshold": _compare,
    "look_ahead": _look_ahead,
    "gate": _gate,
    "rotary": _rotary,
    "attention": _attention,
}
