"""What conversion.quantize refuses, by figure, and what --accept makes of it; the measures that judge candidates."""

import itertools
import json
import re

import nir
import numpy as np
import pytest
from neurotarget.conversion import quantize
from neurotarget.conversion.fixed import merit, verdict
from neurotarget.sim import reference
from neurotarget.sim.activity import Fired
from neurotarget.sim.graph import load
from neurotarget.sim.graph.node import GraphError
from neurotarget.sim.trace import Trace

ONE = np.ones(1)


def lif(tau=5e-3, theta=1.0, r=5.0):
    return nir.LIF(tau=tau * ONE, r=r * ONE, v_leak=0 * ONE, v_threshold=theta * ONE, v_reset=0 * ONE)


def graph_of(nodes, edges=None):
    ends = {"in": nir.Input(np.array([1])), "out": nir.Output(np.array([1]))}
    nodes = {"in": ends["in"], **nodes, "out": ends["out"]}
    return nir.NIRGraph(nodes, edges or list(itertools.pairwise(nodes)), metadata={"dt": 1e-3})


@pytest.fixture
def command(tmp_path, capsys):
    """Runs the command on a graph and frames; exit code, the report, the last line of stderr, whether it wrote."""

    def run(graph, frames, *options):
        nir.write(tmp_path / "m.nir", graph)
        np.savez(tmp_path / "x.npz", input=frames)
        (tmp_path / "m.q.nir").unlink(missing_ok=True)
        code = quantize.main([str(tmp_path / "m.nir"), "--calibrate", str(tmp_path / "x.npz"), "--json", *options])
        streams = capsys.readouterr()
        figures = json.loads(streams.out) if streams.out else None
        said = streams.err.strip().splitlines()
        return code, figures, said[-1] if said else "", (tmp_path / "m.q.nir").exists()

    return run


# ---- rates -----------------------------------------------------------------------------------------------------------


def trace_with(**counts):
    """A trace of 400 steps with so many spikes by layer."""
    spikes = {name: (np.arange(400) < count).astype(np.uint8)[None, :, None] for name, count in counts.items()}
    return Fired.of(Trace(spikes, np.zeros((1, 400, 1)), np.zeros((1, 400, 1)), np.array([400])))


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        (1, 0, "layer a fell silent: 1 spikes in float, none in integers"),
        (101, 80, r"layer a fires 0.79 times as often as in float \(80 and 101 spikes\), outside 0.8 to 1.25"),
        (104, 131, r"layer a fires 1.26 times"),
        (104, 130, None),
        (105, 84, None),
        (100, 70, None),  # too few to judge
        (0, 300, None),
    ],
)
def test_a_layer_that_falls_silent_or_leaves_its_band_is_named(before, after, sentence):
    faults = verdict.rate_faults(trace_with(a=before, b=200), trace_with(a=after, b=200))
    assert len(faults) == (sentence is not None)
    assert all(re.match(str(sentence), fault) for fault in faults)


@pytest.mark.parametrize("theta", [0.1, 1e9])
def test_where_nothing_fires_in_float_nothing_was_calibrated_and_nothing_is_written(theta, command):
    graph, frames = graph_of({"w": nir.Linear(0.5 * np.ones((1, 1))), "l": lif(theta=theta)}), np.ones((1, 400, 1))
    code, figures, said, written = command(graph, frames)
    assert (code, written) == ((0, True) if theta < 1 else (1, False))
    if theta > 1:
        assert figures["faults"] == ["nothing fired in float, so that nothing was calibrated or tested"]
        assert said.startswith("note: nothing fired in float") and said.endswith(verdict.ACCEPT)
        assert command(graph, frames, "--accept")[0] == 0


def test_a_file_whose_rates_are_wrong_is_written_only_when_accepted(command, monkeypatch):
    graph, frames = graph_of({"w": nir.Linear(0.5 * np.ones((1, 1))), "l": lif()}), np.ones((1, 400, 1))
    monkeypatch.setattr(verdict, "LOWEST_RATE", 1.01)  # even an equal rate is outside
    code, figures, said, written = command(graph, frames)
    assert code == 1 and not written and figures["file"] is None
    assert figures["faults"] and said.endswith(f"nothing written; {verdict.ACCEPT}") and figures["refusal"] in said
    code, figures, said, written = command(graph, frames, "--accept")
    assert code == 0 and written and figures["refusal"] is None and figures["faults"][0] in said


# ---- slow constants and lost currents --------------------------------------------------------------------------------


def test_a_time_constant_that_12_bits_do_not_hold_is_refused_with_its_error(command):
    graph = graph_of({"w": nir.Linear(np.ones((1, 1))), "l": lif(tau=3.0)})
    frames = np.ones((1, 2500, 1))
    code, _, said, written = command(graph, frames)
    assert code == 2 and not written
    assert "node l: what it forgets each step" in said and "27% off, more than 10%" in said and "--accept" in said
    code, figures, _, written = command(graph, frames, "--accept")
    (row,) = figures["layers"]
    assert code == 0 and written and row["decay_error"] == pytest.approx(1 - 3000 / 4096)


def far_apart():
    """A current of 1e-6 beside one of -1e4, at a neuron that fires at 5e-6."""
    nodes = {
        "large": nir.Linear(np.full((1, 1), -1e4)),
        "small": nir.Affine(np.full((1, 1), 1e-6), np.full(1, 1e-6)),
        "l": lif(theta=1e-6, r=1.0, tau=5e-3),
    }
    edges = [("in", "large"), ("in", "small"), ("large", "l"), ("small", "l"), ("l", "out")]
    return graph_of(nodes, edges)


def test_a_current_that_is_lost_beside_a_larger_one_is_refused_with_its_loss():
    frames = np.zeros((1, 60, 1))
    frames[0, 50:] = 1
    with pytest.raises(GraphError, match=r"node small: \d+% of its current is lost in the steps of .* layer l need"):
        quantize.quantize(load(far_apart()), frames)
    quantize.quantize(load(far_apart()), frames, accept=True)


# ---- loops -----------------------------------------------------------------------------------------------------------


def test_a_loop_in_which_nothing_spikes_is_refused_by_its_nodes(command):
    nodes = {
        "w": nir.Linear(np.ones((1, 1))),
        "l": lif(),
        "d": nir.Delay(1e-3 * ONE),
        "r": nir.Linear(0.5 * np.ones((1, 1))),
    }
    edges = [("in", "w"), ("r", "w"), ("w", "l"), ("l", "d"), ("d", "d"), ("d", "r"), ("d", "out")]
    code, _, said, written = command(graph_of(nodes, edges), np.ones((1, 50, 1)))
    assert code == 2 and not written
    assert said == "error: node d: a loop in which nothing spikes (d -> d) has no integer unit"


def test_a_tap_under_the_name_of_another_node_is_refused():
    """Taps 1 and 2 are joined to one node `c`; tap 0, which is read elsewhere too, has the name that c's would get."""
    one = np.ones(1)
    lif = {"tau": 2e-4 * one, "r": one, "v_leak": 0 * one, "v_threshold": one, "v_reset": 0 * one}
    nodes = {"input": nir.Input(np.array([1])), "output": nir.Output(np.array([1]))}
    nodes |= {f"c.tap{i}": nir.Linear(np.ones((1, 1))) for i in range(3)}
    nodes |= {f"c.delay{i}": nir.Delay(i * 1e-4 * one) for i in (1, 2)} | {
        "lif": nir.LIF(**lif),
        "other": nir.LIF(**lif),
    }
    edges = [("input", "c.tap0"), *((f"c.tap{i}", "lif") for i in range(3)), ("c.tap0", "other")]
    edges += [edge for i in (1, 2) for edge in (("input", f"c.delay{i}"), (f"c.delay{i}", f"c.tap{i}"))]
    edges += [("lif", "output"), ("other", "output")]
    graph = load(nir.NIRGraph(nodes, edges, metadata={"dt": 1e-4}))
    assert {"c", "c.tap0"} <= set(graph.nodes)
    with pytest.raises(GraphError, match=r"node c: its part c\.tap0 has the name of another node"):
        quantize.quantize(graph, np.ones((1, 20, 1)))


# ---- measures --------------------------------------------------------------------------------------------------------


def train(*steps, length=400):
    spikes = np.zeros((1, length, 1), np.uint8)
    spikes[0, list(steps), 0] = 1
    return spikes


def test_distance_between_trains_by_hand():
    """One spike each, n steps apart, filtered with q = exp(-1/tau): squares add up to 2 (1 - q^n) / (1 - q^2) of 1."""
    q, n = np.exp(-1 / 16), 3
    found = merit.distance(train(10), train(10 + n), 16)
    assert found == pytest.approx(np.sqrt(2 * (1 - q**n)), rel=1e-9)
    assert merit.distance(train(10), train(), 16) == 1.0
    assert merit.distance(train(), train(), 16) == 0.0
    assert merit.distance(train(5, 90), train(5, 90), 2) == 0.0


def test_distances_of_neurons_and_samples_add_up_as_squares():
    rng = np.random.default_rng(0)
    real, whole = (rng.integers(0, 2, (3, 20, 4)).astype(np.uint8) for _ in range(2))
    kept = np.exp(-1 / 16)
    filters = np.tril(kept ** np.subtract.outer(np.arange(20), np.arange(20)))  # f[t] = sum over s of kept^(t - s)
    squares = [np.sum(np.square(filters @ spikes)) for spikes in (real.astype(float) - whole, real.astype(float))]
    assert merit.distance(real, whole, 16) == pytest.approx(np.sqrt(squares[0] / squares[1]), rel=1e-12)


def test_what_currents_lose_by_hand():
    """In units of 0.5, 3 and 1 mean 1.5 and 0.5; the neurons add 0.25 to each: 1 and 0 are missed by 0.75."""
    real, whole = np.array([[[1.0, 0.0]]]), np.array([[[3, 1]]])
    assert merit.of_currents(real, whole, 0.5, np.array([0.25])) == pytest.approx(np.sqrt(2 * 0.75**2))
    images = np.ones((1, 1, 2, 3, 3)), np.ones((1, 1, 2, 3, 3), np.int64)
    of_one_channel = merit.of_currents(*images, 1.0, np.array([0.5, 0.0]).reshape(2, 1, 1))
    assert of_one_channel == pytest.approx(np.sqrt(0.5 * 0.25))
    assert merit.of_currents(np.zeros((1, 2, 1)), np.ones((1, 2, 1), np.int64), 1.0, np.zeros(1)) == 0.0


def test_a_late_train_is_nearer_than_silence_and_a_wrong_rate_is_further_than_either():
    real = train(*range(0, 400, 8))
    late, silent = merit.of_spikes(real, np.roll(real, 1, axis=1)), merit.of_spikes(real, np.zeros_like(real))
    half = merit.of_spikes(real, train(*range(0, 400, 16)))
    assert np.count_nonzero(real != np.roll(real, 1, axis=1)) > np.count_nonzero(real)  # places say the opposite
    assert merit.Merit() < late < half < silent and late.excess == 0 < half.excess


def test_rates_are_judged_with_one_spike_to_spare():
    assert merit.rate_excess(9, 7) == merit.rate_excess(100, 125) == 0
    assert merit.rate_excess(999, 749) == pytest.approx(np.log(0.8 / 0.75))
    assert merit.rate_excess(999, 1499) == pytest.approx(np.log(1.5 / 1.25))


def test_the_report_says_rate_loss_and_decay_by_layer(command):
    graph = graph_of({"w": nir.Linear(0.5 * np.ones((1, 1))), "l": lif()})
    code, figures, _, _ = command(graph, np.ones((1, 400, 1)))
    (row,) = figures["layers"]
    expected = int(reference.run(load(graph), np.ones((1, 400, 1))).spikes["l"].sum())
    assert code == 0 and row["spikes"] == expected and row["rate"] == pytest.approx(1.0, abs=0.02)
    assert row["weight_exps"] == {"w": row["weight_exp"]} and row["lost"]["w"] < 0.01
    assert row["decay_error"] == pytest.approx(abs(819 * 5 / 4096 - 1))
