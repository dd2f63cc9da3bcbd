"""Equality proves nothing about silence: what never fires is named, and a comparison of nothing is not tested."""

import dataclasses
import itertools
import json

import nir
import numpy as np
import pytest
from neurotarget.sim import reference, run
from neurotarget.sim.activity import Activity, Fired, activity
from neurotarget.sim.commands import BACKENDS
from neurotarget.sim.compare import main as compare_main
from neurotarget.sim.graph import load
from neurotarget.sim.parity import DIFFERS, HOLDS, NOT_TESTED, compare
from neurotarget.sim.run import main as run_main
from neurotarget.sim.schedule import latency_ms, schedule

DT = 0.01
NEVER, ALWAYS = 1e9, -1.0  # thresholds: inputs here are not negative, and v > -1 at every step
FRAMES = np.array([[[3.0, 0.5], [0, 0], [0.5, 3]], [[3, 3], [0, 0], [9, 9]]])
LENGTHS = np.array([3, 2])


def network(*thresholds, dt=DT, bias=0.0):
    """LIF of tau = 2 steps one after another, identity between them, and a readout with a bias."""
    nodes = {"input": nir.Input(np.array([2]))}
    for place, theta in enumerate(thresholds):
        one = np.ones(2)
        nodes[f"weight{place}"] = nir.Linear(4 * np.eye(2))
        nodes[f"lif{place}"] = nir.LIF((dt or 1e-4) * 2 * one, one, 0 * one, theta * one, v_reset=0 * one)
    nodes["readout"] = nir.Affine(np.eye(2), np.full(2, bias))
    nodes["output"] = nir.Output(np.array([2]))
    names = list(nodes)
    metadata = {"dt": dt} if dt else {}
    return nir.NIRGraph(nodes=nodes, edges=list(itertools.pairwise(names)), metadata=metadata)


def ran(*thresholds, **options):
    graph = load(network(*thresholds, **options))
    return graph, reference.run(graph, FRAMES, LENGTHS)


@pytest.mark.parametrize(
    ("thresholds", "expected"),
    [
        ((1.0, 1.0), Activity(False, (), ())),
        ((1.0, NEVER), Activity(False, ("lif1",), ())),
        ((NEVER, 1.0), Activity(True, ("lif0", "lif1"), ())),
        ((ALWAYS, NEVER), Activity(False, ("lif1",), ("lif0",))),
        ((), Activity(False, (), ())),  # nothing that could fire is no silence
    ],
)
def test_what_never_and_what_always_fires(thresholds, expected):
    graph, trace = ran(*thresholds)
    assert activity(graph, Fired.of(trace)) == expected


def test_a_place_without_a_spike_and_a_window_that_ends_decide_what_always_fires():
    graph, trace = ran(ALWAYS)
    assert trace.spikes["lif0"][1, 2].tolist() == [0, 0]  # the window of sample 1 has ended
    assert activity(graph, Fired.of(trace)).always_fire == ("lif0",)
    trace.spikes["lif0"][0, 1, 1] = 0
    assert activity(graph, Fired.of(trace)).always_fire == ()


def test_of_two_runs_only_what_is_so_in_both():
    graph, trace = ran(ALWAYS, NEVER)
    spikes = {name: array.copy() for name, array in trace.spikes.items()}
    spikes["lif0"][0, 0, 0], spikes["lif1"][0, 0, 0] = 0, 1
    other = dataclasses.replace(trace, spikes=spikes)
    one, both = Fired.of(trace), Fired.of(other)
    assert activity(graph, one, both) == activity(graph, both, one) == Activity(False, (), ())


# ---- parity ----------------------------------------------------------------------------------------------------------


def test_parity_over_silence_is_not_tested():
    graph, trace = ran(NEVER, 1.0, bias=0.25)
    assert trace.output.any()  # the bias: that it is equal says nothing about the neurons
    parity = compare(graph, trace, trace)
    assert (parity.outcome, parity.untested, parity.holds) == (NOT_TESTED, "nothing fired", False)
    found = parity.as_dict()
    assert (found["outcome"], found["holds"], found["silent"]) == ("not tested", False, True)
    assert found["never_fire"] == ("lif0", "lif1") and "activity" not in found


def test_silence_on_one_side_or_other_outputs_are_a_difference():
    graph, trace = ran(NEVER, 1.0)
    spikes = {name: array.copy() for name, array in trace.spikes.items()}
    spikes["lif0"][0, 0, 0] = 1
    other = dataclasses.replace(trace, spikes=spikes)
    for sides in ((trace, other), (other, trace)):
        parity = compare(graph, *sides)
        assert (parity.outcome, parity.untested) == (DIFFERS, None)
    shifted = compare(graph, trace, dataclasses.replace(trace, output=trace.output + 1e-8))
    assert (shifted.outcome, shifted.untested) == (DIFFERS, "nothing fired")


def test_a_tie_that_fires_on_one_side_only_is_tested():
    graph = load(network(1.0))
    trace = reference.run(graph, np.full((1, 1, 2), 0.5 - 1e-9))  # v = 4 x / 2
    other = dataclasses.replace(trace, spikes={"lif0": 1 - trace.spikes["lif0"]})
    parity = compare(graph, trace, other)
    assert (parity.outcome, parity.mismatched, parity.near_threshold) == (HOLDS, 2, 2)


def test_a_node_that_never_fires_is_not_tested_there():
    graph, trace = ran(1.0, NEVER)
    parity = compare(graph, trace, trace)
    assert (parity.outcome, parity.activity.never_fire) == (HOLDS, ("lif1",))


def test_without_a_spiking_node_outputs_are_compared_unless_all_are_zero():
    graph, trace = ran(bias=0.5)
    assert compare(graph, trace, trace).outcome == HOLDS
    zero = dataclasses.replace(trace, output=0 * trace.output)
    nothing = compare(graph, zero, zero)
    assert (nothing.outcome, nothing.untested) == (NOT_TESTED, "nothing can fire, and every output is 0")
    assert compare(graph, zero, trace).outcome == DIFFERS


# ---- command line ----------------------------------------------------------------------------------------------------


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Runs a command on a network of such thresholds, Lava replaced by the reference; gives code, text and JSON."""
    real = run.simulate

    def simulate(graph, data, backend, precision, lava="plain"):
        trace = real(graph, data, "reference", precision)
        steps = schedule(graph, data.frames.shape[1]).total if backend == "lava" else 0
        return dataclasses.replace(trace, header={**trace.header, "backend": backend, "latency_steps": steps})

    def call(main, *thresholds, **options):
        nir.write(tmp_path / "net.nir", network(*thresholds, **options))
        np.savez(tmp_path / "in.npz", input=FRAMES, length=LENGTHS)
        arguments = [str(tmp_path / "net.nir"), "--input", str(tmp_path / "in.npz")]
        codes = [main([*arguments, *more]) for more in ([], ["--json"])]
        text, _, printed = capsys.readouterr().out.rstrip("\n").rpartition("\n")
        assert codes[0] == codes[1]
        return codes[0], text.splitlines(), json.loads(printed)

    monkeypatch.setattr(run, "simulate", simulate)
    return call


def test_a_silent_run_says_so_last_with_its_step(command):
    code, lines, figures = command(run_main, NEVER, 1.0)
    assert code == 0
    assert lines[-1] == "nothing fired in 2 samples, 5 steps of 0.01 s"
    assert lines[-3] == "never fire: lif0, lif1"
    assert (figures["silent"], figures["never_fire"], figures["dt"]) == (True, ["lif0", "lif1"], 0.01)


def test_a_silent_run_at_a_default_step_says_that_too(command):
    _, lines, figures = command(run_main, NEVER, dt=None)
    assert lines[-1] == "nothing fired in 2 samples, 5 steps of 0.0001 s (the file does not say; --dt sets it)"
    assert (figures["dt"], figures["dt_is_default"], figures["latency_ms"]) == (1e-4, True, None)


def test_a_run_names_what_never_and_what_always_fires(command):
    code, lines, figures = command(run_main, ALWAYS, NEVER)
    assert code == 0 and lines[-1].startswith("reference: 2 samples, 5 steps of 0.01 s, 2 spiking nodes, 10 spikes")
    assert [line.split() for line in lines[1:3]] == [["lif0", "2", "10", "100.00"], ["lif1", "2", "0", "0.00"]]
    assert lines[3:-1] == ["never fire: lif1", "fire at every step, in every neuron: lif0"]
    assert (figures["silent"], figures["never_fire"], figures["always_fire"]) == (False, ["lif1"], ["lif0"])


def test_a_comparison_over_silence_says_so_last_and_exits_1(command):
    code, lines, figures = command(compare_main, NEVER, 1.0)
    assert code == 1
    assert lines[-1] == "not tested: nothing fired in 2 samples, 5 steps of 0.01 s"
    assert lines[-2].startswith("reference float64 against lava float64, 2 samples")
    assert (figures["outcome"], figures["holds"], figures["silent"]) == ("not tested", False, True)
    assert (figures["untested"], figures["dt"]) == ("nothing fired", 0.01)


def test_a_comparison_names_what_it_did_not_test(command):
    code, lines, figures = command(compare_main, ALWAYS, NEVER)
    assert code == 0 and lines[-1].startswith("identical: reference float64 against lava float64")
    assert lines[:-1] == [
        "not tested there, because they never fire: lif1",
        "fire at every step, in every neuron: lif0",
    ]
    assert (figures["outcome"], figures["never_fire"], figures["always_fire"]) == ("holds", ["lif1"], ["lif0"])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_back_end_against_itself_is_refused(backend, tmp_path, capsys):
    nir.write(tmp_path / "net.nir", network(1.0))
    assert compare_main([str(tmp_path / "net.nir"), "--input", "synth", "--backends", f"{backend},{backend}"]) == 2
    assert "a run equals itself whatever it computes" in capsys.readouterr().err


def test_latency_is_also_in_milliseconds(command):
    """Each synapse of the chain, the readout included, costs one step."""
    for main, steps in ((run_main, 0), (compare_main, 3)):  # the reference runs in logical time, Lava streams
        _, lines, figures = command(main, 1.0, 1.0)
        assert (figures["latency_steps"], figures["latency_ms"]) == (steps, 10.0 * steps)
        assert f"latency {steps} steps ({10 * steps} ms)" in lines[-1]
    assert latency_ms(load(network(1.0, dt=None)), 3) is None
    assert latency_ms(load(network(1.0, dt=None), dt=2e-4), 3) == pytest.approx(0.6)
