"""Rules of SpikingJelly's neurons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from neurotarget.conversion.export.axes import Axes
from neurotarget.conversion.export.draft import Draft, Layer, array
from neurotarget.conversion.export.frameworks import Framework
from neurotarget.conversion.export.layers import ALL_STEPS, ONE_STEP, Drafter, Rule, Sources
from spikingjelly.activation_based import functional, neuron


def takes(module: Any) -> tuple[Axes, ...]:
    return ALL_STEPS if module.step_mode == "m" else ONE_STEP


def leaky(tau: Callable[[Any], float | None]) -> Drafter:
    """`v = v (1 - 1/tau) + x`, or x / tau where the input decays too; fires at `v >= v_threshold`.

    SpikingJelly 2.0, activation_based/neuron/lif.py. v starts at v_reset and leaks towards it; without v_reset it
    starts at zero and the threshold is taken off where it fires.
    """

    def rule(draft: Draft, name: str, module: Any, sources: Sources) -> Sources:
        constant = tau(module)
        soft = module.v_reset is None
        rest = 0.0 if soft else float(module.v_reset)
        parameters: dict[str, Any] = {"theta": float(module.v_threshold), "v_reset": rest, "v_leak": rest}
        if soft:
            parameters["reset"] = "subtract_at_once"
        elif rest:
            parameters["v_initial"] = rest
        kind = "if" if constant is None else "lif"
        if constant is not None:
            parameters |= {"tau": constant, "decay_input": bool(module.decay_input)}
        return draft.add(Layer(name, kind, sources, draft.shape(sources), parameters))

    return rule


LEAKY = Rule(leaky(lambda module: float(module.tau)), takes, neuron=True)
NEURONS: dict[type, Rule] = {
    neuron.IFNode: Rule(leaky(lambda module: None), takes, neuron=True),
    neuron.LIFNode: LEAKY,
    neuron.ParametricLIFNode: Rule(leaky(lambda module: float(1 / array(module.w.sigmoid()))), takes, neuron=True),
}
FRAMEWORK = Framework(NEURONS, (neuron.base_node.BaseNode,), "IFNode, LIFNode, ParametricLIFNode", functional.reset_net)
