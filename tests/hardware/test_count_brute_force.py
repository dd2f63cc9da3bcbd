"""The counter against loops that walk through every output, every synapse and every step, one by one."""

from __future__ import annotations

import itertools

import nir
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware.count import LayerCount, count
from sim import dialect
from sim.graph import Graph
from sim.trace import Trace
from tests.hardware.networks import chain, lif, run, temporal, temporal_graph, wire

few = settings(max_examples=25, deadline=None)
SIZES = st.integers(1, 3)
PAYLOADS = st.sampled_from([[0, 1], [-1, 0, 1], [0, 0, 1, 2, 3]])


def layer(graph: Graph, trace: Trace, name: str) -> LayerCount:
    return {record.name: record for record in count(graph, trace)}[name]


def drawn(seed: int, values: list[int], *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).choice(values, size=shape).astype(np.float64)


class Synapses:
    """Books one synapse after another."""

    def __init__(self) -> None:
        self.synops = self.unary = self.dense = 0

    def use(self, payload: float) -> None:
        self.dense += 1
        self.synops += payload != 0
        self.unary += int(abs(payload))


def check(record: LayerCount, expected: Synapses) -> None:
    assert (record.synops, record.unary_synops, record.dense_macs) == (expected.synops, expected.unary, expected.dense)
    assert record.acs + record.macs == record.synops


@few
@given(
    st.integers(0, 2**31),
    PAYLOADS,
    SIZES,
    SIZES,
    SIZES,
    st.integers(3, 6),
    st.integers(3, 5),
    st.integers(1, 3),
    st.integers(0, 2),
    st.integers(1, 2),
)
def test_convolution(
    seed: int,
    values: list[int],
    groups: int,
    per_group: int,
    inputs: int,
    height: int,
    width: int,
    stride: int,
    padding: int,
    dilation: int,
) -> None:
    kernel = (2, 2)
    weight = np.ones((groups * per_group, inputs, *kernel))
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    conv = nir.Conv2d(input_shape=None, weight=weight, bias=np.zeros(len(weight)), **options)
    rows, columns = ((n + 2 * padding - dilation - 1) // stride + 1 for n in (height, width))
    graph = chain((groups * inputs, height, width), {"c": conv}, (len(weight), rows, columns))
    x = drawn(seed, values, 2, 2, groups * inputs, height, width)
    expected = Synapses()
    for sample, step in itertools.product(range(2), range(2)):
        for output, row, column in itertools.product(range(len(weight)), range(rows), range(columns)):
            for channel, i, j in itertools.product(range(inputs), range(2), range(2)):
                y, z = row * stride + i * dilation - padding, column * stride + j * dilation - padding
                if 0 <= y < height and 0 <= z < width:
                    expected.use(x[sample, step, output // per_group * inputs + channel, y, z])
    check(layer(graph, run(graph, x), "c"), expected)


@few
@given(
    st.integers(0, 2**31),
    PAYLOADS,
    st.booleans(),
    st.integers(1, 5),
    st.integers(0, 4),
    st.lists(st.integers(0, 7), min_size=3, max_size=3),
)
def test_convolution_over_time(
    seed: int, values: list[int], depthwise: bool, taps: int, look_ahead: int, lengths: list[int]
) -> None:
    look_ahead = min(look_ahead, taps - 1)
    weight = np.ones((3, taps) if depthwise else (2, 3, taps))
    graph = temporal_graph(weight, np.zeros(len(weight)), look_ahead)
    x = drawn(seed, values, 3, 7, 3)
    expected = Synapses()
    for sample, length in enumerate(lengths):
        for step, output, tap in itertools.product(range(length), range(len(weight)), range(taps)):
            source = step + look_ahead - (taps - 1) + tap
            for channel in [output] if depthwise else range(3):
                if 0 <= source < length:
                    expected.use(x[sample, source, channel])
    kinds = {"affine", "scale"} if taps == 1 else {"depthwise_conv" if depthwise else "temporal_conv"}
    found = [record for record in count(graph, run(graph, x, lengths)) if record.kind in kinds | {"temporal_conv"}]
    assert len(found) == 1
    check(found[0], expected)


@few
@given(st.integers(0, 2**31), PAYLOADS, SIZES, st.booleans(), st.lists(st.integers(0, 5), min_size=2, max_size=2))
def test_attention(seed: int, values: list[int], heads: int, causal: bool, lengths: list[int]) -> None:
    size = 2
    width = heads * size
    nodes: dict[str, nir.NIRNode] = {
        name: nir.Linear(weight=np.eye(3 * width)[i * width : (i + 1) * width]) for i, name in enumerate("qkv")
    }
    roles = {"query": "q", "key": "k", "value": "v"}
    nodes["a"] = dialect.extension("attention", width, {**roles, "heads": heads, "scale": 1.0, "causal": causal})
    edges = [("input", name) for name in "qkv"] + [(name, "a") for name in "qkv"] + [("a", "output")]
    graph = wire((3 * width,), nodes, (width,), edges)
    x = drawn(seed, values, 2, 5, 3 * width)
    synops = dense = 0
    for sample, length in enumerate(lengths):
        for step, head, i, j in itertools.product(range(length), range(heads), range(size), range(size)):
            query, key, value = (x[sample, step, role * width + head * size :] for role in range(3))
            synops += bool(key[i]) and bool(value[j])  # the state's element (i, j) changes
            synops += bool(query[i])  # row i of the state is added to the output, element j
        for step, other in itertools.product(range(length), range(length)):
            if other <= step or not causal:
                dense += 2 * width  # a product a neuron for the score, and one for the weighted sum
    record = layer(graph, run(graph, x, lengths), "a")
    assert (record.synops, record.dense_macs) == (synops, dense)


@few
@given(st.integers(0, 2**31), st.lists(st.integers(0, 6), min_size=3, max_size=3))
def test_a_whole_network(seed: int, lengths: list[int]) -> None:
    """Convolution over time, two spiking layers with a residual connection, a read-out."""
    rng = np.random.default_rng(seed)
    nodes, edges, taps = temporal("embed", rng.normal(size=(4, 3, 3)), rng.normal(size=4), look_ahead=1)
    nodes |= {
        "first": lif(4, 0.7),
        "hidden": nir.Affine(weight=rng.normal(size=(4, 4)), bias=rng.normal(size=4)),
        "second": lif(4, 0.7),
        "head": nir.Linear(weight=rng.normal(size=(2, 4))),
    }
    edges += [("input", "embed.ahead"), *[(tap, "first") for tap in taps], ("first", "hidden"), ("hidden", "second")]
    edges += [("first", "head"), ("second", "head"), ("head", "output")]
    graph = wire((3,), nodes, (2,), edges)
    trace = run(graph, drawn(seed, [0, 0, 1, 2], 3, 6, 3), lengths)
    records = {record.name: record for record in count(graph, trace)}
    expected = {name: Synapses() for name in ("embed", "hidden", "head")}
    for sample, length in enumerate(lengths):
        for step in range(length):
            for _output, channel, tap in itertools.product(range(4), range(3), range(3)):
                if 0 <= (source := step - 1 + tap) < length:
                    expected["embed"].use(trace.input[sample, source, channel])
            for output, channel in itertools.product(range(4), range(4)):
                first, second = (int(trace.spikes[name][sample, step, channel]) for name in ("first", "second"))
                expected["hidden"].use(first)
                if output < 2:
                    expected["head"].use(first + second)
    for name, synapses in expected.items():
        check(records[name], synapses)
    for name in ("first", "second"):
        assert records[name].spikes == sum(int(v) for v in trace.spikes[name].ravel())
        assert records[name].neuron_updates == 4 * sum(lengths)
    active = {"first": 0, "second": 0}
    for sample, length in enumerate(lengths):
        for step, neuron in itertools.product(range(length), range(4)):
            spikes = {name: trace.spikes[name][sample, step] for name in active}
            seen = trace.input[sample, max(step - 1, 0) : min(step + 2, length)]
            active["first"] += bool(seen.any() or spikes["first"][neuron])
            active["second"] += bool(spikes["first"].any() or spikes["second"][neuron])
    assert {name: records[name].active_updates for name in active} == active
