"""The reference simulator against hand-computed values and PyTorch, operation by operation."""

import itertools

import nir
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from neurotarget.sim import reference
from neurotarget.sim.graph import dialect, load
from neurotarget.sim.graph.node import GraphError
from neurotarget.sim.trace import Trace, TraceError, classify

DT = 1e-4


def chain(shape, *nodes, metadata=None, output=None):
    """input -> nodes in a row -> output."""
    names = ["input", *(f"n{i}" for i in range(len(nodes))), "output"]
    last = nodes[-1].output_type["output"] if nodes and nodes[-1].output_type else None
    output = np.array(output) if output is not None else last
    ports = [nir.Input(input_type={"input": np.array(shape)}), *nodes, nir.Output(output_type={"output": output})]
    edges = list(itertools.pairwise(names))
    return nir.NIRGraph(nodes=dict(zip(names, ports, strict=True)), edges=edges, metadata=metadata or {"dt": DT})


def run(graph, frames, lengths=None, **kwargs):
    return reference.run(load(graph), np.asarray(frames, dtype=np.float64), lengths, **kwargs)


def full(size, value):
    return np.full(size, float(value))


def lif(size=1, tau=2.0, r=1.0, v_leak=0.0, theta=1.0, v_reset=0.0):
    return nir.LIF(
        tau=full(size, tau * DT),
        r=full(size, r),
        v_leak=full(size, v_leak),
        v_threshold=full(size, theta),
        v_reset=full(size, v_reset),
    )


# ---- neurons, by hand ------------------------------------------------------------------------------------------------


def test_lif_by_hand():
    # v: 0.75, 1.125 -> spike, 0.75, 1.125 -> spike; strictly above the threshold
    trace = run(chain([1], lif()), np.full((1, 4, 1), 1.5))
    assert trace.spikes["n0"].ravel().tolist() == [0, 1, 0, 1]
    assert run(chain([1], lif(theta=0.75)), np.full((1, 1, 1), 1.5)).spikes["n0"].sum() == 0


def test_lif_with_leak_resistance_and_reset_by_hand():
    # alpha = 1/4: v = 0.75 v + 0.25 (1 + 2 I). I = 0: 0.25, 0.4375; I = 1: 0.75, 1.3125 -> spike, reset to -0.5
    node = lif(tau=4.0, r=2.0, v_leak=1.0, theta=1.0, v_reset=-0.5)
    frames = np.array([0, 0, 1, 1, 0.0])[None, :, None]
    # v after step 2 is 0.75 * 0.4375 + 0.75 = 1.078125: spike; then 0.75 * -0.5 + 0.75 = 0.375; 0.53125
    assert run(chain([1], node), frames).spikes["n0"].ravel().tolist() == [0, 0, 1, 0, 0]
    graph = load(chain([1], node))
    v = reference.potentials(graph, frames, None, ["n0"])["n0"].ravel()
    assert v.tolist() == [0.25, 0.4375, 1.078125, 0.375, 0.53125]


def test_if_by_hand():
    node = nir.IF(r=full(1, 1 / DT), v_threshold=full(1, 2.0), v_reset=full(1, 0.5))
    trace = run(chain([1], node), np.full((1, 6, 1), 0.75))
    # 0.75, 1.5, 2.25 -> spike to 0.5, 1.25, 2.0 (not above), 2.75 -> spike
    assert trace.spikes["n0"].ravel().tolist() == [0, 0, 1, 0, 0, 1]


def test_integrator_and_leaky_integrator_by_hand():
    integrator = nir.I(r=full(1, 2 / DT))
    assert run(chain([1], integrator), np.array([1, 2, 3.0])[None, :, None]).output.ravel().tolist() == [2, 6, 12]
    leaky = nir.LI(tau=full(1, 2 * DT), r=full(1, 2.0), v_leak=full(1, 0.0))
    assert run(chain([1], leaky), np.array([1, 0, 4.0])[None, :, None]).output.ravel().tolist() == [1, 0.5, 4.25]


def test_current_based_lif_by_hand():
    node = nir.CubaLIF(
        tau_syn=full(1, 2 * DT),
        tau_mem=full(1, 4 * DT),
        r=full(1, 4.0),
        v_leak=full(1, 0.0),
        v_threshold=full(1, 1.0),
        v_reset=full(1, 0.0),
        w_in=full(1, 2.0),
    )
    # u: 1, 0.5, 0.25; v: 1, 1.25 -> spike to 0, 0.25
    assert run(chain([1], node), np.array([1, 0, 0.0])[None, :, None]).spikes["n0"].ravel().tolist() == [0, 1, 0]


def test_threshold_by_hand():
    trace = run(chain([3], nir.Threshold(threshold=np.array([0.0, 1.0, 2.0]))), np.array([[[0.5, 1.0, 3.0]]]))
    assert trace.spikes["n0"].ravel().tolist() == [1, 0, 1]


def test_rule_of_reaching_the_threshold_holds_in_either_precision():
    node = lif(theta=np.nextafter(1.0, 0))
    metadata = {"dt": DT, "rule": dialect.RULE_REACHES}
    frames = np.array([2.0, 2.0 - 1e-6])[:, None, None]  # v = 1 exactly, and a little less
    for precision in ("float64", "float32"):
        trace = run(chain([1], node, metadata=metadata), frames, precision=precision)
        assert trace.spikes["n0"].ravel().tolist() == [1, 0], precision


# ---- stateless operations against PyTorch ----------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 999),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 2),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 2),
)
def test_convolutions_equal_pytorch(seed, kernel, stride, padding, dilation):
    rng = np.random.default_rng(seed)
    weight, bias = rng.normal(size=(4, 2, kernel, kernel)), rng.normal(size=4)
    frames = rng.normal(size=(2, 3, 2, 7, 6))
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    node = nir.Conv2d(input_shape=(7, 6), weight=weight, bias=bias, groups=1, **options)
    flat = torch.from_numpy(frames).flatten(0, 1)
    expected = F.conv2d(flat, torch.from_numpy(weight), torch.from_numpy(bias), **options).unflatten(0, (2, 3))
    out = run(chain([2, 7, 6], node, output=expected.shape[2:]), frames).output
    np.testing.assert_allclose(out, expected.numpy(), rtol=0, atol=1e-12)
    line = nir.Conv1d(input_shape=6, weight=weight[:, :, 0], bias=bias, groups=1, **options)
    rows = torch.from_numpy(frames[:, :, :, 0]).flatten(0, 1)
    expected = F.conv1d(rows, torch.from_numpy(weight[:, :, 0]), torch.from_numpy(bias), **options).unflatten(0, (2, 3))
    out = run(chain([2, 6], line, output=expected.shape[2:]), frames[:, :, :, 0]).output
    np.testing.assert_allclose(out, expected.numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("kind", "divisor"), [(nir.SumPool2d, 1), (nir.AvgPool2d, 4)])
def test_pooling_equals_pytorch(kind, divisor):
    rng = np.random.default_rng(0)
    frames = rng.normal(size=(1, 2, 3, 6, 4))
    node = kind(kernel_size=np.array([2, 2]), stride=np.array([2, 2]), padding=np.array([0, 0]))
    expected = F.avg_pool2d(torch.from_numpy(frames[0]), 2).numpy() * 4 / divisor
    out = run(chain([3, 6, 4], node, output=[3, 3, 2]), frames).output[0]
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-12)


def test_delays_a_neuron_by_hand():
    node = nir.Delay(delay=np.array([0, 1, 3]) * DT)
    frames = np.arange(1, 5, dtype=np.float64)[None, :, None].repeat(3, axis=2)
    out = run(chain([3], node), frames).output[0]
    assert out.T.tolist() == [[1, 2, 3, 4], [0, 1, 2, 3], [0, 0, 0, 1]]


# ---- extension operations, by hand -----------------------------------------------------------------------------------


def test_look_ahead_sees_zeros_beyond_the_window():
    graph = chain([1], dialect.extension("look_ahead", 1, {"steps": 2}))
    frames = np.arange(1, 6, dtype=np.float64)[None, :, None]
    assert run(graph, frames).output.ravel().tolist() == [3, 4, 5, 0, 0]
    assert run(graph, frames, np.array([4])).output.ravel().tolist() == [3, 4, 0, 0, 0]


def test_rotary_by_hand():
    graph = chain([2], dialect.extension("rotary", 2, {"angle": np.array([np.pi / 2]), "scale": 2.0}))
    out = run(graph, np.tile([1.0, 0.0], (1, 4, 1))).output[0]
    np.testing.assert_allclose(out, [[2, 0], [0, 2], [-2, 0], [0, -2]], atol=1e-12)


def roles(op, names, size, **parameters):
    """A graph whose operation reads slices of the input through one Linear a role."""
    nodes = {"input": nir.Input(input_type={"input": np.array([size * len(names)])})}
    edges = []
    for i, name in enumerate(names):
        weight = np.zeros((size, size * len(names)))
        weight[:, i * size : (i + 1) * size] = np.eye(size)
        nodes[f"to_{name}"] = nir.Linear(weight=weight)
        edges += [("input", f"to_{name}"), (f"to_{name}", "op")]
    nodes["op"] = dialect.extension(op, size, {name: f"to_{name}" for name in names} | parameters)
    nodes["output"] = nir.Output(output_type={"output": np.array([size])})
    return nir.NIRGraph(nodes=nodes, edges=[*edges, ("op", "output")], metadata={"dt": DT})


def test_gate_by_hand():
    out = run(roles("gate", ("current", "gate"), 2), [[[0.5, -3.0, 1.0, 0.0]]]).output
    assert out.ravel().tolist() == [0.5, 0.0]


@pytest.mark.parametrize("causal", [False, True])
def test_attention_equals_the_quadratic_form_and_masks_keys_beyond_the_window(causal):
    rng = np.random.default_rng(3)
    graph = roles("attention", ("query", "key", "value"), 4, heads=2, scale=0.5, causal=causal)
    frames, lengths = (rng.random((3, 6, 12)) < 0.5).astype(float), np.array([6, 4, 2])
    out = run(graph, frames, lengths).output
    for sample, length in enumerate(lengths):
        q, k, v = (frames[sample, :length, 4 * i : 4 * i + 4] for i in range(3))
        for head in (slice(0, 2), slice(2, 4)):
            score = q[:, head] @ k[:, head].T
            expected = (np.tril(score) if causal else score) @ v[:, head] * 0.5
            np.testing.assert_array_equal(out[sample, :length, head], expected)
        assert not out[sample, length:].any()


# ---- loops -----------------------------------------------------------------------------------------------------------


def test_a_recurrent_connection_carries_the_spike_of_the_step_before():
    nodes = {
        "input": nir.Input(input_type={"input": np.array([1])}),
        "lif": lif(theta=0.5),
        "back": nir.Linear(weight=np.array([[-8.0]])),
        "output": nir.Output(output_type={"output": np.array([1])}),
    }
    edges = [("input", "lif"), ("lif", "back"), ("back", "lif"), ("lif", "output")]
    trace = run(nir.NIRGraph(nodes=nodes, edges=edges, metadata={"dt": DT}), np.full((1, 5, 1), 2.0))
    # v: 1 -> spike; then 0.5 (2 - 8) = -3; -1.5 + 1 = -0.5; 0.75 -> spike; -3
    assert trace.spikes["lif"].ravel().tolist() == [1, 0, 0, 1, 0]


def test_a_neuron_that_feeds_itself():
    nodes = {
        "input": nir.Input(input_type={"input": np.array([1])}),
        "lif": lif(theta=0.6),
        "output": nir.Output(output_type={"output": np.array([1])}),
    }
    edges = [("input", "lif"), ("lif", "lif"), ("lif", "output")]
    trace = run(nir.NIRGraph(nodes=nodes, edges=edges, metadata={"dt": DT}), np.array([1, 1, 0.4, 0, 0])[None, :, None])
    # v: 0.5, 0.75 -> spike, 0.5 (0.4 + 1) = 0.7 -> spike, 0.5 (0 + 1) = 0.5, 0.25
    assert trace.spikes["lif"].ravel().tolist() == [0, 1, 1, 0, 0]


def test_a_loop_without_a_neuron_is_refused():
    nodes = {
        "input": nir.Input(input_type={"input": np.array([1])}),
        "a": nir.Linear(weight=np.eye(1)),
        "b": nir.Linear(weight=np.eye(1)),
        "output": nir.Output(output_type={"output": np.array([1])}),
    }
    edges = [("input", "a"), ("a", "b"), ("b", "a"), ("a", "output")]
    with pytest.raises(GraphError, match="holds no neuron"):
        load(nir.NIRGraph(nodes=nodes, edges=edges))


# ---- windows, batches, traces ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ((nir.Linear(full((2, 3), 1e308)), lif(2)), "node n0 .affine.: its values overflow float64"),
        ((nir.Linear(np.array([[8e307, -8e307, 0.0]])), lif(1, r=-1e9)), "node n1 .lif.: its values overflow float64"),
    ],
    ids=["currents", "potentials"],
)
def test_numbers_beyond_the_format_are_refused_by_node(nodes, words):
    with pytest.raises(GraphError, match=words):
        run(chain((3,), *nodes), 2 * np.eye(3)[None])


def test_numbers_beyond_single_precision_are_refused_there_alone():
    graph = chain((1,), nir.Linear(full((1, 1), 1e39)), lif())
    assert run(graph, np.ones((1, 2, 1))).spikes["n1"].tolist() == [[[1], [1]]]
    with pytest.raises(GraphError, match=r"node n0 .affine.: its parameters overflow float32, whose"):
        run(graph, np.ones((1, 2, 1)), precision="float32")


def test_a_bias_does_not_fire_outside_the_window():
    graph = chain([1], nir.Affine(weight=np.eye(1), bias=np.array([4.0])), lif())
    trace = run(graph, np.zeros((2, 5, 1)), np.array([5, 2]))
    assert trace.spikes["n1"][:, :, 0].tolist() == [[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]


def test_a_sample_is_the_same_in_any_batch():
    rng = np.random.default_rng(0)
    graph = chain([5], nir.Affine(weight=rng.normal(size=(7, 5)), bias=rng.normal(size=7)), lif(7))
    frames = rng.normal(size=(reference.BATCH + 3, 9, 5))
    together = run(graph, frames).spikes["n1"]
    for sample in (0, reference.BATCH - 1, reference.BATCH, reference.BATCH + 2):
        alone = run(graph, frames[sample : sample + 1]).spikes["n1"]
        np.testing.assert_array_equal(alone[0], together[sample])


def test_synaptic_input_is_what_the_node_received():
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(3, 4))
    node = nir.Linear(weight=weight)
    graph = load(chain([4], lif(4, theta=0.2), nir.Delay(delay=full(4, DT)), node, lif(3)))
    trace = reference.run(graph, rng.normal(size=(2, 6, 4)))
    received = reference.synaptic_input(graph, trace, "n2")
    np.testing.assert_array_equal(received[:, 1:], trace.spikes["n0"][:, :-1])
    assert not received[:, 0].any()
    np.testing.assert_allclose(reference.synaptic_input(graph, trace, "n3"), received @ weight.T)


def loop(neuron):
    """input -> neuron -> back -> neuron, and neuron -> out."""
    nodes = {
        "input": nir.Input(input_type={"input": np.array([2])}),
        "n": neuron,
        "back": nir.Linear(weight=np.array([[0.5, 0.2], [0.1, 0.3]])),
        "out": nir.Linear(weight=np.eye(2)),
        "output": nir.Output(output_type={"output": np.array([2])}),
    }
    edges = [("input", "n"), ("n", "back"), ("back", "n"), ("n", "out"), ("out", "output")]
    return load(nir.NIRGraph(nodes=nodes, edges=edges, metadata={"dt": DT}, type_check=False))


def test_what_a_loop_feeds_back_arrives_a_step_late():
    graph = loop(lif(2, theta=0.4))
    frames = np.random.default_rng(1).random((2, 9, 2))
    trace = reference.run(graph, frames, np.array([9, 6]))
    spikes = trace.spikes["n"]
    assert spikes.any()
    late = np.zeros_like(spikes)
    late[:, 1:] = spikes[:, :-1]
    prepared = reference.prepare(graph)
    back = reference.synaptic_input(graph, trace, "back", prepared)
    received = reference.synaptic_input(graph, trace, "n", prepared)
    # One of the two edges of the loop carries the step before.
    weight = graph.nodes["back"].parameters["weight"]
    np.testing.assert_allclose(received - trace.input, late @ weight.T)
    assert any(np.array_equal(back, expected) for expected in (late, spikes))


def test_a_loop_of_potentials_runs_again():
    """A leaky integrator that feeds itself: no spikes to take from the trace."""
    neuron = nir.LI(tau=full(2, 2 * DT), r=full(2, 1.0), v_leak=full(2, 0.0))
    graph = loop(neuron)
    frames = np.random.default_rng(1).random((2, 5, 2))
    trace = reference.run(graph, frames)
    np.testing.assert_allclose(reference.synaptic_input(graph, trace, "out"), trace.output)
    v, potential = np.zeros((2, 2)), []
    for step in range(5):
        v = 0.5 * v + 0.5 * (frames[:, step] + v @ graph.nodes["back"].parameters["weight"].T)
        potential.append(v)
    np.testing.assert_allclose(np.stack(potential, axis=1), trace.output)


def test_a_trace_survives_its_file(tmp_path):
    graph = chain([2], nir.Affine(weight=np.eye(2), bias=np.ones(2)), lif(2))
    trace = run(graph, np.ones((3, 4, 2)), np.array([4, 3, 2]), labels=np.array([0, 1, 1]))
    trace.save(tmp_path / "trace.npz")
    again = Trace.load(tmp_path / "trace.npz")
    np.testing.assert_array_equal(again.spikes["n1"], trace.spikes["n1"])
    np.testing.assert_array_equal(again.output, trace.output)
    np.testing.assert_array_equal(again.labels, trace.labels)
    assert again.header["backend"] == "reference" and again.header["precision"] == "float64"
    assert [path.name for path in tmp_path.iterdir()] == ["trace.npz"]


def test_damaged_traces_are_refused_by_name(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"no zip")
    np.savez(tmp_path / "y.npz", input=np.zeros(3))
    for name, words in (
        ("x.npz", "not an .npz file"),
        ("y.npz", "this is an .npz of arrays, not a trace"),
        ("z.npz", "no such file"),
    ):
        with pytest.raises(TraceError, match=f"{name}: {words}"):
            Trace.load(tmp_path / name)


def test_readouts_by_hand():
    output = np.array([[[0.0, 3.0], [4.0, 0.0], [4.0, 0.0]]])
    assert classify(output, np.array([3]), "sum").tolist() == [0]
    assert classify(output, np.array([1]), "sum").tolist() == [1]
    # 0.047 + 0.982 + 0.982 for the first class
    assert classify(output, np.array([3]), "softmax_sum").tolist() == [0]
    assert classify(output, np.array([3]), "max").tolist() == [0]
    assert classify(output, np.array([1]), "max").tolist() == [1]
    assert classify(output - 9, np.array([1]), "max").tolist() == [1]  # what lies outside the window is no zero


@pytest.mark.parametrize(
    ("frames", "lengths", "words"),
    [
        (np.zeros((2, 5, 3)), None, r"takes \[samples, steps, 2\]"),
        (np.zeros((0, 5, 2)), None, "no sample or no step"),
        (np.zeros((2, 5, 2)), np.array([5, 6]), "from 0 to 5"),
        (np.zeros((2, 5, 2)), np.array([5]), "2 numbers"),
    ],
)
def test_input_that_does_not_fit_is_refused(frames, lengths, words):
    with pytest.raises(GraphError, match=words):
        run(chain([2], lif(2)), frames, lengths)
