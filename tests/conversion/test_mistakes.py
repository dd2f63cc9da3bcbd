"""Ten mistakes with one's own network: each is converted rightly, or answered in one sentence that says what to do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from neurotarget.conversion.to_nir import check, to_nir
from neurotarget.sim.graph import load
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import neurotarget
from neurotarget.errors import UserError
from tests.torch_networks import lif, lively

FRAMES = np.random.default_rng(0).poisson(1.0, (3, 10, 4)).astype(np.float64)


def sentence(network: nn.Module, frames: np.ndarray = FRAMES) -> str:
    """What the conversion is refused with: one line."""
    with pytest.raises(UserError) as refused:
        neurotarget.export(network, frames, "never.nir")
    assert "\n" not in str(refused.value)
    return str(refused.value)


def assert_right(network: nn.Module, spikes: int = 10) -> None:
    parity = check(network, load(to_nir(network, FRAMES.shape[2:])), FRAMES)
    assert parity.holds and parity.mismatched == 0 and parity.spikes >= spikes


def small(step_mode: str = "s", **options: float) -> nn.Sequential:
    torch.manual_seed(0)
    network = nn.Sequential(layer.Linear(4, 8), layer.BatchNorm1d(8), neuron.LIFNode(**options), layer.Linear(8, 2))
    functional.set_step_mode(network, step_mode)
    return lively(network)


class Body(nn.Module):
    """One linear layer, one neuron, and a forward pass that is the mistake."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.lif, self.out = nn.Linear(4, 4), neuron.LIFNode(v_threshold=0.2), nn.Linear(4, 2)


# ---- 1. frames of another shape --------------------------------------------------------------------------------------


def test_a_wrong_shape_is_said_with_the_layer_that_refuses_it():
    words = sentence(small(), FRAMES[..., :3])
    assert "does not take frames [3, 10, 3]" in words and "here [3], the shape that its first layer takes" in words
    assert "layer 0" in words


# ---- 2. a forgotten reset --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_states_of_the_last_run_do_not_reach_the_file(step_mode):
    network, fresh = small(step_mode), small(step_mode)
    x = torch.rand(10, 7, 4) * 3  # another number of samples, too
    for frame in x if step_mode == "s" else [x]:
        network(frame)
    assert network[2].v.any()
    before = network[2].v.clone()
    assert_right(network)
    assert torch.equal(network[2].v, before)
    left, right = (to_nir(one, (4,)) for one in (network, fresh))
    assert all(np.array_equal(left.nodes["0"].weight, g.nodes["0"].weight) for g in (left, right))


def test_a_reset_between_steps_is_refused():
    class Resets(Body):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            functional.reset_net(self)
            return self.lif(self.fc(x))

    assert "LIFNode is reset, or its v changed, between steps; reset it between samples" in sentence(Resets())


# ---- 3. time first ---------------------------------------------------------------------------------------------------


def test_frames_with_the_steps_first_are_noticed_where_labels_or_lengths_tell():
    with pytest.raises(UserError, match="swap its first two axes"):
        neurotarget.export(small("m"), FRAMES.swapaxes(0, 1), "never.nir", lengths=np.full(3, 10))


# ---- 4. training mode ------------------------------------------------------------------------------------------------


def test_a_network_in_training_is_converted_as_in_evaluation_and_stays_in_training():
    network = small().train()
    network.insert(1, nn.Dropout(0.5))
    assert_right(network)
    assert network.training and all(module.training for module in network.modules())
    assert_right(network.eval())


# ---- 5. another device -----------------------------------------------------------------------------------------------


def test_a_tensor_on_a_device_of_its_own_is_answered():
    class Elsewhere(Body):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.lif(self.fc(x) + torch.zeros(4, device="meta"))

    words = sentence(Elsewhere())
    assert "forward puts a tensor on a device of its own" in words and "device=x.device" in words


def test_a_forward_pass_that_moves_its_input_is_followed_where_it_is():
    class Moves(Body):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.lif(self.fc(x.to("cuda").float()))

    network = Moves()
    graph = load(to_nir(network, (4,)))
    assert check(network, graph, FRAMES).holds


# ---- 6. a spike function of one's own --------------------------------------------------------------------------------


class Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def test_a_custom_autograd_function_is_answered():
    class Custom(Body):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(Spike.apply(self.fc(x) - 1))

    words = sentence(Custom())
    assert "layer out: its input comes from gt at layer network, test_mistakes.py line" in words
    assert "use a neuron of SpikingJelly, snnTorch or Norse in place of a spike function of one's own" in words


# ---- 7. what depends on the data -------------------------------------------------------------------------------------


def test_a_condition_on_the_data_is_answered():
    class Branches(Body):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.fc(x)
            return self.lif(x * 2 if x.mean() > 0 else x)

    words = sentence(Branches())
    assert "test_mistakes.py line" in words and "put the condition outside of forward" in words


# ---- 8. one layer in two places --------------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", ["fc", "lif"])
def test_a_layer_used_twice_is_answered(shared):
    class Shares(Body):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (
                self.other(self.fc(self.lif(self.fc(x))))
                if shared == "fc"
                else self.lif(self.fc2(self.lif(self.fc(x))))
            )

    network = Shares()
    network.other, network.fc2 = lif(), nn.Linear(4, 4)
    functional.set_step_mode(network, "s")
    words = sentence(network)
    assert f"({shared}) is used twice in a step" in words and "make a layer for each, copy.deepcopy" in words


# ---- 9. adding in place ----------------------------------------------------------------------------------------------


def test_adding_in_place_is_converted():
    class Adds(Body):
        def __init__(self) -> None:
            super().__init__()
            self.fc2, self.lif2 = nn.Linear(4, 4), neuron.LIFNode(v_threshold=0.2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.lif(self.fc(x))
            y = self.lif2(self.fc2(x))
            x += y
            y.add_(x)  # the first one's spikes and twice the second one's
            return self.out(y)

    assert_right(Adds())


def test_steps_assigned_into_a_tensor_are_converted():
    class Fills(Body):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            spikes = torch.zeros(*x.shape[:2], 4)
            for step in range(x.shape[0]):
                spikes[step] = self.lif(self.fc(x[step]))
            return self.out(spikes).sum(0)

    assert_right(Fills())

    class Skips(Body):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            spikes = torch.zeros(*x.shape[:2], 4)
            for step in range(0, x.shape[0], 2):
                spikes[step] = self.lif(self.fc(x[step]))
            return self.out(spikes)

    assert "collect them in a list for torch.stack" in sentence(Skips())


def test_a_sum_that_a_loop_adds_up_is_converted_if_it_has_all_steps():
    class Adds(Body):
        def __init__(self, first: int, parts: int) -> None:
            super().__init__()
            self.first, self.parts = first, parts

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            total = 0
            for step in range(self.first, x.shape[0]):
                spikes = self.lif(self.fc(x[step]))
                total = total + self.out(spikes)
            return total / self.parts

    assert_right(Adds(0, 1))
    assert "the sum over 8 of 10 steps (out); return all steps, torch.stack(outputs), or" in sentence(Adds(2, 1))
    assert "or their sum or mean" in sentence(Adds(0, 10))


def test_a_class_and_a_path_are_answered():
    with pytest.raises(UserError, match=r"the network is the class Body; make one: Body\(\)"):
        neurotarget.export(Body, FRAMES, "never.nir")
    with pytest.raises(UserError, match=r"found the text 'in.npz'; of a file give .* np.load\(FILE\)\['input'\]"):
        neurotarget.export(Body(), "in.npz", "never.nir")
    assert "found float64 (10, 4); of one sample give frames[None]" in sentence(Body(), FRAMES[0])


# ---- 10. a list of modules -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("listed", [list, nn.ModuleList])
def test_a_list_of_modules_is_answered_and_a_module_list_converted(listed):
    class Lists(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.blocks = listed([nn.Linear(4, 4), neuron.LIFNode(v_threshold=0.1), nn.Linear(4, 3), neuron.IFNode()])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for block in self.blocks:
                x = block(x)
            return x

    if listed is list:
        assert "layer network: blocks is a list of modules" in (words := sentence(Lists()))
        assert "make it an nn.ModuleList" in words
    else:
        assert_right(Lists())
