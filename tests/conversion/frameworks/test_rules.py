"""What the rules of snnTorch, Norse and SpikingJelly read of a neuron, and what they refuse: by name, with a remedy."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
import snntorch
import torch
from neurotarget.conversion.export.draft import UnsupportedModule
from neurotarget.conversion.to_nir import check, to_nir
from neurotarget.sim import reference
from neurotarget.sim.graph import load
from snntorch import utils
from spikingjelly.activation_based import layer, neuron, surrogate
from torch import nn

from tests.conversion.frameworks.norse import norse, parameters

FRAMES = np.random.default_rng(0).poisson(1.0, (2, 12, 4)).astype(np.float64)


def after_linear(made: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), made)


def one(**options: object) -> nn.Module:
    return after_linear(snntorch.Leaky(0.9, init_hidden=True, **options))


class Reads(nn.Module):
    """Returns what `read` takes of what its neuron gives."""

    def __init__(self, made: nn.Module, read: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.lif, self.read = nn.Linear(4, 4), made, read

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.read(self.lif, self.lif(self.fc(x)))


def second(made: nn.Module, output: tuple[torch.Tensor, ...]) -> torch.Tensor:
    return output[1]


def changed_reset() -> nn.Module:
    network = one()
    network[1].reset_mechanism = "zero"
    return network


SNNTORCH = {
    "state_quant": (lambda: one(state_quant=lambda x: x.round()), r"state_quant.*build it without"),
    "graded": (lambda: one(graded_spikes_factor=2.0), "graded_spikes_factor 2.0.*multiply the weights that read it"),
    "spike_grad": (lambda: one(spike_grad=torch.sigmoid), "no step at mem > threshold; use one of snntorch.surrogate"),
    "reaches": (lambda: one(spike_grad=lambda x: (x >= 0).float()), "no step at mem > threshold"),
    "threshold": (lambda: one(threshold=-1.0), "threshold that is not positive"),
    "beta": (lambda: after_linear(snntorch.Leaky(torch.tensor([0.5, 1.0, 0.5, 0.5]))), "a beta of 1 among others"),
    "alpha": (lambda: after_linear(snntorch.Synaptic(1.0, 0.5)), "alpha is 1: its current never decays"),
    "changed": (changed_reset, "reset_mechanism was 'subtract' when it was built and is 'zero' now"),
    "zero of Synaptic": (
        lambda: after_linear(snntorch.Synaptic(0.5, 0.5, reset_mechanism="zero")),
        r"the input of that step included; use reset_mechanism=\"subtract\" or reset_delay=False",
    ),
    "zero of Lapicque": (
        lambda: after_linear(snntorch.Lapicque(0.5, reset_mechanism="zero")),
        r"the input of that step included; use reset_mechanism=\"subtract\"$",
    ),
    "RSynaptic at once": (
        lambda: after_linear(snntorch.RSynaptic(0.5, 0.5, linear_features=4, reset_delay=False, init_hidden=True)),
        "leave it True|NoneType",  # snnTorch itself fails there without states
    ),
    "far above": (lambda: one(reset_delay=False, threshold=0.05), "leave reset_delay=True, or train with smaller"),
    "mem": (lambda: Reads(snntorch.Leaky(0.9), second), 'it resets .subtract.; build it with reset_mechanism="none"'),
    "syn": (
        lambda: Reads(snntorch.Synaptic(0.5, 0.5, reset_mechanism="none"), second),
        "its state syn is the output; return its spikes or its mem",
    ),
    "Alpha": (
        lambda: after_linear(snntorch.Alpha(0.9, 0.8)),
        "Alpha is a neuron of snntorch that cannot be converted; use one of Leaky, Synaptic, RLeaky",
    ),
}


@pytest.mark.parametrize("name", SNNTORCH)
def test_snntorch_neurons_of_other_equations_are_refused(name):
    build, words = SNNTORCH[name]
    with pytest.raises(UnsupportedModule, match=words):
        to_nir(build(), (4,))


def test_one_neuron_at_most_is_refused():
    with pytest.warns(UserWarning, match="unstable"):
        network = one(inhibition=True)
    with pytest.raises(UnsupportedModule, match=r"layer 1 .Leaky.: inhibition=True.*build it without"):
        to_nir(network, (4,))


def test_states_handed_back_in_another_order_are_refused():
    class Swaps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lif = snntorch.Synaptic(0.5, 0.5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            syn, mem, spikes = *self.lif.reset_mem(), []
            for step in range(x.shape[0]):
                spk, syn, mem = self.lif(x[step], mem, syn)
                spikes.append(spk)
            return torch.stack(spikes)

    with pytest.raises(UnsupportedModule, match="in the order in which it returned them"):
        to_nir(Swaps(), (4,))


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("how", ["subtract", "zero", "none"])
def test_snntorchs_resets_are_their_equations(how, at_once):
    """A loop over NumPy, from snntorch/_neurons/leaky.py: a third witness beside snnTorch and our simulator."""
    beta, theta = 0.75, 1.5
    weight, bias = torch.eye(4) * 0.5, torch.tensor([0.0, 0.25, 0.5, -0.25])
    network = nn.Sequential(
        nn.Linear(4, 4), snntorch.Leaky(beta, theta, init_hidden=True, reset_mechanism=how, reset_delay=not at_once)
    )
    with torch.no_grad():
        network[0].weight.copy_(weight)
        network[0].bias.copy_(bias)
    frames = np.minimum(FRAMES, 2.0)
    graph = load(to_nir(network, (4,)))
    spikes, mem = np.zeros_like(frames), np.zeros((len(frames), 4))
    for step in range(frames.shape[1]):
        fired = mem > theta
        mem = beta * mem * (1 - fired * (how == "zero")) + frames[:, step] * 0.5 + bias.numpy()
        mem -= theta * fired * (how == "subtract")
        spikes[:, step] = mem > theta
        if at_once and how != "none":
            left = spikes[:, step] - fired
            mem = mem - left * (theta if how == "subtract" else mem)
    assert 5 < spikes.sum() < spikes.size - 5
    np.testing.assert_array_equal(reference.run(graph, frames).spikes["1"], spikes)
    assert check(network, graph, frames).holds


def test_a_reset_of_all_neurons_of_the_process_reaches_the_followed_network_alone():
    class Shows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lif = snntorch.Leaky(0.9, init_hidden=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            utils.reset(self)
            return torch.stack([self.lif(x) for _ in range(5)])

    other, network = snntorch.Leaky(0.9, init_hidden=True), Shows()
    other(torch.ones(2, 4))
    instances, mem = snntorch.SpikingNeuron.instances, other.mem.clone()
    to_nir(network, (4,))
    assert snntorch.SpikingNeuron.instances is instances and other in instances
    assert torch.equal(other.mem, mem) and network.lif.mem.numel() == 0


def test_a_network_that_shows_one_frame_says_which_frames_it_takes():
    class Shows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lif = snntorch.Leaky(0.9, init_hidden=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            utils.reset(self)
            return torch.stack([self.lif(x) for _ in range(5)])

    network = Shows()
    graph = load(to_nir(network, (4,)))
    with pytest.raises(UnsupportedModule, match="shows one frame at each of its 5 steps; give frames of that"):
        check(network, graph, FRAMES)
    assert check(network, graph, np.repeat(FRAMES[:, :1], 5, axis=1)).holds


# ---- Norse -----------------------------------------------------------------------------------------------------------


def odd_reset(z: torch.Tensor, v: torch.Tensor, reset: torch.Tensor, th: torch.Tensor) -> torch.Tensor:
    return v - z


class Forgets(nn.Module):
    """Calls its cell without the state that it returned."""

    def __init__(self) -> None:
        super().__init__()
        self.lif = norse.LIFCell(parameters())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([self.lif(frame)[0] for frame in x])


NORSE = {
    "reset": (lambda: norse.LIFBoxCell(norse.LIFBoxParameters(reset_method=odd_reset)), "use Norse's reset_value or"),
    "dt": (lambda: norse.LIFCell(parameters(), dt=0.01), "a time constant shorter than dt; use a smaller dt"),
    "state": (
        lambda: Reads(norse.LIF(parameters()), lambda lif, out: out[1].v),
        "one step .v after the last step of lif. only",
    ),
    "stateless": (Forgets, "gets no state after its first step; hand the state that it returned back to it"),
    "other": (lambda: norse.IzhikevichCell(norse.tonic_spiking), "is a neuron of norse that cannot be converted"),
}


@pytest.mark.parametrize("name", NORSE)
def test_norse_neurons_of_other_equations_are_refused(name):
    build, words = NORSE[name]
    with pytest.raises(UnsupportedModule, match=words):
        to_nir(build(), (4,))


def test_norses_current_is_read_in_its_own_step():
    """A loop over NumPy, from norse/torch/functional/lif.py: nothing is late, so no Delay is written."""
    network = norse.SequentialState(nn.Linear(4, 4, bias=False), norse.LIF(parameters(0.3)))
    with torch.no_grad():
        network[0].weight.copy_(torch.eye(4))
    graph = load(to_nir(network, (4,)))
    assert [node.kind for node in graph.nodes.values()] == ["input", "affine", "cuba_lif", "output"]
    p = network[1].p
    a, b = (float(0.001 * rate) for rate in (p.tau_mem_inv, p.tau_syn_inv))
    v, i = np.zeros((2, 4)), np.zeros((2, 4))
    for step in range(FRAMES.shape[1]):
        jumped = i + FRAMES[:, step]
        v = v + a * (jumped - v)
        i = jumped - b * jumped
        spikes = v > float(p.v_th)
        np.testing.assert_array_equal(reference.run(graph, FRAMES[:, : step + 1]).spikes["1"][:, step], spikes)
        v = np.where(spikes, 0, v)


# ---- SpikingJelly ----------------------------------------------------------------------------------------------------


SPIKINGJELLY = {
    "KLIF": (lambda: after_linear(neuron.KLIFNode()), "KLIFNode is a neuron of spikingjelly that cannot be converted"),
    "PSN": (lambda: after_linear(neuron.PSN(T=6)), "PSN is a neuron of spikingjelly that cannot be converted; use one"),
    "not spiking": (
        lambda: after_linear(neuron.LIFNode(surrogate_function=surrogate.ATan(spiking=False))),
        r"layer 1 .LIFNode.: its surrogate_function is no step; build that with spiking=True",
    ),
    "potential": (
        lambda: Reads(neuron.LIFNode(), lambda lif, out: lif.v),
        "its potential v is the output, and it resets; give it v_threshold=float.'inf'.",
    ),
    "largest": (
        lambda: nn.Sequential(layer.Linear(4, 4, step_mode="m"), neuron.NonSpikingIFNode(decode="max-mem")),
        "decode='max-mem'; use decode='mean-mem' or None",
    ),
    "LSTM": (lambda: nn.Sequential(nn.LSTM(4, 4)), "layer 0: LSTM is no spiking layer; use neurons"),
}


@pytest.mark.parametrize("name", SPIKINGJELLY)
def test_what_spikingjelly_has_beyond_the_rules_is_refused(name):
    build, words = SPIKINGJELLY[name]
    with pytest.raises(UnsupportedModule, match=words) as refused:
        to_nir(build(), (4,))
    assert not re.search(r"conversion\.|Rule|<class", str(refused.value))


def test_enlarging_a_map_is_refused_where_it_stands():
    with pytest.raises(
        UnsupportedModule, match=r"interpolate at layer 1, which has no conversion: NIR has no node that"
    ):
        to_nir(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Upsample(scale_factor=2)), (1, 5, 5))


@pytest.mark.parametrize("decay_input", [False, True])
def test_the_potential_of_a_neuron_that_never_fires_is_a_read_out(decay_input):
    made = neuron.LIFNode(tau=3.0, decay_input=decay_input, v_threshold=float("inf"))
    network = Reads(made, lambda lif, out: lif.v)
    graph = load(to_nir(network, (4,)))
    assert [node.kind for node in graph.nodes.values()] == ["input", "affine", "li", "output"]
    parity = check(network, graph, FRAMES)
    assert parity.output_difference < 1e-9


def test_potentials_one_by_one_are_followed():
    network = nn.Sequential(layer.Linear(4, 4, step_mode="m"), neuron.NonSpikingLIFNode(tau=3.0))
    assert check(network, load(to_nir(network, (4,))), FRAMES).output_difference < 1e-9


def test_a_delay_is_a_delay():
    torch.manual_seed(0)
    network = nn.Sequential(
        layer.Linear(4, 4, step_mode="m"), layer.Delay(2, step_mode="m"), neuron.IFNode(step_mode="m")
    )
    graph = load(to_nir(network, (4,)))
    assert graph.of_kind("delay") and check(network, graph, FRAMES).holds
