"""A stream, step by step, against the reference simulator over whole utterances."""

from __future__ import annotations

import dataclasses
import tracemalloc
from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from neurotarget.conversion.quantize import quantize
from neurotarget.sim import reference
from neurotarget.sim.graph import Graph, load
from neurotarget.sim.graph.kinds import KINDS, WHOLE_UTTERANCE
from neurotarget.sim.graph.node import GraphError
from neurotarget.sim.reference import Stream
from neurotarget.sim.reference.operations import OPERATIONS
from neurotarget.sim.reference.step_operations import STEP_OPERATIONS
from neurotarget.sim.resets import RESETS

from tests.sim.networks import DT, THETA, Network, chain, spike_scr, spikes

N = 4
ONE = np.ones(N)
TAU = np.array([2.0, 3.0, 5.5, 10.0]) * DT
STEPS = 30
NEURONS: dict[str, Any] = {
    "lif": nir.LIF(TAU, 1.3 * ONE, -0.2 * ONE, 0.9 * ONE, 0.1 * ONE),
    "if": nir.IF(0.3 / DT * ONE, THETA * ONE, 0.2 * ONE),
    "cuba_lif": nir.CubaLIF(
        tau_syn=TAU, tau_mem=TAU[::-1].copy(), r=2 * ONE, v_leak=0.1 * ONE, v_threshold=0.6 * ONE, w_in=1.5 * ONE
    ),
    "threshold": nir.Threshold(0.7 * ONE),
    "li": nir.LI(TAU, 1.3 * ONE, -0.2 * ONE),
    "integrator": nir.I(0.1 / DT * ONE),
    "cuba_li": nir.CubaLI(tau_syn=TAU, tau_mem=TAU[::-1].copy(), r=2 * ONE, v_leak=0.1 * ONE, w_in=1.5 * ONE),
}


def on_a_grid(graph: Graph) -> Graph:
    """Weights in multiples of 2^-10: sums of their products with small integers are exact in any order."""
    nodes = {}
    for name, node in graph.nodes.items():
        given = {key: node.parameters[key] for key in ("weight", "bias") if node.parameters.get(key) is not None}
        rounded = {key: np.rint(value * 1024) / 1024 for key, value in given.items()}
        nodes[name] = dataclasses.replace(node, parameters={**node.parameters, **rounded})
    return dataclasses.replace(graph, nodes=nodes)


def neuron(kind: str) -> Graph:
    net = Network(3, seed=5)
    name = net.add("neuron", NEURONS[kind], net.affine("a", N, 3, "input"))
    return net.finish(name, outputs=N)


def every_reset() -> Graph:
    """Each reset, with a start of the potential."""
    net = Network(3, seed=5)
    current, ends = net.affine("a", N, 3, "input"), []
    for reset in RESETS:
        said = {"reset": reset, "v_initial": np.array([0.75, -0.5, 1.5, 0.0])}
        ends.append(
            net.add(reset, nir.LIF(3 * DT * ONE, 3 * ONE, 0 * ONE, THETA * ONE, 0 * ONE, metadata=said), current)
        )
    return net.finish(net.affine("readout", 2, N, *ends), outputs=2)


def recurrent() -> Graph:
    net = Network(3, seed=2)
    net.nodes["n"] = nir.CubaLIF(TAU, TAU, ONE, 0 * ONE, THETA * ONE, 0 * ONE, 4 * ONE)
    net.affine("in", N, 3, "input")
    net.affine("back", N, N, "n")
    net.edges += [("in", "n"), ("back", "n")]
    return net.finish(net.affine("readout", 2, N, "n"), outputs=2)


def delayed() -> Graph:
    net = Network(3, seed=1)
    late = net.add("late", nir.Delay(np.array([0.0, 1, 5]) * DT), "input")
    first = net.layer("first", N, 3, late, "input")
    later = net.add("later", nir.Delay(np.full(N, 3 * DT)), first)
    return net.finish(net.affine("readout", 2, N, net.layer("second", N, N, later)), outputs=2)


def spatial() -> Graph:
    random = np.random.default_rng(5)
    neurons = nir.LIF(*(value * np.ones((4, 3, 3)) for value in (2 * DT, 1.0, 0.0, 1.0)))
    names: dict[str, Any] = {
        "input": nir.Input(np.array((2, 6, 6))),
        "conv": nir.Conv2d((6, 6), random.normal(0.2, 1, (4, 1, 3, 3)), 1, 1, 1, 2, random.normal(size=4)),
        "pool": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "n": neurons,
        "mean": nir.AvgPool2d(np.array([2, 2]), np.array([1, 1]), np.array([0, 0])),
        "flat": nir.Flatten({"input": np.array([4, 2, 2])}, 0, -1),
        "readout": nir.Affine(random.normal(size=(2, 16)), random.normal(size=2)),
        "output": nir.Output(None),
    }
    edges = list(zip(names, list(names)[1:], strict=False))
    return load(nir.NIRGraph(names, edges, metadata={"dt": DT}, type_check=False))


NETWORKS: dict[str, Any] = {
    "chain": chain,
    "spikescr": lambda: spike_scr(features=5, causal=True, seed=2),
    "recurrent": recurrent,
    "delayed": delayed,
    "spatial": spatial,
    "every reset": every_reset,
    **{kind: lambda kind=kind: neuron(kind) for kind in NEURONS},
}


def streamed(stream: Stream, frames: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """What every node sent and the outputs, step by step."""
    sent: dict[str, list[np.ndarray]] = {name: [] for name in stream.graph.nodes}
    outputs = []
    for frame in frames:
        outputs.append(stream.push(frame[None])[0])
        for name, values in stream.values.items():
            sent[name].append(values.copy())
    return {name: np.array(values) for name, values in sent.items()}, np.array(outputs)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_bit_is_the_reference_s(name: str) -> None:
    graph = on_a_grid(NETWORKS[name]())
    frames = spikes(2, STEPS, graph.input.neurons, largest=2).reshape(2, STEPS, *graph.input.output_shape)
    expected, stream = reference.run(graph, frames), Stream(graph)
    for sample in (0, 1, 0):  # and afresh after a reset
        sent, output = streamed(stream, frames[sample])
        for node in graph.spiking:
            np.testing.assert_array_equal(sent[node.name], expected.spikes[node.name][sample], err_msg=node.name)
            assert sent[node.name].any(), f"{node.name} is silent"
        np.testing.assert_array_equal(output, expected.output[sample])
        stream.reset()


@pytest.mark.parametrize("name", ["chain", "spikescr", "every reset"])
def test_integers_are_the_reference_s(name: str) -> None:
    network = NETWORKS[name]()
    frames = spikes(2, STEPS, network.input.neurons, largest=3)
    graph = load(quantize(network, frames)[0])
    expected, stream = reference.run(graph, frames), Stream(graph)
    for sample in (0, 1):
        sent, output = streamed(stream, frames[sample])
        for node in graph.spiking:
            np.testing.assert_array_equal(sent[node.name], expected.spikes[node.name][sample], err_msg=node.name)
        np.testing.assert_array_equal(output, expected.output[sample])
        assert output.any()
        stream.reset()


def test_real_weights_and_input_agree_as_floating_point_does() -> None:
    graph = spike_scr(causal=True, seed=31)
    frames = np.random.default_rng(3).normal(size=(1, 60, 5))
    expected = reference.run(graph, frames)
    sent, output = streamed(Stream(graph), frames[0])
    for node in graph.spiking:
        np.testing.assert_array_equal(sent[node.name], expected.spikes[node.name][0], err_msg=node.name)
    np.testing.assert_allclose(output, expected.output[0], rtol=0, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.booleans())
def test_chunks_do_not_matter(chunks: list[int], quantised: bool) -> None:
    graph = QUANTISED if quantised else FLOATING
    frames = spikes(1, max(1, sum(chunks)), 5, seed=len(chunks), largest=3)[0]
    whole, parts = Stream(graph), Stream(graph)
    starts = np.cumsum([0, *chunks])
    pieces = [parts.push(frames[start : start + chunk]) for start, chunk in zip(starts, chunks, strict=False)]
    np.testing.assert_array_equal(np.concatenate(pieces), whole.push(frames[: sum(chunks)]))
    assert parts.step == whole.step == sum(chunks)


FLOATING = spike_scr(causal=True, seed=2)
QUANTISED = load(quantize(FLOATING, spikes(2, STEPS, 5, largest=3))[0])


@pytest.mark.parametrize("graph", [FLOATING, QUANTISED])
def test_memory_does_not_grow(graph: Graph) -> None:
    stream, frames = Stream(graph), spikes(1, 50, 5, largest=3)[0]
    stream.push(frames)
    tracemalloc.start()
    stream.push(frames)
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(20):
        stream.push(frames)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 2000


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (spike_scr, r"node embed \(temporal_conv\) looks 1 step \(0.1 ms\) ahead, and 2 other layers too"),
        (lambda: waiting("attention"), r"node a \(attention\) waits for the end of the utterance: graph in memory"),
        (lambda: waiting("look_ahead"), r"node a \(look_ahead\) looks 3 steps \(0.3 ms\) ahead: graph in memory"),
    ],
)
def test_a_network_that_waits_is_refused_by_layer(network: Any, said: str) -> None:
    with pytest.raises(GraphError, match=said) as found:
        Stream(network())
    assert "train it with model.causal = true, or run whole utterances with sim.run" in str(found.value)


def waiting(op: str) -> Graph:
    net = Network(N)
    if op == "look_ahead":
        return net.finish(net.operation("a", op, N, "input", steps=3), outputs=N)
    roles = {role: net.layer(role, N, N, "input") for role in ("query", "key", "value")}
    more = {"heads": 2, "scale": 0.5, "causal": False}
    return net.finish(net.operation("a", op, N, *roles.values(), **more, **roles), outputs=N)


def test_frames_of_another_shape_are_refused() -> None:
    with pytest.raises(GraphError, match=r"frames of shape \(4,\); graph in memory takes \[steps, 4\]"):
        Stream(chain()).push(np.zeros(4))


def test_a_number_that_overflows_is_named() -> None:
    net = Network(1)
    net.lif("n", 1, net.add("a", nir.Linear(np.full((1, 1), 1e308)), "input"))
    stream = Stream(net.finish("n", outputs=1))
    with pytest.raises(GraphError, match=r"node a \(affine\): its values overflow float64 in step 0"):
        stream.push(np.full((1, 1), 1e10))


def test_every_kind_has_a_step() -> None:
    assert WHOLE_UTTERANCE - {"look_ahead"} <= set(STEP_OPERATIONS) <= set(KINDS)
    assert set(KINDS) == set(STEP_OPERATIONS) | set(OPERATIONS)
