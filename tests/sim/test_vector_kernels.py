"""Kernels written in vectors against the same arithmetic written out, to the last bit, at every width."""

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from neurotarget.sim import reference
from neurotarget.sim.reference import engine, integer_kernels, kernels, sums

from tests.sim.golden import golden

SIZES = st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 150))  # samples, steps, neurons
SETTINGS = settings(deadline=None, max_examples=25, derandomize=True)


def stepped(current, constants, reset, v):
    """Spikes and v before the reset, numpy, one step after the other."""
    decay, gain, offset, threshold, v_reset, theta = constants
    spikes, potential = np.empty(current.shape, np.uint8), np.empty_like(current)
    for step in range(current.shape[1]):
        charged = v * decay + (gain * current[:, step] + offset)
        if reset == 1:
            charged = np.where(v > threshold, charged - theta, charged)
        fired = charged > threshold
        v = charged if reset == 1 else np.where(fired, v_reset if reset == 0 else charged - theta, charged)
        spikes[:, step], potential[:, step] = fired, charged
    return spikes, potential, v


@SETTINGS
@given(seed=st.integers(0, 2**31), dtype=st.sampled_from([np.float32, np.float64]), size=SIZES, reset=st.integers(0, 2))
def test_neurons_are_those_stepped_in_numpy(seed, dtype, size, reset):
    random = np.random.default_rng(seed)
    samples, _, neurons = size
    current, constants, v = (
        random.normal(size=shape).astype(dtype) for shape in (size, (6, neurons), (samples, neurons))
    )
    expected, potentials, last = stepped(current, constants, reset, v.copy())
    spikes, potential = np.empty(size, np.uint8), np.empty_like(current)
    assert kernels.lif(current, constants, reset, v, spikes, potential)
    for found, right in ((spikes, expected), (potential, potentials), (v, last)):
        np.testing.assert_array_equal(found, right)


@pytest.mark.parametrize("wild", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("place", [0, 64, 130])
def test_a_current_that_is_not_finite_is_found(wild, place):
    current = np.zeros((1, 3, 131), np.float32)
    constants, v, spikes = (
        np.ones((6, 131), np.float32),
        np.zeros((1, 131), np.float32),
        np.empty((1, 3, 131), np.uint8),
    )
    unobserved = np.empty((0, 0, 0), np.float32)
    assert kernels.lif(current, constants, 0, v, spikes, unobserved)
    current[0, 1, place] = wild
    assert not kernels.lif(current, constants, 0, v, spikes, unobserved)


@SETTINGS
@given(
    seed=st.integers(0, 2**31),
    size=SIZES,
    reset=st.integers(0, 2),
    keep=st.integers(1, 4096),
    threshold=st.integers(0, 2**17 - 1),
    largest=st.sampled_from([100, 10_000, integer_kernels.FAST_LIMIT - 1]),
)
def test_neurons_in_32_bits_are_lava_s_in_64(seed, size, reset, keep, threshold, largest):
    random = np.random.default_rng(seed)
    samples, _, neurons = size
    current = random.integers(-largest, largest, size, endpoint=True)
    bias = random.integers(-(2**19), 2**19, neurons)
    v = random.integers(-(2**23) + 1, 2**23, (samples, neurons))
    fast_v, u = v.astype(np.int32), np.zeros_like(v)
    spikes, expected, unused = np.empty(size, np.uint8), np.empty(size, np.uint8), np.empty((0, 0, 0), np.int64)
    fast_peaks, peaks = np.empty((samples, 2), np.int32), np.zeros((samples, 2), np.int64)
    neuron = (0, keep, bias, threshold << 6, True, reset, u, v, expected, unused, np.empty((0, 0, 0, 2), np.int64))
    integer_kernels.neuron(current, *neuron, peaks)
    given = keep, bias.astype(np.int32), threshold << 6, reset, fast_v, spikes, fast_peaks
    integer_kernels.fast(current.astype(np.int32), *given)
    np.testing.assert_array_equal(spikes, expected)
    np.testing.assert_array_equal(fast_v, v)
    np.testing.assert_array_equal(fast_peaks.astype(np.int64) << [6, 0], peaks)


@SETTINGS
@given(seed=st.integers(0, 2**31), heads=st.integers(1, 4), own=st.integers(1, 40), causal=st.booleans())
def test_coincidences_are_products_of_matrices(seed, heads, own, causal):
    random = np.random.default_rng(seed)
    samples, steps = 2, 5
    query, key, value = (random.poisson(0.4, (samples, steps, heads * own)).astype(np.uint8) for _ in range(3))
    out = np.empty(query.shape, np.float32)
    kernels.coincidences(query, key, value, heads, causal, out)
    q, k, v = (array.reshape(samples, steps, heads, own).astype(np.int64) for array in (query, key, value))
    seen = np.tril(np.ones((steps, steps), np.int64)) if causal else np.ones((steps, steps), np.int64)
    expected = np.einsum("bthi,bshi,ts,bshj->bthj", q, k, seen, v)
    np.testing.assert_array_equal(out, expected.reshape(out.shape))


def test_integers_summed_in_single_precision_are_those_in_64_bits():
    random = np.random.default_rng(4)
    x, weight = random.integers(-3, 4, (40, 90)), random.integers(-256, 256, (37, 90))
    out = np.empty((40, 37), np.int32)
    sums.weighted(x, sums.by_input(weight.astype(np.float32)), out)
    np.testing.assert_array_equal(out, x @ weight.T)


@pytest.mark.parametrize("file", ["model.nir", "model.q.nir"])
def test_neither_chunks_nor_threads_change_a_bit(tmp_path, monkeypatch, file):
    graph, frames, lengths = golden(tmp_path, file)
    prepared, threads = reference.prepare(graph, "float32"), numba.get_num_threads()
    runs = []
    try:
        for count, numbers in ((1, 10**9), (1, 1), (threads, 1), (threads, 10**9)):
            numba.set_num_threads(count)
            monkeypatch.setattr(engine, "CHUNK_NUMBERS", numbers)
            monkeypatch.setattr(engine, "THREAD_NUMBERS", 1)
            runs.append(reference.simulate(prepared, frames, lengths))
    finally:
        numba.set_num_threads(threads)
    for run in runs[1:]:
        np.testing.assert_array_equal(run.output, runs[0].output)
        for name, spikes in runs[0].spikes.items():
            np.testing.assert_array_equal(run.spikes[name], spikes)
        assert {name: peak.tolist() for name, peak in run.peaks.items()} == {
            name: peak.tolist() for name, peak in runs[0].peaks.items()
        }
