"""Resets and starts of the potential: by hand, against snnTorch and SpikingJelly, and what a file must say of them."""

import json

import nir
import numpy as np
import pytest
import snntorch
import torch
from neurotarget.sim import reference
from neurotarget.sim.graph import dialect, load
from neurotarget.sim.graph.node import GraphError
from neurotarget.sim.resets import RESETS
from spikingjelly.activation_based import neuron

from neurotarget import cli

DT, STEPS, NEURONS = 1e-4, 60, 8
SILENT = "the file does not say how neurons reset"


def full(value, size=NEURONS):
    return np.full(size, float(value))


def lif(size=NEURONS, tau=2.0, r=None, theta=1.0, v_reset=0.0, v_leak=0.0, metadata=None):
    arrays = (tau * DT, tau if r is None else r, v_leak, theta, v_reset)
    return nir.LIF(*(full(value, size) for value in arrays), metadata=metadata or {})


def network(node, size=NEURONS, metadata=None):
    nodes = {
        "input": nir.Input(np.array([size])),
        "w": nir.Linear(np.eye(size)),
        "n": node,
        "output": nir.Output(np.array([size])),
    }
    edges = [("input", "w"), ("w", "n"), ("n", "output")]
    return nir.NIRGraph(nodes, edges, metadata={"dt": DT} if metadata is None else metadata)


def potentials_and_spikes(graph, frames):
    graph = graph if not isinstance(graph, nir.NIRGraph) else load(graph)
    lengths = np.full(len(frames), frames.shape[1])
    v = reference.potentials(graph, frames, lengths, ["n"])["n"]
    return v, reference.run(graph, frames).spikes["n"]


def random_frames(seed=0, size=NEURONS):
    return np.random.default_rng(seed).normal(0.6, 1.2, (3, STEPS, size))


# ---- by hand ---------------------------------------------------------------------------------------------------------

# decay 1/2, 1.25 arrives each step, theta = 1; v before the reset. All numbers are exact in binary.
BY_HAND = {
    "zero": [1.25, 1.25, 1.25, 1.25, 1.25],
    "subtract": [1.25, 0.875, 1.6875, 1.09375, 0.796875],  # 0.625 + 1.25 - 1 = 0.875: below theta, so no spike
    "subtract_at_once": [1.25, 1.375, 1.4375, 1.46875, 1.484375],  # (1.25 - 1) / 2 + 1.25
}


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("rule", [">", ">="])
def test_each_reset_by_hand(reset, rule):
    theta = np.nextafter(1.0, -np.inf) if rule == ">=" else 1.0
    graph = network(lif(1, theta=theta, metadata={"reset": reset}), 1, {"dt": DT, "rule": rule})
    v, spikes = potentials_and_spikes(graph, np.full((1, 5, 1), 1.25))
    assert v.ravel().tolist() == BY_HAND[reset]
    assert spikes.ravel().tolist() == [value > 1 for value in BY_HAND[reset]]


def test_the_real_threshold_is_taken_off_in_both_precisions():
    """Under rule `>=` a neuron that reaches theta fires and keeps nothing; the file's number would leave 1e-16."""
    node = nir.IF(r=full(1 / DT, 1), v_threshold=full(np.nextafter(1.0, -np.inf), 1), v_reset=full(0, 1))
    for reset in ("subtract", "subtract_at_once"):
        node.metadata = {"reset": reset}
        graph = load(network(node, 1, {"dt": DT, "rule": ">="}))
        for precision in ("float64", "float32"):
            spikes = reference.run(graph, np.full((1, 8, 1), 0.5), precision=precision).spikes["n"]
            assert spikes.ravel().tolist() == [0, 1] * 4


@pytest.mark.parametrize(
    ("reset", "expected"),
    [
        ("zero", [0.75 + 0.125, 0.4375 + 0.125]),
        ("subtract", [0.75 + 0.125 - 1, -0.0625 + 0.125]),  # 1.5 is over theta: it goes off at the first step
        ("subtract_at_once", [0.75 + 0.125, 0.4375 + 0.125]),
    ],
)
def test_the_start_of_the_potential_by_hand(reset, expected):
    graph = network(lif(2, metadata={"reset": reset, "v_initial": np.array([1.5, 0.0])}), 2)
    v, spikes = potentials_and_spikes(graph, np.full((2, 2, 2), 0.125))
    assert v[:, :, 0].tolist() == [expected] * 2 and v[:, :, 1].tolist() == [[0.125, 0.1875]] * 2
    assert not spikes.any()


def test_neurons_that_do_not_fire_have_a_start_too():
    node = nir.LI(*(full(value, 1) for value in (2 * DT, 1, 0)), metadata={"v_initial": 4.0})
    out = reference.run(load(network(node, 1)), np.zeros((1, 3, 1))).output
    assert out.ravel().tolist() == [2.0, 1.0, 0.5]


def test_a_loop_carries_the_potential_from_step_to_step():
    """The neuron inhibits itself: step by step it gives what the closed recursion gives."""
    for reset in RESETS:
        nodes = network(lif(1, metadata={"reset": reset, "v_initial": 0.5}), 1)
        nodes.nodes["back"] = nir.Linear(np.array([[-0.5]]))
        nodes.edges += [("n", "back"), ("back", "n")]
        spikes = reference.run(load(nodes), np.full((1, 40, 1), 0.8125)).spikes["n"].ravel()
        v, before, expected = 0.5, 0, []
        for _ in range(40):
            late = reset == "subtract" and v > 1
            v = v / 2 + 0.8125 - 0.5 * before - late
            before = int(v > 1)
            expected.append(before)
            if before and reset != "subtract":
                v = 0 if reset == "zero" else v - 1
        assert spikes.tolist() == expected and 5 < sum(expected) < 40


# ---- against frameworks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reset", "mechanism", "delayed"),
    [
        ("zero", "zero", True),
        ("zero", "zero", False),
        ("subtract", "subtract", True),
        ("subtract_at_once", "subtract", False),
    ],
)
def test_snntorch_leaky_in_double_precision(reset, mechanism, delayed):
    """Without its delay snnTorch 1.0 takes off more where theta is left after a reset: v stays below 2 theta here."""
    cell = snntorch.Leaky(beta=0.8, threshold=0.9, reset_mechanism=mechanism, reset_delay=delayed).double()
    frames = np.random.default_rng(0).random((3, STEPS, NEURONS))
    mem, expected = cell.reset_mem(), []
    for step in range(STEPS):
        spikes, mem = cell(torch.from_numpy(frames[:, step]), mem)
        expected.append(spikes.numpy())
    expected = np.stack(expected, axis=1)
    graph = network(lif(tau=5.0, theta=0.9, metadata={"reset": reset}))
    assert np.array_equal(reference.run(load(graph), frames).spikes["n"], expected) and expected.sum() > 100


def test_snntorch_synaptic_in_double_precision():
    cell = snntorch.Synaptic(alpha=0.75, beta=0.5, threshold=1.0).double()
    frames = random_frames(2)
    syn, mem = cell.reset_mem()
    expected = []
    for step in range(STEPS):
        spikes, syn, mem = cell(torch.from_numpy(frames[:, step]), syn, mem)
        expected.append(spikes.numpy())
    arrays = {"tau_syn": 4 * DT, "tau_mem": 2 * DT, "r": 2, "v_leak": 0, "v_threshold": 1, "v_reset": 0, "w_in": 4}
    node = nir.CubaLIF(**{key: full(value) for key, value in arrays.items()}, metadata={"reset": "subtract"})
    expected = np.stack(expected, axis=1)
    assert np.array_equal(reference.run(load(network(node)), frames).spikes["n"], expected) and expected.sum() > 100


@pytest.mark.parametrize("v_reset", [None, -0.5])
@pytest.mark.parametrize("leaks", [True, False])
def test_spikingjelly_in_double_precision(leaks, v_reset):
    """It starts at v_reset, and without one takes theta off at once."""
    common = {"v_threshold": 1.0, "v_reset": v_reset, "step_mode": "m"}
    cell = neuron.LIFNode(tau=2.0, decay_input=False, **common) if leaks else neuron.IFNode(**common)
    frames = random_frames(3)
    expected = cell(torch.from_numpy(frames.swapaxes(0, 1))).numpy().swapaxes(0, 1)
    rest = 0.0 if v_reset is None else v_reset
    metadata = {"reset": "subtract_at_once"} if v_reset is None else {"reset": "zero", "v_initial": full(rest)}
    theta = np.nextafter(1.0, -np.inf)
    if leaks:
        node = lif(theta=theta, v_reset=rest, v_leak=rest, metadata=metadata)
    else:
        node = nir.IF(full(1 / DT), full(theta), full(rest), metadata=metadata)
    graph = load(network(node, metadata={"dt": DT, "rule": ">="}))
    assert np.array_equal(reference.run(graph, frames).spikes["n"], expected) and expected.sum() > 100


# ---- what a file says ------------------------------------------------------------------------------------------------


def test_a_silent_file_gets_a_note_and_takes_the_callers_word(tmp_path, capsys):
    cell = snntorch.Leaky(beta=0.5, threshold=1.0).double()
    frames = np.abs(random_frames(4))
    mem, count = cell.reset_mem(), 0
    for step in range(STEPS):
        spikes, mem = cell(torch.from_numpy(frames[:, step]), mem)
        count += int(spikes.sum())
    path, data = tmp_path / "x.nir", tmp_path / "x.npz"
    nir.write(path, network(lif()))
    np.savez(data, input=frames)

    def run(*more):
        assert cli.main(["run", str(path), "--input", str(data), "--json", *more]) == 0
        captured = capsys.readouterr()
        return json.loads(captured.out)["spikes"], captured.err

    hard, note = run()
    assert f"note: {SILENT}; run with a reset to v_reset (NIR's equation); snnTorch's default is --reset" in note
    soft, note = run("--reset", "subtract")
    assert soft == count != hard and SILENT not in note
    assert run("--reset", "zero") == (hard, "")
    assert cli.main(["place", str(path), "--chip", "loihi2"]) == 0 and SILENT in capsys.readouterr().err


@pytest.mark.parametrize("reset", RESETS)
def test_what_a_file_says_is_kept_through_the_file_and_beats_the_caller(tmp_path, reset):
    metadata = {"reset": reset, "v_initial": np.linspace(-1, 1, NEURONS)}
    nir.write(tmp_path / "x.nir", network(lif(metadata=metadata)))
    graph = load(tmp_path / "x.nir")
    assert graph.nodes["n"].reset == reset and not graph.notes
    assert graph.nodes["n"].parameters["v_initial"].tolist() == metadata["v_initial"].tolist()
    assert load(tmp_path / "x.nir", reset=reset).nodes["n"].reset == reset
    other = RESETS[RESETS.index(reset) - 1]
    with pytest.raises(GraphError, match=f"node n: the file says reset '{reset}', asked to run with '{other}'"):
        load(tmp_path / "x.nir", reset=other)


def test_a_file_of_our_dialect_resets_to_zero_where_it_is_silent():
    graph = network(lif(), metadata={"dt": DT, "dialect": dialect.DIALECT})
    assert load(graph).nodes["n"].reset == "zero" and not load(graph).notes
    with pytest.raises(GraphError, match="node n: the file says reset 'zero', asked to run with 'subtract'"):
        load(graph, reset="subtract")


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"reset": "soft"}, "node n: its metadata say reset = 'soft'"),
        ({"reset": "subtract", "reset_mechanism": "zero"}, "its metadata say reset_mechanism = 'zero'"),
        ({"v_initial": np.ones(3)}, r"node n: v_initial must be one finite number, or .* of shape \(8,\)"),
        ({"v_initial": np.full(NEURONS, np.nan)}, "v_initial must be one finite number"),
        ({"v_initial": "rest"}, "v_initial must be one finite number"),
    ],
)  # fmt: skip
def test_what_is_not_known_is_refused_by_name(metadata, words):
    with pytest.raises(GraphError, match=words):
        load(network(lif(metadata=metadata)))


def test_keys_at_nodes_that_have_no_such_thing_are_refused():
    affine = nir.Linear(np.eye(NEURONS))
    affine.metadata = {"reset": "subtract"}
    graph = network(lif())
    graph.nodes["w"] = affine
    with pytest.raises(GraphError, match="node w: its metadata say reset = 'subtract'"):
        load(graph)
    threshold = nir.Threshold(threshold=full(1), metadata={"v_initial": 1.0})
    with pytest.raises(GraphError, match="node n: v_initial, but threshold keeps no potential"):
        load(network(threshold))
    assert not load(network(nir.Threshold(threshold=full(1)))).notes  # it has nothing to reset
