"""Batch normalisation, LIF and dropout in one pass against the three modules of torch and SpikingJelly."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from neurotarget.model.networks.neuron import FusedLIFNode, normalised_spikes
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import nn


def modules(channels, alpha=5.0, tau=2.0, drop=0.0):
    arguments = dict(  # noqa: C408
        tau=tau,
        decay_input=False,
        v_threshold=1.0,
        v_reset=0.0,
        surrogate_function=surrogate.ATan(alpha=alpha),
        detach_reset=True,
        step_mode="m",
    )
    norm = layer.BatchNorm1d(channels, step_mode="m").double()
    nn.init.uniform_(norm.weight, 0.5, 2.0)
    nn.init.uniform_(norm.bias, -0.5, 1.0)
    dropout = layer.Dropout(drop, step_mode="m")
    return norm, FusedLIFNode(**arguments), neuron.LIFNode(**arguments), dropout


def gradients(function, norm, x, weight):
    own = x.clone().requires_grad_()
    out = function(own)
    (out * weight).sum().backward()
    return out.detach(), own.grad, norm.weight.grad, norm.bias.grad


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    tau=st.sampled_from([2.0, 1.5, 4.0]),
    shape=st.tuples(st.integers(1, 14), st.integers(2, 40), st.integers(1, 70)),
    drop=st.sampled_from([0.0, 0.3]),
)
def test_output_and_gradients_equal_torch_and_spikingjelly(seed, tau, shape, drop):
    torch.manual_seed(seed)
    norm, fused, stock, dropout = modules(shape[-1], tau=tau, drop=drop)
    other = copy.deepcopy(norm)
    x = 3 * torch.randn(shape, dtype=torch.float64) + 2
    weight = torch.randn(shape, dtype=torch.float64)
    torch.manual_seed(seed)
    ours = gradients(lambda own: normalised_spikes(norm, fused, dropout, own), norm, x, weight)
    torch.manual_seed(seed)
    theirs = gradients(lambda own: dropout(stock(other(own))), other, x, weight)
    for mine, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-9, atol=1e-9)
    for name, value in other.named_buffers():
        torch.testing.assert_close(norm.get_buffer(name), value, rtol=1e-12, atol=1e-12)


def test_single_precision_is_close_to_double_precision():
    torch.manual_seed(0)
    norm, fused, stock, dropout = modules(24)
    x = torch.randn(30, 8, 24) * 0.1 + 100  # far from zero: sums of squares would cancel
    single = copy.deepcopy(norm).float()
    normalised_spikes(single, fused, dropout, x)
    dropout(stock(norm(x.double())))
    torch.testing.assert_close(single.running_mean.double(), norm.running_mean, rtol=1e-5, atol=0)
    torch.testing.assert_close(single.running_var.double(), norm.running_var, rtol=1e-4, atol=0)


def test_evaluation_is_left_to_the_modules():
    norm, fused, stock, dropout = modules(5)
    for module in (norm, fused, stock, dropout):
        module.eval()
    x = torch.randn(9, 3, 5, dtype=torch.float64)
    assert torch.equal(normalised_spikes(norm, fused, dropout, x), stock(norm(x)))


def test_a_membrane_that_is_not_at_rest_goes_on():
    norm, fused, stock, dropout = modules(4)
    x = torch.rand(6, 3, 4, dtype=torch.float64)
    for node in (fused, stock):
        node(x)
    assert not fused.at_rest()
    assert torch.equal(normalised_spikes(norm, fused, dropout, x), stock(copy.deepcopy(norm)(x)))
    functional.reset_net(fused)
    assert fused.at_rest()


def test_one_sample_of_one_step_has_no_variance():
    norm, fused, _, dropout = modules(3)
    with pytest.raises(ValueError, match="more than 1 value"):
        normalised_spikes(norm, fused, dropout, torch.ones(1, 1, 3, dtype=torch.float64))
