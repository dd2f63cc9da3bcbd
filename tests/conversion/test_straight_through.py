"""The gradient of Lava's fixed-point neuron: by hand, and SpikingJelly's where nothing is rounded."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from neurotarget.conversion.tuning.straight_through import FixedPointNeuron
from neurotarget.sim.graph.node import Node
from neurotarget.sim.resets import RESETS
from spikingjelly.activation_based import neuron, surrogate

CUBA = Node("soma", "cuba_lif", ("x",), output_shape=(1,))


def gradients(current, vth, keep_u=0, keep_v=2048, alpha=2.0, node=CUBA, weights=None, reset="zero"):
    """Of the (weighted) sum of spikes or potentials, with respect to current [steps] and bias."""
    a = torch.tensor(current, dtype=torch.float64).reshape(1, -1, 1).requires_grad_()
    bias = torch.zeros(1, requires_grad=True)
    parameters = {"keep_u": keep_u, "keep_v": keep_v, "threshold": vth << 6}
    parameters |= {"reset": RESETS.index(reset), "v_initial": np.zeros(1, np.int64)}
    out = FixedPointNeuron.apply(a, bias, node, parameters, alpha)
    (out * (1.0 if weights is None else torch.tensor(weights).reshape(1, -1, 1))).sum().backward()
    return out.detach().flatten().tolist(), a.grad.flatten().tolist(), float(bias.grad)


def test_two_steps_by_hand():
    # theta = 128; v = 64, then 32 + 128 = 160: distances -0.5 and 0.25 of theta; alpha 2: g'(x) = 1 / (1 + (pi x)^2).
    spikes, of_current, of_bias = gradients([1, 2], vth=2)
    last = 1 / (1 + (math.pi * 0.25) ** 2) / 128
    first = 1 / (1 + (math.pi * 0.5) ** 2) / 128 + 0.5 * last
    assert spikes == [0, 1]
    assert of_current == pytest.approx([64 * first, 64 * last], rel=1e-6)
    assert of_bias == pytest.approx(first + last, rel=1e-6)


def test_a_spike_cuts_the_past_off_in_v_but_not_in_u():
    # v = 192 fires; u = 96 + 64 = 160 is kept: v = 0 + 160 fires.
    spikes, of_current, _ = gradients([3, 1], vth=2, keep_u=2048)
    last = 1 / (1 + (math.pi * 0.25) ** 2) / 128
    first = 1 / (1 + (math.pi * 0.5) ** 2) / 128 + 0.5 * last  # by way of u
    assert spikes == [1, 1]
    assert of_current == pytest.approx([64 * first, 64 * last], rel=1e-6)


@pytest.mark.parametrize("reset", ["subtract", "subtract_at_once"])
def test_a_subtraction_cuts_nothing_off(reset):
    # theta = 128; v = 192 fires; then 96 - 128 + 128 = 96, or (192 - 128) / 2 + 128 = 160: a quarter of theta off
    spikes, of_current, _ = gradients([3, 2], vth=2, reset=reset)
    last = 1 / (1 + (math.pi * 0.25) ** 2) / 128
    first = 1 / (1 + (math.pi * 0.5) ** 2) / 128 + 0.5 * last
    assert spikes == [1, int(reset == "subtract_at_once")]
    assert of_current == pytest.approx([64 * first, 64 * last], rel=1e-6)


def test_a_potential_passes_on_what_the_decay_leaves():
    node = Node("readout", "li", ("x",), output_shape=(1,))
    potential, of_current, of_bias = gradients([1, 2, 0], vth=0, node=node, weights=[1.0, 10.0, 100.0])
    assert potential == [64, 160, 80]
    assert of_current == pytest.approx([64 * (1 + 5 + 25), 64 * (10 + 50), 64 * 100])
    assert of_bias == pytest.approx(31 + 60 + 100)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(-6, 6), min_size=2, max_size=8), st.integers(1, 7), st.booleans())
def test_the_gradient_is_spikingjellys_where_nothing_is_rounded(halves, vth, to_zero):
    """In v, currents are multiples of 2^16 and thresholds of 2^7, which halve seven times without a remainder.

    Currents then stay multiples of 2^9, and 2^7 (1 + less than 1) is none: no threshold is met, once subtracted or not.
    """
    vth = (vth << 10) + 2
    reset = "zero" if to_zero else "subtract_at_once"
    weights = np.linspace(0.5, 2.0, len(halves)).tolist()
    spikes, of_current, _ = gradients([h << 10 for h in halves], vth, alpha=5.0, weights=weights, reset=reset)
    lif = neuron.LIFNode(
        2.0,
        decay_input=False,
        v_threshold=1.0,
        v_reset=0.0 if to_zero else None,
        step_mode="m",
        detach_reset=True,
        surrogate_function=surrogate.ATan(alpha=5.0),
    )
    x = (torch.tensor(halves, dtype=torch.float64) * 2**10 / vth).requires_grad_()
    out = lif(x[:, None])
    (out[:, 0] * torch.tensor(weights)).sum().backward()
    assert out.flatten().tolist() == spikes
    np.testing.assert_allclose(of_current, x.grad.numpy() / vth, rtol=1e-5, atol=1e-12)
