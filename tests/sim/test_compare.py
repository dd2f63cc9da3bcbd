"""The parity rule: what counts as equal, as a tie, and as a divergence."""

import dataclasses
import json

import nir
import numpy as np
import pytest
from neurotarget.sim import reference
from neurotarget.sim.compare import main
from neurotarget.sim.graph import load
from neurotarget.sim.inputs import open_input
from neurotarget.sim.parity import compare, compare_states
from neurotarget.sim.run import main as run_main
from neurotarget.sim.trace import TraceError

DT = 1e-4


def network(theta=1.0):
    neuron = nir.LIF(
        tau=np.full(2, 2 * DT), r=np.ones(2), v_leak=np.zeros(2), v_threshold=np.full(2, theta), v_reset=np.zeros(2)
    )
    nodes = {
        "input": nir.Input(input_type={"input": np.array([2])}),
        "first": neuron,
        "middle": nir.Linear(weight=np.eye(2) * 4),
        "second": nir.LIF(**{k: getattr(neuron, k) for k in ("tau", "r", "v_leak", "v_threshold", "v_reset")}),
        "output": nir.Output(output_type={"output": np.array([2])}),
    }
    edges = [("input", "first"), ("first", "middle"), ("middle", "second"), ("second", "output")]
    return nir.NIRGraph(nodes=nodes, edges=edges, metadata={"dt": DT})


@pytest.fixture
def runs():
    graph = load(network())
    frames = np.random.default_rng(0).uniform(0, 3, (4, 6, 2))
    trace = reference.run(graph, frames)
    return graph, trace


def flipped(trace, node, place):
    spikes = {name: array.copy() for name, array in trace.spikes.items()}
    spikes[node][place] ^= 1
    return dataclasses.replace(trace, spikes=spikes)


def test_equal_runs(runs):
    graph, trace = runs
    parity = compare(graph, trace, trace)
    assert parity.holds and parity.mismatched == 0 and parity.first_divergence is None
    assert parity.spikes == sum(int(s.sum()) for s in trace.spikes.values()) > 0
    assert (parity.samples, parity.steps) == (4, 24)


def test_a_flipped_spike_is_named(runs):
    graph, trace = runs
    parity = compare(graph, trace, flipped(trace, "second", (2, 3, 1)))
    assert not parity.holds and parity.mismatched == 1 and parity.near_threshold == 0
    first = parity.first_divergence
    assert (first.sample, first.node, first.step, first.neuron) == (2, "second", 3, 1)
    assert "sample 2, node second, step 3, neuron 1" in str(first)


def test_the_first_node_in_order_is_named_before_its_consequences(runs):
    graph, trace = runs
    other = flipped(flipped(trace, "second", (1, 0, 0)), "first", (1, 4, 1))
    assert compare(graph, trace, other).first_divergence.node == "first"


def test_a_tie_is_counted_as_one_and_nothing_else_is_forgiven():
    frames = np.zeros((2, 3, 2))
    frames[0, 0, 0] = 2.0 + 1e-8  # v = 1 + 5e-9: within 1e-7 of the threshold
    graph = load(network())
    trace = reference.run(graph, frames)
    tie = compare(graph, trace, flipped(trace, "first", (0, 0, 0)))
    assert tie.holds and tie.mismatched == tie.near_threshold == 1
    assert tie.first_divergence.distance == pytest.approx(5e-9, rel=1e-3)
    both = flipped(flipped(trace, "first", (0, 0, 0)), "first", (1, 1, 1))
    parity = compare(graph, trace, both)
    assert not parity.holds and (parity.mismatched, parity.near_threshold) == (2, 1)


def test_outputs_must_agree_too(runs):
    graph, trace = runs
    parity = compare(graph, trace, dataclasses.replace(trace, output=trace.output + 1e-8))
    assert not parity.holds and parity.output_difference == pytest.approx(1e-8)


def test_a_side_that_lacks_a_node_is_refused(runs):
    graph, trace = runs
    partial = dataclasses.replace(trace, spikes={"first": trace.spikes["first"]})
    with pytest.raises(TraceError, match="no spikes of second"):
        compare(graph, trace, partial)


# ---- command line ----------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path):
    nir.write(tmp_path / "net.nir", network())
    frames = np.random.default_rng(0).uniform(0, 3, (4, 6, 2))
    np.savez(tmp_path / "in.npz", input=frames, label=np.array([0, 1, 0, 1]), length=np.array([6, 5, 4, 3]))
    return tmp_path


def test_run_prints_figures_and_writes_a_trace(files, capsys):
    arguments = [str(files / "net.nir"), "--input", str(files / "in.npz"), "--json"]
    assert run_main([*arguments, "--trace", str(files / "trace.npz")]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["samples"], result["steps"], result["latency_steps"]) == (4, 18, 0)
    assert 0 <= result["accuracy"] <= 1 and len(result["predicted"]) == 4
    assert (files / "trace.npz").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.nir", "--input", "in.npz"], "none.nir: no such file"),
        (["net.nir", "--input", "none.npz"], "none.npz: no such file"),
        (["net.nir", "--input", "wrong.npz"], r"takes [samples, steps, 2]"),
        (["net.nir", "--input", "empty.npz"], "an array `input` is expected"),
        (["net.nir", "--input", "marvels"], "marvels"),
        (["net.nir", "--input", "in.npz", "--samples", "0"], "at least 1"),
        (["net.nir", "--input", "nan.npz"], "finite numbers"),
        (["net.nir", "--input", "objects.npz"], "array 'input' is of type object"),
        (
            ["net.nir", "--input", "labels.npz"],
            "label 2 of sample 3 is no output of net.nir, which has 2 (0 .. 1); 1 of 4",
        ),
        (["net.nir", "--input", "gsc:/nowhere"], "/nowhere"),
    ],
)
def test_wrong_input_ends_with_one_sentence_and_code_2(files, capsys, monkeypatch, arguments, words):
    monkeypatch.chdir(files)
    np.savez("wrong.npz", input=np.zeros((2, 3, 5)))
    np.savez("empty.npz", something=np.zeros(3))
    np.savez("nan.npz", input=np.full((2, 3, 2), np.nan))
    np.savez("objects.npz", input=np.full((2, 3, 2), None))
    np.savez("labels.npz", input=np.ones((4, 3, 2)), label=np.array([0, 1, 1, 2]))
    assert run_main(arguments) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_compare_refuses_other_backends(files, capsys):
    arguments = [str(files / "net.nir"), "--input", str(files / "in.npz"), "--backends", "reference,brian"]
    assert main(arguments) == 2
    assert "two of reference, lava" in capsys.readouterr().err


def test_compare_exits_1_at_a_divergence(files, capsys, monkeypatch):
    from neurotarget.sim import run

    real = run.simulate
    calls = []

    def simulate(graph, data, backend, precision, lava):
        calls.append(backend)
        trace = real(graph, data, "reference", precision)
        return flipped(trace, "second", (0, 2, 1)) if len(calls) == 2 else trace

    monkeypatch.setattr(run, "simulate", simulate)
    assert main([str(files / "net.nir"), "--input", str(files / "in.npz"), "--json"]) == 1
    result = json.loads(capsys.readouterr().out)
    assert calls == ["reference", "lava"]
    assert result["mismatched"] == 1 and result["first_divergence"].startswith("sample 0, node second, step 2")


def test_samples_are_spread_over_the_split(files):
    data = open_input(str(files / "in.npz"), load(files / "net.nir"), samples=2)
    assert data.labels.tolist() == [0, 1] and data.lengths.tolist() == [6, 3]


# ---- integers --------------------------------------------------------------------------------------------------------


def integers():
    """The two layers of `network` in fixed point, and frames that bring v to exactly theta, where nothing fires."""
    net = network(theta=64.0)
    neuron = {"du": 4095, "dv": 2048, "vth": 1, "bias_mant": [0, 0], "bias_exp": [0, 0], "scale": 1.0}
    fixed = {
        "input": {"scale": 1.0, "minimum": -128, "maximum": 127},
        "first": neuron,
        "middle": {"weight_exp": 0, "scale": 1.0},
        "second": neuron,
        "output": {"scale": 0.25},
    }
    net.metadata |= {"arithmetic": "lava-fixed", "fixed": fixed, "rule": ">"}
    return load(net), np.array([1.0, 2, 0, 1, 0, 3]).reshape(1, 6, 1).repeat(2, axis=2)


def test_of_integers_no_tie_and_no_difference_is_forgiven():
    graph, frames = integers()
    trace = reference.run(graph, frames)
    assert compare(graph, trace, trace).holds
    parity = compare(graph, trace, flipped(trace, "first", (0, 0, 0)))
    assert parity.first_divergence.distance == 0
    assert not parity.holds and (parity.mismatched, parity.near_threshold) == (1, 0)
    assert not compare(graph, trace, dataclasses.replace(trace, output=trace.output + 1e-12)).holds


def test_states_are_compared_and_the_first_that_differs_is_named():
    graph, frames = integers()
    trace = reference.run(graph, frames)
    states = reference.states(graph, frames, None, ["first", "second"])
    other = {name: (u.copy(), v.copy()) for name, (u, v) in states.items()}
    parity = compare(graph, trace, trace)
    same = compare_states(parity, graph, states, other)
    assert same.holds and (same.states, same.states_mismatched) == (48, 0)
    other["second"][0][0, 2, 1] += 1
    other["first"][1][0, 3, 0] -= 1
    found = compare_states(parity, graph, states, other)
    assert not found.holds and found.states_mismatched == 2
    assert found.first_state.startswith("sample 0, node first, step 3, neuron 0: v = ")


def test_states_of_a_float_file_are_refused(files, capsys):
    assert main([str(files / "net.nir"), "--input", str(files / "in.npz"), "--states"]) == 2
    assert "--states compares integers" in capsys.readouterr().err
