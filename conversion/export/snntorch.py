"""Rules of snnTorch's neurons: Leaky, Synaptic, RLeaky, RSynaptic, Lapicque (snnTorch 1.0, snntorch/_neurons/).

Each is one step: `mem = beta mem + x`, with a current before it in the synaptic ones, and fires at `mem > threshold`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import snntorch
import torch
from neurotarget.conversion.export.axes import Axes
from neurotarget.conversion.export.draft import Draft, Layer, array
from neurotarget.conversion.export.follow import OUTPUT
from neurotarget.conversion.export.frameworks import Framework
from neurotarget.conversion.export.layers import ONE_STEP, Drafter, Rule, Sources, convolution, fires_at, linear, refuse
from snntorch import SpikingNeuron
from torch import nn

RESETS = {"_base_sub": "subtract", "_base_zero": "zero", "_base_int": "none"}
# What is left of a potential above twice the threshold raises the threshold at snnTorch's next step; no file says that.
AT_ONCE = (
    "layer {}: reset_delay=False is written as a subtraction at once, which equals snnTorch's as long as no potential "
    "exceeds twice its threshold, as here"
)


def takes(module: Any) -> tuple[Axes, ...]:
    return ONE_STEP


def leak(module: Any) -> dict[str, np.ndarray]:
    """`mem = beta mem + x`, beta clamped to [0, 1]: tau = 1 / (1 - beta) steps. Where beta is 1 nothing is lost."""
    return {"lost": 1 - array(module.beta).clip(0, 1), "gain": np.ones(())}


def circuit(module: snntorch.Lapicque) -> dict[str, np.ndarray]:
    """`mem = (1 - dt / (R C)) mem + dt / C x`, snntorch/_neurons/lapicque.py; beta only gives R or C."""
    lost = array(module.time_step) / (array(module.R) * array(module.C))
    return {"lost": lost, "gain": array(module.time_step) / array(module.C)}


def neuron(draft: Draft, name: str, module: Any, sources: Sources, recurrent: bool = False) -> Sources:
    """Adds the neuron, of kind (cuba_)lif, (cuba_)li or if; without a reset a Threshold behind its potential fires."""
    _refuse(name, module)
    shape, found = draft.shape(sources), circuit(module) if isinstance(module, snntorch.Lapicque) else leak(module)
    if recurrent:
        sources = (*sources, f"{name}.recurrent")
    lost, current, parameters = found["lost"], hasattr(module, "alpha"), {"gain": found["gain"], "decay_input": False}
    if (lost != 0).all():
        parameters["tau"] = 1 / lost
    elif (lost != 0).any() or current:
        raise refuse(name, module, "a beta of 1 among others, or with alpha", "use a value below 1 for each neuron")
    if current:
        alpha = array(module.alpha).clip(0, 1)
        if (alpha == 1).any():
            raise refuse(name, module, "alpha is 1: its current never decays", "use a value below 1")
        parameters["tau_syn"] = 1 / (1 - alpha)
    how, theta = _reset(name, module), array(module.threshold)
    read = draft.potentials.get(name)
    if read not in (None, "mem"):
        raise refuse(name, module, f"its state {read} is the output", "return its spikes or its mem")
    if read and how != "none":
        raise refuse(
            name, module, f"its mem is the output, and it resets ({how})", 'build it with reset_mechanism="none"'
        )
    prefix, leaky = "cuba_" if current else "", "tau" in parameters
    if how == "none":
        kind = f"{prefix}li" if leaky else "integrator"
        if read:
            return draft.add(Layer(name, kind, sources, shape, parameters))
        potential = draft.add(Layer(f"{name}.mem", kind, sources, shape, parameters))
        return draft.add(Layer(name, "threshold", potential, shape, {"threshold": theta}))
    parameters |= {"theta": theta, "v_reset": 0.0, "strict": True}
    if how != "zero":
        parameters["reset"] = how
    if how == "subtract_at_once":
        if module.exceeded:
            said = "reset_delay=False, and a potential is above its threshold also after that was taken off"
            raise refuse(name, module, said, "leave reset_delay=True, or train with smaller weights")
        draft.notes.append(AT_ONCE.format(name))
    return draft.add(Layer(name, f"{prefix}lif" if leaky else "if", sources, shape, parameters))


def recurrent(draft: Draft, name: str, module: Any, sources: Sources) -> Sources:
    """The neuron, and back to it, one step later, through its `recurrent`: a matrix, a convolution or one factor each.

    Its bias acts from the first step on: fold_loop_bias moves it out of the loop.
    """
    made = neuron(draft, name, module, sources, recurrent=True)
    back, path = module.recurrent, f"{name}.recurrent"
    if isinstance(back, nn.Linear):
        linear(draft, path, back, (name,))
    elif isinstance(back, nn.Conv2d):
        convolution(draft, path, back, (name,))
    else:
        shape = draft.layers[name].shape
        draft.add(Layer(path, "scale", (name,), shape, {"weight": np.broadcast_to(array(back.V), shape)}))
    return made


def _reset(name: str, module: Any) -> str:
    """How it resets: zero, subtract (a step later, after the leak), subtract_at_once, none."""
    how = RESETS[module.state_function.__name__]
    if how != module.reset_mechanism:
        said = f"reset_mechanism was {how!r} when it was built and is {module.reset_mechanism!r} now"
        raise refuse(name, module, said, "build it with the one that is meant")
    if how == "none":
        return how
    if (array(module.threshold) <= 0).any():
        raise refuse(name, module, "a threshold that is not positive", "use a positive one")
    at_once = not getattr(module, "reset_delay", True)
    if at_once and isinstance(module, snntorch.RSynaptic):
        raise refuse(name, module, "reset_delay=False, which snnTorch 1.0 does not compute there", "leave it True")
    if how == "zero" and not at_once and not isinstance(module, snntorch.Leaky):
        remedy = 'use reset_mechanism="subtract"'
        if isinstance(module, (snntorch.Synaptic, snntorch.RLeaky)):
            remedy += " or reset_delay=False"
        said = 'reset_mechanism="zero" sets the step after a spike to zero, the input of that step included'
        raise refuse(name, module, said, remedy)
    return "subtract_at_once" if at_once and how == "subtract" else how


def _refuse(name: str, module: Any) -> None:
    """What changes the equations above."""
    if module.inhibition:
        raise refuse(name, module, "inhibition=True lets one neuron of a layer fire at most", "build it without")
    if module.state_quant:
        said = "state_quant rounds its potential in its own way"
        raise refuse(name, module, said, "build it without; conversion.quantize writes integers")
    if (array(module.graded_spikes_factor) != 1).any():
        said = f"graded_spikes_factor {array(module.graded_spikes_factor)}: its spikes are not 0 and 1"
        raise refuse(name, module, said, "use 1, and multiply the weights that read it")
    if fires_at(module.spike_grad) != ">":
        raise refuse(name, module, "its spike_grad is no step at mem > threshold", "use one of snntorch.surrogate")


def reset(network: nn.Module) -> None:
    """States of no shape: a neuron makes zeros of the shape of its first input."""
    for module in network.modules():
        if isinstance(module, SpikingNeuron):
            for state in ("spk", "syn", "mem"):
                if isinstance(getattr(module, state, None), torch.Tensor):
                    setattr(module, state, torch.zeros(0, dtype=torch.float64))


@contextmanager
def followed_in(network: nn.Module) -> Iterator[None]:
    """Spikes are float32 in snnTorch, which no layer in double precision takes: here they are what the potential is.

    And `snntorch.utils.reset`, which resets all neurons of the process, finds this network's alone.
    """
    before = SpikingNeuron.instances
    SpikingNeuron.instances = [module for module in network.modules() if isinstance(module, SpikingNeuron)]
    for module in SpikingNeuron.instances:
        module.spike_grad = partial(_fire, module.spike_grad)
        module.exceeded, module.mem_reset = False, partial(_left_above, module, module.mem_reset)
    try:
        yield
    finally:
        SpikingNeuron.instances = before


def _fire(spike_grad: Callable[[torch.Tensor], torch.Tensor], mem_shift: torch.Tensor) -> torch.Tensor:
    return spike_grad(mem_shift).to(mem_shift.dtype)


def _left_above(module: Any, mem_reset: Callable[[torch.Tensor], torch.Tensor], mem: torch.Tensor) -> torch.Tensor:
    """Notes whether a potential of the step before is above the threshold, its own reset included."""
    left = mem_reset(mem)
    module.exceeded = module.exceeded or bool(left.any())
    return left


def _rule(draft: Drafter, *states: str, looped: bool = False) -> Rule:
    return Rule(draft, takes, neuron=True, states=states, given=((OUTPUT,) if looped else ()) + states)


NEURONS: dict[type, Rule] = {
    snntorch.Leaky: _rule(neuron, "mem"),
    snntorch.Lapicque: _rule(neuron, "mem"),
    snntorch.Synaptic: _rule(neuron, "syn", "mem"),
    snntorch.RLeaky: _rule(recurrent, "mem", looped=True),
    snntorch.RSynaptic: _rule(recurrent, "syn", "mem", looped=True),
}
FRAMEWORK = Framework(NEURONS, (SpikingNeuron,), "Leaky, Synaptic, RLeaky, RSynaptic, Lapicque", reset, followed_in)
