"""A reset to another potential than 0 in integers: v is counted from there, and every spike stays."""

import nir
import numpy as np
import pytest
from neurotarget.conversion.fixed.resets import resets_to_zero
from neurotarget.conversion.quantize import quantize
from neurotarget.sim import reference
from neurotarget.sim.graph import Graph, dialect, load

DT, SIZE = 1e-4, 4

# Powers of two: floats hold every potential exactly, moved or not.
NEURONS = {
    "if": (nir.IF, {"r": 1 / DT}),
    "lif": (nir.LIF, {"tau": 2 * DT, "r": 2.0, "v_leak": 0.25}),
    "cuba_lif": (nir.CubaLIF, {"tau_syn": 2 * DT, "tau_mem": 4 * DT, "r": 4.0, "v_leak": -0.5, "w_in": 2.0}),
}


def network(kind: str, v_reset: float, start: float | None) -> Graph:
    """input -> weights -> neurons that differ in v_reset -> output."""
    make, values = NEURONS[kind]
    arrays = {key: np.full(SIZE, value) for key, value in {**values, "v_threshold": 1.0}.items()}
    resets = v_reset * np.array([1.0, 1.0, 0.5, 0.5])
    here = make(**arrays, v_reset=resets, metadata={} if start is None else {dialect.KEY_V_INITIAL: start})
    nodes = {
        "input": nir.Input(input_type={"input": np.array([SIZE])}),
        "weights": nir.Linear(weight=np.eye(SIZE) * 0.375),
        "here": here,
        "output": nir.Output(output_type={"output": np.array([SIZE])}),
    }
    edges = [("input", "weights"), ("weights", "here"), ("here", "output")]
    return load(nir.NIRGraph(nodes=nodes, edges=edges, metadata={dialect.KEY_DT: DT}))


@pytest.mark.parametrize("start", [None, -0.25])
@pytest.mark.parametrize("v_reset", [-0.5, 0.25])
@pytest.mark.parametrize("kind", NEURONS)
def test_the_moved_neurons_fire_when_the_others_do(kind, v_reset, start):
    graph = network(kind, v_reset, start)
    frames = np.random.default_rng(0).integers(0, 16, (3, 40, SIZE)) / 8
    moved = resets_to_zero(graph)
    assert not moved.nodes["here"].parameters["v_reset"].any()
    before, after = (reference.run(one, frames).spikes["here"] for one in (graph, moved))
    assert before.any(axis=(0, 1)).all()
    np.testing.assert_array_equal(after, before)
    elsewhere = load(network(kind, v_reset=0.0, start=start))  # it does matter where they reset to
    assert (reference.run(elsewhere, frames).spikes["here"] != before).any()


@pytest.mark.parametrize("start", [None, -0.5])
def test_integers_have_the_spikes_of_the_float_network(start):
    graph = network("if", -0.5, start)
    frames = np.random.default_rng(1).poisson(1.0, (3, 40, SIZE)).astype(float)
    integers = load(quantize(graph, frames)[0])
    np.testing.assert_array_equal(
        reference.run(integers, frames).spikes["here"], reference.run(graph, frames).spikes["here"]
    )
