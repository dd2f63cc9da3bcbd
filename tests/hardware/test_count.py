"""Exact integers on layers small enough to count by hand."""

from __future__ import annotations

import gc

import nir
import numpy as np
import pytest
from neurotarget.hardware.counts.layers import LayerCount, count
from neurotarget.hardware.counts.summary import sum_up
from neurotarget.hardware.counts.tallies import Counting
from neurotarget.sim.graph import Graph, dialect
from neurotarget.sim.trace import Trace, TraceError

from tests.hardware.networks import chain, lif, run, temporal_graph, wire


def layer(graph: Graph, trace: Trace, name: str, zero_weights: bool = True) -> LayerCount:
    return {record.name: record for record in count(graph, trace, zero_weights)}[name]


def operations(record: LayerCount) -> dict[str, int | None]:
    fields = ("events", "payload_sum", "synops", "acs", "macs", "unary_synops", "dense_macs")
    return {field: getattr(record, field) for field in fields}


def frames(*steps: list[float]) -> np.ndarray:
    """One sample [1, steps, features]."""
    return np.array([steps], dtype=np.float64)


def test_dense_layer() -> None:
    graph = chain((3,), {"fc": nir.Affine(weight=np.ones((4, 3)), bias=np.array([1.0, 0, 2, 0])), "n": lif(4)}, (4,))
    trace = run(graph, frames([1, 0, 1], [0, 0, 0], [0, 1, 0]))
    record = layer(graph, trace, "fc")
    # 3 spikes, each to 4 outputs; dense: 3 inputs x 4 outputs x 3 steps; 2 biases are not zero, at 3 steps.
    assert operations(record) == {
        "events": 3,
        "payload_sum": 3,
        "synops": 12,
        "acs": 12,
        "macs": 0,
        "unary_synops": 12,
        "dense_macs": 36,
    }
    assert (record.biases, record.synapses, record.parameters) == (6, 12, 16)
    assert (record.fan_in, record.fan_out, record.neurons, record.payload) == (3, 4, 4, "spike")
    neurons = layer(graph, trace, "n")
    # The bias of 1 fires neuron 0 at every step; neuron 2 gets at least 2.
    # Neurons 1 and 3 get 2, 0, 1: 2 fires (v > 1), then v = 0, then v = 1, which does not exceed the threshold.
    assert (neurons.neuron_updates, neurons.state, neurons.events) == (12, 4, 0)
    assert neurons.spikes == int(trace.spikes["n"].sum()) == 2 + 1 + 3 + 1
    # Events arrive in steps 0 and 2; in step 1 only a bias can fire.
    assert neurons.active_updates == 8 + int(trace.spikes["n"][0, 1].sum())
    assert neurons.messages == 7
    assert neurons.spike_rate == 7 / 12
    assert neurons.acs == neurons.macs == 0


def test_integer_payload_is_a_mac_and_keeps_what_unit_spikes_would_cost() -> None:
    graph = chain((3,), {"fc": nir.Linear(weight=np.ones((2, 3)))}, (2,))
    record = layer(graph, run(graph, frames([3, 0, 1], [0, -2, 0])), "fc")
    assert operations(record) == {
        "events": 3,
        "payload_sum": 6,
        "synops": 6,
        "acs": 0,
        "macs": 6,
        "unary_synops": 12,
        "dense_macs": 12,
    }
    assert (record.unit_synops, record.payload) == (2, "integer")


def test_residual_stream_of_two_spiking_nodes_carries_integers() -> None:
    nodes = {"a": lif(2, 0.5), "b": lif(2, 1.5), "fc": nir.Linear(weight=np.ones((3, 2)))}
    edges = [("input", "a"), ("input", "b"), ("a", "fc"), ("b", "fc"), ("fc", "output")]
    graph = wire((2,), nodes, (3,), edges)
    trace = run(graph, frames([2, 1], [0, 0]))  # a fires at both inputs, b at the first only
    record = layer(graph, trace, "fc")
    assert (record.events, record.payload_sum, record.macs, record.unary_synops) == (2, 3, 6, 9)
    # The input is wired straight to both neurons: one operation an event, counted at the neuron.
    assert operations(layer(graph, trace, "a"))["macs"] == 2
    assert layer(graph, trace, "a").fan_out == 1


def test_real_payload_has_no_unary_form() -> None:
    graph = chain((2,), {"fc": nir.Linear(weight=np.ones((2, 2)))}, (2,))
    record = layer(graph, run(graph, frames([0.5, 0], [1, 1])), "fc")
    assert (record.events, record.macs, record.acs, record.unit_synops) == (3, 6, 0, 4)
    assert (record.payload, record.payload_sum, record.unary_synops) == ("real", None, None)


def test_negative_spikes_are_additions() -> None:
    graph = chain((2,), {"fc": nir.Linear(weight=np.ones((2, 2)))}, (2,))
    record = layer(graph, run(graph, frames([-1, 1])), "fc")
    assert (record.acs, record.macs, record.payload_sum) == (4, 0, 2)


def test_steps_outside_the_window_do_not_count() -> None:
    graph = chain((2,), {"fc": nir.Affine(weight=np.ones((3, 2)), bias=np.ones(3)), "n": lif(3)}, (3,))
    trace = run(graph, np.ones((2, 4, 2)), lengths=[1, 3])
    record = layer(graph, trace, "fc")
    assert (record.events, record.acs, record.dense_macs, record.biases) == (8, 24, 24, 12)
    assert (record.samples, record.sample_steps) == (2, 4)
    assert layer(graph, trace, "n").neuron_updates == 12


def test_currents_outside_the_window_are_not_events() -> None:
    nodes = {"a": nir.Affine(weight=np.ones((2, 2)), bias=np.ones(2)), "b": nir.Linear(weight=np.ones((2, 2)))}
    graph = chain((2,), nodes, (2,))
    assert layer(graph, run(graph, np.zeros((1, 5, 2)), lengths=[2]), "b").events == 4


def test_zero_weights_count_unless_asked_not_to() -> None:
    graph = chain((2,), {"fc": nir.Linear(weight=np.array([[1.0, 0], [1, 1], [0, 1]]))}, (3,))
    trace = run(graph, frames([1, 1]))
    assert layer(graph, trace, "fc").acs == 6
    sparse = layer(graph, trace, "fc", zero_weights=False)
    assert (sparse.acs, sparse.synapses, sparse.fan_in, sparse.fan_out) == (4, 4, 2, 2)


def test_scale() -> None:
    graph = chain((3,), {"s": nir.Scale(scale=np.ones(3))}, (3,))
    record = layer(graph, run(graph, frames([1, 0, 1])), "s")
    assert (record.acs, record.dense_macs, record.fan_in, record.fan_out) == (2, 3, 1, 1)


def conv2d(weight: np.ndarray, **options: object) -> nir.Conv2d:
    defaults = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": np.zeros(len(weight))}
    return nir.Conv2d(input_shape=None, weight=weight, **{**defaults, **options})


def test_strided_and_padded_convolution_is_exact_at_the_edges() -> None:
    # 4 x 4 input, kernel 3, stride 2, padding 1 -> 2 x 2 outputs at rows (and columns) -1..1 and 1..3.
    # Along an axis, input 0 and 2 and 3 are seen by one output, input 1 by both: fan-outs 1 2 1 1.
    graph = chain((1, 4, 4), {"c": conv2d(np.ones((5, 1, 3, 3)), stride=2, padding=1)}, (5, 2, 2))
    image = np.zeros((1, 1, 1, 4, 4))
    image[0, 0, 0, 1, 1] = image[0, 0, 0, 0, 0] = image[0, 0, 0, 1, 3] = 1
    record = layer(graph, run(graph, image), "c")
    assert (record.events, record.acs) == (3, 5 * (4 + 1 + 2))
    # All inputs on: (1 + 2 + 1 + 1)^2 positions seen, 5 channels. Padding is not a synapse.
    assert (record.dense_macs, record.synapses) == (125, 125)
    assert (record.fan_in, record.fan_out, record.parameters) == (9, 20, 50)


def test_grouped_convolution() -> None:
    graph = chain((4, 3, 3), {"c": conv2d(np.ones((6, 2, 2, 2)), groups=2)}, (6, 2, 2))
    image = np.zeros((1, 1, 4, 3, 3))
    image[0, 0, 0, 1, 1] = image[0, 0, 3, 0, 0] = 1  # centre: 4 positions; corner: 1; 3 channels a group
    record = layer(graph, run(graph, image), "c")
    assert (record.acs, record.fan_in, record.fan_out) == (3 * 4 + 3 * 1, 8, 12)
    assert record.dense_macs == 6 * 4 * 8


def test_conv1d_with_dilation_and_bias() -> None:
    conv = nir.Conv1d(
        input_shape=6, weight=np.ones((2, 1, 3)), stride=1, padding=2, dilation=2, groups=1, bias=np.ones(2)
    )
    graph = chain((1, 6), {"c": conv}, (2, 6))
    # Outputs 0..5 read o - 2, o, o + 2: inputs 0, 1, 4, 5 are read twice, 2 and 3 three times.
    record = layer(graph, run(graph, np.array([[[[1, 0, 1, 0, 0, 0]]]])), "c")
    assert (record.acs, record.dense_macs, record.biases) == (2 * (2 + 3), 2 * 14, 12)


@pytest.mark.parametrize("pool", [nir.SumPool2d, nir.AvgPool2d])
def test_pool(pool: type) -> None:
    node = pool(kernel_size=np.array([2, 2]), stride=np.array([2, 2]), padding=np.array([0, 0]))
    graph = chain((2, 5, 5), {"p": node}, (2, 2, 2))
    image = np.zeros((1, 1, 2, 5, 5))
    image[0, 0, :, 0, 0] = 1
    image[0, 0, 0, 4, 4] = 1  # the fifth row and column are in no window
    record = layer(graph, run(graph, image), "p")
    assert (record.events, record.acs, record.dense_macs, record.fan_in, record.fan_out) == (3, 2, 32, 4, 1)


def test_temporal_convolution_at_the_edges_of_the_window() -> None:
    graph = temporal_graph(np.ones((4, 2, 3)), np.ones(4), look_ahead=1)
    assert [node.kind for node in graph.nodes.values()] == ["input", "temporal_conv", "output"]
    # Kernel 3, centred: a step in the middle reaches 3 outputs, a step at either end of the window 2.
    trace = run(graph, np.ones((2, 6, 2)), lengths=[6, 2])
    record = layer(graph, trace, "conv")
    assert record.events == 16
    assert record.acs == 2 * 4 * ((2 + 3 * 4 + 2) + (2 + 2))
    assert record.dense_macs == record.acs
    assert (record.fan_in, record.fan_out, record.synapses, record.state) == (6, 12, 24, 4)
    assert record.biases == 4 * 8
    single = run(graph, frames([1, 0], [0, 0], [0, 2], [0, 0]))
    assert operations(layer(graph, single, "conv"))["synops"] == 4 * 2 + 4 * 3
    assert operations(layer(graph, single, "conv"))["unary_synops"] == 4 * 2 + 2 * 4 * 3


def test_causal_temporal_convolution() -> None:
    graph = temporal_graph(np.ones((1, 1, 3)), None, look_ahead=0)
    record = layer(graph, run(graph, np.ones((1, 4, 1))), "conv")
    assert record.acs == 3 + 3 + 2 + 1  # a late event reaches fewer outputs before the utterance ends


def test_a_learnt_delay_is_one_synapse() -> None:
    weight = np.zeros((2, 1, 5))
    weight[0, 0, 4] = weight[1, 0, 1] = 1  # delays of 0 and 3 steps
    graph = temporal_graph(weight, None, look_ahead=0)
    record = layer(graph, run(graph, np.ones((1, 5, 1))), "conv")
    assert (record.acs, record.synapses, record.parameters) == (5 + 2, 2, 2)


def test_depthwise_convolution() -> None:
    graph = temporal_graph(np.ones((2, 3)), None, look_ahead=1)
    assert graph.nodes["conv"].kind == "depthwise_conv"
    record = layer(graph, run(graph, frames([1, 0], [0, 1], [0, 0], [1, 0])), "conv")
    assert (record.acs, record.fan_in, record.fan_out, record.synapses) == (2 + 3 + 2, 3, 3, 6)
    assert record.dense_macs == 2 * (2 + 3 + 3 + 2)


def test_rotary_multiplies_twice_an_event() -> None:
    node = dialect.extension("rotary", 4, {"angle": np.array([1.0, 0.1]), "scale": 1.0})
    graph = chain((4,), {"r": node}, (4,))
    record = layer(graph, run(graph, frames([1, 0, 1, 0], [0, 1, 0, 0])), "r")
    assert (record.events, record.macs, record.acs, record.dense_macs, record.state) == (3, 6, 0, 16, 4)


def gated() -> Graph:
    nodes = {
        "fc": nir.Affine(weight=np.ones((3, 3)) / 2, bias=np.ones(3) / 4),
        "n": lif(3, 0.5),
        "g": dialect.extension("gate", 3, {"current": "fc", "gate": "n"}),
    }
    edges = [("input", "fc"), ("input", "n"), ("fc", "g"), ("n", "g"), ("g", "output")]
    return wire((3,), nodes, (3,), edges)


def test_gate_costs_one_selection_an_open_gate() -> None:
    graph = gated()
    trace = run(graph, frames([1, 0, 1], [0, 0, 0], [0, 1, 0]))
    record = layer(graph, trace, "g")
    assert int(trace.spikes["n"].sum()) == 3
    assert (record.events, record.acs, record.macs, record.dense_macs) == (3, 3, 0, 9)


def attention(causal: bool, width: int = 4, heads: int = 2) -> Graph:
    """Three views of the input, each through neurons that repeat it."""
    roles = {"query": "q", "key": "k", "value": "v"}
    third = {name: np.eye(3 * width)[i * width : (i + 1) * width] for i, name in enumerate("qkv")}
    nodes: dict[str, nir.NIRNode] = {f"{name}_in": nir.Linear(weight=third[name]) for name in "qkv"}
    nodes |= {name: lif(width, 0.9) for name in "qkv"}
    nodes["a"] = dialect.extension("attention", width, {**roles, "heads": heads, "scale": 0.5, "causal": causal})
    edges = [("input", f"{name}_in") for name in "qkv"] + [(f"{name}_in", name) for name in "qkv"]
    return wire((3 * width,), nodes, (width,), [*edges, *[(name, "a") for name in "qkv"], ("a", "output")])


@pytest.mark.parametrize("causal", [False, True])
def test_attention_counts_coincidences_a_head_and_reads_of_the_state(causal: bool) -> None:
    graph = attention(causal)
    #        query       key         value
    step0 = [1, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1]
    step1 = [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 0]
    record = layer(graph, run(graph, frames(step0, step1)), "a")
    # Step 0: head 0 has 2 keys and 1 value, head 1 has none and 2. Step 1: head 0 none and 2, head 1 has 2 and 1.
    state, read = 2 * 1 + 0 * 2 + 0 * 2 + 2 * 1, 2 * 2
    assert (record.events, record.acs, record.macs) == (2 + 4 + 6, state + read, 0)
    pairs = 2 * 3 // 2 if causal else 4
    assert (record.dense_macs, record.state) == (2 * pairs * 4, 4 * 2)
    assert (record.fan_in, record.fan_out) == (2, 2)


def test_attention_with_integer_queries_reads_with_macs() -> None:
    graph = wire(
        (12,),
        {
            "double": nir.Linear(weight=2 * np.eye(12)[:4]),
            "k": nir.Linear(weight=np.eye(12)[4:8]),
            "v": nir.Linear(weight=np.eye(12)[8:]),
            "a": dialect.extension(
                "attention",
                4,
                {"query": "double", "key": "k", "value": "v", "heads": 2, "scale": 1.0, "causal": False},
            ),
        },
        (4,),
        [("input", n) for n in ("double", "k", "v")] + [(n, "a") for n in ("double", "k", "v")] + [("a", "output")],
    )
    record = layer(graph, run(graph, frames([1, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1])), "a")
    assert (record.acs, record.macs, record.unary_synops) == (2, 4, 2 + 8)


def test_delay_holds_values_and_computes_nothing() -> None:
    nodes = {"d": nir.Delay(delay=np.array([1e-3, 3e-3])), "fc": nir.Linear(weight=np.ones((2, 2)))}
    graph = chain((2,), nodes, (2,))
    trace = run(graph, np.ones((1, 4, 2)))
    record = layer(graph, trace, "d")
    assert (record.events, record.synops, record.state) == (8, 0, 4)
    assert layer(graph, trace, "fc").events == 3 + 1  # what is still delayed when the utterance ends never arrives


def test_more_samples_than_a_batch_and_totals() -> None:
    graph = chain((2,), {"fc": nir.Linear(weight=np.ones((3, 2))), "n": lif(3)}, (3,))
    trace = run(graph, np.ones((70, 2, 2)))
    assert layer(graph, trace, "fc").acs == 70 * 2 * 2 * 3
    total = sum_up(count(graph, trace))
    assert (total.acs, total.neurons, total.neuron_updates, total.samples) == (12, 3, 6, 70)


def test_what_a_batch_held_goes_with_it() -> None:
    """What is caught in a cycle stays until Python looks for cycles: a worker grew from batch to batch by it."""
    graph = chain((2,), {"a": lif(2), "fc": nir.Linear(weight=np.ones((3, 2))), "n": lif(3)}, (3,))
    counting, trace = Counting(graph), run(graph, np.ones((2, 4, 2)))
    counting(trace)  # makes what it keeps
    gc.collect()
    gc.disable()
    try:
        counting(trace)
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_a_trace_of_another_network_is_refused() -> None:
    one = chain((2,), {"fc": nir.Linear(weight=np.ones((3, 2))), "n": lif(3)}, (3,))
    other = chain((2,), {"fc": nir.Linear(weight=np.ones((4, 2))), "n": lif(4)}, (4,))
    with pytest.raises(TraceError, match="another network: n has shape"):
        count(one, run(other, np.ones((1, 2, 2))))
