"""A linear layer that fires in the same pass: the bits of the layer and of the neurons one after the other."""

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from neurotarget.sim import reference
from neurotarget.sim.reference import fused_kernels, kernels, sums
from neurotarget.sim.reference.stages import stages

from tests.sim.golden import golden
from tests.sim.networks import Network, spikes


@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    seed=st.integers(0, 2**31),
    dtype=st.sampled_from([np.float32, np.float64]),
    size=st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 150), st.integers(1, 150)),
    taps=st.integers(1, 3),
    density=st.sampled_from([0.0, 0.1, 0.6, 1.0]),
    reset=st.integers(0, 2),
    bytes_in=st.booleans(),
    bias=st.booleans(),
)
def test_one_pass_has_the_bits_of_sums_and_then_neurons(seed, dtype, size, taps, density, reset, bytes_in, bias):
    random = np.random.default_rng(seed)
    samples, steps, inputs, neurons = size
    x = random.poisson(density, (samples, steps, inputs))
    x = x.astype(np.uint8) if bytes_in else (x * random.normal(size=x.shape)).astype(dtype)
    weight, given_bias, constants, v = (
        random.normal(size=shape).astype(dtype)
        for shape in ((neurons, inputs, taps), (neurons,), (6, neurons), (samples, neurons))
    )
    laid = sums.by_input(weight, given_bias if bias else None)
    ahead = int(random.integers(taps))

    current = np.empty((samples, steps, neurons), dtype)
    rows = x.reshape(-1, inputs), steps, laid, taps, ahead, current.reshape(-1, neurons)
    sums.weighted_over_time(*rows)
    expected, last = np.empty(current.shape, np.uint8), v.copy()
    kernels.lif(current, constants, reset, last, expected, np.empty((0, 0, 0), dtype))

    found = np.empty_like(expected)
    assert fused_kernels.weighted_lif(x, sums.in_strips(laid), taps, ahead, constants, reset, v, found)
    assert found.tobytes() == expected.tobytes() and v.tobytes() == last.tobytes()


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_network_has_the_bits_of_its_nodes_one_by_one(tmp_path, precision):
    graph, frames, lengths = golden(tmp_path, "model.nir")
    prepared = reference.prepare(graph, precision)
    assert sum(stage.layer is not None for stage in prepared.fused) > 5
    plain = reference.prepare(graph, precision)
    plain.__dict__["fused"] = plain.one_by_one
    found, expected = (reference.simulate(each, frames, lengths) for each in (prepared, plain))
    assert found.output.tobytes() == expected.output.tobytes() and found.output.any()
    for name, sent in expected.spikes.items():
        assert found.spikes[name].tobytes() == sent.tobytes()


def fused(network, *ends, outputs):
    graph = network.finish(*ends, outputs=outputs)
    return {stage.node.name: stage.layer.name for stage in stages(graph, fuse=True) if stage.layer}


def test_a_layer_fires_in_the_same_pass_where_its_neurons_alone_read_it():
    network = Network(4)
    first = network.layer("first", 5, 4, "input")
    shared = network.affine("shared", 5, 5, first)
    both = [network.lif("one", 5, shared), network.lif("other", 5, shared)]
    one = np.ones(5)
    network.affine("synaptic", 5, 5, *both)
    last = network.add("last", nir.CubaLIF(2e-4 * one, 2e-4 * one, one, 0 * one, one, 0 * one), "synaptic")
    assert fused(network, last, outputs=5) == {"first.lif": "first.linear"}


def test_neurons_that_feed_back_go_step_by_step():
    network = Network(4)
    network.affine("into", 5, 4, "input")
    network.affine("back", 5, 5, "lif")
    network.lif("lif", 5, "into", "back")
    network.layer("behind", 3, 5, "lif")
    assert fused(network, "behind.lif", outputs=3) == {"behind.lif": "behind.linear"}


def test_the_values_that_a_stage_reads_last_are_let_go():
    network = Network(4)
    first = network.layer("first", 5, 4, "input")
    second = network.layer("second", 5, 5, first)
    third = network.layer("third", 5, 5, first, second)
    graph = network.finish(third, outputs=5)
    done = {stage.names: stage.done for stage in stages(graph, fuse=True)}
    assert done[("first.lif",)] == ("input",) and done[("second.lif",)] == ()
    assert sorted(done[("third.lif",)]) == ["first.lif", "second.lif"]
    assert reference.run(graph, spikes(2, 9, 4)).spikes["third.lif"].any()
