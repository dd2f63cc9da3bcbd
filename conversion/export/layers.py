"""Rules of layers without state: PyTorch's own, SpikingJelly's wrappers of them, functions that stand for layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from neurotarget.conversion.export.axes import BOTH, SAMPLES, STEPS, Axes
from neurotarget.conversion.export.draft import Draft, Layer, UnsupportedModule, array
from neurotarget.conversion.export.functions import Part, Product, Scale, Shift
from spikingjelly.activation_based import layer
from torch import nn

Sources = tuple[str, ...]
Drafter = Callable[[Draft, str, Any, Sources], Sources]


@dataclass(frozen=True)
class Rule:
    """How a layer is converted.

    Attributes:
        draft: adds the layer to the draft, and gives what stands for its output.
        takes: which axes before the features its input may have.
        neuron: whether it spikes: its spikes are recorded.
        roles: of its arguments, where it has several that are not states.
        states: names of the states that it returns after its output, or keeps as attributes.
        given: the states, or the output, of the step before that it takes after its input.
        decoded: what it makes of all its steps, such as `mean`, where it gives them not one by one.
    """

    draft: Drafter
    takes: Callable[[Any], tuple[Axes, ...]]
    neuron: bool = False
    roles: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    decoded: Callable[[Any], str] = lambda module: ""


ONE_AXIS: tuple[Axes, ...] = ((SAMPLES,), (BOTH,))
ANY_AXES: tuple[Axes, ...] = (*ONE_AXIS, (STEPS, SAMPLES), (SAMPLES, STEPS))
ALL_STEPS: tuple[Axes, ...] = ((STEPS, SAMPLES),)
ONE_STEP: tuple[Axes, ...] = ((SAMPLES,),)
PROBES = torch.tensor([-3.0, -1.0, -1e-3, 0.0, 1e-3, 1.0, 3.0], dtype=torch.float64).repeat(16)
STEPS_AT = {">": torch.gt, ">=": torch.ge}


def one_axis(module: Any) -> tuple[Axes, ...]:
    """SpikingJelly's wrappers take all steps in mode m; PyTorch's layers take one axis before the features."""
    return ALL_STEPS if getattr(module, "step_mode", "s") == "m" else ONE_AXIS


def any_axes(module: Any) -> tuple[Axes, ...]:
    return ALL_STEPS if getattr(module, "step_mode", "s") == "m" else ANY_AXES


def fires_at(function: Callable[[torch.Tensor], torch.Tensor]) -> str:
    """Where a neuron's spike function is one: `>` or `>=` 0; empty where it is no step."""
    with torch.no_grad():
        fires = function(PROBES).double()
    return next((word for word, step in STEPS_AT.items() if torch.equal(fires, step(PROBES, 0).double())), "")


def refuse(name: str, module: Any, found: str, remedy: str) -> UnsupportedModule:
    return UnsupportedModule(f"layer {name} ({type(module).__name__}): {found}; {remedy}")


def vector(draft: Draft, name: str, module: Any, sources: Sources) -> int:
    """The width of an input that must be a vector."""
    shape = draft.shape(sources)
    if len(shape) != 1:
        raise refuse(name, module, f"gets shape {shape}, a vector is expected", "flatten its input first")
    return shape[0]


# ---- with weights ----------------------------------------------------------------------------------------------------


def linear(draft: Draft, name: str, module: nn.Linear, sources: Sources) -> Sources:
    shape = draft.shape(sources)
    if shape != (module.in_features,):
        raise refuse(name, module, f"gets shape {shape}, takes ({module.in_features},)", "flatten its input first")
    bias = None if module.bias is None else array(module.bias)
    parameters = {"weight": array(module.weight), "bias": bias}
    return draft.add(Layer(name, "linear", sources, (module.out_features,), parameters))


def convolution(draft: Draft, name: str, module: Any, sources: Sources) -> Sources:
    if module.padding_mode != "zeros":
        raise refuse(name, module, f"padding_mode {module.padding_mode!r}", "only zeros can be written")
    shape = draft.shape(sources)
    if len(shape) != 1 + len(module.kernel_size) or shape[0] != module.in_channels:
        raise refuse(name, module, f"gets shape {shape}", f"{module.in_channels} channels are expected")
    weight = array(module.weight)
    bias = np.zeros(module.out_channels) if module.bias is None else array(module.bias)
    spans = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
    if isinstance(module.padding, str):
        if module.padding == "same" and any(span % 2 for span in spans):
            raise refuse(name, module, "padding 'same' with an even kernel", "give the padding in numbers")
        padding = tuple(span // 2 if module.padding == "same" else 0 for span in spans)
    else:
        padding = module.padding
    if len(set(module.kernel_size)) != 1:
        weight, padding = _square(name, module, weight, padding)
        spans = [d * (k - 1) for d, k in zip(module.dilation, weight.shape[2:], strict=True)]
    space = tuple(
        (size + 2 * pad - span - 1) // stride + 1
        for size, pad, span, stride in zip(shape[1:], padding, spans, module.stride, strict=True)
    )
    parameters = {"weight": weight, "bias": bias, "stride": module.stride, "padding": padding}
    parameters |= {"dilation": module.dilation, "groups": module.groups, "input_space": shape[1:]}
    return draft.add(Layer(name, "conv", sources, (module.out_channels, *space), parameters))


def _square(name: str, module: Any, weight: np.ndarray, padding: tuple[int, ...]) -> tuple[np.ndarray, tuple[int, ...]]:
    """Zeros around a kernel that is not square: nir 1.0.8 infers the shapes of square ones only."""
    sizes = weight.shape[2:]
    missing = [max(sizes) - size for size in sizes]
    if any(one % 2 for one in missing):
        raise refuse(
            name,
            module,
            f"kernel {tuple(sizes)} is not square",
            "nir 1.0.8 infers a wrong shape for it; sizes that differ by an even number can be written",
        )
    half = [one // 2 for one in missing]
    weight = np.pad(weight, [(0, 0), (0, 0), *[(one, one) for one in half]])
    return weight, tuple(p + d * one for p, d, one in zip(padding, module.dilation, half, strict=True))


def batch_norm(draft: Draft, name: str, module: Any, sources: Sources) -> Sources:
    if module.running_mean is None or module.running_var is None:
        raise refuse(name, module, "keeps no running statistics", "train it with track_running_stats=True")
    scale = 1 / np.sqrt(array(module.running_var) + module.eps)
    shift = -array(module.running_mean) * scale
    if module.affine:
        scale, shift = scale * array(module.weight), shift * array(module.weight) + array(module.bias)
    return draft.add(Layer(name, "batch_norm", sources, draft.shape(sources), {"scale": scale, "shift": shift}))


def scale(draft: Draft, name: str, module: Scale, sources: Sources) -> Sources:
    shape = draft.shape(sources)
    return draft.add(Layer(name, "scale", sources, shape, {"weight": np.broadcast_to(array(module.factor), shape)}))


def shift(draft: Draft, name: str, module: Shift, sources: Sources) -> Sources:
    """y = x + c: a linear map with a bias; over a map of places a convolution of one, with a bias per channel."""
    shape, constant = draft.shape(sources), array(module.factor)
    if len(shape) == 1:
        parameters: dict[str, Any] = {"weight": np.eye(shape[0]), "bias": np.broadcast_to(constant, shape)}
        return draft.add(Layer(name, "linear", sources, shape, parameters))
    channels, ones = shape[0], (1,) * (len(shape) - 1)
    full = np.broadcast_to(constant, shape).reshape(channels, -1)
    if (full != full[:, :1]).any():
        raise refuse(name, module, "a constant that differs from place to place is added", "add one number per channel")
    parameters = {"weight": np.ones((channels, 1, *ones)), "bias": full[:, 0], "groups": channels}
    parameters |= {"stride": ones, "dilation": ones, "padding": (0,) * len(ones), "input_space": shape[1:]}
    return draft.add(Layer(name, "conv", sources, shape, parameters))


def part(draft: Draft, name: str, module: Part, sources: Sources) -> Sources:
    shape = draft.shape(sources)
    parameters = {"start": module.start, "total": module.total}
    return draft.add(Layer(name, "part", sources, (module.total, *shape[1:]), parameters))


def voting(draft: Draft, name: str, module: layer.VotingLayer, sources: Sources) -> Sources:
    """The mean of each group of neighbours: a linear map."""
    size = module.voting_size
    groups = vector(draft, name, module, sources) // size
    weight = np.kron(np.eye(groups), np.full((1, size), 1 / size))
    weight = np.pad(weight, ((0, 0), (0, draft.shape(sources)[0] - weight.shape[1])))
    return draft.add(Layer(name, "linear", sources, (groups,), {"weight": weight, "bias": None}))


# ---- products, pools, shapes -----------------------------------------------------------------------------------------

SPIKES = ("lif", "if", "cuba_lif", "threshold")


def is_binary(draft: Draft, name: str) -> bool:
    """Whether a layer sends 0 and 1: spikes, or a product of such."""
    layer = draft.layers[name]
    if layer.kind == "gate":
        return all(is_binary(draft, source) for source in layer.sources)
    return layer.kind in SPIKES


def product(draft: Draft, name: str, module: Product, sources: Sources) -> Sources:
    """A gate: one of the two factors must be 0 or 1, and both one layer."""
    factors = list(draft.roles.values())
    for current, gate in (factors, factors[::-1]):
        if len(current) == len(gate) == 1 and is_binary(draft, gate[0]):
            roles = {"current": current[0], "gate": gate[0]}
            return draft.add(Layer(name, "gate", (*current, *gate), draft.shape(gate), {}, roles))
    raise UnsupportedModule(
        f"layer {name}: a product of {' + '.join(factors[0])} and {' + '.join(factors[1])}; "
        "one factor must be the spikes of one layer, the other one layer's output"
    )


def average_pool(draft: Draft, name: str, module: nn.AvgPool2d, sources: Sources) -> Sources:
    if module.ceil_mode or not module.count_include_pad or module.divisor_override:
        raise refuse(name, module, "ceil_mode, count_include_pad or divisor_override", "use their defaults")
    return _pool(draft, name, "avg_pool", sources, *pooling(module))


def max_pool(draft: Draft, name: str, module: nn.MaxPool2d, sources: Sources) -> Sources:
    """Of spikes the largest is one where any is: the sum exceeds zero. NIR: SumPool2d, then Threshold(0)."""
    if module.ceil_mode or module.dilation not in (1, (1, 1)) or module.return_indices:
        raise refuse(name, module, "ceil_mode, dilation or return_indices", "use their defaults")
    if len(sources) > 1 or not is_binary(draft, sources[0]):
        raise refuse(
            name,
            module,
            f"takes the largest of what {' + '.join(sources)} send, which are no single layer's spikes",
            "put it right after a spiking layer, or use an average pool",
        )
    pooled = _pool(draft, f"{name}.sum", "sum_pool", sources, *pooling(module))
    return draft.add(Layer(name, "threshold", pooled, draft.shape(pooled), {"threshold": 0.0}))


def adaptive_pool(draft: Draft, name: str, module: nn.AdaptiveAvgPool2d, sources: Sources) -> Sources:
    """Where the sizes divide, an average pool."""
    _, *space = draft.shape(sources)
    wanted = module.output_size if isinstance(module.output_size, tuple) else (module.output_size,) * 2
    sizes = [size if want is None else want for size, want in zip(space, wanted, strict=True)]
    if any(size % want for size, want in zip(space, sizes, strict=True)):
        raise refuse(name, module, f"makes {tuple(sizes)} of {tuple(space)}", "the sizes must divide; use AvgPool2d")
    kernel = tuple(size // want for size, want in zip(space, sizes, strict=True))
    if kernel == (1, 1):
        return sources
    return _pool(draft, name, "avg_pool", sources, kernel, kernel, (0, 0))


def pooling(module: Any) -> tuple[tuple[int, int], ...]:
    """Kernel, stride and padding in both directions."""
    values = (module.kernel_size, module.stride or module.kernel_size, module.padding)
    one, two, three = ((v, v) if isinstance(v, int) else tuple(v) for v in values)
    return one, two, three


def _pool(draft: Draft, name: str, kind: str, sources: Sources, kernel: Any, stride: Any, padding: Any) -> Sources:
    channels, *space = draft.shape(sources)
    sizes = tuple((n + 2 * p - k) // s + 1 for n, p, k, s in zip(space, padding, kernel, stride, strict=True))
    parameters = {"kernel_size": kernel, "stride": stride, "padding": padding}
    return draft.add(Layer(name, kind, sources, (channels, *sizes), parameters))


def delay(draft: Draft, name: str, module: layer.Delay, sources: Sources) -> Sources:
    if not module.delay_steps:
        return sources
    return draft.add(Layer(name, "delay", sources, draft.shape(sources), {"steps": module.delay_steps}))


def flatten(draft: Draft, name: str, module: nn.Flatten, sources: Sources) -> Sources:
    shape = draft.shape(sources)
    if len(shape) == 1:
        return sources
    return draft.add(Layer(name, "flatten", sources, (int(np.prod(shape)),), {"input_shape": shape}))


def nothing(draft: Draft, name: str, module: nn.Module, sources: Sources) -> Sources:
    """Identity in evaluation mode."""
    return sources


LAYERS: dict[type, Rule] = {
    **dict.fromkeys((nn.Linear, layer.Linear), Rule(linear, any_axes)),
    **dict.fromkeys((nn.Conv1d, layer.Conv1d, nn.Conv2d, layer.Conv2d), Rule(convolution, one_axis)),
    **dict.fromkeys((nn.BatchNorm1d, layer.BatchNorm1d, nn.BatchNorm2d, layer.BatchNorm2d), Rule(batch_norm, one_axis)),
    **dict.fromkeys((nn.AvgPool2d, layer.AvgPool2d), Rule(average_pool, one_axis)),
    **dict.fromkeys((nn.MaxPool2d, layer.MaxPool2d), Rule(max_pool, one_axis, neuron=True)),
    **dict.fromkeys((nn.AdaptiveAvgPool2d, layer.AdaptiveAvgPool2d), Rule(adaptive_pool, one_axis)),
    **dict.fromkeys((nn.Dropout, layer.Dropout, nn.Dropout2d, layer.Dropout2d), Rule(nothing, any_axes)),
    **dict.fromkeys((nn.Flatten, layer.Flatten), Rule(flatten, one_axis)),
    nn.Identity: Rule(nothing, any_axes),
    layer.VotingLayer: Rule(voting, one_axis),
    layer.Delay: Rule(delay, lambda module: ALL_STEPS if module.step_mode == "m" else ONE_STEP),
    Scale: Rule(scale, any_axes),
    Shift: Rule(shift, any_axes),
    Part: Rule(part, any_axes),
    Product: Rule(product, any_axes),
}
