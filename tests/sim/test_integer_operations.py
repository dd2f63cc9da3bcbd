"""Operations in integers against plain loops."""

import numpy as np
import pytest
from neurotarget.sim.graph.node import Node
from neurotarget.sim.reference import integer, integer_kernels


def apply(kind, parameters, fixed, x, roles=(), mask=None):
    features = (x[roles[0]] if roles else x).shape[2:]
    node = Node("node", kind, ("a",), parameters, dict.fromkeys(roles, ("a",)), features, features)
    call = integer.Call(node, integer.integer_parameters(node, fixed), integer.INTEGER, {}, mask, {})
    return integer.INTEGER_OPERATIONS[kind](call, x)


def test_rotary_is_a_chain_of_floored_turns():
    one = 1 << 22
    angle = np.array([1.0, 0.1, 3e-4])
    cos, sin = np.floor(one * np.cos(angle)).astype(int), np.rint(one * np.sin(angle)).astype(int)
    x = np.random.default_rng(0).integers(0, 3, (2, 30, 6))
    out = apply("rotary", {"angle": angle, "scale": 1.0}, {"cos": cos, "sin": sin, "fraction_bits": 12}, x)
    for pair in range(3):
        c, s = one, 0
        for step in range(30):
            for sample in range(2):
                even, odd = (int(v) for v in x[sample, step, 2 * pair : 2 * pair + 2])
                assert out[sample, step, 2 * pair] == (even * c - odd * s) >> 10
                assert out[sample, step, 2 * pair + 1] == (even * s + odd * c) >> 10
            c, s = (
                (c * int(cos[pair]) - s * int(sin[pair])) >> 22,
                (c * int(sin[pair]) + s * int(cos[pair])) >> 22,
            )


def test_the_oscillator_stays_true_over_a_thousand_steps():
    angle = 10000.0 ** (-np.arange(8) / 8)
    one = 1 << 22
    c, s = np.empty((1000, 8), np.int64), np.empty((1000, 8), np.int64)
    cos, sin = np.floor(one * np.cos(angle)).astype(np.int64), np.rint(one * np.sin(angle)).astype(np.int64)
    integer_kernels.oscillate(cos, sin, 22, c, s)
    turn = np.arange(1000)[:, None] * angle
    assert np.abs(c / one - np.cos(turn)).max() < 1e-3
    assert np.abs(s / one - np.sin(turn)).max() < 1e-3
    assert (c[1:] < one).all()  # a pair that turned, however little, is below 1


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("exponent", [0, 3, -2])
def test_attention_counts_coincidences(causal, exponent):
    random = np.random.default_rng(0)
    q, k, v = ((random.random((2, 7, 6)) < 0.5).astype(np.uint8) for _ in range(3))
    parameters = {"heads": 2, "scale": 1.0, "causal": causal}
    x = {"query": q, "key": k, "value": v}
    out = apply("attention", parameters, {"weight_exp": exponent}, x, ("query", "key", "value"))
    for sample, t, n in np.ndindex(2, 7, 6):
        head = n // 3
        total = sum(
            int(q[sample, t, 3 * head + i]) * int(k[sample, s, 3 * head + i]) * int(v[sample, s, n])
            for s in range(t + 1 if causal else 7)
            for i in range(3)
        )
        assert out[sample, t, n] == (total << exponent if exponent >= 0 else total >> -exponent)


def test_gate_passes_currents_and_synapses_add_their_bias_after_the_shift():
    x = np.array([[[3, 5]]])
    p = {"weight": np.array([[2.0, -4.0], [6.0, 2.0]]), "bias": np.array([7.0, -1.0])}
    assert apply("affine", p, {"weight_exp": -2}, x).tolist() == [[[(6 - 20 >> 2) + 7, (18 + 10 >> 2) - 1]]]
    current = np.array([[[-9, 4]]])
    out = apply("gate", {}, {}, {"current": current, "gate": np.array([[[1, 0]]])}, ("current", "gate"))
    assert out.tolist() == [[[-9, 0]]]


@pytest.mark.parametrize("depthwise", [False, True])
def test_convolution_over_time_sees_nothing_outside_the_window(depthwise):
    random = np.random.default_rng(1)
    weight = 2 * random.integers(-20, 21, (3, 3) if depthwise else (4, 3, 3))
    x = random.integers(0, 4, (2, 9, 3))
    mask = np.arange(9) < np.array([[9], [6]])
    kind = "depthwise_conv" if depthwise else "temporal_conv"
    out = apply(kind, {"weight": weight.astype(float), "bias": None, "look_ahead": 1}, {"weight_exp": 0}, x, mask=mask)
    seen = x * mask[..., None]
    for sample, t, n in np.ndindex(*out.shape):
        total = 0
        for i in range(3):
            s = t + 1 - 2 + i
            if 0 <= s < 9:
                total += weight[n, i] * seen[sample, s, n] if depthwise else int(weight[n, :, i] @ seen[sample, s])
        assert out[sample, t, n] == total


def test_convolution_in_space_with_groups():
    random = np.random.default_rng(2)
    weight = 2 * random.integers(-20, 21, (4, 2, 3, 3))
    x = random.integers(-3, 4, (1, 2, 4, 6, 5))
    p = {"weight": weight.astype(float), "bias": np.arange(4.0), "groups": 2, "stride": (2, 1), "padding": (1, 0)}
    out = apply("conv2d", p | {"dilation": (1, 1)}, {"weight_exp": -1}, x)
    padded = np.pad(x, [(0, 0)] * 3 + [(1, 1), (0, 0)])
    assert out.shape == (1, 2, 4, 3, 3)
    for _, t, n, i, j in np.ndindex(*out.shape):
        channels = slice(0, 2) if n < 2 else slice(2, 4)
        field = padded[0, t, channels, 2 * i : 2 * i + 3, j : j + 3]
        assert out[0, t, n, i, j] == (int((field * weight[n]).sum()) >> 1) + n


def test_graded_input_rounds_and_clips():
    fixed = {"scale": 0.5, "minimum": -128, "maximum": 127}
    x = np.array([[[0.2, 0.25, 0.75, -0.26, 1e9, -1e9]]], np.float32)
    assert apply("input", {"shape": (6,)}, fixed, x).tolist() == [[[0, 0, 2, -1, 127, -128]]]
