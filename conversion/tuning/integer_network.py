"""A quantised NIR graph as a PyTorch module: the reference's integers forward, straight-through gradients backward.

Every value is an integer held in float32 where all sums on the way to it are known to stay below 2^24, else in float64,
so PyTorch's matrix products give the simulator's bits. Arrays are [samples, steps, *shape], as in the simulator.

A weight that is trained is a real number in units of 256 integer steps, so the largest is about 1 in every layer, and a
learning rate means the same share of it everywhere. In the forward pass it is rounded to an integer that Lava keeps. A
neuron's bias is in units of its threshold, or of 256 steps of its current where it has none. Thresholds, decays,
exponents and the scale of the input stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from neurotarget.conversion.fixed import rounding
from neurotarget.conversion.tuning.straight_through import FixedPointNeuron, straight_through
from neurotarget.sim import reference
from neurotarget.sim.graph import Graph
from neurotarget.sim.graph.kinds import SPIKING, STATEFUL, SYNAPTIC
from neurotarget.sim.graph.node import GraphError, Node
from neurotarget.sim.reference import integer_kernels
from neurotarget.sim.reference.integer import ROTARY_BITS, lava_bias
from neurotarget.sim.reference.integer_kernels import ALIGN_BITS
from torch import Tensor, nn

WEIGHT_UNIT = 256


@dataclass(frozen=True)
class Trained:
    """One array of the file that is trained.

    Attributes:
        node, key: where it stands: `weight`, `bias` of a synapse, `bias` of neurons.
        unit: integer steps in 1.0 of the real number that is trained.
        nearest: the integers that the file can hold for real numbers of integer steps.
    """

    node: str
    key: str
    unit: float
    nearest: Callable[[Tensor], Tensor]


class IntegerNetwork(nn.Module):
    """The network of a quantised file.

    Args:
        graph: a loaded quantised graph.
        alpha: slope of the surrogate gradient (ATan) in units of the threshold.

    Raises:
        GraphError: not quantised, a node that cannot be trained, a loop, or integers that rounding would change.
    """

    def __init__(self, graph: Graph, alpha: float) -> None:
        super().__init__()
        _refuse(graph)
        self.graph, self.alpha = graph, alpha
        self.parameters_of = reference.prepare(graph).parameters
        self.trained = tuple(found for node in graph.nodes.values() for found in self._trained(node))
        self.real = nn.ParameterList(
            torch.tensor(self.parameters_of[t.node][t.key] / t.unit, dtype=torch.float32) for t in self.trained
        )
        for (name, key), value in self.integers().items():
            if not np.array_equal(value.numpy(), self.parameters_of[name][key]):
                raise GraphError(f"node {name}: its {key} is not one that quantisation writes; quantise again")

    def _trained(self, node: Node) -> list[Trained]:
        p = self.parameters_of[node.name]
        if node.kind in STATEFUL:
            # Neurons that had no bias get none: it would be an operation a step that the float network did not need.
            unit = p["threshold"] or WEIGHT_UNIT << ALIGN_BITS
            return [Trained(node.name, "bias", unit, _nearest_bias)] if p["bias"].any() else []
        if node.kind not in SYNAPTIC:
            return []
        found = [Trained(node.name, "weight", WEIGHT_UNIT, _nearest_weight(p["weight"]))]
        if p.get("bias") is not None and p["bias"].any():
            found.append(Trained(node.name, "bias", WEIGHT_UNIT * 2.0 ** p["weight_exp"], torch.round))
        return found

    @torch.no_grad()
    def integers(self) -> dict[tuple[str, str], Tensor]:
        """The trained arrays as the file would hold them, int64; a neuron's bias is mantissa << exponent."""
        return {key: value.to(torch.int64) for key, value in self._rounded().items()}

    def _rounded(self) -> dict[tuple[str, str], Tensor]:
        found = {}
        for one, real in zip(self.trained, self.real, strict=True):
            steps = real * one.unit
            found[one.node, one.key] = straight_through(steps, one.nearest(steps.detach()))
        return found

    def forward(self, frames: Tensor, lengths: Tensor, spikes: dict[str, Tensor] | None = None) -> Tensor:
        """Output of the network, float64 [samples, steps, *outputs], zero outside the windows.

        Args:
            frames: [samples, steps, *features].
            lengths: int64 [samples], steps of each sample.
            spikes: filled with the spikes of every spiking node, where given.
        """
        steps = torch.arange(frames.shape[1])
        run = _Run(self, (steps < lengths[:, None]).to(torch.float32), self._rounded())
        values: dict[str, Tensor] = {}
        for (name,) in self.graph.components:
            node = self.graph.nodes[name]
            if node.kind == "input":
                inputs: Any = frames
            elif node.roles:
                inputs = {role: _total([values[s] for s in sources]) for role, sources in node.roles.items()}
            else:
                inputs = _total([values[s] for s in node.sources])
            out = OPERATIONS[node.kind](run, node, inputs)
            values[name] = run.windowed(out) if node.kind in SPIKING | {"input", "output"} else out
            if spikes is not None and node.kind in SPIKING:
                spikes[name] = values[name]
        return values[self.graph.output.name]

    def as_graph(self) -> Graph:
        """The graph with the integers of this moment, ready for emit_fixed.py."""
        nodes, fixed = dict(self.graph.nodes), {name: dict(keys) for name, keys in self.graph.fixed.items()}
        for (name, key), value in self.integers().items():
            node = nodes[name]
            if node.kind in STATEFUL:
                mantissa, exponent = rounding.bias(value.numpy().astype(np.float64))
                fixed[name] |= {"bias_mant": mantissa, "bias_exp": exponent}
            else:
                nodes[name] = replace(node, parameters={**node.parameters, key: value.numpy()})
        return replace(self.graph, nodes=nodes, fixed=fixed)


def _refuse(graph: Graph) -> None:
    if not graph.quantised:
        raise GraphError(f"{graph.source}: not quantised; fine-tuning needs the file that conversion.quantize writes")
    for node in graph.nodes.values():
        if node.kind not in OPERATIONS:
            raise GraphError(f"node {node.name}: {node.kind} cannot be fine-tuned; known are {', '.join(OPERATIONS)}")
    loops = [component for component in graph.components if len(component) > 1]
    loops += [edge for edge in graph.recurrent_edges if edge[0] == edge[1]]
    for names in loops:
        raise GraphError(f"node {names[0]}: it is in a loop ({' -> '.join(names)}); loops cannot be fine-tuned")


def _nearest_weight(weight: np.ndarray) -> Callable[[Tensor], Tensor]:
    """Weights keep the sign mode of their matrix: one that changed it would make all others even at once."""
    largest = rounding.largest_weight(weight)
    step = 2 if largest == rounding.LARGEST_MIXED else 1
    low, high = (0 if weight.min(initial=0) >= 0 else -largest), (0 if weight.max(initial=0) <= 0 else largest)
    return lambda real: (step * torch.round(real / step)).clamp(low, high)


def _nearest_bias(real: Tensor) -> Tensor:
    return torch.from_numpy(lava_bias(*rounding.bias(real.double().numpy())))


# ---- exact sums ------------------------------------------------------------------------------------------------------


def _exact(bound: float) -> torch.dtype:
    """A format that holds every integer up to `bound`."""
    return torch.float32 if bound < 2**24 else torch.float64


def _peak(x: Tensor) -> float:
    return float(x.detach().abs().max()) if x.numel() else 0.0


def _total(arrays: list[Tensor]) -> Tensor:
    first, *rest = arrays
    if rest:
        first = first.to(_exact(sum(_peak(array) for array in arrays)))
    for array in rest:
        first = first + array
    return first


# ---- operations ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Run:
    """One forward pass: the network, its windows [samples, steps] as 0 and 1, its trained arrays as integers."""

    network: IntegerNetwork
    mask: Tensor
    rounded: Mapping[tuple[str, str], Tensor]

    def windowed(self, x: Tensor) -> Tensor:
        return x * self.mask.reshape(*self.mask.shape, *[1] * (x.dim() - 2)).to(x.dtype)

    def parameters(self, node: Node) -> Mapping[str, Any]:
        return self.network.parameters_of[node.name]

    def array(self, node: Node, key: str) -> Tensor | None:
        """A parameter as integers, trained or not."""
        if (node.name, key) in self.rounded:
            return self.rounded[node.name, key]
        value = self.parameters(node).get(key)
        return None if value is None else torch.from_numpy(value)

    def synapse(self, node: Node, x: Tensor, product: Callable[[Tensor, Tensor], Tensor], channels: int = -1) -> Tensor:
        """`shift(product(x, weight), weight_exp) + bias`; `channels` is the dimension that the bias goes along."""
        weight, bias, exponent = self.rounded[node.name, "weight"], self.array(node, "bias"), self._exponent(node)
        row = float(weight.detach().abs().flatten(min(1, weight.dim() - 1)).sum(-1).max())
        shift = 2.0**exponent
        dtype = _exact(_peak(x) * row * max(shift, 1.0) + (0.0 if bias is None else _peak(bias)))
        out = _floored(product(x.to(dtype), weight.to(dtype)) * shift, exponent < 0)
        if bias is None:
            return out
        return out + bias.to(dtype).reshape(-1, *[1] * (out.dim() - 1 - channels % out.dim()))

    def _exponent(self, node: Node) -> int:
        return int(self.parameters(node)["weight_exp"])


def _floored(real: Tensor, needed: bool) -> Tensor:
    return straight_through(real, torch.floor(real.detach())) if needed else real


def _input(run: _Run, node: Node, x: Tensor) -> Tensor:
    p = run.parameters(node)
    return torch.round(x.double() / p["scale"]).clamp(p["minimum"], p["maximum"]).float()


def _input_part(run: _Run, node: Node, x: Tensor) -> Tensor:
    start = run.parameters(node)["start"]
    return x[..., start : start + node.neurons].unflatten(-1, node.output_shape)


def _output(run: _Run, node: Node, x: Tensor) -> Tensor:
    return x.double() * run.parameters(node)["scale"]


def _affine(run: _Run, node: Node, x: Tensor) -> Tensor:
    return run.synapse(node, x, F.linear)


def _scale(run: _Run, node: Node, x: Tensor) -> Tensor:
    return run.synapse(node, x, torch.mul)


def _conv(run: _Run, node: Node, x: Tensor) -> Tensor:
    p = run.parameters(node)
    how = {key: p[key] for key in ("stride", "padding", "dilation")} | {"groups": p["groups"]}
    convolve = F.conv1d if node.kind == "conv1d" else F.conv2d

    def product(x: Tensor, weight: Tensor) -> Tensor:
        return convolve(x.flatten(0, 1), weight, **how).unflatten(0, x.shape[:2])

    return run.synapse(node, x, product, channels=2)


def _temporal_conv(run: _Run, node: Node, x: Tensor) -> Tensor:
    p, depthwise = run.parameters(node), node.kind == "depthwise_conv"
    taps, ahead = p["weight"].shape[-1], p["look_ahead"]

    def product(x: Tensor, weight: Tensor) -> Tensor:
        padded = F.pad(x.transpose(1, 2), (taps - 1 - ahead, ahead))
        kernel = weight[:, None] if depthwise else weight
        return F.conv1d(padded, kernel, groups=len(weight) if depthwise else 1).transpose(1, 2)

    return run.synapse(node, run.windowed(x), product)


def _pool(run: _Run, node: Node, x: Tensor) -> Tensor:
    p = run.parameters(node)
    kernel, stride, padding = (tuple(int(v) for v in p[key]) for key in ("kernel_size", "stride", "padding"))
    wide = x.flatten(0, 1).to(_exact(_peak(x) * float(np.prod(kernel))))
    return F.avg_pool2d(wide, kernel, stride, padding, divisor_override=1).unflatten(0, x.shape[:2])


def _flatten(run: _Run, node: Node, x: Tensor) -> Tensor:
    return x.reshape(*x.shape[:2], *node.output_shape)


def _shift(x: Tensor, steps: int) -> Tensor:
    """y[t] = x[t + steps], zero where x ends."""
    out = torch.zeros_like(x)
    if abs(steps) < x.shape[1]:
        out[:, max(0, -steps) : x.shape[1] - max(0, steps)] = x[:, max(0, steps) : x.shape[1] - max(0, -steps)]
    return out


def _delay(run: _Run, node: Node, x: Tensor) -> Tensor:
    delay = torch.from_numpy(np.broadcast_to(run.parameters(node)["steps"], node.output_shape).astype(np.int64))
    return sum((_shift(x, -int(steps)) * (delay == steps) for steps in torch.unique(delay)), torch.zeros_like(x))


def _look_ahead(run: _Run, node: Node, x: Tensor) -> Tensor:
    return _shift(run.windowed(x), int(run.parameters(node)["steps"]))


def _gate(run: _Run, node: Node, x: Mapping[str, Tensor]) -> Tensor:
    dtype = _exact(_peak(x["current"]) * _peak(x["gate"]))
    return x["current"].to(dtype) * x["gate"].to(dtype)


def _rotary(run: _Run, node: Node, x: Tensor) -> Tensor:
    p = run.parameters(node)
    cos, sin = (np.empty((x.shape[1], p["cos"].size), np.int64) for _ in range(2))
    integer_kernels.oscillate(p["cos"], p["sin"], ROTARY_BITS, cos, sin)
    c, s = (torch.from_numpy(turn).double() for turn in (cos, sin))
    even, odd = x[..., 0::2].double(), x[..., 1::2].double()
    turned = torch.stack((even * c - odd * s, even * s + odd * c), dim=-1).flatten(-2)
    out = _floored(turned * 2.0 ** (p["fraction_bits"] - ROTARY_BITS), needed=True)
    return out.to(_exact(_peak(out)))


def _attention(run: _Run, node: Node, x: Mapping[str, Tensor]) -> Tensor:
    p = run.parameters(node)
    steps, width = x["query"].shape[1:]
    shift = 2.0 ** p["weight_exp"]
    peaks = float(np.prod([_peak(value) for value in x.values()]))
    dtype = _exact(peaks * steps * (width // p["heads"]) * max(shift, 1.0))
    query, key, value = (
        run.windowed(x[role].to(dtype)).unflatten(-1, (p["heads"], -1)).transpose(1, 2)
        for role in ("query", "key", "value")
    )
    across = key.transpose(-1, -2)
    out = torch.tril(query @ across) @ value if p["causal"] else query @ (across @ value)
    return _floored(out.transpose(1, 2).flatten(-2) * shift, p["weight_exp"] < 0)


def _neuron(run: _Run, node: Node, x: Tensor) -> Tensor:
    bias, p = run.array(node, "bias"), run.parameters(node)
    out: Tensor = FixedPointNeuron.apply(x, bias, node, p, run.network.alpha)
    return out


OPERATIONS: dict[str, Callable[[_Run, Node, Any], Tensor]] = {
    **dict.fromkeys(sorted(STATEFUL - {"threshold"}), _neuron),
    "input": _input,
    "input_part": _input_part,
    "output": _output,
    "affine": _affine,
    "scale": _scale,
    "conv1d": _conv,
    "conv2d": _conv,
    "temporal_conv": _temporal_conv,
    "depthwise_conv": _temporal_conv,
    "sum_pool": _pool,
    "flatten": _flatten,
    "delay": _delay,
    "look_ahead": _look_ahead,
    "gate": _gate,
    "rotary": _rotary,
    "attention": _attention,
}
