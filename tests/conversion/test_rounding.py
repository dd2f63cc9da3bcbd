"""The rounding rules of weights, biases, decays and thresholds."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from neurotarget.conversion.fixed import rounding
from neurotarget.sim.reference import integer


@settings(deadline=None)
@given(st.lists(st.floats(-600, 600), min_size=1, max_size=30))
def test_rounded_weights_are_those_that_lava_keeps_in_any_part_of_the_matrix(values):
    weight = np.array(values)
    found = rounding.round_weights(weight)
    for part in (found.weight, found.weight[:1], found.weight[found.weight <= 0], found.weight[found.weight >= 0]):
        np.testing.assert_array_equal(integer.lava_weights(part), part)
    step = 2 if weight.min() < 0 < weight.max() else 1
    kept = np.abs(weight) <= rounding.largest_weight(weight)
    assert np.abs(found.weight - weight)[kept].max(initial=0) <= step / 2
    assert found.zeroed == np.sum((found.weight == 0) & (weight != 0))


def test_clipped_and_zeroed_weights_are_counted():
    found = rounding.round_weights(np.array([300.0, 254.9, -255.1, 0.6, -0.4, 0.0, 2.9]))
    assert found.weight.tolist() == [254, 254, -254, 0, 0, 0, 2]
    assert (found.clipped, found.zeroed) == (2, 2)  # 300 and -255.1, whose nearest even weight is -256
    assert rounding.round_weights(np.array([300.0, 254.6, 0.6])).weight.tolist() == [255, 255, 1]


def test_errors_are_spread_over_inputs_that_go_together(monkeypatch):
    random = np.random.default_rng(0)
    weight = random.normal(0, 20, (10, 30))
    alone = rounding.round_weights(weight)
    np.testing.assert_array_equal(
        rounding.round_weights(weight, rounding.error_spread(np.diag(random.uniform(1, 9, 30)))).weight, alone.weight
    )
    x = random.normal(0, 1, (500, 4)) @ random.normal(0, 1, (4, 30)) + random.normal(0, 0.1, (500, 30))
    spread = rounding.error_spread(x.T @ x)
    together = rounding.round_weights(weight, spread)
    np.testing.assert_array_equal(integer.lava_weights(together.weight), together.weight)
    errors = [np.mean((x @ (found.weight - weight).T) ** 2) for found in (together, alone)]
    assert errors[0] < 0.2 * errors[1]
    monkeypatch.setattr(rounding, "BLOCK", 7)
    np.testing.assert_array_equal(rounding.round_weights(weight, spread).weight, together.weight)
    positive = rounding.round_weights(np.abs(weight), spread).weight
    assert (
        positive.min() >= 0
        and positive.max() <= 255
        and rounding.round_weights(-np.abs(weight), spread).weight.max() <= 0
    )


@settings(deadline=None)
@given(st.lists(st.floats(-rounding.LARGEST_BIAS, rounding.LARGEST_BIAS), min_size=1, max_size=20))
def test_biases_are_off_by_half_a_step_of_their_exponent_at_most(values):
    value = np.array(values)
    mantissa, exponent = rounding.bias(value)
    assert np.abs(mantissa).max() <= 4095 and exponent.min() >= 0 and exponent.max() <= 7
    assert (np.abs(integer.lava_bias(mantissa, exponent) - value) <= 2.0**exponent / 2).all()
    assert (np.abs(mantissa[exponent > 0]) >= 2047).all()  # no exponent larger than needed


def test_decays_and_thresholds():
    assert [rounding.decay(np.full(3, lost)) for lost in (1.0, 0.5, 0.0, 1e-9)] == [4096, 2048, 0, 1]
    assert rounding.decay(np.array([0.25, 0.25 + 2 / 4096])) == 1025
    assert rounding.threshold(256.0, reaches=True) == 255 and rounding.threshold(256.0, reaches=False) == 256
    assert rounding.threshold(256.3, reaches=True) == 256 and rounding.threshold(256.3, reaches=False) == 256
