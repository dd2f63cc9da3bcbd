"""A quantised graph in the simulator: windows, what a run says, and files with wrong integers."""

import dataclasses

import numpy as np
import pytest
from neurotarget.sim import reference
from neurotarget.sim.graph.node import GraphError, Node
from neurotarget.sim.reference import integer

from tests.sim.integer_nodes import small


def test_biases_act_inside_the_window_only():
    graph, frames = small(), np.zeros((2, 12, 2), int)
    trace = reference.run(graph, frames, np.array([12, 5]))
    assert trace.spikes["lif"][:, :, 0].sum(axis=1).tolist() == [12, 5]  # a bias of 6000 exceeds 90 << 6 = 5760
    assert not trace.spikes["lif"][1, 5:].any() and not trace.output[1, 5:].any()
    assert trace.header["precision"] == "lava-fixed" and trace.header["wrapped_u"] == []
    u, v = reference.states(graph, frames, np.array([12, 5]), ["lif"])["lif"]
    assert v[1, :, 0].tolist() == [6000] * 5 + [0] * 7 and not u.any()


def test_a_run_says_where_states_left_24_bits():
    graph = small()
    fixed = {**graph.fixed, "fc": {"weight_exp": 15}}
    trace = reference.run(dataclasses.replace(graph, fixed=fixed), np.full((1, 3, 2), 1))
    assert trace.header["wrapped_u"] == ["lif"]


def test_a_quiet_batch_after_a_loud_one_is_quiet():
    graph = small()
    prepared = reference.prepare(dataclasses.replace(graph, fixed={**graph.fixed, "fc": {"weight_exp": 9}}))

    def peaks(level):
        return reference.simulate(prepared, np.full((1, 3, 2), level), np.array([3])).peaks["lif"].tolist()

    loud, quiet = peaks(127), peaks(0)
    # the larger current of the two neurons, aligned; its v carries a bias of 6000 beside (127 * (100 - 50) against 80)
    assert loud[0] == 127 * 80 << 9 + 6 and loud[0] >= 2**23
    assert quiet == [0, 6000] == peaks(0)


def test_received_currents_are_worked_out_again_from_a_trace():
    graph, frames = small(), np.random.default_rng(0).integers(-5, 6, (3, 8, 2))
    trace = reference.run(graph, frames)
    received = reference.synaptic_input(graph, trace, "lif")
    np.testing.assert_array_equal(received, frames @ np.array([[100, -50], [20, 60]]).T)
    assert received.dtype == np.int64


@pytest.mark.parametrize(
    ("node", "key", "value", "reason"),
    [
        ("lif", "du", 4096, "du must be one integer in 0 .. 4095"),
        ("lif", "dv", 1.5, "dv of a quantised file must be integers"),
        ("lif", "vth", -1, "vth must be one integer"),
        ("lif", "vth", 91, "v_threshold in the file is not vth << 6"),
        ("lif", "bias_mant", np.array([4096, 0]), "bias_mant must hold 2 integers in -4096 .. 4095"),
        ("lif", "bias_exp", np.array([8, 0]), "bias_exp must hold 2 integers in 0 .. 7"),
        ("lif", "bias_mant", None, "does not say its bias_mant"),
        ("fc", "weight_exp", 99, "weight_exp must be one integer"),
        ("lif", "dv", float("inf"), "dv of a quantised file must be integers below 2\\^53"),
        ("lif", "bias_mant", np.array([0, 2.0**53]), "bias_mant of a quantised file must be integers below 2\\^53"),
        ("input", "scale", 0.0, "scale must be one number in 1e-30 .. 1e\\+30, found 0.0"),
        ("input", "minimum", 2**20, "minimum 1048576 is above maximum"),
        ("output", "scale", float("nan"), "scale must be one number in .*found nan"),
        ("output", "scale", 1e308, "scale must be one number in .*found 1e\\+308"),
    ],
)
def test_a_file_with_wrong_integers_is_refused_by_node(node, key, value, reason):
    graph = small()
    keys = {k: v for k, v in graph.fixed[node].items() if k != key} | ({} if value is None else {key: value})
    with pytest.raises(GraphError, match=f"node {node}.*{reason}"):
        reference.prepare(dataclasses.replace(graph, fixed={**graph.fixed, node: keys}))


def test_an_oscillator_without_end_is_refused():
    """Infinity is its own rint, and would become an arbitrary integer."""
    node = Node("turn", "rotary", ("input",), {"angle": np.ones(1), "scale": 1.0}, output_shape=(2,))
    fixed = {"fraction_bits": 4, "cos": np.array([1 << 22]), "sin": np.array([0])}
    integer.integer_parameters(node, fixed)
    with pytest.raises(GraphError, match=r"node turn: sin of a quantised file must be integers below 2\^53"):
        integer.integer_parameters(node, {**fixed, "sin": np.array([np.inf])})


@pytest.mark.parametrize("weight", [[[101, -50], [20, 60]], [[256, 2], [4, 6]], [[1.5, 2], [4, 6]]])
def test_weights_that_lava_would_change_are_refused(weight):
    graph = small()
    nodes = {
        **graph.nodes,
        "fc": dataclasses.replace(graph.nodes["fc"], parameters={"weight": np.array(weight, float)}),
    }
    with pytest.raises(GraphError, match=r"node fc.*(clip or truncate|must be integers)"):
        reference.prepare(dataclasses.replace(graph, nodes=nodes))
