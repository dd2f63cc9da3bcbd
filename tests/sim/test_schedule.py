"""The streaming schedule: latencies worked out by hand, and paths that meet in any graph."""

from __future__ import annotations

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from neurotarget.sim.graph import Graph, wiring
from neurotarget.sim.graph.node import Node
from neurotarget.sim.schedule import ScheduleError, own_latency, schedule

from tests.sim.networks import Network, chain, spike_scr


def graph_of(*nodes: Node) -> Graph:
    """A graph of nodes without shapes, in an order in which they run."""
    named = {node.name: node for node in nodes}
    components, recurrent = wiring.order(named)
    return Graph(named, components, recurrent, 1e-4, False, ">", "sum", "test")


def synapse(name: str, *sources: str) -> Node:
    return Node(name, "affine", sources)


def neuron(name: str, *sources: str) -> Node:
    return Node(name, "lif", sources)


INPUT = Node("input", "input", ())


def test_a_chain_costs_a_step_a_synapse() -> None:
    timing = schedule(chain(), 10)
    assert dict(timing.latency) == {"input": 0, "a": 1, "first": 1, "b": 2, "second": 2, "readout": 3, "output": 3}
    assert timing.total == 3


def test_a_residual_path_waits_for_its_branch() -> None:
    timing = schedule(chain(), 10)
    assert timing.delay["first", "b"] == 0
    assert timing.delay["second", "readout"] == 0
    assert timing.delay["first", "readout"] == 1


def test_twenty_relay_layers_arrive_twenty_steps_late() -> None:
    nodes, last = [INPUT], "input"
    for i in range(20):
        nodes += [synapse(f"s{i}", last), neuron(f"n{i}", f"s{i}")]
        last = f"n{i}"
    assert schedule(graph_of(*nodes, Node("output", "output", (last,))), 5).total == 20


def test_looking_ahead_waits_for_what_it_looks_at() -> None:
    weight = np.zeros((4, 31))
    convolution = Node("conv", "depthwise_conv", ("input",), {"weight": weight, "look_ahead": 15})
    ahead = Node("ahead", "look_ahead", ("input",), {"steps": 3})
    assert own_latency(convolution, 100) == 16
    assert own_latency(ahead, 100) == 3
    timing = schedule(graph_of(INPUT, convolution, ahead, Node("output", "output", ("conv", "ahead"))), 100)
    assert timing.delay["ahead", "output"] == 13
    assert timing.gap == 15


def test_whole_utterance_attention_waits_for_the_end_and_causal_does_not() -> None:
    attention = Node("attention", "attention", ("input",), {"causal": False})
    assert own_latency(attention, 100) == 100
    assert own_latency(Node("attention", "attention", ("input",), {"causal": True}), 100) == 0


def test_spike_scr_by_hand() -> None:
    # 1 + 1 embedding, 1 query, 1 gain, 16 attention, 1 projection, 2 feed-forward, 1 + (1 + 2) + 1 + 1 gated
    # convolution, 1 head, 1 logits
    assert schedule(spike_scr(), 16).total == 31
    assert schedule(spike_scr(causal=True), 16).total == 12


def test_a_loop_of_one_synapse_fits_exactly() -> None:
    timing = schedule(
        graph_of(
            INPUT,
            synapse("in", "input"),
            neuron("n", "in", "back"),
            synapse("back", "n"),
            Node("output", "output", ("n",)),
        ),
        10,
    )
    assert timing.delay["back", "n"] == 0
    assert timing.gap == 1


def test_a_loop_of_two_synapses_is_refused_by_name() -> None:
    nodes = [INPUT, synapse("in", "input"), neuron("n", "in", "back2"), synapse("back1", "n"), neuron("m", "back1")]
    nodes += [synapse("back2", "m"), Node("output", "output", ("n",))]
    with pytest.raises(ScheduleError, match=r"back2 -> n.*1 step\(s\) too late.*takes 2 steps"):
        schedule(graph_of(*nodes), 10)


def test_a_negative_look_ahead_is_refused_by_name() -> None:
    ahead = Node("ahead", "look_ahead", ("input",), {"steps": -1})
    with pytest.raises(ScheduleError, match="ahead"):
        schedule(graph_of(INPUT, ahead, Node("output", "output", ("ahead",))), 10)


def test_a_run_of_no_steps_is_refused() -> None:
    with pytest.raises(ScheduleError, match="0 steps"):
        schedule(chain(), 0)


def test_a_delay_of_the_file_is_logical_and_widens_the_gap() -> None:
    net = Network(2)
    late = net.add("late", nir.Delay(np.array([0.0, 4e-4])), "input")
    graph = net.finish(net.affine("a", 2, 2, late, "input"), outputs=2)
    timing = schedule(graph, 10)
    assert timing.delay["late", "a"] == timing.delay["input", "a"] == 0
    assert (timing.gap, timing.period, timing.longest) == (4, 14, 1)


KINDS = st.sampled_from(["affine", "lif", "scale", "flatten", "look_ahead", "causal", "whole"])


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """A random graph without loops: every node reads some of those before it."""
    nodes = [INPUT]
    for i in range(draw(st.integers(1, 12))):
        names = [node.name for node in nodes]
        sources = tuple(draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True)))
        kind = draw(KINDS)
        attention = kind in ("causal", "whole")
        parameters = {"steps": draw(st.integers(0, 5)), "causal": kind == "causal"}
        nodes.append(Node(f"n{i}", "attention" if attention else kind, sources, parameters))
    return graph_of(*nodes, Node("output", "output", (nodes[-1].name,)))


@settings(max_examples=200, deadline=None)
@given(graphs(), st.integers(1, 30))
def test_all_paths_meet(graph: Graph, steps: int) -> None:
    timing = schedule(graph, steps)

    def lengths_of_paths(name: str) -> set[int]:
        """Physical steps from the input to the result of `name`, over every path with its delays."""
        node = graph.nodes[name]
        before = {length + timing.delay[source, name] for source in node.sources for length in lengths_of_paths(source)}
        return {length + own_latency(node, steps) for length in before or {0}}

    for name in list(graph.nodes)[:8]:  # the number of paths doubles with every node
        assert lengths_of_paths(name) == {timing.latency[name]}
    assert min(timing.delay.values()) >= 0
    for node in graph.nodes.values():
        assert not node.sources or min(timing.delay[source, node.name] for source in node.sources) == 0
