"""A few hundred random graphs, and the faults that random graphs have found, small and with the right value."""

import gzip
import subprocess
import sys
from pathlib import Path

import nir
import numpy as np
import pytest

from tests.fuzz import differential, engine, graphs
from tests.fuzz.by_hand import DT, alone, full, graph, lif, port
from tests.fuzz.engine import extension
from tests.fuzz.plain import Plain

GOLDEN = Path(__file__).parents[1] / "data"


def run(network, frames, **more):
    return engine.run(network, np.asarray(frames)[None], **more)


def test_random_graphs_in_float():
    tally = differential.fuzz(range(600), differential.Tally(), dtypes=("float64",), progress=False)
    assert not tally.differences, tally.text()
    assert tally.counts["spikes"] > 10_000 and tally.counts["silent layers"] < tally.counts["spiking layers"] / 2
    every = {"Conv1d", "Conv2d", "SumPool2d", "AvgPool2d", "Flatten", "Delay", "Scale", "Affine", "Linear", "NIRGraph"}
    every |= {"I", "IF", "LI", "LIF", "CubaLI", "CubaLIF", "Threshold", "look_ahead", "gate", "rotary", "attention"}
    assert every | {"loop", "self loop", "loop within"} <= set(tally.kinds)


def test_random_graphs_of_every_input_type():
    tally = differential.fuzz(range(600), differential.Tally(), progress=False)
    assert not tally.differences, tally.text()


def test_integers_are_those_of_the_plain_interpreter():
    tally = differential.fuzz(range(40), differential.Tally(), integers=True, progress=False)
    wrong = [line for line in tally.differences if "against Python's" in line]
    assert not wrong and tally.counts["quantised"] > 20, tally.text()


@pytest.mark.parametrize(
    ("dtype", "value"), [("uint8", 200), ("int8", -100), ("bool", 1), ("int64", 2**62), ("float16", 2047)]
)
def test_sums_of_the_input_do_not_overflow(dtype, value):
    nodes = {"in": port(nir.Input), "d": nir.Delay(delay=full(0)), "e": nir.Delay(delay=full(0))}
    network = graph(nodes | {"out": port(nir.Output)}, "in>d in>e in>out d>out e>out")
    assert run(network, np.array([[value]], dtype))[1].item() == 3.0 * value


def test_taps_that_an_attention_reads():
    """q = x, k = v = x of the step before: y[1] = x[1] x[0] x[0]."""
    nodes = {"in": port(nir.Input), "c.tap0": nir.Linear(weight=np.ones((1, 1))), "out": port(nir.Output)}
    nodes |= {"c.delay1": nir.Delay(delay=full(DT)), "c.tap1": nir.Linear(weight=np.ones((1, 1)))}
    roles = {"query": "c.tap0", "key": "c.tap1", "value": "c.tap1"}
    nodes["n"] = extension("attention", 1, {**roles, "heads": 1, "scale": 1.0, "causal": True})
    network = graph(nodes, "in>c.tap0 in>c.delay1 c.delay1>c.tap1 c.tap0>n c.tap1>n n>out")
    assert run(network, [[2.0], [3.0]])[1].ravel().tolist() == [0, 12]


def test_gate_inside_a_nested_graph():
    gate = extension("gate", 1, {"current": "i", "gate": "t"})
    inner = {"i": port(nir.Input), "t": nir.Threshold(threshold=full(1)), "n": gate, "o": port(nir.Output)}
    nodes = {"in": port(nir.Input), "m": graph(inner, "i>t i>n t>n n>o"), "out": port(nir.Output)}
    assert run(graph(nodes, "in>m m>out"), [[0.5], [2.0]])[1].ravel().tolist() == [0, 2]


def test_node_that_feeds_nothing_in_a_file():
    nodes = {"in": port(nir.Input), "n": lif(), "dead": lif(), "out": port(nir.Output)}
    spikes, _ = run(graph(nodes, "in>n in>dead n>out"), np.full((2, 1), 1.5), in_file=True)
    assert spikes["dead"].ravel().tolist() == [0, 1]


def test_grouped_convolution_inside_a_nested_graph_in_a_file():
    node = nir.Conv1d(2, np.array([[[1.0]], [[2]]]), 1, 0, 1, 2, np.zeros(2))
    nodes = {"in": port(nir.Input, 2, 2), "m": alone(node, (2, 2), (2, 2)), "out": port(nir.Output, 2, 2)}
    _, output = run(graph(nodes, "in>m m>out"), np.arange(1.0, 5).reshape(1, 2, 2), in_file=True)
    assert output.ravel().tolist() == [1, 2, 6, 8]


def test_loop_that_nothing_enters_is_refused():
    nodes = {"in": port(nir.Input), "n": lif(leak=3), "s": nir.Scale(scale=full(1)), "out": port(nir.Output)}
    with pytest.raises(engine.REFUSALS):
        run(graph(nodes, "in>s s>out n>n"), np.zeros((3, 1)))


def test_two_nodes_of_one_path_are_refused():
    inner = graph({"i": port(nir.Input), "n": lif(), "o": port(nir.Output)}, "i>n n>o")
    nodes = {"in": port(nir.Input), "m": inner, "m.n": lif(theta=100), "out": port(nir.Output)}
    with pytest.raises(engine.REFUSALS):
        run(graph(nodes, "in>m m>out in>m.n m.n>out"), np.full((2, 1), 1.5))


def test_a_seed_gives_one_graph():
    one, two = graphs.case(7), graphs.case(7)
    assert np.array_equal(one.frames, two.frames) and one.graph.edges == two.graph.edges and one.kinds == two.kinds


def test_hostile_files():
    """In a process of its own: what the other tests started, threads above all, does not survive a fork."""
    command = [sys.executable, "-m", "tests.fuzz.attack", "--cases", "150"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "broke" in result.stdout


def test_a_spikescr_is_the_same_node_by_node(tmp_path):
    """Rotary, attention, gates, convolutions over time as training exports them: each node as the documents word it."""
    data = np.load(GOLDEN / "input.npz")
    frames, lengths = data["input"], data["length"]
    unpacked = tmp_path / "model.nir"
    unpacked.write_bytes(gzip.decompress((GOLDEN / "model.nir.gz").read_bytes()))
    network = nir.read(unpacked, type_check=False)
    spikes, output = engine.run(network, frames, lengths)
    plain = Plain(network).run(frames, lengths, spikes)
    assert all(spikes[name].any() for name in spikes)
    assert not plain.ties and all(np.array_equal(plain.spikes[name], spikes[name]) for name in spikes)
    np.testing.assert_allclose(plain.output, output, atol=1e-9)
