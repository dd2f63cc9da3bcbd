"""Rules of SpikingJelly's neurons (SpikingJelly 2.0, activation_based/neuron/)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from neurotarget.conversion.export.axes import Axes
from neurotarget.conversion.export.draft import Draft, Layer, array
from neurotarget.conversion.export.frameworks import Framework
from neurotarget.conversion.export.layers import ALL_STEPS, ONE_STEP, Drafter, Rule, Sources, fires_at, refuse
from spikingjelly.activation_based import functional, neuron
from torch import nn


def takes(module: Any) -> tuple[Axes, ...]:
    return ALL_STEPS if getattr(module, "step_mode", "m") == "m" else ONE_STEP


def spiking(dynamics: Callable[[str, Any], dict[str, Any]], kind: str) -> Drafter:
    """A neuron that fires at `v >= v_threshold`; with an infinite threshold, and its v read, one that never does.

    v starts at v_reset. Without v_reset it starts at zero, and the threshold is taken off where it fires.
    """

    def rule(draft: Draft, name: str, module: Any, sources: Sources) -> Sources:
        soft = module.v_reset is None
        rest = 0.0 if soft else float(module.v_reset)
        parameters = dynamics(name, module)
        if "v_leak" in parameters:
            parameters["v_leak"] = rest
        if rest:
            parameters["v_initial"] = rest
        if name in draft.potentials:
            if np.isfinite(module.v_threshold):
                said = "its potential v is the output, and it resets"
                raise refuse(name, module, said, "give it v_threshold=float('inf'), or return its spikes")
            silent = {"if": "integrator", "lif": "li", "cuba_lif": "cuba_li"}[kind]
            return draft.add(Layer(name, silent, sources, draft.shape(sources), parameters))
        fires = fires_at(module.surrogate_function)
        if not fires:
            raise refuse(name, module, "its surrogate_function is no step", "build that with spiking=True")
        parameters |= {"theta": float(module.v_threshold), "v_reset": rest, "strict": fires == ">"}
        if soft:
            parameters["reset"] = "subtract_at_once"
        return draft.add(Layer(name, kind, sources, draft.shape(sources), parameters))

    return rule


def leaky(tau: Callable[[Any], float]) -> Drafter:
    """`v = v - (v - v_reset) / tau + x`, or x / tau where the input decays too; neuron/lif.py."""
    return spiking(
        lambda name, module: {"tau": tau(module), "decay_input": bool(module.decay_input), "v_leak": 0.0}, "lif"
    )


def current_based(name: str, module: neuron.CUBALIFNode) -> dict[str, Any]:
    """`c = c_decay c + x; v = v_decay v + c`; neuron/lif_variants.py. Its v leaks to zero, whatever v_reset is."""
    for key in ("c_decay", "v_decay"):
        if not 0 <= getattr(module, key) < 1:
            raise refuse(name, module, f"{key} = {getattr(module, key)}", "use a value from 0 to below 1")
    return {"tau_syn": 1 / (1 - module.c_decay), "tau": 1 / (1 - module.v_decay), "gain": 1.0}


def potential(draft: Draft, name: str, module: Any, sources: Sources) -> Sources:
    """`v = v + (x - v) / tau`, or `v = v + x`, which never fires: neuron/base_node.py, NonSpikingBaseNode."""
    if module.decode not in (None, "mean-mem"):
        raise refuse(name, module, f"decode={module.decode!r}", "use decode='mean-mem' or None, all steps")
    leaks = isinstance(module, neuron.NonSpikingLIFNode)
    parameters = {"tau": float(module.tau), "decay_input": True} if leaks else {}
    return draft.add(Layer(name, "li" if leaks else "integrator", sources, draft.shape(sources), parameters))


def decoded(module: Any) -> str:
    return (module.decode or "").removesuffix("-mem")


LEAKY = Rule(leaky(lambda module: float(module.tau)), takes, neuron=True, states=("v",))
PARAMETRIC = Rule(leaky(lambda module: float(1 / array(module.w.sigmoid()))), takes, neuron=True, states=("v",))
NEURONS: dict[type, Rule] = {
    neuron.IFNode: Rule(spiking(lambda name, module: {}, "if"), takes, neuron=True, states=("v",)),
    neuron.LIFNode: LEAKY,
    neuron.ParametricLIFNode: PARAMETRIC,
    neuron.CUBALIFNode: Rule(spiking(current_based, "cuba_lif"), takes, neuron=True, states=("v",)),
    **dict.fromkeys((neuron.NonSpikingLIFNode, neuron.NonSpikingIFNode), Rule(potential, takes, decoded=decoded)),
}
ALL = tuple(
    found
    for found in vars(neuron).values()
    if inspect.isclass(found) and issubclass(found, nn.Module) and found.__module__.startswith(neuron.__name__)
)
SUPPORTED = "IFNode, LIFNode, ParametricLIFNode, CUBALIFNode, NonSpikingIFNode, NonSpikingLIFNode"
FRAMEWORK = Framework(NEURONS, ALL, SUPPORTED, functional.reset_net)
