"""The counter against loops that walk through every output, every synapse and every step, one by one."""

from __future__ import annotations

import itertools

import nir
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from neurotarget.hardware.counts.layers import LayerCount, count
from neurotarget.sim.graph import Graph, dialect
from neurotarget.sim.trace import Trace

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
    bias = None if taps == 1 else np.zeros(len(weight))  # a tap alone is a Scale, and with a bias a whole matrix
    graph = temporal_graph(weight, bias, look_ahead)
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


def kinds(graph: Graph) -> set[str]:
    return {node.kind for node in graph.nodes.values()}


@few
@given(st.integers(0, 2**31), PAYLOADS, st.booleans(), st.lists(st.integers(0, 4), min_size=2, max_size=2))
def test_affine_and_scale(seed: int, values: list[int], zeros: bool, lengths: list[int]) -> None:
    weight, scale = drawn(seed, [0, 1, 2], 4, 4), drawn(seed + 1, [0, 1], 4)
    nodes = {"fc": nir.Affine(weight=weight, bias=np.ones(4)), "s": nir.Scale(scale=scale)}
    graph = wire((4,), nodes, (4,), [("input", "fc"), ("input", "s"), ("s", "output"), ("fc", "output")])
    x = drawn(seed, values, 2, 4, 4)
    expected = {name: Synapses() for name in nodes}
    for sample, length in enumerate(lengths):
        for step, channel in itertools.product(range(length), range(4)):
            event = x[sample, step, channel]
            if zeros or scale[channel]:
                expected["s"].use(event)
            for output in range(4):
                if zeros or weight[output, channel]:
                    expected["fc"].use(event)
    records = {record.name: record for record in count(graph, run(graph, x, lengths), zero_weights=zeros)}
    for name, synapses in expected.items():
        check(records[name], synapses)
    assert records["fc"].biases == 4 * sum(lengths) and {"affine", "scale"} <= kinds(graph)


@few
@given(st.integers(0, 2**31), PAYLOADS, SIZES, SIZES, st.integers(3, 7), st.integers(1, 3), st.integers(0, 2), SIZES)
def test_convolution_in_one_dimension(
    seed: int, values: list[int], outputs: int, inputs: int, size: int, stride: int, padding: int, taps: int
) -> None:
    conv = nir.Conv1d(size, np.ones((outputs, inputs, taps)), stride, padding, 1, 1, np.zeros(outputs))
    positions = (size + 2 * padding - taps) // stride + 1
    graph = chain((inputs, size), {"c": conv}, (outputs, positions))
    x = drawn(seed, values, 2, 3, inputs, size)
    expected = Synapses()
    for sample, step, _output, position in itertools.product(range(2), range(3), range(outputs), range(positions)):
        for channel, tap in itertools.product(range(inputs), range(taps)):
            if 0 <= (place := position * stride + tap - padding) < size:
                expected.use(x[sample, step, channel, place])
    assert "conv1d" in kinds(graph)
    check(layer(graph, run(graph, x), "c"), expected)


@few
@given(
    st.integers(0, 2**31),
    PAYLOADS,
    st.sampled_from([nir.SumPool2d, nir.AvgPool2d]),
    st.tuples(SIZES, SIZES),
    st.tuples(SIZES, SIZES),
    st.integers(0, 1),
)
def test_pools(
    seed: int, values: list[int], pool: type, kernel: tuple[int, int], stride: tuple[int, int], padding: int
) -> None:
    padding = min(padding, *(k // 2 for k in kernel))
    node = pool(kernel_size=np.array(kernel), stride=np.array(stride), padding=np.array([padding, padding]))
    rows, columns = ((n + 2 * padding - k) // s + 1 for n, k, s in zip((5, 4), kernel, stride, strict=True))
    graph = chain((2, 5, 4), {"p": node}, (2, rows, columns))
    x = drawn(seed, values, 1, 2, 2, 5, 4)
    expected = Synapses()
    for step, channel, row, column in itertools.product(range(2), range(2), range(rows), range(columns)):
        for i, j in np.ndindex(*kernel):
            y, z = row * stride[0] + i - padding, column * stride[1] + j - padding
            if 0 <= y < 5 and 0 <= z < 4:
                expected.use(x[0, step, channel, y, z])
    assert kinds(graph) & {"sum_pool", "avg_pool"}
    check(layer(graph, run(graph, x), "p"), expected)


@few
@given(st.integers(0, 2**31), PAYLOADS, SIZES, st.lists(st.integers(0, 5), min_size=2, max_size=2))
def test_rotary(seed: int, values: list[int], pairs: int, lengths: list[int]) -> None:
    angle = np.random.default_rng(seed).uniform(0.1, 1, pairs)
    node = dialect.extension("rotary", 2 * pairs, {"angle": angle, "scale": 1.0})
    graph = chain((2 * pairs,), {"r": node}, (2 * pairs,))
    x = drawn(seed, values, 2, 5, 2 * pairs)
    expected = Synapses()
    for sample, length in enumerate(lengths):
        for step, pair, _output, member in itertools.product(range(length), range(pairs), range(2), range(2)):
            expected.use(x[sample, step, 2 * pair + member])  # times a cosine or a sine
    record = layer(graph, run(graph, x, lengths), "r")
    check(record, expected)
    assert (record.kind, record.acs, record.macs) == ("rotary", 0, expected.synops)


@few
@given(st.integers(0, 2**31), SIZES, st.lists(st.integers(0, 5), min_size=2, max_size=2))
def test_gate_behind_spikes_of_its_own(seed: int, width: int, lengths: list[int]) -> None:
    rng = np.random.default_rng(seed)
    nodes: dict[str, nir.NIRNode] = {
        "current": nir.Affine(weight=rng.normal(size=(width, 3)), bias=rng.normal(size=width)),
        "fc": nir.Linear(weight=rng.normal(size=(width, 3))),
        "n": lif(width, 0.5),
        "g": dialect.extension("gate", width, {"current": "current", "gate": "n"}),
    }
    edges = [("input", "current"), ("input", "fc"), ("fc", "n"), ("current", "g"), ("n", "g"), ("g", "output")]
    graph = wire((3,), nodes, (width,), edges)
    trace = run(graph, drawn(seed, [0, 1], 2, 5, 3), lengths)
    expected = Synapses()
    for sample, length in enumerate(lengths):
        for step, channel in itertools.product(range(length), range(width)):
            expected.use(trace.spikes["n"][sample, step, channel])
    record = layer(graph, trace, "g")
    check(record, expected)
    assert (record.kind, record.events, record.macs) == ("gate", expected.synops, 0)


@few
@given(
    st.integers(0, 2**31),
    PAYLOADS,
    st.lists(st.integers(0, 6), min_size=3, max_size=3),
    st.lists(st.integers(0, 6), min_size=2, max_size=2),
)
def test_delays(seed: int, values: list[int], steps: list[int], lengths: list[int]) -> None:
    """A delay moves events and computes nothing; what it still holds when the utterance ends never arrives."""
    nodes = {"d": nir.Delay(delay=1e-3 * np.array(steps)), "fc": nir.Linear(weight=np.ones((2, 3)))}
    graph = chain((3,), nodes, (2,))
    x = drawn(seed, values, 2, 6, 3)
    expected, sent, dense = Synapses(), 0, 0
    for sample, length in enumerate(lengths):
        for step, channel in itertools.product(range(length), range(3)):
            sent += bool(x[sample, step, channel])
            for _output in range(2):
                dense += 1
                if (source := step - steps[channel]) >= 0:
                    expected.use(x[sample, source, channel])
    expected.dense = dense
    trace = run(graph, x, lengths)
    record = layer(graph, trace, "d")
    assert (record.kind, record.events, record.synops, record.state) == ("delay", sent, 0, sum(steps))
    check(layer(graph, trace, "fc"), expected)


@few
@given(st.integers(0, 2**31), PAYLOADS, st.lists(st.integers(0, 5), min_size=2, max_size=2))
def test_events_wired_straight_to_neurons(seed: int, values: list[int], lengths: list[int]) -> None:
    graph = chain((4,), {"n": lif(4, 0.4), "m": lif(4, 0.4)}, (4,))
    trace = run(graph, drawn(seed, values, 2, 5, 4), lengths)
    for name, events in (("n", trace.input), ("m", trace.spikes["n"])):
        expected = 0
        for sample, length in enumerate(lengths):
            expected += sum(bool(events[sample, step, channel]) for step in range(length) for channel in range(4))
        record = layer(graph, trace, name)
        assert (record.events, record.synops, record.dense_macs) == (expected, expected, 0)


@few
@given(st.integers(0, 2**31), st.lists(st.integers(0, 8), min_size=3, max_size=3))
def test_a_recurrent_layer(seed: int, lengths: list[int]) -> None:
    """A loop through weights: an event counts at the step at which it is sent, and arrives one step late."""
    rng = np.random.default_rng(seed)
    nodes = {
        "fc": nir.Linear(weight=rng.normal(size=(4, 3))),
        "n": lif(4, 0.6),
        "back": nir.Linear(weight=rng.normal(size=(4, 4))),
    }
    graph = wire((3,), nodes, (4,), [("input", "fc"), ("fc", "n"), ("n", "back"), ("back", "n"), ("n", "output")])
    trace = run(graph, drawn(seed, [0, 0, 1], 3, 8, 3), lengths)
    expected, active = Synapses(), 0
    for sample, length in enumerate(lengths):
        for step in range(length):
            spikes = trace.spikes["n"][sample, step]
            for _output, channel in itertools.product(range(4), range(4)):
                expected.use(int(spikes[channel]))
            reached = trace.input[sample, step].any() or (step and trace.spikes["n"][sample, step - 1].any())
            active += sum(bool(reached or spikes[neuron]) for neuron in range(4))
    check(layer(graph, trace, "back"), expected)
    record = layer(graph, trace, "n")
    assert (record.spikes, record.messages) == (expected.synops // 4, 2 * (expected.synops // 4))
    assert (record.neuron_updates, record.active_updates) == (4 * sum(lengths), active)


@few
@given(st.integers(0, 2**31), st.lists(st.integers(0, 6), min_size=3, max_size=3))
def test_a_whole_network(seed: int, lengths: list[int]) -> None:
    """Convolution over time, two spiking layers with a residual connection, a read-out."""
    rng = np.random.default_rng(seed)
    nodes, edges, taps = temporal("embed", "input", rng.normal(size=(4, 3, 3)), rng.normal(size=4), look_ahead=1)
    nodes |= {
        "first": lif(4, 0.7),
        "hidden": nir.Affine(weight=rng.normal(size=(4, 4)), bias=rng.normal(size=4)),
        "second": lif(4, 0.7),
        "head": nir.Linear(weight=rng.normal(size=(2, 4))),
    }
    edges += [*[(tap, "first") for tap in taps], ("first", "hidden"), ("hidden", "second")]
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
