"""Each primitive of NIR that Lava can express: the reference's values, node by node."""

from __future__ import annotations

import nir
import numpy as np
import pytest
from neurotarget.sim import lava
from neurotarget.sim import schedule as scheduling
from neurotarget.sim.lava import LavaError
from neurotarget.sim.lava.plan import floating as plan

from tests.sim.lava.compare import assert_equal
from tests.sim.lava.primitives import NEURONS, ONE, POTENTIALS, N, recurrent, spatial
from tests.sim.networks import DT, Network, chain, spikes


@pytest.mark.parametrize("kind", NEURONS)
def test_spiking_neurons(kind: str) -> None:
    net = Network(3)
    neuron = net.add("neuron", NEURONS[kind], net.affine("a", N, 3, "input"))
    assert_equal(net.finish(net.affine("readout", 2, N, neuron), outputs=2), spikes(2, 12, 3), np.array([12, 7]))


@pytest.mark.parametrize("kind", POTENTIALS)
def test_potentials_as_output(kind: str) -> None:
    net = Network(3)
    neuron = net.add("neuron", POTENTIALS[kind], net.affine("a", N, 3, "input"))
    trace = assert_equal(net.finish(neuron, outputs=N), spikes(2, 12, 3), np.array([12, 7]))
    assert trace.output[0].any() and not trace.output[1, 7:].any()


def test_lif_by_hand() -> None:
    """tau = 2 steps, weight 2: v = v/2 + x = 0.75, 0.875, 0.6875, 1.34 (fires), 0, 1 (does not), 1.01 (fires)."""
    nodes = {
        "input": nir.Input(np.array([1])),
        "w": nir.Linear(np.array([[2.0]])),
        "n": nir.LIF(np.array([2 * DT]), np.ones(1), np.zeros(1), np.array([1.0])),
        "output": nir.Output(np.array([1])),
    }
    edges = [("input", "w"), ("w", "n"), ("n", "output")]
    graph = nir.NIRGraph(nodes, edges, metadata={"dt": DT})
    trace = lava.run(graph, np.array([0.75, 0.5, 0.25, 1.0, 0.0, 1.0, 0.51]).reshape(1, 7, 1))
    assert trace.spikes["n"].reshape(-1).tolist() == [0, 0, 0, 1, 0, 0, 1]
    assert trace.output.reshape(-1).tolist() == [0, 0, 0, 1, 0, 0, 1]
    assert trace.header["latency_steps"] == 1


@pytest.mark.parametrize("loop_bias", [False, True])
@pytest.mark.parametrize("into_synapse", [False, True])
def test_recurrent_loops(loop_bias: bool, into_synapse: bool) -> None:
    graph = recurrent(loop_bias, into_synapse)
    assert graph.recurrent_edges
    assert_equal(graph, spikes(3, 12, 3), np.array([12, 5, 12]))


def test_a_loop_through_two_synapses_is_refused_with_the_reason() -> None:
    net = Network(3)
    net.affine("in", N, 3, "input")
    net.lif("n", N, "in")
    net.layer("m", N, N, "n")
    net.affine("back", N, N, "m.lif")
    net.edges.append(("back", "n"))
    with pytest.raises(scheduling.ScheduleError, match="loop"):
        lava.run(net.finish("n", outputs=N), spikes(1, 5, 3))


def test_delays_of_the_file() -> None:
    net = Network(N)
    late = net.add("late", nir.Delay(np.array([0.0, 1, 5, 2]) * DT), "input")
    first = net.layer("first", N, N, late, "input")
    later = net.add("later", nir.Delay(np.full(N, 3 * DT)), first)
    graph = net.finish(net.affine("readout", 2, N, net.layer("second", N, N, later)), outputs=2)
    trace = assert_equal(graph, spikes(3, 14, N), np.array([14, 4, 9]))
    assert trace.header["gap_steps"] == 5


def test_a_look_ahead_of_its_own() -> None:
    net = Network(N)
    ahead = net.operation("ahead", "look_ahead", N, "input", steps=3)
    graph = net.finish(net.affine("readout", 2, N, net.layer("n", N, N, ahead, "input")), outputs=2)
    trace = assert_equal(graph, spikes(3, 10, N), np.array([10, 2, 8]))
    assert trace.header["latency_steps"] == 5


def test_convolution_and_pooling_in_space() -> None:
    random = np.random.default_rng(5)
    neurons = nir.LIF(*(value * np.ones((4, 3, 3)) for value in (2 * DT, 1.0, 0.0, 1.0)))
    graph = spatial(
        ("conv", nir.Conv2d((6, 6), random.normal(0.2, 1, (4, 1, 3, 3)), 1, 1, 1, 2, random.normal(size=4))),
        ("pool", nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))),
        ("n", neurons),
        ("mean", nir.AvgPool2d(np.array([3, 3]), np.array([1, 1]), np.array([0, 0]))),
        ("flat", nir.Flatten({"input": np.array([4, 1, 1])}, 0, -1)),
        ("readout", nir.Affine(random.normal(size=(2, 4)), random.normal(size=2))),
        shape=(2, 6, 6),
    )
    frames = random.integers(0, 2, (2, 10, 2, 6, 6))
    trace = assert_equal(graph, frames, np.array([10, 6]))
    assert trace.spikes["n"].shape == (2, 10, 4, 3, 3)
    assert trace.header["latency_steps"] == 4


def test_sparse_weights_run_sparse() -> None:
    net = Network(20)
    weight = np.zeros((20, 20))
    weight[np.arange(20), np.arange(20)[::-1]] = 2.5
    graph = net.finish(net.lif("n", 20, net.add("w", nir.Linear(weight), "input")), outputs=20)
    made = plan.make_plan(graph, scheduling.schedule(graph, 8), spikes(1, 8, 20), np.array([8]))
    assert made.specs["w"].kind == "sparse"
    assert_equal(graph, spikes(1, 8, 20))


def test_what_lava_cannot_express_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(plan.PLANNERS, "affine")
    with pytest.raises(LavaError, match=r"node a: affine does not run in Lava; supported are attention, avg_pool"):
        lava.run(chain(), spikes(1, 5, 4))


def test_a_matrix_too_large_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "LARGEST_MATRIX", 10)
    net = Network(N)
    graph = net.finish(net.add("scaled", nir.Scale(2 * ONE), "input"), outputs=N)
    with pytest.raises(LavaError, match=r"node scaled \(scale\).*4 x 4"):
        lava.run(graph, spikes(1, 5, N))
