"""Sums by events against sums that are written out: the inputs in order, each product rounded before it is added."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from neurotarget.sim.reference import sums

from tests.sim.weighted import weighted

TYPES = [np.float32, np.float64, np.int64]


def drawn(seed, dtype, rows, inputs, outputs, density, bytes_in):
    random = np.random.default_rng(seed)
    x = random.integers(1, 4, (rows, inputs)) * (random.random((rows, inputs)) < density)
    if not bytes_in:
        x = x * random.normal(size=x.shape) if dtype != np.int64 else -x
    weight, bias = (100 * random.normal(size=shape) for shape in ((outputs, inputs), (outputs,)))
    return x.astype(np.uint8 if bytes_in else dtype), weight.astype(dtype), bias.astype(dtype)


def written_out(x, weight, bias):
    """One input after the other; numpy rounds each product and each sum."""
    total = np.zeros((len(x), len(weight)), weight.dtype)
    for i in range(x.shape[1]):
        total += x[:, i : i + 1].astype(weight.dtype) * weight[:, i]
    return total + bias


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    seed=st.integers(0, 2**31),
    dtype=st.sampled_from(TYPES),
    shape=st.tuples(st.integers(1, 5), st.integers(1, 150), st.integers(1, 150)),
    density=st.sampled_from([0.0, 0.1, 0.6, 1.0]),
    bytes_in=st.booleans(),
)
def test_sums_are_those_written_out_to_the_last_bit(seed, dtype, shape, density, bytes_in):
    x, weight, bias = drawn(seed, dtype, *shape, density, bytes_in)
    np.testing.assert_array_equal(weighted(x, weight, bias), written_out(x, weight, bias))
    np.testing.assert_array_equal(weighted(x, weight), written_out(x, weight, dtype(0)))


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    seed=st.integers(0, 2**31),
    dtype=st.sampled_from(TYPES),
    steps=st.integers(1, 7),
    taps=st.integers(1, 5),
    ahead=st.integers(0, 4),
    bytes_in=st.booleans(),
)
def test_sums_over_time_are_those_of_the_taps_side_by_side(seed, dtype, steps, taps, ahead, bytes_in):
    samples, inputs, outputs = 2, 6, 5
    ahead = min(ahead, taps - 1)
    x, weight, bias = drawn(seed, dtype, samples * steps, taps * inputs, outputs, 0.4, bytes_in)
    frames = np.ascontiguousarray(x[:, :inputs])
    padded = np.zeros((samples, steps + taps - 1, inputs), x.dtype)
    padded[:, taps - 1 - ahead : taps - 1 - ahead + steps] = frames.reshape(samples, steps, inputs)
    fields = np.concatenate([padded[:, tap : tap + steps] for tap in range(taps)], axis=-1)
    expected = written_out(fields.reshape(samples * steps, -1), weight, bias)
    out = np.empty_like(expected)
    tapped = weight.reshape(outputs, taps, inputs).transpose(0, 2, 1)
    sums.weighted_over_time(frames, steps, sums.by_input(tapped, bias), taps, ahead, out)
    np.testing.assert_array_equal(out, expected)
    # Depthwise: each neuron sees itself alone.
    kernel = weight[:, :taps].T[:, np.arange(inputs) % outputs].copy()
    alone = np.zeros((samples * steps, inputs), dtype)
    for tap in range(taps):
        alone += kernel[tap] * padded[:, tap : tap + steps].reshape(-1, inputs).astype(dtype)
    found = np.empty_like(alone)
    sums.weighted_alone(frames, steps, kernel, taps, ahead, found)
    np.testing.assert_array_equal(found, alone)


@pytest.mark.parametrize("dtype", TYPES)
def test_a_row_does_not_depend_on_its_neighbours(dtype):
    x, weight, bias = drawn(3, dtype, 200, 500, 30, 0.3, False)
    rows = np.concatenate([weighted(x[i : i + 1], weight, bias) for i in range(len(x))])
    np.testing.assert_array_equal(rows, weighted(x, weight, bias))
