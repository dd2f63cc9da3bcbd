"""Rules of the layers of SpikeSCR, of the attentions that it is compared with, and of the network with delays."""

from __future__ import annotations

from typing import Any

import numpy as np
from neurotarget.conversion.export.draft import Draft, Layer, array
from neurotarget.conversion.export.frameworks import Framework
from neurotarget.conversion.export.layers import ALL_STEPS, Rule, Sources, any_axes, linear, refuse
from neurotarget.conversion.export.neurons import LEAKY, PARAMETRIC, takes
from neurotarget.model.networks import attentions, delays, parts
from neurotarget.model.networks.neuron import FusedLIFNode, FusedPLIFNode
from neurotarget.model.networks.normalisation import StepNorm


def temporal_conv(draft: Draft, name: str, module: parts.TemporalConv, sources: Sources) -> Sources:
    depthwise = module.groups == module.in_channels == module.out_channels
    if module.groups != 1 and not depthwise:
        raise refuse(name, module, f"{module.groups} groups", "1 or as many as channels are supported")
    weight = array(module.weight)  # [out, in / groups, taps]
    bias = None if module.bias is None else array(module.bias)
    parameters = {"weight": weight[:, 0] if depthwise else weight, "bias": bias, "look_ahead": module.look_ahead}
    return draft.add(Layer(name, "temporal_conv", sources, (module.out_channels,), parameters))


def rotary(draft: Draft, name: str, module: parts.Rotary, sources: Sources) -> Sources:
    parameters = {"angle": np.tile(array(module.angle), module.heads), "scale": 1.0}
    return draft.add(Layer(name, "rotary", sources, draft.shape(sources), parameters))


def attention(draft: Draft, name: str, module: parts.Product, sources: Sources) -> Sources:
    parameters = {"heads": module.heads, "scale": module.scale, "causal": module.causal}
    return _with_roles(draft, name, "attention", parameters)


def gate(draft: Draft, name: str, module: parts.Gate, sources: Sources) -> Sources:
    return _with_roles(draft, name, "gate", {})


def _with_roles(draft: Draft, name: str, kind: str, parameters: dict[str, Any]) -> Sources:
    roles = {role: found[0] for role, found in draft.roles.items()}
    shape = draft.layers[list(roles.values())[-1]].shape
    return draft.add(Layer(name, kind, tuple(roles.values()), shape, parameters, roles))


def temporal_interaction(draft: Draft, name: str, module: attentions.TemporalInteraction, sources: Sources) -> Sources:
    """A loop: output_lif -> past -> past_lif, and back to output_lif one step later."""
    drafted = OWN[type(module.output_lif)].draft
    output = drafted(draft, f"{name}.output_lif", module.output_lif, (*sources, f"{name}.past_lif"))
    # Past and present weigh the same: that weight is the neuron's, so that no synapse stands in their way.
    draft.layers[output[0]] = draft.layers[output[0]].changed(gain=attentions.TIM_SHARE)
    (width,), heads = draft.shape(output), module.heads
    kernel, reach = array(module.past.weight)[0, 0], attentions.TIM_TAPS // 2
    band = sum(np.eye(width // heads, k=i - reach) * weight for i, weight in enumerate(kernel))
    parameters = {"weight": np.kron(np.eye(heads), band), "bias": np.full(width, array(module.past.bias)[0])}
    past = draft.add(Layer(f"{name}.past", "linear", output, (width,), parameters))
    drafted(draft, f"{name}.past_lif", module.past_lif, past)
    return output


def token_sum(draft: Draft, name: str, module: attentions.TokenSum, sources: Sources) -> Sources:
    """Sum over steps of key * value, per channel: attention with one channel per head, read by a query of ones.

    The ones are the bias of a synapse without weights. Of spikes alone the sum is that of their squares.
    """
    (source,) = sources
    key = value = source
    if draft.layers[source].kind == "gate":  # the product is the attention's own
        key, value = draft.layers.pop(source).sources
    (width,) = draft.layers[key].shape
    ones = _sparse(draft, f"{name}.ones", (key,), np.zeros((width, width)), np.ones(width))
    parameters = {"heads": width, "scale": 1.0, "causal": module.causal}
    roles = {"query": ones[0], "key": key, "value": value}
    return draft.add(Layer(name, "attention", tuple(roles.values()), (width,), parameters, roles))


def head_sum(draft: Draft, name: str, module: attentions.HeadSum, sources: Sources) -> Sources:
    size = draft.shape(sources)[0] // module.heads
    return _sparse(draft, name, sources, np.kron(np.eye(module.heads), np.ones((1, size))))


def head_spread(draft: Draft, name: str, module: attentions.HeadSpread, sources: Sources) -> Sources:
    (heads,) = draft.shape(sources)
    return _sparse(draft, name, sources, np.kron(np.eye(heads), np.ones((module.width // heads, 1))))


def _sparse(draft: Draft, name: str, sources: Sources, weight: np.ndarray, bias: np.ndarray | None = None) -> Sources:
    """A linear map as a convolution over one step: there, zero weights are no synapses and cost nothing."""
    parameters = {"weight": weight[..., None], "bias": bias, "look_ahead": 0}
    return draft.add(Layer(name, "temporal_conv", sources, weight.shape[:1], parameters))


def delayed_linear(draft: Draft, name: str, module: delays.DelayedLinear, sources: Sources) -> Sources:
    # In evaluation the delays are whole steps: a convolution over past steps in which each connection has one tap.
    kernel = array(module.rounded_kernel())
    parameters = {"weight": kernel, "bias": None, "look_ahead": 0}
    return draft.add(Layer(name, "temporal_conv", sources, kernel.shape[:1], parameters))


def leaky_integrator(draft: Draft, name: str, module: delays.LeakyIntegrator, sources: Sources) -> Sources:
    parameters = {"tau": module.tau, "decay_input": False}
    return draft.add(Layer(name, "li", sources, draft.shape(sources), parameters))


def step_norm(draft: Draft, name: str, module: StepNorm, sources: Sources) -> Sources:
    raise refuse(
        name,
        module,
        "LayerNorm divides by the deviation of each step's own values, which neither weights nor a NIR node can hold",
        "train with model.layer_normalisation=false: batch normalisation folds into weights",
    )


def all_steps(module: Any) -> Any:
    return ALL_STEPS


OWN: dict[type, Rule] = {
    FusedLIFNode: Rule(LEAKY.draft, takes, neuron=True),
    FusedPLIFNode: Rule(PARAMETRIC.draft, takes, neuron=True),
    StepNorm: Rule(step_norm, all_steps),
    parts.Linear: Rule(linear, any_axes),
    parts.TemporalConv: Rule(temporal_conv, all_steps),
    parts.Rotary: Rule(rotary, all_steps),
    parts.Product: Rule(attention, all_steps, roles=("query", "key", "value")),
    parts.Gate: Rule(gate, all_steps, roles=("current", "gate")),
    attentions.TemporalInteraction: Rule(temporal_interaction, all_steps),
    attentions.TokenSum: Rule(token_sum, all_steps),
    attentions.HeadSum: Rule(head_sum, all_steps),
    attentions.HeadSpread: Rule(head_spread, all_steps),
    delays.DelayedLinear: Rule(delayed_linear, all_steps),
    delays.LeakyIntegrator: Rule(leaky_integrator, all_steps),
}
FRAMEWORK = Framework(OWN, (), "", lambda network: None)  # their neurons are SpikingJelly's, which resets them
