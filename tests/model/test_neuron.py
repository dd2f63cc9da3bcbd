"""The compiled LIF against SpikingJelly's own implementation, in double precision."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from neurotarget.model.networks.neuron import FusedLIFNode, FusedPLIFNode
from spikingjelly.activation_based import functional, neuron, surrogate


def both(tau=2.0, theta=1.0, reset=0.0, alpha=5.0):
    arguments = dict(  # noqa: C408
        tau=tau,
        decay_input=False,
        v_threshold=theta,
        v_reset=reset,
        surrogate_function=surrogate.ATan(alpha=alpha),
        detach_reset=True,
        step_mode="m",
    )
    return FusedLIFNode(**arguments), neuron.LIFNode(**arguments)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    tau=st.sampled_from([2.0, 1.5, 4.0]),
    theta=st.sampled_from([1.0, 0.7]),
    shape=st.tuples(st.integers(1, 12), st.integers(1, 3), st.integers(1, 300)),
)
def test_spikes_and_gradients_equal_spikingjelly(seed, tau, theta, shape):
    torch.manual_seed(seed)
    x = torch.randn(*shape, dtype=torch.float64) + 0.3
    weight = torch.randn(*shape, dtype=torch.float64)
    results = []
    for node in both(tau, theta):
        own = x.clone().requires_grad_()
        spikes = node(own)
        (spikes * weight).sum().backward()
        results.append((spikes.detach(), own.grad, node.v.detach()))
    fused, reference = results
    assert torch.equal(fused[0], reference[0])
    torch.testing.assert_close(fused[1], reference[1], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(fused[2], reference[2], rtol=1e-12, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    tau=st.sampled_from([2.0, 1.2, 5.0]),
    reset=st.sampled_from([0.0, -0.3]),
    shape=st.tuples(st.integers(1, 12), st.integers(1, 3), st.integers(1, 40)),
)
def test_a_learnt_time_constant_and_its_gradient_equal_spikingjelly(seed, tau, reset, shape):
    torch.manual_seed(seed)
    x, weight = torch.randn(*shape, dtype=torch.float64) + 0.3, torch.randn(*shape, dtype=torch.float64)
    found = []
    for kind in (FusedPLIFNode, neuron.ParametricLIFNode):
        node = kind(
            init_tau=tau,
            decay_input=False,
            v_reset=reset,
            surrogate_function=surrogate.ATan(alpha=5.0),
            detach_reset=True,
            step_mode="m",
        ).double()
        assert not isinstance(node, FusedPLIFNode) or node.compiled(x)
        own = x.clone().requires_grad_()
        spikes = node(own)
        (spikes * weight).sum().backward()
        found.append((spikes.detach(), own.grad, node.w.grad, node.v.detach()))
    for mine, expected in zip(*found, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-11, atol=1e-11)


def test_the_gradient_of_a_time_constant_by_hand():
    """h[1] = x[0] (1 - sigmoid(w)) + x[1]: no spike at step 0, so that dh[1]/dw = -x[0] sigmoid(w) (1 - sigmoid(w))."""
    node = FusedPLIFNode(
        init_tau=4.0, decay_input=False, surrogate_function=surrogate.ATan(alpha=5.0), detach_reset=True, step_mode="m"
    ).double()
    spikes = node(torch.tensor([0.8, 0.3], dtype=torch.float64)[:, None, None])
    spikes[1].sum().backward()
    share = 1 / 4.0
    charged = 0.8 * (1 - share) + 0.3
    slope = 2.5 / (1 + (math.pi / 2 * 5.0 * (charged - 1)) ** 2)
    assert spikes.flatten().tolist() == [0, 0]
    assert node.w.grad.item() == pytest.approx(-slope * 0.8 * share * (1 - share), rel=1e-6)


def test_hand_computed_spikes():
    node, _ = both()
    # v: 0.6, 0.9 (0.3 + 0.6), 1.05 -> fires and resets, 0.6
    spikes = node(torch.full((4, 1, 1), 0.6, dtype=torch.float64))
    assert spikes.flatten().tolist() == [0, 0, 1, 0]
    assert node.v.item() == pytest.approx(0.6)


def test_fires_exactly_at_the_threshold():
    node, _ = both()
    assert node(torch.ones(1, 1, 1)).item() == 1


def test_state_lasts_between_calls_until_it_is_reset():
    node, reference = both()
    x = torch.full((2, 1, 3), 0.6, dtype=torch.float64)
    for each in (node, reference):
        each(x)
    assert torch.equal(node(x), reference(x))
    functional.reset_net(node)
    assert node(x).sum() == 0


def test_falls_back_to_spikingjelly_for_another_surrogate():
    node = FusedLIFNode(
        tau=2.0, decay_input=False, surrogate_function=surrogate.Sigmoid(), detach_reset=True, step_mode="m"
    )
    x = torch.randn(5, 2, 4, requires_grad=True)
    node(x).sum().backward()
    assert x.grad is not None and bool((x.grad != 0).any())


def test_no_gradient_is_kept_in_evaluation():
    node, _ = both()
    with torch.no_grad():
        spikes = node(torch.randn(5, 2, 4))
    assert not spikes.requires_grad
