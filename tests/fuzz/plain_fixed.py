"""A plain interpreter of quantised files: Lava's fixed-point arithmetic, neuron by neuron in Python's integers.

It shares the walk through the graph with plain.py and no code with the simulator. Source of the arithmetic:
docs/fixed_point.md, "Arithmetic" and "The file", and lava-nc 0.10.0 (lava/proc/lif/models.py, `PyLifModelBitAcc`).
Integers hold in int64 between nodes.
"""

from __future__ import annotations

import math
import re
from typing import Any

import nir
import numpy as np

from tests.fuzz import plain
from tests.fuzz.plain import Plain, Sample

TAP = re.compile(r"(?P<layer>.+)\.tap\d+")  # a convolution over time stands in `fixed` under its layer
LIMIT = 2**23
FRACTION = 22  # bits of a rotary oscillator


class Sums(Sample):
    """A sample in integers: the taps of one convolution over time are summed before they are shifted."""

    def arriving(self, name: str, t: int) -> np.ndarray:
        if (name, t) not in self.arrived:
            layers: dict[str, list[str]] = {}
            for source in self.plain.sources[name]:
                layers.setdefault(layer_of(self.plain, source) or f"{source} alone", []).append(source)
            parts = []
            for layer, sources in layers.items():
                total = sum((self.sent(s, name, t) for s in sources), self.zero())
                parts.append(shifted(self, layer, sources, total) if layer in self.plain.fixed else total)
            self.arrived[name, t] = sum(parts, self.zero())
        return self.arrived[name, t]


class PlainFixed(Plain):
    """A quantised NIR graph, ready to run.

    Attributes:
        fixed: what the graph's metadata say of each node.
    """

    sample_type = Sums

    def __init__(self, graph: nir.NIRGraph) -> None:
        super().__init__(graph, number=np.int64)
        self.fixed = graph.metadata["fixed"]


def layer_of(graph: Plain, name: str) -> str | None:
    match = TAP.fullmatch(name)
    return match["layer"] if match and match["layer"] in graph.fixed and name not in graph.fixed else None


def whole(value: Any) -> int:
    return int(np.asarray(value).flat[0])


def shift(total: int, exponent: int) -> int:
    """`a << e`, or `a >> -e`, which floors."""
    return total << exponent if exponent >= 0 else total >> -exponent


def each(function: Any, *arrays: np.ndarray) -> np.ndarray:
    """A function of Python's integers, place by place."""
    out = np.zeros(arrays[0].shape, np.int64)
    for place in np.ndindex(out.shape):
        out[place] = function(*(int(array[place]) for array in arrays))
    return out


# ---- one function a node ---------------------------------------------------------------------------------------------


def input_(s: Sample, name: str, node: Any, t: int) -> np.ndarray:
    """`clip(rint(x / scale), minimum, maximum)`, ties to even; several Inputs share what stands under `inputs`."""
    keys = s.plain.fixed.get(name) or s.plain.fixed["inputs"]
    low, high, unit = whole(keys["minimum"]), whole(keys["maximum"]), float(np.asarray(keys["scale"]).flat[0])
    shapes = [tuple(int(n) for n in s.plain.nodes[i].input_type["input"]) for i in s.plain.inputs]
    here = s.plain.inputs.index(name)
    start = sum(math.prod(shape) for shape in shapes[:here])
    flat = np.asarray(s.frames[t], np.float64).reshape(-1)[start : start + math.prod(shapes[here])]
    return np.array([min(max(round(float(x) / unit), low), high) for x in flat], np.int64).reshape(shapes[here])


def shifted(s: Sample, layer: str, names: list[str], total: np.ndarray) -> np.ndarray:
    """The sum of a synapse, or of all taps of a layer, shifted; then its bias."""
    exponent = whole(s.plain.fixed[layer]["weight_exp"])
    total = each(lambda a: shift(a, exponent), np.asarray(total))
    for name in names:
        bias = np.asarray(getattr(s.plain.nodes[name], "bias", 0)).astype(np.int64)
        total = total + bias.reshape(-1, *[1] * (total.ndim - 1)) if bias.ndim else total
    return total


def synapse(s: Sample, name: str, node: Any, t: int) -> np.ndarray:
    """`shift(sum of weight * payload, weight_exp) + bias`; a tap alone gives the bare sum."""
    x = s.arriving(name, t)
    if isinstance(node, nir.Scale):
        total = each(lambda w, v: w * v, np.asarray(node.scale).astype(np.int64), x)
    elif isinstance(node, (nir.Conv1d, nir.Conv2d)):
        bare = type(node)(**{**fields(node), "bias": np.zeros(len(node.weight))})
        total = plain.convolution(s, name, bare, t)
    else:
        rows = np.asarray(node.weight).astype(np.int64).tolist()
        total = np.array([sum(w * v for w, v in zip(row, x.tolist(), strict=True)) for row in rows], np.int64)
    return total if layer_of(s.plain, name) else shifted(s, name, [name], total)


def fields(node: Any) -> dict[str, Any]:
    keys = ("input_shape", "weight", "stride", "padding", "dilation", "groups", "bias")
    return {key: getattr(node, key) for key in keys}


def decayed(x: int, d: int) -> int:
    """`sign(x) * ((|x| * (4096 - d)) >> 12)`: towards zero."""
    return int(math.copysign(1, x)) * ((abs(x) * (4096 - d)) >> 12)


def wrapped(u: int) -> int:
    return u - 2 * LIMIT if u > LIMIT else u + 2 * LIMIT if u <= -LIMIT else u


def neuron(s: Sample, name: str, node: Any, t: int) -> np.ndarray:
    """LIF, IF, CubaLIF; LI, I and CubaLI send v."""
    keys, current = s.plain.fixed[name], s.arriving(name, t)
    du, dv = whole(keys["du"]), whole(keys["dv"])
    bias = [np.asarray(keys[key]).astype(np.int64).reshape(current.shape) for key in ("bias_mant", "bias_exp")]
    u, v = s.state(name, t)
    if t == 0:
        v = np.broadcast_to(np.asarray(node.metadata.get("v_initial", 0)).astype(np.int64), current.shape)
    u = each(lambda u, a: wrapped(decayed(u, du + 1) + (a << 6)), u, current)
    v = each(lambda v, u, m, e: min(max(decayed(v, dv) + u + (m << e), 1 - LIMIT), LIMIT - 1), v, u, *bias)
    if type(node) not in plain.SPIKING:
        s.states[name, t] = (u, v)
        return v
    spikes = each(lambda v: v > whole(keys["vth"]) << 6, v)
    s.states[name, t] = (u, each(lambda v, fired: 0 if fired else v, v, spikes))
    return spikes


def attention(s: Sample, name: str, node: Any, t: int) -> np.ndarray:
    """`shift(q (k^T v), weight_exp)` a head; 1/sqrt(d) is in the threshold of the neuron that reads it."""
    bare = nir.NIRGraph({}, [], {**node.metadata, "scale": 1}, type_check=False)
    exponent = whole(s.plain.fixed[name]["weight_exp"])
    return each(lambda a: shift(a, exponent), plain.attention(s, name, bare, t))


def rotary(s: Sample, name: str, node: Any, t: int) -> np.ndarray:
    """Each pair is an oscillator that starts at (1, 0) and turns once a step; products floor."""
    keys, x = s.plain.fixed[name], s.arriving(name, t)
    places = FRACTION - whole(keys["fraction_bits"])
    out = np.zeros_like(x)
    for i, (cos, sin) in enumerate(zip(keys["cos"], keys["sin"], strict=True)):
        c, n = 1 << FRACTION, 0
        for _ in range(t):
            c, n = (c * int(cos) - n * int(sin)) >> FRACTION, (c * int(sin) + n * int(cos)) >> FRACTION
        even, odd = int(x[2 * i]), int(x[2 * i + 1])
        out[2 * i], out[2 * i + 1] = (even * c - odd * n) >> places, (even * n + odd * c) >> places
    return out


def output(s: Sample, name: str, node: Any, t: int) -> np.ndarray:
    return s.arriving(name, t).astype(np.float64) * float(np.asarray(s.plain.fixed[name]["scale"]).flat[0])


def nested(s: Sample, name: str, node: Any, t: int) -> np.ndarray:
    own = {"attention": attention, "rotary": rotary}
    op = plain.operation(node)
    return own.get(op, plain.OPERATIONS[op])(s, name, node, t)


PlainFixed.table = {
    **{kind: plain.NODES[kind] for kind in (nir.SumPool2d, nir.Flatten, nir.Delay)},
    **dict.fromkeys((nir.Affine, nir.Linear, nir.Scale, nir.Conv1d, nir.Conv2d), synapse),
    **dict.fromkeys((nir.IF, nir.LIF, nir.CubaLIF, nir.I, nir.LI, nir.CubaLI), neuron),
    nir.Input: input_,
    nir.Output: output,
    nir.NIRGraph: nested,
}
