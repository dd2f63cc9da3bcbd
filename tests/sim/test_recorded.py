"""Spikes that were recorded elsewhere against our run: what differs, what is left out, what is no recording."""

import itertools
import json

import nir
import numpy as np
import pytest
from neurotarget.sim import reference
from neurotarget.sim.compare import main
from neurotarget.sim.graph import load
from neurotarget.sim.run import main as run_main

DT = 1e-3


def neurons(count, threshold):
    ones = np.ones(count)
    return nir.LIF(tau=2 * DT * ones, r=ones, v_leak=0 * ones, v_threshold=threshold * ones, v_reset=0 * ones)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A file of two layers, and all that a simulator of anybody's would have recorded of it, by hand."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    weights = rng.uniform(0, 1, (4, 3)), rng.uniform(0, 1, (2, 4))
    nodes = {
        "input": nir.Input(input_type={"input": np.array([3])}),
        "in": nir.Linear(weight=weights[0]),
        "first": neurons(4, 0.7),
        "mid": nir.Linear(weight=weights[1]),
        "second": neurons(2, 0.4),
        "output": nir.Output(output_type={"output": np.array([2])}),
    }
    names = list(nodes)
    nir.write("net.nir", nir.NIRGraph(nodes, list(itertools.pairwise(names)), metadata={"dt": DT}))
    frames = rng.poisson(0.6, (5, 8, 3)).astype(np.float64)
    arrays = {"input": frames, "spikes/first": lif(frames @ weights[0].T, 0.7)}
    arrays["spikes/second"] = arrays["output"] = lif(arrays["spikes/first"] @ weights[1].T, 0.4)
    assert arrays["spikes/second"].sum() > 10
    return arrays


def lif(currents, threshold):
    """NIR's LIF in Euler steps of half its time constant: v = v / 2 + I / 2, above the threshold a spike and v = 0."""
    v, spikes = np.zeros_like(currents[:, 0]), np.zeros_like(currents)
    for step in range(currents.shape[1]):
        v = v / 2 + currents[:, step] / 2
        spikes[:, step] = v > threshold
        v[spikes[:, step] > 0] = 0
    return spikes


def against(arrays, *more):
    np.savez("spikes.npz", **arrays)
    return main(["net.nir", "--against", "spikes.npz", *more])


def test_what_was_recorded_elsewhere_is_the_same(folder, capsys):
    assert against(folder, "--json") == 0
    out, error = capsys.readouterr()
    found = json.loads(out)
    assert found["sides"] == "spikes.npz against reference float64" and found["outcome"] == "holds"
    assert "not compared" not in error
    assert (found["samples"], found["steps"], found["mismatched"], found["output_difference"]) == (5, 40, 0, 0)
    assert found["spikes"] == folder["spikes/first"].sum() + folder["spikes/second"].sum()


def test_nodes_without_a_recording_are_named_and_left_out(folder, capsys):
    del folder["spikes/first"], folder["output"]
    folder["spikes/second"] = folder["spikes/second"].astype(bool)
    assert against(folder, "--json") == 0
    out, error = capsys.readouterr()
    assert json.loads(out)["spikes"] == folder["spikes/second"].sum()
    assert "note: spikes.npz: holds no spikes of first, which were not compared" in error
    assert "note: spikes.npz: holds no output, which was not compared" in error


def test_the_first_difference_is_named(folder, capsys):
    folder["spikes/second"][2, 3, 1] = 1 - folder["spikes/second"][2, 3, 1]
    assert against(folder) == 1
    out = capsys.readouterr().out
    last = out.splitlines()[-1]
    assert last.startswith("NOT equal: spikes.npz against") and "1 mismatched" in last
    assert "first divergence: sample 2, node second, step 3, neuron 1: " in out
    assert against(folder, "--samples", "2") == 0  # the others are as they should be
    assert "2 samples, 16 steps" in capsys.readouterr().out


def test_an_output_that_differs_is_a_difference(folder, capsys):
    folder["output"] = folder["output"] + 1e-6
    assert against(folder) == 1
    assert "0 mismatched (0 near threshold), outputs within 1e-06" in capsys.readouterr().out


def test_steps_behind_a_samples_length_do_not_count(folder, capsys):
    folder["length"] = np.array([8, 5, 8, 0, 3])
    for name in ("spikes/first", "spikes/second", "output"):
        folder[name][1, 5:] = 1  # whatever a chip went on sending
    assert against(folder, "--json") == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 24


def test_silence_is_not_tested(folder, capsys):
    folder = {name: array * 0 for name, array in folder.items()}
    assert against(folder) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("not tested: nothing fired in 5 samples")


def test_one_silent_node_is_said(folder, capsys):
    """Of those that were recorded: a node without a recording is not among them."""
    folder["input"][:, :, :] = 0
    folder["input"][0, 0] = 2
    graph = load("net.nir")
    trace = reference.run(graph, folder["input"])
    assert trace.spikes["first"].any()
    recorded = {"input": folder["input"], "spikes/first": trace.spikes["first"]}
    assert against(recorded) == 0
    assert "never fire" not in capsys.readouterr().out


def test_a_trace_of_ours_is_a_recording(folder, capsys):
    np.savez("in.npz", input=folder["input"])
    assert run_main(["net.nir", "--input", "in.npz", "--precision", "float32", "--trace", "trace.npz"]) == 0
    capsys.readouterr()
    assert main(["net.nir", "--against", "trace.npz"]) == 0
    assert "identical: trace.npz (reference float32) against reference float64, 5 samples" in capsys.readouterr().out


WRONG = {
    "no input": (lambda a: a.pop("input"), "spikes.npz: an array `input` is expected"),
    "no spikes": (
        lambda a: [a.pop("spikes/first"), a.pop("spikes/second")],
        "spikes.npz: no spikes; at least one of spikes/first, spikes/second is expected",
    ),
    "another node": (
        lambda a: a.update({"spikes/fist": a["spikes/first"]}),
        "spikes/fist is no spiking node of net.nir (did you mean first?); they are first, second",
    ),
    "neurons": (
        lambda a: a.update({"spikes/first": a["spikes/second"]}),
        "spikes/first is float64 (5, 8, 2); finite numbers (5, 8, 4) [samples, steps, ...] are expected",
    ),
    "time-major": (
        lambda a: a.update({"spikes/first": a["spikes/first"].swapaxes(0, 1)}),
        "spikes/first is float64 (8, 5, 4); finite numbers (5, 8, 4) [samples, steps, ...] are expected; swap its",
    ),
    "counts": (
        lambda a: a.update({"spikes/first": 2 * a["spikes/first"]}),
        "spikes/first holds other numbers than 0 and 1; spikes are expected",
    ),
    "output": (lambda a: a.update(output=a["output"] * np.nan), "output is float64 (5, 8, 2); finite numbers"),
    "features": (lambda a: a.update(input=a["input"][..., :2]), "input has shape (5, 8, 2)"),
    "lengths": (lambda a: a.update(length=np.full(8, 5)), "spikes.npz: `length` must be 5 integers"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_recording_of_this_network_is_one_sentence(folder, capsys, name):
    change, words = WRONG[name]
    change(folder)
    assert against(folder) == 2
    error = capsys.readouterr().err
    assert words in error and len(error.strip().splitlines()) == 1, error


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--input", "in.npz"], "one of --input and --against is expected"),
        (["--backends", "reference,lava"], "--backends does not go with --against"),
        (["--states"], "--states does not go with --against"),
        (["--samples", "0"], "--samples 0: at least 1 is needed"),
    ],
)
def test_arguments_that_do_not_belong_together(folder, capsys, more, words):
    assert against(folder, *more) == 2
    assert words in capsys.readouterr().err


def test_neither_input_nor_recording(folder, capsys):
    assert main(["net.nir"]) == 2
    assert "one of --input and --against is expected" in capsys.readouterr().err
    assert main(["net.nir", "--against", "net.nir"]) == 2
    assert "net.nir: this is a NIR file, not an .npz of arrays" in capsys.readouterr().err
