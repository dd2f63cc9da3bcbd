"""The instruction set of the integer simulator: what a quantised file computes, in Lava's fixed-point arithmetic.

The same functions-in-a-table as operations.py, on int64 arrays [samples, steps, *shape]; reference.py runs either. A
quantised file holds integer weights; what NIR's primitives have no field for stands in its graph metadata under
`fixed`, by the name of the node (docs/fixed_point.md). Nothing here rounds but where Lava does: a weight exponent below
zero and the rotary's fraction floor, decays go towards zero.

Sums run through floating-point BLAS where every partial sum is an integer that the format holds exactly (2^24 in
float32, 2^53 in float64), so the speed of a float matrix product costs no bit.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from neurotarget.sim.graph import dialect
from neurotarget.sim.graph.kinds import SPIKING, STATEFUL, SYNAPTIC
from neurotarget.sim.graph.node import GraphError, Node
from neurotarget.sim.reference import integer_kernels, spatial_kernels, sums
from neurotarget.sim.reference.integer_kernels import ALIGN_BITS, DECAY_BITS, STATE_LIMIT
from neurotarget.sim.reference.operations import (
    LINEAR,
    OPERATIONS,
    Call,
    Parameters,
    as_frames,
    coincidences,
    heads_product,
    linear,
    spikes_of,
    state,
    typed,
)
from neurotarget.sim.resets import RESET_ZERO, RESETS
from neurotarget.sim.trace import masked

INTEGER = np.dtype(np.int64)
SCALES = (1e-30, 1e30)  # of input and output: beyond, a product with 24-bit integers leaves float32 or float64
ROTARY_BITS = 22  # bits of fraction of a rotary oscillator: its state fits 24 bits with sign
CURRENT_LIMIT = 2**25  # Lava shifts the current left by 6 in 32 bits

# Key -> (smallest, largest). Those of neurons: lava/proc/lif/models.py, `PyLifModelBitAcc`, "Precisions".
WIDTHS = {
    "du": (0, 4095),
    "dv": (0, 4095),
    "vth": (0, 2**17 - 1),
    "bias_mant": (-4096, 4095),
    "bias_exp": (0, 7),
    "weight_exp": (-24, 24),
    "fraction_bits": (0, ROTARY_BITS),
}


class CurrentOverflow(GraphError):
    """The current of a neuron, named in the message, that 32 bits do not hold once it is shifted."""


# ---- parameters ------------------------------------------------------------------------------------------------------


def integer_parameters(node: Node, fixed: Mapping[str, Any]) -> Parameters:
    """Parameters of one node as integers.

    Args:
        fixed: what the file's metadata says of the node.

    Raises:
        GraphError: something is missing, not an integer, or outside its width.
    """
    if node.kind not in INTEGER_OPERATIONS:
        raise GraphError(f"node {node.name}: {node.kind} has no fixed-point form")
    if node.kind in STATEFUL:
        return _neuron_parameters(node, fixed)
    p = dict(node.parameters)
    for key in ("weight", "bias"):
        if p.get(key) is not None:
            p[key] = _integers(node, key, p[key])
    if node.kind in SYNAPTIC:
        if not np.array_equal(p["weight"], lava_weights(p["weight"])):
            raise GraphError(f"node {node.name}: Lava would clip or truncate its weights; quantise the file again")
        p["weight_exp"], p["reach"] = _whole(node, fixed, "weight_exp"), reach(p["weight"])
        if node.kind in LINEAR:
            p["by_input"] = sums.by_input(p["weight"])  # the bias comes after the shift
            p["single"] = _single(p)
    elif node.kind == "attention":
        p["weight_exp"] = _whole(node, fixed, "weight_exp")
    elif node.kind == "rotary":
        p["fraction_bits"] = _whole(node, fixed, "fraction_bits")
        p |= {key: _integers(node, key, _given(node, fixed, key)) for key in ("cos", "sin")}
        if p["cos"].shape != p["sin"].shape or p["cos"].shape != p["angle"].shape:
            raise GraphError(f"node {node.name}: cos and sin must hold one integer for each of {p['angle'].size} pairs")
        if max(np.abs(p["cos"]).max(initial=0), np.abs(p["sin"]).max(initial=0)) > 1 << ROTARY_BITS:
            raise GraphError(f"node {node.name}: a cos or sin exceeds 1, which is {1 << ROTARY_BITS}")
    elif node.kind == "input":
        p["scale"] = _unit(node, fixed)
        p |= {key: _whole(node, fixed, key) for key in ("minimum", "maximum")}
        if p["minimum"] > p["maximum"]:
            raise GraphError(f"node {node.name}: minimum {p['minimum']} is above maximum {p['maximum']}")
    elif node.kind == "output":
        p["scale"] = _unit(node, fixed)
    return p


@dataclass(frozen=True, eq=False)
class Single:
    """Weights of a linear layer times 2^weight_exp, and the bias, in float32 as sums.py reads them.

    Attributes:
        reach: the largest |sum| of what is in -1 .. 1 times them.
        bias: the largest |bias|.
    """

    weight: np.ndarray
    reach: int
    bias: int


def _single(p: Parameters) -> Single | None:
    """None where the exponent is below zero: each sum is then shifted and loses its last bits."""
    if p["weight_exp"] < 0:
        return None
    weight, bias = p["weight"] << p["weight_exp"], p["bias"]
    laid = sums.by_input(weight.astype(np.float32), None if bias is None else bias.astype(np.float32))
    return Single(laid, reach(weight), 0 if bias is None else peak(bias))


def _neuron_parameters(node: Node, fixed: Mapping[str, Any]) -> Parameters:
    biases = {}
    for key in ("bias_mant", "bias_exp"):
        biases[key] = _integers(node, key, _given(node, fixed, key)).reshape(-1)
        low, high = WIDTHS[key]
        if biases[key].size != node.neurons or biases[key].min() < low or biases[key].max() > high:
            raise GraphError(f"node {node.name}: {key} must hold {node.neurons} integers in {low} .. {high}")
    threshold = _whole(node, fixed, "vth") << ALIGN_BITS if node.kind in SPIKING else 0
    if node.kind in SPIKING and not np.all(node.parameters["v_threshold"] == threshold):
        raise GraphError(f"node {node.name}: v_threshold in the file is not vth << {ALIGN_BITS} = {threshold}")
    start = _integers(node, dialect.KEY_V_INITIAL, node.parameters.get(dialect.KEY_V_INITIAL, 0)).reshape(-1)
    if np.abs(start).max(initial=0) >= STATE_LIMIT:
        raise GraphError(f"node {node.name}: {dialect.KEY_V_INITIAL} leaves the 24 bits of v")
    return {
        "keep_u": (1 << DECAY_BITS) - (_whole(node, fixed, "du") + 1),
        "keep_v": (1 << DECAY_BITS) - _whole(node, fixed, "dv"),
        "threshold": threshold,
        "bias": lava_bias(biases["bias_mant"], biases["bias_exp"]),
        "reset": RESETS.index(node.reset or RESET_ZERO),
        "v_initial": start,
    }


def _given(node: Node, fixed: Mapping[str, Any], key: str) -> Any:
    if key not in fixed:
        raise GraphError(f"node {node.name} ({node.kind}): the quantised file does not say its {key}")
    return fixed[key]


def _whole(node: Node, fixed: Mapping[str, Any], key: str) -> int:
    """One integer within 24 bits; a shift within `WIDTHS`."""
    array = _integers(node, key, _given(node, fixed, key))
    low, high = WIDTHS.get(key, (-STATE_LIMIT, STATE_LIMIT - 1))
    if array.size != 1 or not low <= int(array.flat[0]) <= high:
        raise GraphError(f"node {node.name}: {key} must be one integer in {low} .. {high}, found {array}")
    return int(array.flat[0])


def _unit(node: Node, fixed: Mapping[str, Any]) -> float:
    scale = np.asarray(_given(node, fixed, "scale"))
    if scale.size != 1 or scale.dtype.kind not in "iuf" or not SCALES[0] <= scale.flat[0] <= SCALES[1]:
        raise GraphError(f"node {node.name}: scale must be one number in {SCALES[0]:g} .. {SCALES[1]:g}, found {scale}")
    return float(scale.flat[0])


def _integers(node: Node, key: str, value: Any) -> np.ndarray:
    array = np.asarray(value)
    whole = array.dtype.kind in "iuf" and np.array_equal(array, np.rint(array))
    if not whole or np.abs(array.astype(np.float64)).max(initial=0) >= 2**53:  # infinity is its own rint
        raise GraphError(f"node {node.name}: {key} of a quantised file must be integers below 2^53")
    return array.astype(INTEGER)


def lava_weights(weight: np.ndarray) -> np.ndarray:
    """The 8-bit weights that Lava's Dense makes of int weights of one matrix.

    lava/utils/weightutils.py, `determine_sign_mode`, `clip_weights` and `truncate_weights`: of one sign, they clip to
    0 .. 255 in magnitude; of mixed signs, to -256 .. 255, and only even ones remain.
    """
    if weight.min(initial=0) >= 0 or weight.max(initial=0) <= 0:
        return np.clip(weight, -255, 255)
    return (np.clip(weight, -256, 255) >> 1) << 1


def lava_bias(mantissa: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    """`mantissa << exponent`, floor of `>>` when negative: lava/proc/lif/models.py, `scale_bias`."""
    return np.where(exponent >= 0, mantissa << np.maximum(exponent, 0), mantissa >> np.maximum(-exponent, 0))


# ---- exact sums ------------------------------------------------------------------------------------------------------


def exact_type(bound: int, node: str) -> np.dtype:
    """The fastest format that holds every integer up to `bound`.

    Raises:
        GraphError: 64 bits do not; it names the node.
    """
    if bound >= 2**63:
        raise GraphError(f"node {node}: a sum of products that may reach {float(bound):.1e} overflows 64 bits")
    return np.dtype(np.float32 if bound < 2**24 else np.float64 if bound < 2**53 else INTEGER)


def reach(weight: np.ndarray) -> int:
    """The largest |sum| of what is in -1 .. 1 times a row of weight [outputs, ...]."""
    return int(np.abs(weight).reshape(len(weight), -1).sum(axis=-1).max(initial=0))


def peak(x: np.ndarray) -> int:
    """The largest |x|."""
    return max(int(x.max(initial=0)), -int(x.min(initial=0)))


def refuse_too_large(x: np.ndarray, reach: int, node: str) -> None:
    """Raises GraphError where sums of x times weights of this reach may leave 64 bits."""
    exact_type(peak(x) * reach, node)


def shifted(total: np.ndarray, exponent: int) -> np.ndarray:
    """`total << exponent`, or the floor of `total >> -exponent`: lava/proc/dense/models.py, `weight_exp`."""
    return total << exponent if exponent > 0 else total >> -exponent


def _synapse(call: Call, total: np.ndarray) -> np.ndarray:
    out = shifted(total, call.parameters["weight_exp"])
    if (bias := call.parameters.get("bias")) is not None:
        out += bias
    return out


# ---- operations ------------------------------------------------------------------------------------------------------


def _input(call: Call, x: np.ndarray) -> np.ndarray:
    """Graded input: rint(x / scale), clipped; in float64, ties to even."""
    p, out = call.parameters, np.empty(x.shape, INTEGER)
    integer_kernels.graded(np.ravel(x), p["scale"], p["minimum"], p["maximum"], out.reshape(-1))
    return out


def _output(call: Call, x: np.ndarray) -> np.ndarray:
    return x.astype(np.float64) * call.parameters["scale"]


def _affine(call: Call, x: np.ndarray) -> np.ndarray:
    """Where float32 holds all sums, shift and bias are in its weights, and 32 bits hold what comes out."""
    p, largest = call.parameters, peak(x)
    exact_type(largest * p["reach"], call.node.name)
    if p["single"] is not None and largest * p["single"].reach + p["single"].bias < 2**24:
        return linear(call, x, p["single"].weight, np.dtype(np.int32))
    return _synapse(call, linear(call, x, p["by_input"], INTEGER))


def _scale(call: Call, x: np.ndarray) -> np.ndarray:
    return _synapse(call, x.astype(INTEGER) * call.parameters["weight"])


def _conv(call: Call, x: np.ndarray) -> np.ndarray:
    p, weight = call.parameters, call.parameters["weight"]
    refuse_too_large(x, call.parameters["reach"], call.node.name)
    total = shifted(spatial_kernels.convolve(as_frames(x), weight, p), p["weight_exp"])
    total += p["bias"].reshape(-1, *(1,) * (total.ndim - 2))
    return total.reshape(*x.shape[:2], *total.shape[1:])


def _temporal_conv(call: Call, x: np.ndarray) -> np.ndarray:
    return _affine(call, masked(x, call.mask))


def _gate(call: Call, x: Mapping[str, np.ndarray]) -> np.ndarray:
    """Current times gate; of a current in 32 bits and a gate of spikes in 32 bits."""
    current, opening = x["current"], x["gate"]
    dtype = np.int32 if current.dtype == np.int32 and peak(opening) <= 1 else INTEGER
    return current.astype(dtype, copy=False) * opening.astype(dtype)


def _rotary(call: Call, x: np.ndarray) -> np.ndarray:
    """Turns pair i by the state of its integer oscillator; the result keeps `fraction_bits` bits of fraction."""
    p = call.parameters
    cos, sin = _oscillated(p["cos"].tobytes(), p["sin"].tobytes(), x.shape[1])
    small = peak(x) << (p["fraction_bits"] + 1) < 2**31
    out = np.empty(x.shape, np.int32 if small else INTEGER)
    integer_kernels.turned(typed(call, x), cos, sin, ROTARY_BITS - p["fraction_bits"], out)
    return out


@functools.lru_cache(maxsize=32)
def _oscillated(cos: bytes, sin: bytes, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """States of the oscillators of a rotary position, int64 [steps, pairs]; every chunk of a run asks for the same."""
    turns = [np.frombuffer(angle, INTEGER) for angle in (cos, sin)]
    states = np.empty((2, steps, turns[0].size), INTEGER)
    integer_kernels.oscillate(*turns, ROTARY_BITS, *states)
    return states[0], states[1]


def _attention(call: Call, x: Mapping[str, np.ndarray]) -> np.ndarray:
    """`q (k^T v)` a head: counts of coincidences, shifted by the exponent."""
    p, out = call.parameters, coincidences(call, x)
    if out is None:
        _, steps, width = x["query"].shape
        peaks = [peak(x[role]) for role in ("query", "key", "value")]
        dtype = exact_type(math.prod(peaks) * steps * (width // p["heads"]), call.node.name)
        out = heads_product(x, lambda array: call.masked(array).astype(dtype), p["heads"], p["causal"])
    small = out.dtype == np.float32 and int(peak(out)) << max(p["weight_exp"], 0) < 2**31
    return shifted(out.astype(np.int32 if small else INTEGER), p["weight_exp"])


def _neuron(call: Call, x: np.ndarray) -> np.ndarray:
    """LIF, IF and CubaLIF; LI, I and CubaLI, which send v. The state holds `peaks` too, the largest |u| and |v|."""
    p, node, samples = call.parameters, call.node, len(x)
    current = np.ascontiguousarray(x).reshape(samples, x.shape[1], node.neurons)
    u, v = (state(call, key, samples) for key in ("u", "v"))
    fires = node.kind in SPIKING
    nothing = (0, 0, 0)
    spikes = spikes_of(call, *x.shape[:2]) if fires else np.empty(nothing, np.uint8)
    observed = node.name in call.potentials
    peaks = None
    if fires and not observed and not p["keep_u"] and current.dtype == np.int32:
        peaks = _fast(p, current, v, spikes)
    if peaks is None:
        potential = np.empty(nothing if fires else current.shape, INTEGER)
        states = np.empty((*current.shape, 2) if observed else (0, 0, 0, 2), INTEGER)
        peaks = np.zeros((samples, 2), INTEGER)
        constants = (p[key] for key in ("keep_u", "keep_v", "bias", "threshold"))
        current = current.astype(INTEGER, copy=False)
        largest = integer_kernels.neuron(current, *constants, fires, p["reset"], u, v, spikes, potential, states, peaks)
        refuse_current(largest, node.name)
    call.state["peaks"] = np.maximum(call.state.get("peaks", 0), peaks.max(axis=0, initial=0))
    if observed:
        call.potentials[node.name] = states.reshape(*x.shape, 2)
    return (spikes if fires else potential).reshape(x.shape)


def _fast(p: Parameters, current: np.ndarray, v: np.ndarray, spikes: np.ndarray) -> np.ndarray | None:
    """Peaks [samples, 2] of neurons that ran in 32 bits; None, and v as it was, where a current is too large for them.

    Their u is 64 times the current and nothing else: the next step reads it no more.
    """
    after, peaks = v.astype(np.int32), np.empty((len(v), 2), np.int32)
    constants = p["keep_v"], p["bias"].astype(np.int32), p["threshold"], p["reset"]
    integer_kernels.fast(current, *constants, after, spikes, peaks)
    if peaks[:, 0].max(initial=0) >= integer_kernels.FAST_LIMIT:
        return None
    v[...] = after
    return peaks.astype(INTEGER) << np.array([ALIGN_BITS, 0])


def refuse_current(largest: int, node: str) -> None:
    """Raises CurrentOverflow for a current of this size."""
    if largest >= CURRENT_LIMIT:
        raise CurrentOverflow(f"node {node}: its input current overflows 32 bits after the shift by {ALIGN_BITS}")


def overflow(peaks: Mapping[str, np.ndarray]) -> dict[str, list[str]]:
    """Which neurons' u wrapped around and which neurons' v was clipped, from their peaks (|u|, |v|)."""
    return {
        "wrapped_u": [name for name, (u, _) in peaks.items() if u >= STATE_LIMIT],
        "clipped_v": [name for name, (_, v) in peaks.items() if v >= STATE_LIMIT],
    }


INTEGER_OPERATIONS: dict[str, Callable[[Call, Any], np.ndarray]] = {
    **{kind: OPERATIONS[kind] for kind in ("input_part", "sum_pool", "flatten", "delay", "look_ahead")},
    **dict.fromkeys(sorted(STATEFUL - {"threshold"}), _neuron),
    "input": _input,
    "output": _output,
    "affine": _affine,
    "scale": _scale,
    "conv1d": _conv,
    "conv2d": _conv,
    "temporal_conv": _temporal_conv,
    "depthwise_conv": _temporal_conv,
    "gate": _gate,
    "rotary": _rotary,
    "attention": _attention,
}
