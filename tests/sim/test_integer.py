"""The integer simulator: hand-computed cases, plain loops over integers, and Lava's own fixed-point models.

Lava's models are run as plain objects, without its runtime: the arithmetic is theirs, line for line.
"""

import dataclasses
import multiprocessing

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from neurotarget.sim import reference
from neurotarget.sim.graph import Graph, dialect, load
from neurotarget.sim.graph.node import GraphError, Node
from neurotarget.sim.graph.wiring import infer_shapes, order
from neurotarget.sim.reference import integer, integer_kernels
from neurotarget.sim.resets import RESETS

from tests.sim.weighted import weighted


def run_neuron(current, du=4095, dv=0, bias=0, vth=1, fires=True):
    """u, v before the reset, spikes, each [steps, neurons], for a current [steps, neurons]."""
    current = np.atleast_2d(np.asarray(current, np.int64))
    steps, neurons = current.shape
    u, v = np.zeros((1, neurons), np.int64), np.zeros((1, neurons), np.int64)
    spikes, states = np.empty((1, steps, neurons), np.uint8), np.empty((1, steps, neurons, 2), np.int64)
    potential, peaks = np.empty((1, steps, neurons), np.int64), np.zeros((1, 2), np.int64)
    bias = np.broadcast_to(np.asarray(bias, np.int64), neurons).copy()
    integer_kernels.neuron(
        current[None], 4096 - du - 1, 4096 - dv, bias, vth << 6, fires, 0, u, v, spikes, potential, states, peaks
    )
    return states[0, ..., 0], states[0, ..., 1], spikes[0] if fires else potential[0], peaks[0]


def column(*values):
    return np.array(values)[:, None]


# ---- LIF by hand -----------------------------------------------------------------------------------------------------


def test_lif_by_hand():
    u, v, spikes, _ = run_neuron(column(1, 1, 2, 0, 3), dv=2048, vth=2)
    assert u[:, 0].tolist() == [64, 64, 128, 0, 192]
    assert v[:, 0].tolist() == [64, 96, 176, 0, 192]  # 176 > 128 fires and leaves 0
    assert spikes[:, 0].tolist() == [0, 0, 1, 0, 1]


def test_fires_above_the_threshold_not_at_it():
    assert run_neuron(column(2), vth=2)[2].tolist() == [[0]]
    assert run_neuron(column(2), vth=2, bias=1)[2].tolist() == [[1]]


def test_negative_states_decay_towards_zero_and_reach_it():
    _, v, _, _ = run_neuron(column(-1, 0, 0, 0, 0, 0, 0, 0, 0), dv=2048)
    assert v[:, 0].tolist() == [-64, -32, -16, -8, -4, -2, -1, 0, 0]  # a floor would stay at -1


def test_current_keeps_its_value_between_steps_and_through_a_spike():
    u, v, spikes, _ = run_neuron(column(4, 0, 0), du=2047, vth=3)
    assert u[:, 0].tolist() == [256, 128, 64]
    assert v[:, 0].tolist() == [256, 128, 192] and spikes[:, 0].tolist() == [1, 0, 0]


def test_u_wraps_around_24_bits_and_v_is_clipped():
    u, _, _, peaks = run_neuron(column(2**17, 2**17 + 1, -(2**17)), vth=131071)
    assert u[:, 0].tolist() == [2**23, -(2**23) + 64, 2**23]  # Lava keeps 2^23 itself and wraps what lies above
    assert peaks[0] == 2**23 + 64
    _, v, _, peaks = run_neuron(column(-100000, -100000), vth=131071)
    assert v[:, 0].tolist() == [-6400000, -(2**23) + 1] and peaks[1] == 12800000
    _, v, potential, _ = run_neuron(column(100000, 100000), fires=False)
    assert potential[:, 0].tolist() == v[:, 0].tolist() == [6400000, 2**23 - 1]


def test_bias_acts_at_the_scale_of_v_with_its_exponent():
    assert integer.lava_bias(np.array([5, -5, -5, 5]), np.array([3, 3, -1, -1])).tolist() == [40, -40, -3, 2]


# ---- Lava's own models -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lava():
    pytest.importorskip("lava", reason="Lava is not installed (requirements-lava.txt)")
    from neurotarget.sim.lava.child import compat

    with pytest.MonkeyPatch.context() as patch:
        # Lava sets the start method as it is imported, for a runtime that nothing here starts.
        patch.setattr(multiprocessing, "set_start_method", lambda method: None)
        compat.apply()
        from lava.proc.dense.models import PyDenseModelBitAcc
        from lava.proc.lif.models import PyLifModelBitAcc

    return {"lif": PyLifModelBitAcc, "dense": PyDenseModelBitAcc}


def lava_lif(model, current, du, dv, bias_mant, bias_exp, vth):
    """u, v after the reset, spikes of Lava's LIF for a current [steps, neurons]."""
    lif, neurons = model({}), current.shape[1]
    lif.u, lif.v = np.zeros(neurons, np.int32), np.zeros(neurons, np.int32)
    lif.du, lif.dv, lif.vth = du, dv, np.array([vth], np.int32)
    lif.bias_mant, lif.bias_exp = bias_mant, bias_exp
    lif.scale_bias()
    lif.scale_threshold()
    found = []
    for step in current:
        lif.subthr_dynamics(step.astype(np.int32))
        spikes = lif.spiking_activation()
        lif.reset_voltage(spikes)
        found.append((lif.u.copy(), lif.v.copy(), spikes))
    return [np.array(each) for each in zip(*found, strict=True)]


class Port:
    """Stands for a Lava port: gives `value`, keeps what is sent."""

    def __init__(self, value=None):
        self.value = value

    def recv(self):
        return self.value

    def send(self, value):
        self.value = value


# dv = 2048: half of v stays; vth = 1 is 64; 80 arrives each step.
BY_HAND = {
    "zero": [80, 80, 80, 80],
    "subtract": [80, 40 + 80 - 64, 28 + 80, 54 + 80 - 64],
    "subtract_at_once": [80, 8 + 80, 12 + 80, 14 + 80],
}


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("start", [0, 66, -3])
def test_resets_in_integers_by_hand(reset, start):
    one = np.ones(1)
    arrays = (2e-4 * one, one, 0 * one, 64 * one, 0 * one)
    node = nir.LIF(*arrays, metadata={"reset": reset, "v_initial": float(start)})
    nodes = {"input": nir.Input(np.array([1])), "w": nir.Linear(np.ones((1, 1))), "n": node}
    nodes["output"] = nir.Output(np.array([1]))
    fixed = {
        "input": {"scale": 1.0, "minimum": -128, "maximum": 127},
        "w": {"weight_exp": 0},
        "n": {"du": 4095, "dv": 2048, "vth": 1, "bias_mant": [16], "bias_exp": [0]},
        "output": {"scale": 1.0},
    }
    metadata = {"dialect": dialect.DIALECT, "dt": 1e-4, "arithmetic": "lava-fixed", "fixed": fixed}
    graph = load(nir.NIRGraph(nodes, [("input", "w"), ("w", "n"), ("n", "output")], metadata=metadata))
    frames = np.ones((2, 4, 1))  # 64 and a bias of 16
    v = reference.potentials(graph, frames, np.full(2, 4), ["n"])["n"]
    spikes = reference.run(graph, frames).spikes["n"]
    if not start:
        assert v[1].ravel().tolist() == BY_HAND[reset]
    # 33 of 66 stay, and late by subtraction 64 go; -3 decays towards zero
    assert v[0, 0, 0] == {0: 80, 66: 33 + 80 - 64 * (reset == "subtract"), -3: -1 + 80}[start]
    assert np.array_equal(spikes, v > 64)


def lava_dense(model, weight, weight_exp, payloads):
    """What Lava's Dense sums of each payload [steps, inputs]; its extra step of delay taken out."""
    dense = model({"weight_exp": weight_exp})
    dense.weights, dense.num_message_bits = weight.astype(np.int32), np.array([8])
    dense.a_buff, dense.a_out = np.zeros(len(weight), np.int32), Port()
    found = []
    for payload in payloads:
        dense.s_in = Port(payload)
        dense.run_spk()
        found.append(dense.a_buff)
    return np.array(found)


@settings(deadline=None, max_examples=150)
@given(
    du=st.one_of(st.just(4095), st.integers(0, 4095)),
    dv=st.integers(0, 4095),
    vth=st.one_of(st.integers(0, 2**17 - 1), st.integers(0, 300)),
    magnitude=st.integers(0, 18),
    seed=st.integers(0, 2**31),
)
def test_neuron_is_lavas_bit_for_bit(lava, du, dv, vth, magnitude, seed):
    random = np.random.default_rng(seed)
    current = random.integers(-(2**magnitude), 2**magnitude + 1, (40, 6))
    mantissa, exponent = random.integers(-4096, 4096, 6), random.integers(-7, 8, 6)
    u, v, spikes = lava_lif(lava["lif"], current, du, dv, mantissa, exponent, vth)
    own_u, own_v, own_spikes, _ = run_neuron(current, du, dv, integer.lava_bias(mantissa, exponent), vth)
    np.testing.assert_array_equal(own_u, u)
    np.testing.assert_array_equal(np.where(own_spikes, 0, own_v), v)
    np.testing.assert_array_equal(own_spikes, spikes)


def test_those_currents_do_wrap_and_clip():
    random = np.random.default_rng(1)
    peaks = run_neuron(random.integers(-(2**18), 2**18, (40, 6)), 4095, 5, 0, 131071)[3]
    assert (peaks > 2**23).all()


@settings(deadline=None, max_examples=100)
@given(
    low=st.sampled_from([-400, -30, 0]),
    high=st.sampled_from([0, 30, 400]),
    weight_exp=st.integers(-7, 6),
    seed=st.integers(0, 2**31),
)
def test_synapse_is_lavas_bit_for_bit(lava, low, high, weight_exp, seed):
    random = np.random.default_rng(seed)
    weight = random.integers(low, high + 1, (5, 9))
    payloads = random.integers(-128, 128, (12, 9))
    expected = lava_dense(lava["dense"], weight, weight_exp, payloads)
    own = integer.shifted(weighted(payloads, integer.lava_weights(weight)), weight_exp)
    np.testing.assert_array_equal(own, expected)


def test_mixed_signs_keep_even_weights_only():
    weight = np.array([[-300, -255, -3, -1, 0, 1, 3, 254, 255, 300]])
    assert integer.lava_weights(weight).tolist() == [[-256, -256, -4, -2, 0, 0, 2, 254, 254, 254]]
    assert integer.lava_weights(np.abs(weight)).tolist() == [[255, 255, 3, 1, 0, 1, 3, 254, 255, 255]]
    assert integer.lava_weights(-np.abs(weight)).tolist() == [[-255, -255, -3, -1, 0, -1, -3, -254, -255, -255]]


def test_a_right_shift_floors():
    assert integer.shifted(np.array([-5, -1, 1, 5]), -1).tolist() == [-3, -1, 0, 2]
    assert integer.shifted(np.array([-5, 5]), 2).tolist() == [-20, 20]
    assert integer.shifted(np.array([-5, 5]), 0).tolist() == [-5, 5]


@pytest.mark.parametrize("largest", [3, 2**15, 2**25, 2**45])
def test_sums_of_products_are_exact(largest):
    random = np.random.default_rng(0)
    x = random.integers(-largest, largest, (7, 64))
    weight = random.integers(-255, 256, (5, 64))
    expected = np.array([[sum(int(a) * int(b) for a, b in zip(r, w, strict=True)) for w in weight] for r in x])
    np.testing.assert_array_equal(weighted(x, weight), expected)


# ---- a whole network against a chain of Lava's models ----------------------------------------------------------------


def graph_of(*nodes, fixed):
    named = {node.name: node for node in nodes}
    components, recurrent = order(named)
    shaped = infer_shapes(named, components, recurrent)
    return Graph(shaped, components, recurrent, 1e-4, False, ">", "sum", "test", "lava-fixed", fixed)


def neuron(name, sources, size, vth, kind="lif"):
    ones = np.ones(size)
    p = {"tau": 2e-4 * ones, "r": ones, "v_leak": 0 * ones, "v_threshold": (vth << 6) * ones, "v_reset": 0 * ones}
    return Node(name, kind, sources, p, input_shape=(size,), output_shape=(size,))


def dense(name, sources, weight):
    return Node(name, "affine", sources, {"weight": np.asarray(weight, float), "bias": None})


def port(kind, sources, shape):
    return Node(kind, kind, sources, {"shape": shape})


def register(size, du, dv, vth, mantissa=None, exponent=None):
    zeros = np.zeros(size, int)
    mantissa, exponent = (zeros if x is None else x for x in (mantissa, exponent))
    return {"du": du, "dv": dv, "vth": vth, "bias_mant": mantissa, "bias_exp": exponent}


GRADED = {"scale": 1.0, "minimum": -128, "maximum": 127}


def test_a_recurrent_network_is_a_chain_of_lavas_models(lava):
    random = np.random.default_rng(3)
    w_in, w_rec = (2 * random.integers(-40, 41, shape) for shape in ((6, 4), (6, 6)))
    mantissa, exponent = random.integers(-2000, 2000, 6), random.integers(0, 3, 6)
    graph = graph_of(
        port("input", (), (4,)),
        dense("in", ("input",), w_in),
        dense("rec", ("lif",), w_rec),
        neuron("lif", ("in", "rec"), 6, 300),
        port("output", ("lif",), (6,)),
        fixed={
            "input": GRADED,
            "in": {"weight_exp": -1},
            "rec": {"weight_exp": 1},
            "lif": register(6, 1500, 700, 300, mantissa, exponent),
            "output": {"scale": 1.0},
        },
    )
    frames = random.integers(-20, 30, (2, 60, 4))
    states = reference.states(graph, frames, None, ["lif"])["lif"]
    trace = reference.run(graph, frames)
    assert 50 < trace.spikes["lif"].sum() < 700
    for sample in range(2):
        first = lava["dense"]({"weight_exp": -1}), lava["dense"]({"weight_exp": 1})
        for model, weight in zip(first, (w_in, w_rec), strict=True):
            model.weights, model.num_message_bits = weight.astype(np.int32), np.array([8])
            model.a_buff, model.a_out = np.zeros(6, np.int32), Port()
        lif = lava["lif"]({})
        lif.u, lif.v, spikes = np.zeros(6, np.int32), np.zeros(6, np.int32), np.zeros(6, np.int32)
        lif.du, lif.dv, lif.vth, lif.bias_mant, lif.bias_exp = 1500, 700, np.array([300]), mantissa, exponent
        lif.scale_bias()
        lif.scale_threshold()
        for step in range(60):
            current = 0
            for model, payload in zip(first, (frames[sample, step], spikes), strict=True):
                model.s_in = Port(payload)
                model.run_spk()
                current = current + model.a_buff
            lif.subthr_dynamics(current)
            fired = lif.spiking_activation()
            np.testing.assert_array_equal(states[0][sample, step], lif.u)
            np.testing.assert_array_equal(states[1][sample, step], lif.v)
            np.testing.assert_array_equal(trace.spikes["lif"][sample, step], fired)
            lif.reset_voltage(fired)
            spikes = fired.astype(np.int32)


# ---- operations against plain loops ----------------------------------------------------------------------------------


def apply(kind, parameters, fixed, x, roles=(), mask=None):
    features = (x[roles[0]] if roles else x).shape[2:]
    node = Node("node", kind, ("a",), parameters, dict.fromkeys(roles, ("a",)), features, features)
    call = integer.Call(node, integer.integer_parameters(node, fixed), integer.INTEGER, {}, mask, {})
    return integer.INTEGER_OPERATIONS[kind](call, x)


def test_rotary_is_a_chain_of_floored_turns():
    one = 1 << 22
    angle = np.array([1.0, 0.1, 3e-4])
    cos, sin = np.floor(one * np.cos(angle)).astype(int), np.rint(one * np.sin(angle)).astype(int)
    x = np.random.default_rng(0).integers(0, 3, (2, 30, 6))
    out = apply("rotary", {"angle": angle, "scale": 1.0}, {"cos": cos, "sin": sin, "fraction_bits": 12}, x)
    for pair in range(3):
        c, s = one, 0
        for step in range(30):
            for sample in range(2):
                even, odd = (int(v) for v in x[sample, step, 2 * pair : 2 * pair + 2])
                assert out[sample, step, 2 * pair] == (even * c - odd * s) >> 10
                assert out[sample, step, 2 * pair + 1] == (even * s + odd * c) >> 10
            c, s = (
                (c * int(cos[pair]) - s * int(sin[pair])) >> 22,
                (c * int(sin[pair]) + s * int(cos[pair])) >> 22,
            )


def test_the_oscillator_stays_true_over_a_thousand_steps():
    angle = 10000.0 ** (-np.arange(8) / 8)
    one = 1 << 22
    c, s = np.empty((1000, 8), np.int64), np.empty((1000, 8), np.int64)
    cos, sin = np.floor(one * np.cos(angle)).astype(np.int64), np.rint(one * np.sin(angle)).astype(np.int64)
    integer_kernels.oscillate(cos, sin, 22, c, s)
    turn = np.arange(1000)[:, None] * angle
    assert np.abs(c / one - np.cos(turn)).max() < 1e-3
    assert np.abs(s / one - np.sin(turn)).max() < 1e-3
    assert (c[1:] < one).all()  # a pair that turned, however little, is below 1


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("exponent", [0, 3, -2])
def test_attention_counts_coincidences(causal, exponent):
    random = np.random.default_rng(0)
    q, k, v = ((random.random((2, 7, 6)) < 0.5).astype(np.uint8) for _ in range(3))
    parameters = {"heads": 2, "scale": 1.0, "causal": causal}
    x = {"query": q, "key": k, "value": v}
    out = apply("attention", parameters, {"weight_exp": exponent}, x, ("query", "key", "value"))
    for sample, t, n in np.ndindex(2, 7, 6):
        head = n // 3
        total = sum(
            int(q[sample, t, 3 * head + i]) * int(k[sample, s, 3 * head + i]) * int(v[sample, s, n])
            for s in range(t + 1 if causal else 7)
            for i in range(3)
        )
        assert out[sample, t, n] == (total << exponent if exponent >= 0 else total >> -exponent)


def test_gate_passes_currents_and_synapses_add_their_bias_after_the_shift():
    x = np.array([[[3, 5]]])
    p = {"weight": np.array([[2.0, -4.0], [6.0, 2.0]]), "bias": np.array([7.0, -1.0])}
    assert apply("affine", p, {"weight_exp": -2}, x).tolist() == [[[(6 - 20 >> 2) + 7, (18 + 10 >> 2) - 1]]]
    current = np.array([[[-9, 4]]])
    out = apply("gate", {}, {}, {"current": current, "gate": np.array([[[1, 0]]])}, ("current", "gate"))
    assert out.tolist() == [[[-9, 0]]]


@pytest.mark.parametrize("depthwise", [False, True])
def test_convolution_over_time_sees_nothing_outside_the_window(depthwise):
    random = np.random.default_rng(1)
    weight = 2 * random.integers(-20, 21, (3, 3) if depthwise else (4, 3, 3))
    x = random.integers(0, 4, (2, 9, 3))
    mask = np.arange(9) < np.array([[9], [6]])
    kind = "depthwise_conv" if depthwise else "temporal_conv"
    out = apply(kind, {"weight": weight.astype(float), "bias": None, "look_ahead": 1}, {"weight_exp": 0}, x, mask=mask)
    seen = x * mask[..., None]
    for sample, t, n in np.ndindex(*out.shape):
        total = 0
        for i in range(3):
            s = t + 1 - 2 + i
            if 0 <= s < 9:
                total += weight[n, i] * seen[sample, s, n] if depthwise else int(weight[n, :, i] @ seen[sample, s])
        assert out[sample, t, n] == total


def test_convolution_in_space_with_groups():
    random = np.random.default_rng(2)
    weight = 2 * random.integers(-20, 21, (4, 2, 3, 3))
    x = random.integers(-3, 4, (1, 2, 4, 6, 5))
    p = {"weight": weight.astype(float), "bias": np.arange(4.0), "groups": 2, "stride": (2, 1), "padding": (1, 0)}
    out = apply("conv2d", p | {"dilation": (1, 1)}, {"weight_exp": -1}, x)
    padded = np.pad(x, [(0, 0)] * 3 + [(1, 1), (0, 0)])
    assert out.shape == (1, 2, 4, 3, 3)
    for _, t, n, i, j in np.ndindex(*out.shape):
        channels = slice(0, 2) if n < 2 else slice(2, 4)
        field = padded[0, t, channels, 2 * i : 2 * i + 3, j : j + 3]
        assert out[0, t, n, i, j] == (int((field * weight[n]).sum()) >> 1) + n


def test_graded_input_rounds_and_clips():
    fixed = {"scale": 0.5, "minimum": -128, "maximum": 127}
    x = np.array([[[0.2, 0.25, 0.75, -0.26, 1e9, -1e9]]], np.float32)
    assert apply("input", {"shape": (6,)}, fixed, x).tolist() == [[[0, 0, 2, -1, 127, -128]]]


# ---- the simulator's frame -------------------------------------------------------------------------------------------


def small():
    return graph_of(
        port("input", (), (2,)),
        dense("fc", ("input",), [[100, -50], [20, 60]]),
        neuron("lif", ("fc",), 2, 90),
        port("output", ("lif",), (2,)),
        fixed={
            "input": GRADED,
            "fc": {"weight_exp": 0},
            "lif": register(2, 4095, 1024, 90, np.array([3000, 0]), np.array([1, 0])),
            "output": {"scale": 1.0},
        },
    )


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
