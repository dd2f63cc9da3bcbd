"""Other simulators on the same NIR networks: docs/third_parties.md holds, and where they differ, why.

Each tool is a witness of its own for the neuron's arithmetic; the wiring of all three importers is NIRTorch's.
"""

import dataclasses
import itertools

import nir
import numpy as np
import pytest
from neurotarget.conversion.quantize import quantize
from neurotarget.sim import reference
from neurotarget.sim.graph import load
from neurotarget.sim.graph.node import GraphError
from neurotarget.sim.lava import LavaError, parent
from neurotarget.sim.schedule import schedule

from tests import third_parties
from tests.third_parties import DT, FEATURES, NETWORKS, NEURONS, build, frames_for

DOCUMENTED = third_parties.documented()


def reference_output(graph):
    return reference.run(load(graph), frames_for(graph)).output


def needs(tool):
    return pytest.mark.skipif(not third_parties.present(tool), reason=f"{tool} is not installed")


def test_every_network_has_a_row_and_every_row_a_network():
    assert list(DOCUMENTED) == list(NETWORKS)
    assert not [cell for row in DOCUMENTED.values() for cell in row.values() if cell == "not run"]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_reference_runs_it_and_its_neurons_neither_sleep_nor_saturate(name):
    assert third_parties.outcome("reference", name) == DOCUMENTED[name]["reference"]
    output = reference_output(build(name))
    if name not in ("I", "LI", "CubaLI"):
        assert 0.05 < output.mean() < 0.95


@pytest.mark.parametrize("tool", [pytest.param(tool, marks=needs(tool)) for tool in ("SpikingJelly", "snnTorch")])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_tool_does_what_the_table_says(tool, name):
    """Equal or not; how many places differ may depend on the machine."""
    assert third_parties.outcome(tool, name).split()[0] == DOCUMENTED[name][tool].split()[0]


@pytest.mark.parametrize("name", NETWORKS)
def test_lava_refuses_what_the_table_says(name):
    """Up to the plan, without a run; tests/sim/lava runs every kind of node."""
    graph, frames = load(build(name)), frames_for(build(name))
    for column in ("Lava, float", "Lava, fixed"):
        try:
            ready = load(quantize(graph, frames)[0]) if column.endswith("fixed") else graph
            lengths = np.full(len(frames), frames.shape[1])
            parent.make_plan(ready, schedule(ready, frames.shape[1]), frames, lengths)
            found = "equal"
        except (GraphError, LavaError):
            found = "refuses"
        assert found == DOCUMENTED[name][column], column


# ---- why they differ -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["LIF, v_leak = v_reset", "IF, any v_reset", "CubaLIF, any v_reset"])
def test_spikingjelly_differs_by_where_v_starts(name):
    """It starts at v_reset. NIR does not say where; started at 0, as here and in Lava, every spike is ours."""
    graph, frames = build(name), frames_for(build(name))
    assert not np.array_equal(third_parties.spikingjelly(build(name), frames), reference_output(graph))
    np.testing.assert_array_equal(
        third_parties.spikingjelly(build(name), frames, initial_potential=0.0), reference_output(graph)
    )


def test_spikingjelly_fires_at_the_threshold_and_nir_above_it():
    graph = build("LIF, v meets the threshold exactly")
    reaches = dataclasses.replace(load(graph), rule=">=")
    for node in reaches.spiking:
        node.parameters["v_threshold"] = np.nextafter(node.parameters["v_threshold"], -np.inf)
    frames = frames_for(graph)
    np.testing.assert_array_equal(third_parties.spikingjelly(graph, frames), reference.run(reaches, frames).output)


@needs("snnTorch")
@pytest.mark.parametrize("name", ["LIF, any v_reset", "CubaLIF, any v_reset"])
def test_snntorch_takes_any_v_reset_for_zero(name):
    graph = build(name)
    found = third_parties.snntorch(build(name), frames_for(graph))
    graph.nodes["neuron"].v_reset = np.zeros(NEURONS)
    np.testing.assert_array_equal(found, reference_output(graph))


@needs("snnTorch")
def test_snntorch_takes_one_gain_for_all_neurons():
    """It folds dt / tau into the threshold, and of gains that differ takes the smallest."""
    graph = build("LIF, tau by neuron, r = 1")
    found = third_parties.snntorch(build("LIF, tau by neuron, r = 1"), frames_for(graph))
    neuron = graph.nodes["neuron"]
    neuron.r, neuron.v_threshold = neuron.tau / DT, neuron.v_threshold * neuron.tau.max() / DT
    np.testing.assert_array_equal(found, reference_output(graph))


@needs("snnTorch")
@pytest.mark.parametrize(
    "name",
    ["recurrent LIF, r = 1", "recurrent LIF, r = tau / dt", "recurrent CubaLIF, r = tau_mem / dt, w_in = tau_syn / dt"],
)
def test_snntorch_sends_the_input_of_a_loop_through_the_recurrent_weights(name):
    """Its `_create_rnn_subgraph` joins Input to W_rec and not to the neuron."""
    graph = build(name)
    found = third_parties.snntorch(build(name), frames_for(graph))
    graph.edges = [("fc", "rnn.w_rec") if edge == ("fc", "rnn.lif") else edge for edge in graph.edges]
    np.testing.assert_array_equal(found, reference_output(graph))


# ---- several inputs --------------------------------------------------------------------------------------------------


def test_two_inputs_are_one_vector_in_the_order_of_their_names():
    graph = build("two inputs")
    ear, eye = (graph.nodes[name].weight for name in ("from_ear", "from_eye"))
    whole = nir.Linear(np.concatenate([ear, eye], axis=1))
    single = third_parties.chain((FEATURES,), {"whole": whole, "lif": third_parties.lif()}, (NEURONS,))
    np.testing.assert_array_equal(reference_output(graph), reference_output(single))
    with pytest.raises(GraphError, match=r"\[samples, steps, 4\], side by side ear \(1,\), eye \(3,\)"):
        reference.run(load(graph), np.zeros((1, 2, 3)))


def test_quantised_inputs_stay_two(tmp_path):
    graph = build("two inputs")
    nir.write(tmp_path / "two.q.nir", quantize(load(graph), frames_for(graph))[0])
    again = nir.read(tmp_path / "two.q.nir")
    assert sorted(name for name, node in again.nodes.items() if isinstance(node, nir.Input)) == ["ear", "eye"]
    assert not set(itertools.chain(*again.edges)) - set(again.nodes)
    integers = reference.run(load(tmp_path / "two.q.nir"), frames_for(graph)).output
    assert np.count_nonzero(integers != reference_output(graph)) < 0.02 * integers.size
