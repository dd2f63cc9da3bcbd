"""A convolution over time has one reading: joined, node by node, and whatever its nodes are called."""

import copy
from importlib import import_module

import nir
import numpy as np
import pytest
from neurotarget.conversion.quantize import quantize
from neurotarget.conversion.to_nir import to_nir
from neurotarget.hardware.counts.layers import count
from neurotarget.sim import reference
from neurotarget.sim.graph import dialect, load
from neurotarget.sim.graph.node import GraphError

from tests import torch_networks as networks

DT = 1e-4
ROLES = {"current", "gate", "query", "key", "value"}  # name nodes


def renamed(raw, seed):
    """The graph with every node under a random name, so that the order of names says nothing either."""
    rng = np.random.default_rng(seed)
    new = dict(zip(raw.nodes, [f"n{i}" for i in rng.permutation(len(raw.nodes))], strict=True))
    nodes = {}
    for name, node in raw.nodes.items():
        nodes[new[name]] = copy.deepcopy(node)
        if isinstance(node, nir.NIRGraph):
            said = node.metadata.items()
            nodes[new[name]].metadata = {key: new.get(word, word) if key in ROLES else word for key, word in said}
    edges = [(new[a], new[b]) for a, b in raw.edges]
    return nir.NIRGraph(nodes=nodes, edges=edges, metadata=raw.metadata, type_check=False), new


def unjoined(raw, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(import_module("neurotarget.sim.graph.load"), "join_taps", lambda nodes, looped, by_layer: nodes)
        return load(raw)


@pytest.fixture(scope="module")
def exported():
    """A SpikeSCR that looks ahead: one step in its embedding, two in its depthwise convolution."""
    raw = to_nir(networks.tiny(), (12,))
    frames = np.random.default_rng(0).poisson(0.8, (3, 25, 12)).astype(float)
    return raw, frames, np.array([25, 20, 7])


def test_each_tap_is_written_with_its_net_offset(exported):
    raw, _, _ = exported
    steps = {name: raw.nodes[name].metadata["steps"] for name in raw.nodes if ".ahead" in name}
    assert steps == {
        "embed.conv.ahead1": 1,
        "blocks.0.convolution.depthwise.conv.ahead1": 1,
        "blocks.0.convolution.depthwise.conv.ahead2": 2,
    }
    behind = {source for source, target in raw.edges if ".delay" in target}
    assert not {name for name in behind if ".ahead" in name}


def test_joined_and_node_by_node_give_the_same_spikes(exported, monkeypatch):
    raw, frames, lengths = exported
    joined, apart = load(raw), unjoined(raw, monkeypatch)
    assert {"temporal_conv", "depthwise_conv"} <= {node.kind for node in joined.nodes.values()}
    assert len(apart.nodes) == len(raw.nodes)
    a, b = reference.run(joined, frames, lengths), reference.run(apart, frames, lengths)
    assert all(spikes.any() for spikes in a.spikes.values())
    for name, spikes in a.spikes.items():
        np.testing.assert_array_equal(spikes, b.spikes[name], err_msg=name)
    np.testing.assert_allclose(a.output, b.output, rtol=0, atol=1e-9)


def test_joined_and_node_by_node_count_the_same_operations(exported, monkeypatch):
    raw, frames, lengths = exported

    def operations(graph):
        found = count(graph, reference.run(graph, frames, lengths), zero_weights=False)
        kept = [layer for layer in found if layer.kind != "delay"]
        # Not the dense network's MACs: a Linear behind a Delay would multiply the zeros beyond the window, too.
        return [sum(getattr(layer, key) for layer in kept) for key in ("synops", "acs", "macs", "biases")]

    assert operations(load(raw)) == operations(unjoined(raw, monkeypatch))


@pytest.mark.parametrize("seed", range(5))
def test_names_change_nothing(exported, seed):
    raw, frames, lengths = exported
    other, new = renamed(raw, seed)
    ours, theirs = load(raw), load(other)
    assert sorted(node.kind for node in ours.nodes.values()) == sorted(node.kind for node in theirs.nodes.values())
    a, b = reference.run(ours, frames, lengths), reference.run(theirs, frames, lengths)
    for name, spikes in a.spikes.items():
        np.testing.assert_array_equal(spikes, b.spikes[new[name]], err_msg=name)
    np.testing.assert_allclose(a.output, b.output, rtol=0, atol=1e-9)
    kept = ("kind", "events", "synops", "macs", "dense_macs", "biases", "active_updates", "parameters", "state")

    def numbers(graph, trace):
        return sorted(tuple(getattr(layer, key) for key in kept) for layer in count(graph, trace))

    assert numbers(ours, a) == numbers(theirs, b)


# ---- the structure, in small graphs ----------------------------------------------------------------------------------


def ahead(steps):
    return dialect.extension("look_ahead", 1, {"steps": steps})


def late(steps):
    return nir.Delay(delay=np.full(1, steps * DT))


def linear(weight, **metadata):
    return nir.Linear(weight=np.array([[float(weight)]]), metadata=metadata)


def graph_of(nodes, edges, **metadata):
    ports = {
        "in": nir.Input(input_type={"input": np.array([1])}),
        "out": nir.Output(output_type={"output": np.array([1])}),
    }
    return nir.NIRGraph(nodes={**ports, **nodes}, edges=edges, metadata={"dt": DT, **metadata}, type_check=False)


def output(raw, values):
    return reference.run(load(raw), np.array(values, float)[None, :, None]).output.ravel().tolist()


def layers(raw):
    return sorted(n.kind for n in load(raw).nodes.values() if n.kind not in ("input", "output"))


def two_taps(shift, first="X.tap0", second="X.tap1"):
    """y[t] = x[t] + 10 x[t + shift]."""
    nodes = {first: linear(1), second: linear(10), "shift": ahead(shift) if shift > 0 else late(-shift)}
    return graph_of(nodes, [("in", first), ("in", "shift"), ("shift", second), (first, "out"), (second, "out")])


@pytest.mark.parametrize(("first", "second"), [("X.tap0", "X.tap1"), ("b", "a"), ("X.part0", "Y.part1")])
def test_two_taps_by_hand(first, second):
    assert output(two_taps(-1, first, second), [1, 2, 3]) == [1, 12, 23]
    assert output(two_taps(2, first, second), [1, 2, 3]) == [31, 2, 3]
    assert layers(two_taps(2, first, second)) == ["temporal_conv"]


def test_the_layer_is_called_what_the_file_says_or_what_its_taps_share():
    raw = two_taps(1, "X.Y.tap0", "X.Y.tap1")
    assert "X.Y" in load(raw).nodes
    for name in ("X.Y.tap0", "X.Y.tap1"):
        raw.nodes[name].metadata = {"layer": "said"}
    assert "said" in load(raw).nodes
    assert "b" in load(two_taps(1, "a", "b")).nodes  # nothing is shared: the newest tap's


@pytest.mark.parametrize(
    ("steps", "delay", "expected"),
    [(1, 2, [0, 0, 2, 3, 4, 5]), (3, 1, [0, 4, 5, 6, 0, 0]), (1, 1, [0, 2, 3, 4, 5, 6])],
)
@pytest.mark.parametrize("names", [("X.tap0", "X.tap1"), ("X.part0", "X.part1")])
def test_a_delay_behind_a_look_ahead_is_read_one_after_the_other(steps, delay, expected, names):
    """What files held before: the delay gives zeros for the first steps, also where the net offset looks ahead."""
    first, second = names
    nodes = {"X.ahead": ahead(steps), "X.delay": late(delay), first: linear(0), second: linear(1)}
    edges = [("in", "X.ahead"), ("X.ahead", first), ("X.ahead", "X.delay"), ("X.delay", second)]
    raw = graph_of(nodes, [*edges, (first, "out"), (second, "out")], dialect=dialect.DIALECT)
    assert output(raw, [1, 2, 3, 4, 5, 6]) == expected
    assert any("X.delay" in note and "one after the other" in note for note in load(raw).notes)


def test_what_is_no_convolution_over_time_stays_apart():
    one = graph_of({"shift": late(1), "a": linear(1)}, [("in", "shift"), ("shift", "a"), ("a", "out")])
    assert layers(one) == ["affine", "delay"]
    same = graph_of({"a": linear(1), "b": linear(2)}, [("in", "a"), ("in", "b"), ("a", "out"), ("b", "out")])
    assert layers(same) == ["affine", "affine"]
    sparse = two_taps(-40)
    assert layers(sparse) == ["affine", "affine", "delay"]
    assert output(sparse, range(50))[45] == 45 + 10 * 5


def test_a_tap_alone_is_a_layer_where_the_file_says_so():
    """Its matrix is known to be sparse, so zeros are no synapses; the same numbers either way."""
    weight = np.array([[2.0, 0.0], [0.0, 0.0]])
    ports = {
        "in": nir.Input(input_type={"input": np.array([2])}),
        "out": nir.Output(output_type={"output": np.array([2])}),
    }

    def alone(**metadata):
        nodes = {**ports, "shift": nir.Delay(delay=np.full(2, DT)), "tap": nir.Linear(weight=weight, metadata=metadata)}
        return load(nir.NIRGraph(nodes, [("in", "shift"), ("shift", "tap"), ("tap", "out")], metadata={"dt": DT}))

    frames = np.ones((1, 3, 2))
    assert [node.kind for node in alone().nodes.values()] == ["input", "delay", "affine", "output"]
    said = alone(layer="total")
    assert said.nodes["total"].kind == "temporal_conv"
    a, b = reference.run(said, frames), reference.run(alone(), frames)
    assert a.output.tolist() == b.output.tolist() == [[[0, 0], [2, 0], [2, 0]]]
    (layer,) = count(said, a)
    assert layer.synops == 2 and count(alone(), b)[1].synops == 8


def test_layers_that_the_file_tells_apart_stay_apart():
    raw = two_taps(-1)
    raw.nodes["X.tap0"].metadata, raw.nodes["X.tap1"].metadata = {"layer": "near"}, {"layer": "far"}
    assert layers(raw) == ["temporal_conv", "temporal_conv"] and {"near", "far"} <= set(load(raw).nodes)
    assert output(raw, [1, 2, 3]) == [1, 12, 23]


def test_taps_that_meet_in_a_product_stay_apart():
    """gate = a(x[t]) b(x[t - 1]): the sources of one reader, but not of one sum."""
    gate = dialect.extension("gate", 1, {"current": "a", "gate": "b"})
    edges = [("in", "a"), ("in", "shift"), ("shift", "b"), ("a", "gate"), ("b", "gate"), ("gate", "out")]
    raw = graph_of({"a": linear(2), "b": linear(3), "shift": late(1), "gate": gate}, edges)
    assert output(raw, [1, 2, 4]) == [0, 12, 48]


def test_taps_in_a_loop_stay_apart_and_run():
    li = nir.LI(tau=np.full(1, DT), r=np.ones(1), v_leak=np.zeros(1))
    edges = [("in", "li"), ("li", "a"), ("li", "shift"), ("shift", "b"), ("a", "li"), ("b", "li"), ("li", "out")]
    raw = graph_of({"li": li, "a": linear(1), "b": linear(10), "shift": late(1)}, edges)
    # v[t] = x[t] + v[t - 1] + 10 v[t - 2]
    assert output(raw, [1, 0, 0, 0]) == [1, 1, 11, 21]


def test_a_shift_that_others_read_too_stays():
    raw = two_taps(-1)
    raw.nodes["other"] = linear(100)
    raw.edges += [("shift", "other"), ("other", "out")]
    assert output(raw, [1, 2, 3]) == [1, 2 + 110, 3 + 220]


def test_a_quantised_layer_is_the_one_that_the_file_says(exported):
    """A shift of its sum acts on the layer as a whole, so integers are joined as they are meant."""
    raw, frames, lengths = exported
    integers, _, _ = quantize(load(raw), frames, lengths)
    expected = reference.run(load(integers), frames, lengths)
    assert expected.spikes["embed.lif"].any()
    for node in integers.nodes.values():
        node.metadata = {key: value for key, value in (node.metadata or {}).items() if key != dialect.KEY_LAYER}
    with pytest.raises(GraphError, match=r"node \S+ \(.*\): the quantised file does not say its weight_exp"):
        reference.run(load(integers), frames, lengths)
