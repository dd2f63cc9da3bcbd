"""The integer simulator: hand-computed cases, and Lava's own fixed-point models.

Lava's models are run as plain objects, without its runtime: the arithmetic is theirs, line for line.
"""

import multiprocessing

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from neurotarget.sim import reference
from neurotarget.sim.graph import dialect, load
from neurotarget.sim.reference import integer, integer_kernels
from neurotarget.sim.resets import RESETS

from tests.sim.integer_nodes import GRADED, dense, graph_of, neuron, port, register
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
