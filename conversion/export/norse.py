"""Rules of Norse's neurons: LIF, LIFBox, LI, LIBox and LIFRecurrent, as cells and over a sequence (Norse 1.1.0).

One step of LIF, norse/torch/functional/lif.py, with a = dt tau_mem_inv and b = dt tau_syn_inv:
`j = i + x; v = v + a (v_leak - v + j); i = j - b j; z = v > v_th; v = v_reset where z`. With u = j that is
`u = (1 - b) u + x; v = (1 - a) v + a (v_leak + u)`: NIR's CubaLIF, whose current comes before its potential,
with w_in = 1 / b. So nothing is late. v starts at v_leak.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from neurotarget.conversion.export.draft import Draft, Layer, array
from neurotarget.conversion.export.follow import OUTPUT
from neurotarget.conversion.export.frameworks import Framework
from neurotarget.conversion.export.layers import ALL_STEPS, ONE_STEP, Drafter, Rule, Sources, refuse
from norse.torch.functional.reset import reset_subtract, reset_value
from norse.torch.module import leaky_integrator, leaky_integrator_box, lif, lif_box, snn
from torch import nn


def neuron(draft: Draft, name: str, module: Any, sources: Sources) -> Sources:
    """The kind is said by what Norse's parameters hold: a current, a threshold."""
    p, shape = module.p, draft.shape(sources)
    # Norse multiplies dt and tau_inv in the precision of its parameters, also in a network in double precision.
    lost = array(torch.as_tensor(module.dt * p.tau_mem_inv))
    parameters: dict[str, Any] = {"tau": 1 / lost, "decay_input": True, "v_leak": array(torch.as_tensor(p.v_leak))}
    if parameters["v_leak"].any():
        parameters["v_initial"] = parameters["v_leak"]
    fires, kind = hasattr(p, "v_th"), "lif" if hasattr(p, "v_th") else "li"
    if hasattr(p, "tau_syn_inv"):
        kind = f"cuba_{kind}"
        parameters["tau_syn"] = 1 / array(torch.as_tensor(module.dt * p.tau_syn_inv))
    if any((parameters[key] < 1).any() for key in ("tau", "tau_syn") if key in parameters):
        raise refuse(name, module, "a time constant shorter than dt", "use a smaller dt")
    if read := draft.potentials.get(name):
        remedy = "return what it computes" if fires else "return its first output, which holds every step"
        raise refuse(name, module, f"its state {read} is the output", remedy)
    if fires:
        theta = array(torch.as_tensor(p.v_th))
        parameters |= {"theta": theta, "v_reset": array(torch.as_tensor(p.v_reset)), "strict": True}
        how = getattr(p, "reset_method", reset_value)
        if how not in (reset_value, reset_subtract):
            raise refuse(name, module, f"reset_method {how}", "use Norse's reset_value or reset_subtract")
        if how is reset_subtract:
            parameters |= {"reset": "subtract_at_once", "v_reset": np.float64(0)}
    return draft.add(Layer(name, kind, sources, shape, parameters))


def recurrent(draft: Draft, name: str, module: Any, sources: Sources) -> Sources:
    """Weights of its own from its input, and from its spikes of the step before."""
    width = (int(module.hidden_size),)
    if draft.shape(sources) != (int(module.input_size),):
        found = f"gets shape {draft.shape(sources)}, takes ({int(module.input_size)},)"
        raise refuse(name, module, found, "flatten its input first")
    into, back = f"{name}.input_weights", f"{name}.recurrent_weights"
    draft.add(Layer(into, "linear", sources, width, {"weight": array(module.input_weights), "bias": None}))
    made = neuron(draft, name, module, (into, back))
    draft.add(Layer(back, "linear", (name,), width, {"weight": array(module.recurrent_weights), "bias": None}))
    return made


def _rule(draft: Drafter, every_step: bool, *states: str, fires: bool = True) -> Rule:
    axes = ALL_STEPS if every_step else ONE_STEP
    given = tuple(OUTPUT if state == "z" or (state == "v" and not fires) else state for state in states)
    return Rule(draft, lambda module: axes, neuron=fires, states=states, given=given)


NEURONS: dict[type, Rule] = {
    lif.LIFCell: _rule(neuron, False, "v", "i"),
    lif.LIF: _rule(neuron, True, "v", "i"),
    lif.LIFRecurrentCell: _rule(recurrent, False, "z", "v", "i"),
    lif.LIFRecurrent: _rule(recurrent, True, "z", "v", "i"),
    lif_box.LIFBoxCell: _rule(neuron, False, "v"),
    leaky_integrator.LICell: _rule(neuron, False, "v", "i", fires=False),
    leaky_integrator.LI: _rule(neuron, True, "v", "i", fires=False),
    leaky_integrator_box.LIBoxCell: _rule(neuron, False, "v", fires=False),
}
BASES = (snn.SNNCell, snn.SNN, snn.SNNRecurrentCell, snn.SNNRecurrent)


def reset(network: nn.Module) -> None:
    """Norse's modules keep no state: it is handed in and returned."""


SUPPORTED = "LIFCell, LIF, LIFBoxCell, LICell, LI, LIBoxCell, LIFRecurrentCell, LIFRecurrent"
FRAMEWORK = Framework(NEURONS, BASES, SUPPORTED, reset)
