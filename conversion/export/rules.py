"""How each PyTorch module is wired: a table from module class to the function that drafts it.

A function takes the draft, the module's name, the module and its sources, adds layers, and gives the sources that stand
for its output. Composite modules wire their children in the order of their own forward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from neurotarget.conversion.export.draft import Draft, Layer, UnsupportedModule, array
from neurotarget.model import spikescr
from neurotarget.model.networks import attentions, delays, parts
from neurotarget.model.networks.neuron import FusedLIFNode
from spikingjelly.activation_based import layer, neuron
from torch import nn

Sources = tuple[str, ...]
Rule = Callable[[Draft, str, Any, Sources], Sources]


def draft_module(draft: Draft, name: str, module: nn.Module, sources: Sources) -> Sources:
    """Drafts one module by the rule of exactly its class: a subclass may compute something else.

    Raises:
        UnsupportedModule: no rule, or a setting that NIR cannot carry.
    """
    if type(module) not in RULES:
        supported = ", ".join(sorted({cls.__name__ for cls in RULES}))
        raise UnsupportedModule(
            f"layer {name or 'network'}: {type(module).__name__} cannot be converted; supported are {supported}"
        )
    if id(module) in draft.modules:
        raise UnsupportedModule(
            f"layer {name}: the same {type(module).__name__} is used twice, and its state would be shared; "
            "use a copy for each place"
        )
    draft.modules.add(id(module))
    return RULES[type(module)](draft, name, module, sources)


def refuse(name: str, module: Any, found: str, remedy: str) -> UnsupportedModule:
    return UnsupportedModule(f"layer {name} ({type(module).__name__}): {found}; {remedy}")


# ---- layers ----------------------------------------------------------------------------------------------------------


def _linear(draft: Draft, name: str, module: nn.Linear, sources: Sources) -> Sources:
    shape = draft.shape(sources)
    if shape != (module.in_features,):
        raise refuse(name, module, f"gets shape {shape}, takes ({module.in_features},)", "flatten its input first")
    bias = None if module.bias is None else array(module.bias)
    parameters = {"weight": array(module.weight), "bias": bias}
    return draft.add(Layer(name, "linear", sources, (module.out_features,), parameters))


def _conv(draft: Draft, name: str, module: Any, sources: Sources) -> Sources:
    if module.padding_mode != "zeros":
        raise refuse(name, module, f"padding_mode {module.padding_mode!r}", "only zeros can be written")
    if len(set(module.kernel_size)) != 1:
        raise refuse(
            name, module, f"kernel {module.kernel_size} is not square", "nir 1.0.8 infers a wrong shape for it"
        )
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
    space = tuple(
        (size + 2 * pad - span - 1) // stride + 1
        for size, pad, span, stride in zip(shape[1:], padding, spans, module.stride, strict=True)
    )
    parameters = {"weight": weight, "bias": bias, "stride": module.stride, "padding": padding}
    parameters |= {"dilation": module.dilation, "groups": module.groups, "input_space": shape[1:]}
    return draft.add(Layer(name, "conv", sources, (module.out_channels, *space), parameters))


def _temporal_conv(draft: Draft, name: str, module: parts.TemporalConv, sources: Sources) -> Sources:
    depthwise = module.groups == module.in_channels == module.out_channels
    if module.groups != 1 and not depthwise:
        raise refuse(name, module, f"{module.groups} groups", "1 or as many as channels are supported")
    weight = array(module.weight)  # [out, in / groups, taps]
    bias = None if module.bias is None else array(module.bias)
    parameters = {"weight": weight[:, 0] if depthwise else weight, "bias": bias, "look_ahead": module.look_ahead}
    return draft.add(Layer(name, "temporal_conv", sources, (module.out_channels,), parameters))


def _delayed_linear(draft: Draft, name: str, module: delays.DelayedLinear, sources: Sources) -> Sources:
    # In evaluation the delays are whole steps: a convolution over past steps in which each connection has one tap.
    kernel = array(module.rounded_kernel())
    parameters = {"weight": kernel, "bias": None, "look_ahead": 0}
    return draft.add(Layer(name, "temporal_conv", sources, kernel.shape[:1], parameters))


def _leaky_integrator(draft: Draft, name: str, module: delays.LeakyIntegrator, sources: Sources) -> Sources:
    return draft.add(Layer(name, "li", sources, draft.shape(sources), {"tau": module.tau}))


def _batch_norm(draft: Draft, name: str, module: nn.BatchNorm1d, sources: Sources) -> Sources:
    if module.running_mean is None or module.running_var is None:
        raise refuse(name, module, "keeps no running statistics", "train it with track_running_stats=True")
    scale = 1 / np.sqrt(array(module.running_var) + module.eps)
    shift = -array(module.running_mean) * scale
    if module.affine:
        scale, shift = scale * array(module.weight), shift * array(module.weight) + array(module.bias)
    return draft.add(Layer(name, "batch_norm", sources, draft.shape(sources), {"scale": scale, "shift": shift}))


def _neuron(tau: Callable[[Any], float | None]) -> Rule:
    def rule(draft: Draft, name: str, module: Any, sources: Sources) -> Sources:
        if module.v_reset is None:
            raise refuse(name, module, "soft reset (v_reset=None)", "NIR has no such reset; train with v_reset=0.0")
        constant = tau(module)
        parameters = {"theta": float(module.v_threshold), "v_reset": float(module.v_reset)}
        kind = "if" if constant is None else "lif"
        if constant is not None:
            parameters |= {"tau": constant, "decay_input": bool(module.decay_input)}
        return draft.add(Layer(name, kind, sources, draft.shape(sources), parameters))

    return rule


def _avg_pool(draft: Draft, name: str, module: nn.AvgPool2d, sources: Sources) -> Sources:
    if module.ceil_mode or not module.count_include_pad or module.divisor_override:
        raise refuse(name, module, "ceil_mode, count_include_pad or divisor_override", "use their defaults")
    pairs = {
        key: (value, value) if isinstance(value, int) else tuple(value)
        for key, value in (("kernel_size", module.kernel_size), ("stride", module.stride), ("padding", module.padding))
    }
    channels, *space = draft.shape(sources)
    sizes = tuple(
        (size + 2 * pad - kernel) // stride + 1
        for size, pad, kernel, stride in zip(
            space, pairs["padding"], pairs["kernel_size"], pairs["stride"], strict=True
        )
    )
    return draft.add(Layer(name, "avg_pool", sources, (channels, *sizes), pairs))


def _flatten(draft: Draft, name: str, module: nn.Flatten, sources: Sources) -> Sources:
    shape = draft.shape(sources)
    if module.start_dim != 1 or module.end_dim != -1:
        raise refuse(
            name, module, f"start_dim {module.start_dim}, end_dim {module.end_dim}", "use the defaults 1 and -1"
        )
    if len(shape) == 1:
        return sources
    return draft.add(Layer(name, "flatten", sources, (int(np.prod(shape)),), {"input_shape": shape}))


def _nothing(draft: Draft, name: str, module: nn.Module, sources: Sources) -> Sources:
    return sources  # identity in evaluation mode


# ---- composites: the wiring of their forward pass --------------------------------------------------------------------


def _sequential(draft: Draft, name: str, module: nn.Module, sources: Sources) -> Sources:
    for child_name, child in module._modules.items():  # named_children() leaves out a module's second use
        if child is None:
            continue
        sources = draft_module(draft, f"{name}.{child_name}" if name else child_name, child, sources)
    return sources


def _rotary(draft: Draft, name: str, module: parts.Rotary, sources: Sources) -> Sources:
    parameters = {"angle": np.tile(array(module.angle), module.heads), "scale": 1.0}
    return draft.add(Layer(name, "rotary", sources, draft.shape(sources), parameters))


Child = Callable[[str, Sources], Sources]


def _children(draft: Draft, name: str, module: nn.Module) -> Child:
    return lambda path, inputs: draft_module(draft, f"{name}.{path}", module.get_submodule(path), inputs)


def _attention(draft: Draft, name: str, module: attentions.Attention, sources: Sources) -> Sources:
    child = _children(draft, name, module)
    query = child("query_lif", child("query_rotary", child("query", sources)))
    key = child("key_lif", child("key_rotary", child("key", sources)))
    return _attend(draft, name, module.product, child, query, key, child("value", sources))


def _spikformer(draft: Draft, name: str, module: attentions.SpikformerAttention, sources: Sources) -> Sources:
    child = _children(draft, name, module)
    query = child("query", sources)
    if isinstance(module, attentions.InteractingAttention):
        query = child("interaction", query)
    return _attend(draft, name, module.product, child, query, child("key", sources), child("value", sources))


def _attend(
    draft: Draft, name: str, product: parts.Product, child: Child, query: Sources, key: Sources, value: Sources
) -> Sources:
    parameters = {"heads": product.heads, "scale": product.scale, "causal": product.causal}
    roles = {"query": query[0], "key": key[0], "value": value[0]}
    shape = draft.shape(value)
    added = draft.add(Layer(f"{name}.product", "attention", (*query, *key, *value), shape, parameters, roles))
    return child("output", child("product_lif", added))


def _temporal_interaction(draft: Draft, name: str, module: attentions.TemporalInteraction, sources: Sources) -> Sources:
    """A loop: output_lif -> past -> past_lif, and back to output_lif one step later."""
    child = _children(draft, name, module)
    output = child("output_lif", (*sources, f"{name}.past_lif"))
    # Past and present weigh the same: that weight is the neuron's, so that no synapse stands in their way.
    draft.layers[output[0]] = draft.layers[output[0]].changed(gain=attentions.TIM_SHARE)
    (width,), heads = draft.shape(output), module.heads
    kernel, reach = array(module.past.weight)[0, 0], attentions.TIM_TAPS // 2
    band = sum(np.eye(width // heads, k=i - reach) * weight for i, weight in enumerate(kernel))
    parameters = {"weight": np.kron(np.eye(heads), band), "bias": np.full(width, array(module.past.bias)[0])}
    past = draft.add(Layer(f"{name}.past", "linear", output, (width,), parameters))
    child("past_lif", past)
    return output


def _token_sum(draft: Draft, name: str, module: attentions.TokenSum, key: Sources, value: Sources) -> Sources:
    """Sum over steps of key * value, per channel: attention with one channel per head, read by a query of ones.

    The ones are the bias of a synapse without weights.
    """
    (width,) = draft.shape(key)
    ones = _sparse(draft, f"{name}.ones", key, np.zeros((width, width)), np.ones(width))
    parameters = {"heads": width, "scale": 1.0, "causal": module.causal}
    roles = {"query": ones[0], "key": key[0], "value": value[0]}
    return draft.add(Layer(name, "attention", (*ones, *key, *value), (width,), parameters, roles))


def _gate(draft: Draft, name: str, current: Sources, gate: Sources) -> Sources:
    roles = {"current": current[0], "gate": gate[0]}
    return draft.add(Layer(f"{name}.product", "gate", (*current, *gate), draft.shape(gate), {}, roles))


def _spike_driven(draft: Draft, name: str, module: attentions.SpikeDrivenAttention, sources: Sources) -> Sources:
    child = _children(draft, name, module)
    query, key = child("query", sources), child("key", sources)
    gate = child("gate_lif", _token_sum(draft, f"{name}.total", module.total, query, key))
    return child("output", _gate(draft, name, child("value", sources), gate))


def _channel_attention(draft: Draft, name: str, module: attentions.ChannelAttention, sources: Sources) -> Sources:
    child = _children(draft, name, module)
    query = child("query", sources)  # of spikes, so the sum of q * q is the sum of q
    gate = child("gate_lif", _token_sum(draft, f"{name}.total", module.total, query, query))
    return child("output", _gate(draft, name, child("key", sources), gate))


def _token_attention(draft: Draft, name: str, module: attentions.TokenAttention, sources: Sources) -> Sources:
    child = _children(draft, name, module)
    gate = child("spread", child("gate_lif", child("total", child("query", sources))))
    return child("output", _gate(draft, name, child("key", sources), gate))


def _head_sum(draft: Draft, name: str, module: attentions.HeadSum, sources: Sources) -> Sources:
    size = draft.shape(sources)[0] // module.heads
    return _sparse(draft, name, sources, np.kron(np.eye(module.heads), np.ones((1, size))))


def _head_spread(draft: Draft, name: str, module: attentions.HeadSpread, sources: Sources) -> Sources:
    (heads,) = draft.shape(sources)
    return _sparse(draft, name, sources, np.kron(np.eye(heads), np.ones((module.width // heads, 1))))


def _sparse(draft: Draft, name: str, sources: Sources, weight: np.ndarray, bias: np.ndarray | None = None) -> Sources:
    """A linear map as a convolution over one step: there, zero weights are no synapses and cost nothing."""
    parameters = {"weight": weight[..., None], "bias": bias, "look_ahead": 0}
    return draft.add(Layer(name, "temporal_conv", sources, weight.shape[:1], parameters))


def _gated_convolution(draft: Draft, name: str, module: spikescr.GatedConvolution, sources: Sources) -> Sources:
    child = _children(draft, name, module)
    features = child("depthwise", child("expand", sources))
    current = child("value_norm", child("value", features))
    return child("product_lif", _gate(draft, name, current, child("gate_output", child("gate", features))))


def _block(draft: Draft, name: str, module: spikescr.Block, sources: Sources) -> Sources:
    for path in ("attention", "mlp1", "convolution", "mlp2"):  # x = x + branch(x): the stream is a list of sources
        sources = (*sources, *draft_module(draft, f"{name}.{path}", module.get_submodule(path), sources))
    return sources


def _spikescr(draft: Draft, name: str, module: spikescr.SpikeSCR, sources: Sources) -> Sources:
    sources = draft_module(draft, "embed", module.embed, sources)
    for index, block in enumerate(module.blocks):
        sources = draft_module(draft, f"blocks.{index}", block, sources)
    return draft_module(draft, "head", module.head, sources)


def _delays_network(draft: Draft, name: str, module: delays.DelaysNetwork, sources: Sources) -> Sources:
    for index, unit in enumerate(module.hidden):
        sources = draft_module(draft, f"hidden.{index}", unit, sources)
    sources = draft_module(draft, "head", module.head, sources)
    # `v = v (1 - 1/tau) + x` is NIR's Euler step with r = 1 and I = tau x, as in fold_time_constant.
    head = draft.layers[sources[0]]
    draft.layers[head.name] = head.changed(weight=head.parameters["weight"] * module.readout.tau)
    return draft_module(draft, "readout", module.readout, sources)


LEAKY = _neuron(lambda module: float(module.tau))
# PyTorch's own layers and SpikingJelly's of the same name.
LAYERS: dict[str, Rule] = {
    "Linear": _linear,
    "Conv1d": _conv,
    "Conv2d": _conv,
    "BatchNorm1d": _batch_norm,
    "BatchNorm2d": _batch_norm,
    "AvgPool2d": _avg_pool,
    "Flatten": _flatten,
    "Dropout": _nothing,
    "Dropout2d": _nothing,
}
RULES: dict[type, Rule] = {
    spikescr.SpikeSCR: _spikescr,
    spikescr.Block: _block,
    attentions.Attention: _attention,
    spikescr.GatedConvolution: _gated_convolution,
    spikescr.MLP: _sequential,
    parts.Unit: _sequential,
    parts.ConvUnit: _sequential,
    parts.TemporalConv: _temporal_conv,
    parts.Rotary: _rotary,
    attentions.SpikformerAttention: _spikformer,
    attentions.InteractingAttention: _spikformer,
    attentions.TemporalInteraction: _temporal_interaction,
    attentions.SpikeDrivenAttention: _spike_driven,
    attentions.TokenAttention: _token_attention,
    attentions.ChannelAttention: _channel_attention,
    attentions.HeadSum: _head_sum,
    attentions.HeadSpread: _head_spread,
    delays.DelaysNetwork: _delays_network,
    delays.DelayUnit: _sequential,
    delays.DelayedLinear: _delayed_linear,
    delays.LeakyIntegrator: _leaky_integrator,
    nn.Sequential: _sequential,
    **{getattr(package, name): rule for name, rule in LAYERS.items() for package in (nn, layer)},
    nn.Identity: _nothing,
    neuron.IFNode: _neuron(lambda module: None),
    neuron.LIFNode: LEAKY,
    FusedLIFNode: LEAKY,
    neuron.ParametricLIFNode: _neuron(lambda module: float(1 / array(module.w.sigmoid()))),
}
