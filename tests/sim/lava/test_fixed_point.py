"""Lava's fixed point against the integer simulator: u, v, spikes and outputs, every node, step and bit."""

from __future__ import annotations

import dataclasses
import os

import nir
import numpy as np
import pytest
from neurotarget.conversion.to_nir import to_nir
from neurotarget.sim import compare, lava
from neurotarget.sim import schedule as scheduling
from neurotarget.sim.graph import Graph, load
from neurotarget.sim.graph.node import GraphError
from neurotarget.sim.lava import LavaError
from neurotarget.sim.lava.plan import fixed as fixed_plan

from tests import torch_networks
from tests.sim.lava.compare import OTHER
from tests.sim.lava.fixed_networks import assert_identical, neurons, one_neuron_each, quantised
from tests.sim.lava.primitives import NEURONS, POTENTIALS, N, recurrent, spatial
from tests.sim.networks import DT, THETA, Network, chain, spike_scr, spikes

# ---- networks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("causal", [False, True])
def test_spike_scr(causal: bool) -> None:
    frames, lengths = spikes(3, 16, 5, largest=3), np.array([16, 5, 11])
    graph = quantised(spike_scr(causal=causal, seed=2), frames, lengths)
    kinds = {node.kind for node in graph.nodes.values()}
    assert {"rotary", "attention", "gate", "temporal_conv", "depthwise_conv"} <= kinds
    trace, _ = assert_identical(graph, frames, lengths)
    assert trace.header["latency_steps"] == 12 + (0 if causal else 1 + 16 + 2)


def test_spike_scr_of_pytorch() -> None:
    frames = np.random.default_rng(0).poisson(0.5, (3, 20, 12)).astype(np.float64)
    graph = load(to_nir(torch_networks.tiny(), (12,)))
    assert_identical(quantised(graph, frames), frames, np.array([20, 7, 13]), quiet=2)


def test_dense_layers_of_pytorch_with_real_input() -> None:
    network, shape = torch_networks.dense()
    frames = np.random.default_rng(0).normal(0.5, 1.0, (3, 30, *shape))
    assert_identical(quantised(load(to_nir(network, shape)), frames), frames)


def test_layers_with_bias_and_a_residual_path() -> None:
    frames, lengths = spikes(3, 14, 4), np.array([14, 6, 9])
    assert_identical(quantised(chain(), frames, lengths), frames, lengths)


@pytest.mark.parametrize("into_synapse", [False, True])
def test_recurrent_cuba_lif(into_synapse: bool) -> None:
    net_frames, lengths = spikes(3, 12, 3), np.array([12, 5, 12])
    graph = quantised(uniform(recurrent(loop_bias=False, into_synapse=into_synapse)), net_frames, lengths)
    assert graph.recurrent_edges
    assert_identical(graph, net_frames, lengths)


def uniform(graph: Graph) -> Graph:
    """The same with one time constant a population, as Lava has it."""
    nodes = dict(graph.nodes)
    for name in neurons(graph):
        parameters = dict(nodes[name].parameters)
        parameters |= {k: np.full_like(v, v.flat[1]) for k, v in parameters.items() if k.startswith("tau")}
        if "v_reset" in parameters:
            parameters["v_reset"] = 0 * parameters["v_reset"]
        nodes[name] = dataclasses.replace(nodes[name], parameters=parameters)
    return dataclasses.replace(graph, nodes=nodes)


@pytest.mark.parametrize("kind", sorted({*NEURONS, *POTENTIALS} - {"threshold"}))
def test_every_kind_of_neuron(kind: str) -> None:
    net = Network(3)
    neuron = net.add("neuron", {**NEURONS, **POTENTIALS}[kind], net.affine("a", N, 3, "input"))
    outputs = N if kind in POTENTIALS else 2
    graph = uniform(net.finish(neuron if outputs == N else net.affine("readout", 2, N, neuron), outputs=outputs))
    frames, lengths = spikes(2, 14, 3), np.array([14, 7])
    trace, _ = assert_identical(quantised(graph, frames, lengths), frames, lengths)
    assert trace.output[0].any() and not trace.output[1, 7:].any()


def test_biases_at_a_current_and_currents_of_different_size() -> None:
    """A bias at the synapse of a CubaLIF and, rounded off, at its v; a potential, a small and a large current meet."""
    net, one = Network(3), np.ones(4)
    times = {"tau_syn": 8 * DT * one, "tau_mem": 4 * DT * one, "r": one, "v_leak": 0.1 * one, "w_in": 3 * one}
    soma = net.add(
        "soma", nir.CubaLIF(**times, v_threshold=0.8 * one, v_reset=0 * one), net.affine("in", 4, 3, "input")
    )
    slow = net.add("slow", nir.LI(20 * DT * one, one, 0 * one), soma)
    large = net.add("large", nir.Linear(40 * np.eye(4)), slow)
    small = net.add("small", nir.Linear(0.3 * net.weights(4, 3)), "input")
    graph = net.finish(net.affine("readout", 2, 4, net.lif("meet", 4, large, small)), outputs=2)
    frames, lengths = spikes(3, 40, 3), np.array([40, 25, 33])
    graph = quantised(graph, frames, lengths)
    assert graph.nodes["in"].parameters["bias"].any() and np.any(graph.fixed["soma"]["bias_mant"])
    assert graph.fixed["large"]["weight_exp"] != graph.fixed["small"]["weight_exp"]
    trace, _ = assert_identical(graph, frames, lengths)
    assert all(trace.spikes[name].sum() > 20 for name in ("soma", "meet"))


def test_delays_and_a_look_ahead() -> None:
    net = Network(N)
    late = net.add("late", nir.Delay(np.array([0.0, 1, 5, 2]) * DT), "input")
    first = net.layer("first", N, N, late, "input")
    ahead = net.operation("ahead", "look_ahead", N, first, steps=3)
    graph = net.finish(net.affine("readout", 2, N, net.layer("second", N, N, ahead, first)), outputs=2)
    frames, lengths = spikes(3, 14, N), np.array([14, 4, 9])
    assert_identical(quantised(graph, frames, lengths), frames, lengths)


def test_convolution_and_pooling_in_space() -> None:
    random = np.random.default_rng(5)
    graph = spatial(
        ("conv", nir.Conv2d((6, 6), random.normal(0.2, 1, (4, 1, 3, 3)), 1, 1, 1, 2, random.normal(size=4))),
        ("pool", nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))),
        ("n", nir.LIF(*(value * np.ones((4, 3, 3)) for value in (2 * DT, 1.0, 0.0, 1.0)))),
        ("mean", nir.AvgPool2d(np.array([3, 3]), np.array([1, 1]), np.array([0, 0]))),
        ("flat", nir.Flatten({"input": np.array([4, 1, 1])}, 0, -1)),
        ("readout", nir.Affine(random.normal(size=(2, 4)), random.normal(size=2))),
        shape=(2, 6, 6),
    )
    frames, lengths = random.integers(0, 2, (2, 10, 2, 6, 6)), np.array([10, 6])
    trace, states = assert_identical(quantised(graph, frames, lengths), frames, lengths)
    assert trace.spikes["n"].shape == states["n"][0].shape == (2, 10, 4, 3, 3)


@pytest.mark.parametrize("sign", [-1, 1])
def test_sparse_weights_of_either_sign_run_sparse(sign: int) -> None:
    net = Network(20)
    weight = np.zeros((20, 20))
    weight[np.arange(20), np.arange(20)[::-1]] = sign * np.linspace(1, 2.5, 20)
    graph = net.finish(net.lif("n", 20, net.add("w", nir.Linear(weight), "input")), outputs=20)
    frames = sign * spikes(2, 8, 20)
    graph = quantised(graph, frames)
    planned = fixed_plan.make_plan(graph, scheduling.schedule(graph, 8), frames, np.array([8, 8]))
    assert planned.specs["w"].kind == "sparse"
    assert_identical(graph, frames)


def test_samples_in_one_run_equal_a_fresh_start() -> None:
    frames, lengths = spikes(2, 9, 5, largest=3), np.array([5, 9])
    graph = quantised(spike_scr(seed=2), frames, lengths)
    names = neurons(graph)
    together, states = lava.run_with_states(graph, frames, lengths, nodes=names)
    alone, alone_states = lava.run_with_states(graph, frames[1:], lengths[1:], nodes=names)
    for name in names:
        np.testing.assert_array_equal(alone.spikes[name][0], together.spikes[name][1])
        for i in (0, 1):
            np.testing.assert_array_equal(alone_states[name][i][0], states[name][i][1])
    np.testing.assert_array_equal(alone.output[0], together.output[1])


@pytest.mark.skipif(OTHER not in os.environ, reason=f"{OTHER} names no second interpreter with a Lava of its own")
def test_another_interpreter_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    frames, lengths = spikes(2, 9, 5, largest=3), np.array([5, 9])
    graph = quantised(spike_scr(seed=2), frames, lengths)
    here, _ = assert_identical(graph, frames, lengths, quiet=2)
    monkeypatch.setenv("NEUROTARGET_LAVA_PYTHON", os.environ[OTHER])
    there, _ = assert_identical(graph, frames, lengths, quiet=2)
    assert here.header["python"] != there.header["python"]


# ---- the ends of the ranges ------------------------------------------------------------------------------------------


def column(*values: float) -> np.ndarray:
    return np.array(values, float).reshape(1, -1, 1)


def test_by_hand() -> None:
    graph = one_neuron_each(weight=2, dv=2048, vth=2, bias=(-3, 1))
    trace, states = assert_identical(graph, column(1, 1, 0, -1, 0.5, 1.5))
    # 0.5 and 1.5 go to the even neighbour; v = v/2 towards zero + 64 * 2x - 6, fires above 128, and leaves 0
    assert states["neuron"][0].reshape(-1).tolist() == [128, 128, 0, -128, 0, 256]
    assert states["neuron"][1].reshape(-1).tolist() == [122, 183, -6, -137, -74, 213]
    assert trace.spikes["neuron"].reshape(-1).tolist() == [0, 1, 0, 0, 0, 1]
    assert trace.output.reshape(-1).tolist() == [0, 0.5, 0, 0, 0, 0.5]


def test_u_wraps_around_and_v_is_clipped_at_24_bits() -> None:
    frames = column(*np.random.default_rng(0).integers(-128, 128, 200))
    _, states = assert_identical(one_neuron_each(weight=254, weight_exp=4, du=100, dv=7, vth=131071), frames)
    u, v = (state.reshape(-1).astype(np.int64) for state in states["neuron"])
    assert (np.abs(np.diff(u)) > 2**23).any()
    assert v.max() == 2**23 - 1 and v.min() == -(2**23) + 1


@pytest.mark.parametrize("weight_exp", [-3, 0, 3])
def test_weight_exponents_and_clipped_input(weight_exp: int) -> None:
    frames = column(*np.random.default_rng(1).normal(0, 100, 40))
    graph = one_neuron_each(weight=-255, weight_exp=weight_exp, du=300, dv=200, vth=3000, bias=(4095, 7))
    assert_identical(graph, frames)


def test_a_current_beyond_32_bits_is_refused_by_node() -> None:
    with pytest.raises(LavaError, match=r"neuron.*overflows 32 bits"):
        lava.run(one_neuron_each(weight=254, weight_exp=11), column(127, 127, 127))
    with pytest.raises(LavaError, match=r"synapse.*overflows the 32 bits"):
        lava.run(one_neuron_each(weight=254, weight_exp=18), column(127, 127, 127))


# ---- refusals --------------------------------------------------------------------------------------------------------


def test_a_kind_without_fixed_point_form_is_refused_by_name() -> None:
    net = Network(3)
    graph = net.finish(net.add("jump", nir.Threshold(THETA * np.ones(3)), "input"), outputs=3)
    graph = dataclasses.replace(graph, arithmetic="lava-fixed", fixed=one_neuron_each(2).fixed)
    with pytest.raises(GraphError, match="node jump: threshold has no fixed-point form"):
        lava.run(graph, spikes(1, 3, 3))


def test_a_kind_without_a_process_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(fixed_plan.FIXED_PLANNERS, "affine")
    with pytest.raises(LavaError, match=r"node synapse: affine does not run in Lava; supported are attention, conv1d"):
        lava.run(one_neuron_each(2), column(1, 1))


def test_a_file_that_lacks_a_number_is_refused_by_node() -> None:
    graph = one_neuron_each(2)
    fixed = {name: {k: v for k, v in keys.items() if k != "dv"} for name, keys in graph.fixed.items()}
    with pytest.raises(GraphError, match=r"node neuron.*does not say its dv"):
        lava.run(dataclasses.replace(graph, fixed=fixed), column(1))


def test_states_are_those_of_neurons_of_quantised_graphs() -> None:
    with pytest.raises(GraphError, match="synapse is no neuron"):
        lava.run_with_states(one_neuron_each(2), column(1), nodes=["synapse"])
    with pytest.raises(LavaError, match="quantised graphs only"):
        lava.run_with_states(chain(), spikes(1, 5, 4), nodes=["first"])


# ---- command line ----------------------------------------------------------------------------------------------------


def test_compare_says_identical(tmp_path, capsys) -> None:
    from neurotarget.conversion.quantize import quantize

    frames = spikes(2, 10, 4)
    nir.write(tmp_path / "net.q.nir", quantize(chain(), frames)[0])
    np.savez(tmp_path / "in.npz", input=frames)
    arguments = [str(tmp_path / "net.q.nir"), "--input", str(tmp_path / "in.npz"), "--states"]
    assert compare.main([*arguments, "--backends", "reference,lava"]) == 0
    text = capsys.readouterr().out.splitlines()[-1]
    # 2 samples of 10 steps, two populations of 6, u and v
    assert text.startswith("identical:") and "480 values of u and v, 0 mismatched" in text
