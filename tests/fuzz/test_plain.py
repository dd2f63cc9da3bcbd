"""The plain interpreters against values worked out by hand: a witness must be right itself."""

import nir
import numpy as np
import pytest

from tests.fuzz.by_hand import DT, alone, full, graph, lif, port
from tests.fuzz.engine import extension
from tests.fuzz.loops import Ambiguous, closing_edges
from tests.fuzz.plain import Plain
from tests.fuzz.plain_fixed import PlainFixed, decayed, wrapped


def fired(network, frames, name="n", **more):
    return Plain(network).run(np.asarray(frames)[None], **more).spikes[name][0].ravel().tolist()


def sent(network, frames, **more):
    return Plain(network).run(np.asarray(frames)[None], **more).output[0]


def test_lif():
    # 0.75, 1.125 fires, 0.75, 1.125 fires
    assert fired(alone(lif()), np.full((4, 1), 1.5)) == [0, 1, 0, 1]
    # v = 0.75 v + 0.25 (1 + 2 x): 0.25, 0.4375, 1.078125 fires and falls to -0.5, 0.375, 0.53125
    assert fired(alone(lif(4, 2, 1, 1, -0.5)), [[0], [0], [1], [0], [0]]) == [0, 0, 1, 0, 0]
    assert fired(alone(lif(theta=0.75)), [[1.5]]) == [0]  # strictly above
    assert fired(alone(lif(theta=np.nextafter(0.75, -1))), [[1.5]]) == [1]  # rule >=: the file holds the number below


def test_if_and_integrators():
    node = nir.IF(r=full(1 / DT), v_threshold=full(2), v_reset=full(0.5))
    assert fired(alone(node), np.full((6, 1), 0.75)) == [0, 0, 1, 0, 0, 1]
    assert sent(alone(nir.I(r=full(2 / DT))), [[1], [2], [3]]).ravel().tolist() == [2, 6, 12]
    leaky = nir.LI(tau=full(2 * DT), r=full(2), v_leak=full(0))
    assert sent(alone(leaky), [[1], [0], [4]]).ravel().tolist() == [1, 0.5, 4.25]


def test_current_based_lif():
    p = {"tau_syn": 2 * DT, "tau_mem": 4 * DT, "r": 4, "v_leak": 0, "v_threshold": 1, "v_reset": 0, "w_in": 2}
    node = nir.CubaLIF(**{key: full(value) for key, value in p.items()})
    assert fired(alone(node), [[1], [0], [0]]) == [0, 1, 0]  # u: 1, 0.5, 0.25; v: 1, 1.25 fires, 0.25


def test_a_bias_that_enters_at_the_current():
    """u = .95 u + .01, v = .9 v + u: 25 spikes in 200 steps, first at 23 33 42 50 58 65."""
    p = {"tau_syn": 20 * DT, "tau_mem": 10 * DT, "r": 10, "v_leak": 0, "v_threshold": 1, "v_reset": 0, "w_in": 20}
    nodes = {
        "in": port(nir.Input),
        "bias": nir.Affine(weight=np.zeros((1, 1)), bias=np.array([0.01])),
        "n": nir.CubaLIF(**{key: full(value) for key, value in p.items()}),
        "out": port(nir.Output),
    }
    spikes = fired(graph(nodes, "in>bias bias>n n>out"), np.zeros((200, 1)))
    assert np.flatnonzero(spikes)[:6].tolist() == [23, 33, 42, 50, 58, 65] and sum(spikes) == 25


def test_sums_do_not_overflow_the_type_of_the_input():
    nodes = {"in": port(nir.Input), "d": nir.Delay(delay=full(0)), "out": port(nir.Output)}
    network = graph(nodes, "in>d in>out d>out")
    for dtype, value in (("uint8", 200), ("int8", -100), ("bool", 1), ("int64", 2**62), ("float16", 2049 - 1)):
        assert sent(network, np.array([[value]], dtype)).item() == 2.0 * value, dtype


def test_loop_carries_the_value_of_the_step_before():
    nodes = {"in": port(nir.Input), "n": nir.I(r=full(1 / DT)), "out": port(nir.Output)}
    # v += x + v of the step before: 1, 1 + 1, 2 + 2, 4 + 4
    assert sent(graph(nodes, "in>n n>n n>out"), [[1], [0], [0], [0]]).ravel().tolist() == [1, 2, 4, 8]


def test_closing_edges():
    entry = {("in", "a"), ("a", "b"), ("b", "c"), ("c", "a")}
    assert closing_edges(entry) == {("c", "a")}
    assert closing_edges(entry | {("c", "b"), ("b", "b")}) == {("c", "a"), ("c", "b"), ("b", "b")}
    assert closing_edges({("in", "a"), ("a", "b")}) == set()
    for ambiguous in (entry | {("in", "b")}, {("a", "a"), ("a", "b")}):
        with pytest.raises(Ambiguous):
            closing_edges(ambiguous)


def test_names_have_no_meaning():
    """A look-ahead of one step before taps of no and of one step: x[t + 1] + y[t], y[t] = x of the step itself."""
    nodes = {"in": port(nir.Input), "ahead": extension("look_ahead", 1, {"steps": 1}), "out": port(nir.Output)}
    nodes |= {"d": nir.Delay(delay=full(DT)), "one": nir.Scale(scale=full(1)), "two": nir.Scale(scale=full(10))}
    network = graph(nodes, "in>ahead ahead>one ahead>d d>two one>out two>out")
    assert sent(network, [[1], [2], [3]]).ravel().tolist() == [2, 3 + 20, 30]


def test_delay_and_look_ahead():
    frames = [[1, 10], [2, 20], [3, 30]]
    assert sent(alone(nir.Delay(delay=np.array([0, 2]) * DT), (2,), (2,)), frames).tolist() == [[1, 0], [2, 0], [3, 10]]
    ahead = alone(extension("look_ahead", 2, {"steps": 1}), (2,), (2,))
    assert sent(ahead, frames).tolist() == [[2, 20], [3, 30], [0, 0]]
    assert sent(ahead, frames, lengths=[2]).tolist() == [[2, 20], [0, 0], [0, 0]]  # nothing beyond the window


def test_bias_acts_inside_the_window_only():
    node = nir.Affine(weight=np.ones((1, 1)), bias=np.array([5.0]))
    assert sent(alone(node), [[1], [1], [1]], lengths=[2]).ravel().tolist() == [6, 6, 0]
    assert sent(alone(node), [[1], [1]], lengths=[0]).ravel().tolist() == [0, 0]


def test_several_inputs_stand_in_the_order_of_their_names():
    nodes = {"b": port(nir.Input, 1), "a": port(nir.Input, 2), "w": nir.Linear(weight=np.array([[1.0, 1.0]]))}
    nodes |= {"s": nir.Scale(scale=full(100)), "out": port(nir.Output)}
    assert sent(graph(nodes, "a>w b>s w>out s>out"), [[1, 2, 3]]).item() == 303


def test_nested_graph_and_spikes_by_path():
    inner = graph({"i": port(nir.Input), "n": lif(), "o": port(nir.Output)}, "i>n n>o")
    outer = graph({"in": port(nir.Input), "m": inner, "out": port(nir.Output)}, "in>m m>out")
    result = Plain(outer).run(np.full((1, 2, 1), 1.5))
    assert result.spikes["m.n"].ravel().tolist() == [0, 1] and result.output.ravel().tolist() == [0, 1]


def test_convolution_and_pooling():
    x = np.arange(1.0, 5).reshape(1, 1, 4)
    one = nir.Conv1d(4, np.array([[[1.0, 10]]]), 1, 1, 2, 1, np.array([0.5]))
    assert sent(alone(one, (1, 4), (1, 4)), x).ravel().tolist() == [20.5, 31.5, 42.5, 3.5]  # x[p - 1] + 10 x[p + 1]
    same = nir.Conv1d(4, np.array([[[1.0, 0, 10]]]), 2, "same", 1, 1, np.array([0.0]))
    assert sent(alone(same, (1, 4), (1, 2)), x).ravel().tolist() == [20, 42]
    grouped = nir.Conv1d(2, np.array([[[1.0]], [[2]]]), 1, 0, 1, 2, np.zeros(2))
    assert sent(alone(grouped, (2, 2), (2, 2)), x.reshape(1, 2, 2)).ravel().tolist() == [1, 2, 6, 8]
    two = nir.Conv2d((2, 2), np.array([[[[1.0, 10], [100, 1000]]]]), 1, 0, 1, 1, np.zeros(1))
    assert sent(alone(two, (1, 2, 2), (1, 1, 1)), x.reshape(1, 1, 2, 2)).item() == 4321
    pool = {"kernel_size": np.array([2, 2]), "stride": np.array([2, 2]), "padding": np.array([1, 1])}
    frame = x.reshape(1, 1, 2, 2)
    assert sent(alone(nir.SumPool2d(**pool), (1, 2, 2), (1, 2, 2)), frame).ravel().tolist() == [1, 2, 3, 4]
    assert sent(alone(nir.AvgPool2d(**pool), (1, 2, 2), (1, 2, 2)), frame).ravel().tolist() == [0.25, 0.5, 0.75, 1]


def test_flatten_counts_dimensions_without_samples_and_steps():
    node = nir.Flatten({"input": np.array([2, 1, 2])}, start_dim=0, end_dim=1)
    assert sent(alone(node, (2, 1, 2), (2, 2)), np.arange(4).reshape(1, 2, 1, 2)).tolist() == [[[0, 1], [2, 3]]]


def test_attention_and_gate():
    ports = {"in": port(nir.Input, 2), "out": port(nir.Output, 2)}
    roles = {"query": "in", "key": "in", "value": "in"}
    frames = [[1, 2], [3, 4]]
    for causal, expected in ((False, [[1 + 9, 8 + 32], [3 + 27, 16 + 64]]), (True, [[1, 8], [3 + 27, 16 + 64]])):
        op = extension("attention", 2, {**roles, "heads": 2, "scale": 0.5, "causal": causal})
        assert sent(graph(ports | {"n": op}, "in>n n>out"), frames).tolist() == (np.array(expected) / 2).tolist()
    op = extension("attention", 2, {**roles, "heads": 1, "scale": 1.0, "causal": False})
    # q k^T = [[5, 11], [11, 25]]; times v
    assert sent(graph(ports | {"n": op}, "in>n n>out"), frames).tolist() == [[38, 54], [86, 122]]
    gate = extension("gate", 2, {"current": "in", "gate": "t"})
    nodes = ports | {"n": gate, "t": nir.Threshold(threshold=full(1.5, 2))}
    assert sent(graph(nodes, "in>n in>t t>n n>out"), frames).tolist() == [[0, 2], [3, 4]]


def test_rotary_turns_neighbours_by_a_quarter_a_step():
    op = extension("rotary", 2, {"angle": np.array([np.pi / 2]), "scale": 2.0})
    found = sent(alone(op, (2,), (2,)), [[1, 10], [1, 10], [1, 10]])
    assert np.allclose(found, [[2, 20], [-20, 2], [-2, -20]], atol=1e-12)


# ---- integers --------------------------------------------------------------------------------------------------------


def test_decay_goes_towards_zero_and_u_wraps():
    assert [decayed(x, 1) for x in (4097, -4097, 1, -1, 0)] == [4095, -4095, 0, 0, 0]
    assert [wrapped(u) for u in (2**23, 2**23 + 1, -(2**23), 1 - 2**23)] == [2**23, 1 - 2**23, 2**23, 1 - 2**23]


def quantised(nodes, edges, **fixed):
    keys = {"in": {"scale": 0.5, "minimum": -128, "maximum": 127}, "out": {"scale": 0.25}}
    return graph(nodes, edges, fixed=keys | fixed, arithmetic="lava-fixed", rule=">")


def integer_neuron(du=4095, dv=0, mant=0, exp=0, vth=10):
    return {"du": du, "dv": dv, "vth": vth, "bias_mant": np.array([mant]), "bias_exp": np.array([exp])}


def test_fixed_point_neuron():
    nodes = {"in": port(nir.Input), "s": nir.Linear(weight=np.array([[3.0]])), "out": port(nir.Output)}
    keys = {"s": {"weight_exp": -1}, "n": integer_neuron(mant=-1, exp=6)}
    # x = 1.25 is rint(2.5) = 2; (3 * 2) >> 1 = 3; v = 64 (3 - 1) a step: 2, 4, 6, 8, 10 in units of 64, 12 > 10 fires
    spikes = quantised(nodes | {"n": lif()}, "in>s s>n n>out", **keys)
    assert PlainFixed(spikes).run(np.full((1, 8, 1), 1.25)).spikes["n"].ravel().tolist() == [0, 0, 0, 0, 0, 1, 0, 0]
    sends = quantised(nodes | {"n": nir.I(r=full(1))}, "in>s s>n n>out", **keys)
    assert PlainFixed(sends).run(np.full((1, 3, 1), 1.25)).output.ravel().tolist() == [32, 64, 96]  # 128 a step, 0.25


def test_fixed_point_taps_are_summed_before_they_are_shifted():
    nodes = {"in": port(nir.Input), "c.delay0": nir.Delay(delay=full(DT)), "out": port(nir.Output)}
    nodes |= {"c.tap0": nir.Affine(weight=np.ones((1, 1)), bias=np.array([7.0]))}
    nodes |= {"c.tap1": nir.Linear(weight=np.ones((1, 1)))}
    network = quantised(nodes, "in>c.delay0 c.delay0>c.tap0 in>c.tap1 c.tap0>out c.tap1>out", c={"weight_exp": -1})
    # (1 + 0) >> 1 = 0, then (1 + 1) >> 1 = 1; each plus 7, times 0.25
    assert PlainFixed(network).run(np.full((1, 2, 1), 0.5)).output.ravel().tolist() == [1.75, 2.0]


def test_fixed_point_rotary():
    op = extension("rotary", 2, {"angle": np.array([np.pi / 2]), "scale": 1.0})
    nodes = {"in": port(nir.Input, 2), "n": op, "out": port(nir.Output, 2)}
    keys = {"cos": np.array([0]), "sin": np.array([1 << 22]), "fraction_bits": 1}
    found = PlainFixed(quantised(nodes, "in>n n>out", n=keys)).run(np.full((1, 2, 2), [0.5, 1.0])).output
    assert found.tolist() == [[[0.5, 1.0], [-1.0, 0.5]]]  # (1, 2) and (-2, 1), a bit of fraction, times 0.25
