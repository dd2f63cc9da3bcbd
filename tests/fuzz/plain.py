"""A plain interpreter of NIR files: one value per node and step, each worked out as the documents word it.

It is a witness against the simulator, so it shares no code with it and is slow on purpose. Sources: NIR's equations
(nir/ir/*.py, 1.0.8) under Euler's scheme, docs/semantics.md (sums, loops, window), docs/nir_extensions.md (the four
extension operations). Nothing is joined or reordered, and no name has a meaning.

`value(node, t)` is a recursive definition: a Delay asks for its input at t - d, a look-ahead at t + n, a neuron for its
own state at t - 1, an edge that closes a loop for its source at t - 1. A sample runs alone, over the steps of its own
window; what lies outside is zero.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import nir
import numpy as np

from tests.fuzz.loops import closing_edges

DEFAULT_DT = 1e-4
TIE = 1e-7  # docs/semantics.md, Parity: a potential this near to theta may fall on either side
RECURSION = 20_000  # frames: a few for each node of a chain, with room to spare


@dataclass
class Result:
    """What one run gives.

    Attributes:
        spikes: name of each spiking node -> uint8 [samples, steps, *neurons]; `outer.inner` inside nested graphs.
        output: [samples, steps, *outputs].
        ties: places (node, sample, step, neuron) where a tie was decided as the other side decided it.
    """

    spikes: dict[str, np.ndarray]
    output: np.ndarray
    ties: list[tuple[Any, ...]] = field(default_factory=list)


class Plain:
    """One NIR graph, ready to run.

    Args:
        graph: as nir.read gives it.
        dt: seconds per step, for a graph whose metadata do not say.
        number: the type of all numbers; a wider one than float64 tells whether float64 rounds anywhere.
    """

    table: Mapping[type, Send]  # what each node sends; set below the functions, like the type of a sample
    sample_type: type[Sample]

    def __init__(self, graph: nir.NIRGraph, dt: float = DEFAULT_DT, number: type = np.float64) -> None:
        self.number = number
        self.dt = float((graph.metadata or {}).get("dt", dt))
        self.nodes: dict[str, Any] = {}
        self.sources: dict[str, list[str]] = {}
        self.within: dict[str, str] = {}  # what stands before the name that a node has in its own graph
        self._flatten(graph, "")
        self.closing = closing_edges({(s, name) for name, sources in self.sources.items() for s in sources})
        self.inputs = sorted(name for name, node in graph.nodes.items() if isinstance(node, nir.Input))
        self.output = next(name for name, node in graph.nodes.items() if isinstance(node, nir.Output))

    def _flatten(self, graph: nir.NIRGraph, prefix: str) -> None:
        """Nested graphs become nodes named `outer.inner`; `outer` itself passes on what its Output gives."""
        for short, node in graph.nodes.items():
            name = prefix + short
            sources = sorted(prefix + source for source, target in graph.edges if target == short)
            self.nodes[name], self.sources[name], self.within[name] = node, sources, prefix
            if isinstance(node, nir.NIRGraph) and operation(node) == "nested":
                self._flatten(node, name + ".")
                entry, exit_ = (
                    next(f"{name}.{inner}" for inner, n in node.nodes.items() if isinstance(n, kind))
                    for kind in (nir.Input, nir.Output)
                )
                self.sources[entry], self.sources[name] = sources, [exit_]

    def run(
        self, frames: np.ndarray, lengths: Iterable[int] | None = None, other: Mapping[str, np.ndarray] | None = None
    ) -> Result:
        """Runs samples [samples, steps, *features] of any real type; several Inputs share the features.

        Args:
            lengths: steps of the window of each sample; all steps when left out.
            other: spikes of another simulator. Where a potential is a tie, its spike is taken over and noted, so that
                what follows from a tie can still be compared.
        """
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(RECURSION)
        try:
            return self._run(frames, lengths, other)
        finally:
            sys.setrecursionlimit(limit)

    def _run(self, frames: np.ndarray, lengths: Any, other: Any) -> Result:
        samples, steps = frames.shape[:2]
        spiking = [name for name, node in self.nodes.items() if type(node) in SPIKING]
        spikes: dict[str, list[list[np.ndarray]]] = {name: [] for name in spiking}
        outputs, ties = [], []
        for i in range(samples):
            length = steps if lengths is None else int(list(lengths)[i])
            sample = self.sample_type(self, frames[i, : max(length, 1)], other and {k: v[i] for k, v in other.items()})
            for name in spiking:
                spikes[name].append(_padded([sample.value(name, t) for t in range(sample.steps)], length, steps))
            outputs.append(_padded([sample.value(self.output, t) for t in range(sample.steps)], length, steps))
            ties += [(name, i, *place) for name, *place in sample.ties if place[0] < length]
        arrays = {name: np.array(parts, np.uint8) for name, parts in spikes.items()}
        return Result(arrays, np.array(outputs), ties)


def _padded(values: list[np.ndarray], length: int, steps: int) -> list[np.ndarray]:
    """Values of the steps of a window, zero after it."""
    return [values[t] if t < length else np.zeros_like(values[0]) for t in range(steps)]


def operation(graph: nir.NIRGraph) -> str:
    """The extension operation that a nested graph stands for, or `nested`."""
    return str((graph.metadata or {}).get("op", "nested"))


# ---- one sample ------------------------------------------------------------------------------------------------------


class Sample:
    """One sample of a run: values are worked out when asked for, and kept."""

    def __init__(self, plain: Plain, frames: np.ndarray, other: Mapping[str, np.ndarray] | None) -> None:
        self.plain, self.frames, self.other = plain, frames, other
        self.steps = len(frames)
        self.values: dict[tuple[str, int], np.ndarray] = {}
        self.arrived: dict[tuple[str, int], np.ndarray] = {}
        self.states: dict[tuple[str, int], tuple[np.ndarray, np.ndarray]] = {}  # u and v after step t
        self.ties: list[tuple[Any, ...]] = []

    def value(self, name: str, t: int) -> np.ndarray:
        """What a node sends at step t."""
        if (name, t) not in self.values:
            node = self.plain.nodes[name]
            self.values[name, t] = np.asarray(self.plain.table[type(node)](self, name, node, t))
        return self.values[name, t]

    def sent(self, source: str, target: str, t: int) -> np.ndarray:
        """What an edge carries at step t: of an edge that closes a loop the value of the step before, 0 at first."""
        late = (source, target) in self.plain.closing
        return np.asarray(self.zero()) if late and t == 0 else self.value(source, t - late)

    def arriving(self, name: str, t: int) -> np.ndarray:
        """The sum over the edges that meet at a node."""
        if (name, t) not in self.arrived:
            self.arrived[name, t] = sum((self.sent(s, name, t) for s in self.plain.sources[name]), self.zero())
        return self.arrived[name, t]

    def state(self, name: str, t: int) -> tuple[np.ndarray, np.ndarray]:
        """u and v of a neuron before step t; zero before the first."""
        known = next((before for before in range(t, 0, -1) if (name, before - 1) in self.states), 0)
        for before in range(known, t):
            self.value(name, before)
        nothing = np.zeros_like(self.arriving(name, t))
        return self.states[name, t - 1] if t else (nothing, nothing)

    def zero(self) -> Any:
        return self.plain.number(0)

    def numbers(self, array: Any, shape: tuple[int, ...] | None = None) -> np.ndarray:
        """A parameter in the run's type; one without a shape holds for every neuron."""
        whole = np.asarray(array, self.plain.number)
        return whole if shape is None else np.broadcast_to(whole, shape)

    def fires(self, name: str, t: int, v: np.ndarray, threshold: np.ndarray) -> np.ndarray:
        """1 where v > threshold. A tie follows the other simulator, where there is one."""
        spikes = (v > threshold).astype(self.plain.number)
        if self.other is not None and name in self.other:
            for place in np.ndindex(v.shape):
                near = abs(v[place] - threshold[place]) <= TIE * max(1, abs(threshold[place]))
                if near and spikes[place] != self.other[name][(t, *place)]:
                    self.ties.append((name, t, *place))
                    spikes[place] = self.other[name][(t, *place)]
        return spikes


# ---- one function a node: what it sends at step t --------------------------------------------------------------------


def input_(s: Sample, name: str, node: Any, t: int) -> np.ndarray:
    """The sample's features; several Inputs stand side by side in the order of their names."""
    if name not in s.plain.inputs:
        return s.arriving(name, t)  # the Input of a nested graph
    shapes = [tuple(int(n) for n in s.plain.nodes[i].input_type["input"]) for i in s.plain.inputs]
    here = s.plain.inputs.index(name)
    start = sum(int(np.prod(shape)) for shape in shapes[:here])
    flat = s.numbers(s.frames[t]).reshape(-1)
    return flat[start : start + int(np.prod(shapes[here]))].reshape(shapes[here])


def pass_on(s: Sample, name: str, node: Any, t: int) -> np.ndarray:
    return s.arriving(name, t)


def affine(s: Sample, name: str, node: Any, t: int) -> np.ndarray:
    x, weight = s.arriving(name, t).tolist(), s.numbers(node.weight).tolist()
    bias = s.numbers(getattr(node, "bias", np.zeros(len(weight)))).tolist()
    return s.numbers([b + sum(w * v for w, v in zip(row, x, strict=True)) for row, b in zip(weight, bias, strict=True)])


def scale(s: Sample, name: str, node: Any, t: int) -> np.ndarray:
    return s.numbers(node.scale) * s.arriving(name, t)


def convolution(s: Sample, name: str, node: Any, t: int) -> np.ndarray:
    """PyTorch's Conv1d and Conv2d: y[o, p] = b[o] + sum over c, k of W[o, c, k] x[c, p * stride + k * dilation]."""
    x, weight, bias = s.arriving(name, t), s.numbers(node.weight), s.numbers(node.bias)
    kernel = weight.shape[2:]
    stride, dilation = (pair(getattr(node, key), kernel) for key in ("stride", "dilation"))
    same = [d * (k - 1) // 2 for d, k in zip(dilation, kernel, strict=True)]
    padding = {"same": same, "valid": [0] * len(kernel)}.get(str(node.padding)) or pair(node.padding, kernel)
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    out = np.zeros((len(weight), *positions(x.shape[1:], spans, stride, padding)), s.plain.number)
    per_group = len(weight) // int(node.groups)
    for o, *p in np.ndindex(out.shape):
        first = o // per_group * weight.shape[1]  # the input channels of this output's group
        total = bias[o]
        for c, *k in np.ndindex(weight.shape[1:]):
            place = [a * st + b * d - pad for a, st, b, d, pad in zip(p, stride, k, dilation, padding, strict=True)]
            total = total + weight[(o, c, *k)] * inside(x[first + c], place)
        out[(o, *p)] = total
    return out


def pool(s: Sample, name: str, node: Any, t: int) -> np.ndarray:
    """The sum over a window of space, or the mean; padding counts as zeros, in the mean too."""
    x, kernel = s.arriving(name, t), pair(node.kernel_size, (0, 0))
    stride, padding = (pair(getattr(node, key), kernel) for key in ("stride", "padding"))
    out = np.zeros((len(x), *positions(x.shape[1:], kernel, stride, padding)), s.plain.number)
    for c, *p in np.ndindex(out.shape):
        for k in np.ndindex(*kernel):
            place = [a * st + b - pad for a, st, b, pad in zip(p, stride, k, padding, strict=True)]
            out[(c, *p)] += inside(x[c], place)
    return out / s.plain.number(np.prod(kernel)) if isinstance(node, nir.AvgPool2d) else out


def pair(value: Any, kernel: Iterable[int]) -> list[int]:
    return [int(v) for v in np.broadcast_to(np.asarray(value), (len(list(kernel)),))]


def positions(sizes: Any, spans: Any, strides: Any, paddings: Any) -> list[int]:
    """How many places a kernel takes along each dimension of space."""
    return [
        (size + 2 * pad - span) // stride + 1
        for size, span, stride, pad in zip(sizes, spans, strides, paddings, strict=True)
    ]


def inside(x: np.ndarray, place: list[int]) -> Any:
    return x[tuple(place)] if all(0 <= i < n for i, n in zip(place, x.shape, strict=True)) else x.dtype.type(0)


def flatten(s: Sample, name: str, node: Any, t: int) -> np.ndarray:
    x = s.arriving(name, t)
    start, end = (d % x.ndim for d in (int(node.start_dim), int(node.end_dim)))
    return x.reshape(*x.shape[:start], -1, *x.shape[end + 1 :])


def delay(s: Sample, name: str, node: Any, t: int) -> np.ndarray:
    """y[t] = x[t - d], neuron by neuron; zero before the window."""
    steps = np.rint(np.asarray(node.delay, float) / s.plain.dt).astype(int)
    out = np.zeros(steps.shape, s.plain.number)
    for place in np.ndindex(steps.shape):
        if t >= steps[place]:
            out[place] = s.arriving(name, t - int(steps[place]))[place]
    return out


def membrane(s: Sample, name: str, node: Any, t: int) -> tuple[np.ndarray, np.ndarray]:
    """u and v of a neuron at step t before its reset, by Euler's scheme; both start at zero."""
    current, dt = s.arriving(name, t), s.plain.number(s.plain.dt)
    p = {key: s.numbers(a, current.shape) for key, a in vars(node).items() if isinstance(a, (np.ndarray, float))}
    u, v = s.state(name, t)
    if "tau_syn" in p:
        u = u * (1 - dt / p["tau_syn"]) + dt / p["tau_syn"] * (p["w_in"] * current)
        current = u
    if "tau" not in p and "tau_mem" not in p:  # I, IF: no leak
        return u, v + dt * (p["r"] * current)
    alpha = dt / p.get("tau", p.get("tau_mem"))
    return u, v * (1 - alpha) + alpha * (p["v_leak"] + p["r"] * current)


def leaky(s: Sample, name: str, node: Any, t: int) -> np.ndarray:
    """I, LI, CubaLI: the potential is what they send."""
    u, v = membrane(s, name, node, t)
    s.states[name, t] = (u, v)
    return v


def spiking(s: Sample, name: str, node: Any, t: int) -> np.ndarray:
    """IF, LIF, CubaLIF: a spike where v > v_threshold, then v = v_reset."""
    u, v = membrane(s, name, node, t)
    spikes = s.fires(name, t, v, s.numbers(node.v_threshold, v.shape))
    s.states[name, t] = (u, np.where(spikes > 0, s.numbers(node.v_reset, v.shape), v))
    return spikes


def threshold(s: Sample, name: str, node: Any, t: int) -> np.ndarray:
    x = s.arriving(name, t)
    return s.fires(name, t, x, s.numbers(node.threshold, x.shape))


def nested(s: Sample, name: str, node: Any, t: int) -> np.ndarray:
    return OPERATIONS[operation(node)](s, name, node, t)


def look_ahead(s: Sample, name: str, node: Any, t: int) -> np.ndarray:
    later = t + int(node.metadata["steps"])
    return s.arriving(name, later) if later < s.steps else np.zeros_like(s.arriving(name, t))


def role(s: Sample, name: str, node: Any, key: str, t: int) -> np.ndarray:
    """What the node sends that a role names; it stands in the same graph."""
    return s.sent(f"{s.plain.within[name]}{node.metadata[key]}", name, t)


def gate(s: Sample, name: str, node: Any, t: int) -> np.ndarray:
    return role(s, name, node, "current", t) * role(s, name, node, "gate", t)


def rotary(s: Sample, name: str, node: Any, t: int) -> np.ndarray:
    x, factor = s.arriving(name, t), s.plain.number(float(node.metadata["scale"]))
    out = np.zeros_like(x)
    for i, angle in enumerate(np.atleast_1d(node.metadata["angle"])):
        c, n = (s.plain.number(f(t * float(angle))) for f in (np.cos, np.sin))
        out[2 * i] = factor * (x[2 * i] * c - x[2 * i + 1] * n)
        out[2 * i + 1] = factor * (x[2 * i] * n + x[2 * i + 1] * c)
    return out


def attention(s: Sample, name: str, node: Any, t: int) -> np.ndarray:
    """A head: scale * sum over s of (q[t] . k[s]) v[s], over the window, or s <= t when causal."""
    query, heads = role(s, name, node, "query", t), int(node.metadata["heads"])
    width = query.size // heads
    out = np.zeros_like(query)
    for step in range(t + 1 if node.metadata["causal"] else s.steps):
        key, value = role(s, name, node, "key", step), role(s, name, node, "value", step)
        for head in range(heads):
            own = slice(head * width, (head + 1) * width)
            match = sum((q * k for q, k in zip(query[own], key[own], strict=True)), s.zero())
            out[own] += match * value[own]
    return out * s.plain.number(float(node.metadata["scale"]))


Send = Callable[[Sample, str, Any, int], np.ndarray]
SPIKING: dict[type, Send] = {nir.IF: spiking, nir.LIF: spiking, nir.CubaLIF: spiking, nir.Threshold: threshold}
OPERATIONS: dict[str, Send] = {
    "nested": pass_on,
    "look_ahead": look_ahead,
    "gate": gate,
    "rotary": rotary,
    "attention": attention,
}
NODES: dict[type, Send] = {
    **SPIKING,
    **dict.fromkeys((nir.I, nir.LI, nir.CubaLI), leaky),
    **dict.fromkeys((nir.Affine, nir.Linear), affine),
    **dict.fromkeys((nir.Conv1d, nir.Conv2d), convolution),
    **dict.fromkeys((nir.SumPool2d, nir.AvgPool2d), pool),
    nir.Input: input_,
    nir.Output: pass_on,
    nir.Scale: scale,
    nir.Flatten: flatten,
    nir.Delay: delay,
    nir.NIRGraph: nested,
}
Plain.table, Plain.sample_type = NODES, Sample
