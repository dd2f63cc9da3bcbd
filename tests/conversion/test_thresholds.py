"""NIR's Threshold in integers: max pooling of spikes is exact, and of what does not fire next to nothing is left."""

import itertools

import nir
import numpy as np
import pytest
from neurotarget.conversion.fixed.thresholds import smallest_positive
from neurotarget.conversion.quantize import quantize
from neurotarget.sim import reference
from neurotarget.sim.graph import dialect, load
from neurotarget.sim.graph.node import GraphError

DT, SIDE = 1e-4, 6
SQUARE = {"kernel_size": np.array([2, 2]), "stride": np.array([2, 2]), "padding": np.array([0, 0])}


def full(value, *shape):
    return np.full(shape, float(value))


def firing(*shape):
    return nir.IF(r=full(1 / DT, *shape), v_threshold=full(1, *shape), v_reset=full(0, *shape))


def graph_of(nodes, shape, output, rule=dialect.RULE_EXCEEDS):
    """A chain: input -> nodes -> output."""
    ports = {"input": nir.Input(input_type={"input": np.array(shape)})}
    ends = {"output": nir.Output(output_type={"output": np.array(output)})}
    names = ["input", *nodes, "output"]
    edges = list(itertools.pairwise(names))
    metadata = {dialect.KEY_DT: DT, dialect.KEY_RULE: rule}
    return load(nir.NIRGraph(nodes={**ports, **nodes, **ends}, edges=edges, metadata=metadata, type_check=False))


def pooled(pool=nir.SumPool2d, threshold=0.0, rule=dialect.RULE_EXCEEDS):
    half = (1, SIDE // 2, SIDE // 2)
    middle = {"spikes": firing(1, SIDE, SIDE), "pool": pool(**SQUARE)}
    if pool is nir.AvgPool2d:  # two of them: a sixteenth at least
        middle["more"] = nir.AvgPool2d(kernel_size=np.array([3, 3]), stride=np.array([3, 3]), padding=np.array([0, 0]))
        half = (1, 1, 1)
    return graph_of({**middle, "here": nir.Threshold(threshold=full(threshold, *half))}, (1, SIDE, SIDE), half, rule)


def largest(spikes, side):
    """Max pooling by its definition."""
    fields = spikes.reshape(*spikes.shape[:3], SIDE // side, side, SIDE // side, side)
    return fields.max(axis=(4, 6))


@pytest.mark.parametrize("rule", [dialect.RULE_EXCEEDS, dialect.RULE_REACHES])
@pytest.mark.parametrize(("pool", "side"), [(nir.SumPool2d, 2), (nir.AvgPool2d, 6)])
def test_max_pooling_of_spikes_is_exact(pool, side, rule):
    graph = pooled(pool, rule=rule)
    frames = np.random.default_rng(0).poisson(0.15, (3, 40, 1, SIDE, SIDE)).astype(float)
    integers = load(quantize(graph, frames)[0])
    assert integers.nodes["here"].kind == "lif" and integers.fixed["here"]["dv"] == 4095
    trace = reference.run(integers, frames)
    expected = largest(trace.spikes["spikes"], side)
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(trace.spikes["here"], expected)


def test_majorities_are_counted_anew_at_each_step():
    """More than two of four: three steps of two spikes are no majority."""
    graph = pooled(threshold=2.0)
    frames = np.random.default_rng(1).poisson(0.5, (3, 40, 1, SIDE, SIDE)).astype(float)
    trace = reference.run(load(quantize(graph, frames)[0]), frames)
    fields = trace.spikes["spikes"].astype(int).reshape(3, 40, 1, SIDE // 2, 2, SIDE // 2, 2).sum(axis=(4, 6))
    assert (fields == 2).mean() > 0.1
    np.testing.assert_array_equal(trace.spikes["here"], fields > 2)


def test_of_a_current_that_did_not_fire_a_4096th_is_left():
    """v = v // 4096 + 64 current, and 0 after a spike: 1.5 after 2 is no 3.5."""
    graph = graph_of(
        {"weights": nir.Linear(weight=np.array([[1.0]])), "here": nir.Threshold(threshold=full(2.55, 1))}, (1,), (1,)
    )
    frames = np.array([1.0, 2.0, 2.0, 3.0, 1.0]).reshape(1, 5, 1)
    integers = load(quantize(graph, frames)[0])
    trace = reference.run(integers, frames)
    current = reference.synaptic_input(integers, trace, "here").reshape(-1).tolist()
    assert current[1] > 100 and current == [x * current[0] for x in (1, 2, 2, 3, 1)]
    v, expected = 0, []
    for step in current:
        expected.append(v // 4096 + 64 * step)
        v = 0 if step == 3 * current[0] else expected[-1]
    found = reference.potentials(integers, frames, np.array([5]), ["here"])["here"]
    assert found.reshape(-1).tolist() == expected
    assert trace.spikes["here"].reshape(-1).tolist() == [0, 0, 0, 1, 0]


def test_a_threshold_of_0_over_what_may_be_negative_is_refused():
    weights = {"weights": nir.Linear(weight=np.array([[1.0, -1.0]])), "here": nir.Threshold(threshold=full(0, 1))}
    with pytest.raises(GraphError, match="node here: a Threshold of 0 over values that may be negative"):
        quantize(graph_of(weights, (2,), (1,)), np.ones((1, 4, 2)))


def test_the_smallest_value_above_0():
    nodes = {"spikes": firing(2), "weights": nir.Linear(weight=np.array([[0.5, 0.25], [0.0, 3.0]]))}
    graph = graph_of(nodes, (2,), (2,))
    assert smallest_positive(graph, ("spikes",)) == 1.0
    assert smallest_positive(graph, ("weights", "spikes")) == 0.25
    assert smallest_positive(graph, ("input",)) is None and smallest_positive(graph, ("spikes", "input")) is None
    shifted = nir.Affine(weight=np.array([[0.5, 0.25], [0.0, 3.0]]), bias=np.array([0.0, 1.0]))
    assert smallest_positive(graph_of({**nodes, "weights": shifted}, (2,), (2,)), ("weights",)) is None
