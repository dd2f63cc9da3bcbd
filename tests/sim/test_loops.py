"""Which edge of a loop carries the value of the step before: the wiring says it, never a name."""

import itertools

import nir
import numpy as np
import pytest
from neurotarget.sim import reference
from neurotarget.sim.graph import load
from neurotarget.sim.graph.node import GraphError

DT = 1e-4


def port_in(size=1):
    return nir.Input(input_type={"input": np.array([size])})


def port_out(size=1):
    return nir.Output(output_type={"output": np.array([size])})


def linear(*rows):
    return nir.Linear(weight=np.array(rows, float))


def li(size=1):
    """v[t] is what arrives: the output shows the wiring and nothing else."""
    return nir.LI(tau=np.full(size, DT), r=np.ones(size), v_leak=np.zeros(size))


def lif(theta=1.0):
    values = {"tau": 2 * DT, "r": 2.0, "v_leak": 0.0, "v_threshold": theta, "v_reset": 0.0}
    return nir.LIF(**{key: np.full(1, value) for key, value in values.items()})


def graph_of(nodes, edges, names=None):
    """Under other names where `names` gives them."""
    new = {name: (names or {}).get(name, name) for name in nodes}
    renamed = {new[name]: node for name, node in nodes.items()}
    return nir.NIRGraph(renamed, [(new[a], new[b]) for a, b in edges], metadata={"dt": DT}, type_check=False)


def output(raw, values):
    frames = np.array(values, float)
    return reference.run(load(raw), frames.reshape(1, len(values), -1)).output.ravel().tolist()


def ring():
    """in -> a -> w -> b -> w2 -> a; a[t] = in[t] + 3 b[t - 1], b[t] = 2 a[t]."""
    nodes = {"in": port_in(), "a": li(), "w": linear([2]), "b": li(), "w2": linear([3]), "out": port_out()}
    edges = [("in", "a"), ("a", "w"), ("w", "b"), ("b", "w2"), ("w2", "a"), ("b", "out")]
    return nodes, edges


@pytest.mark.parametrize("names", list(itertools.permutations("abcd")), ids="".join)
def test_the_node_where_a_loop_is_entered_reads_the_step_before(names):
    nodes, edges = ring()
    raw = graph_of(nodes, edges, dict(zip(("a", "w", "b", "w2"), names, strict=True)))
    assert output(raw, [1, 0, 0]) == [2, 12, 72]
    assert load(raw).recurrent_edges == {(names[3], names[0])}


@pytest.mark.parametrize("seed", range(4))
def test_a_loop_within_a_loop_by_hand(seed):
    """a[t] = in[t] + c[t - 1]; b[t] = a[t] + 5 c[t - 1] (the inner loop b -> c -> b); c[t] = b[t]."""
    nodes = {"in": port_in(), "a": li(), "b": li(), "c": li(), "w": linear([5]), "out": port_out()}
    edges = [("in", "a"), ("a", "b"), ("b", "c"), ("c", "w"), ("w", "b"), ("c", "a"), ("c", "out")]
    new = np.random.default_rng(seed).permutation(list("vwxyz"))
    raw = graph_of(nodes, edges, dict(zip(("a", "b", "c", "w", "in"), new, strict=True)))
    # c: 1; then a = 1, b = 1 + 5 = 6; then a = 6, b = 6 + 30
    assert output(raw, [1, 0, 0]) == [1, 6, 36]


def test_several_edges_enter_and_close_at_the_same_node():
    nodes = {"in": port_in(), "half": linear([0.5]), "a": li(), "w": linear([2]), "w2": linear([3]), "out": port_out()}
    edges = [("in", "a"), ("in", "half"), ("half", "a"), ("a", "w"), ("a", "w2"), ("w", "a"), ("w2", "a"), ("a", "out")]
    assert output(graph_of(nodes, edges), [2, 0, 0]) == [3, 15, 75]


def mutual(first, second):
    """Two populations that drive each other, each with an input of its own."""
    nodes = {"input": port_in(2), "in_a": linear([1.2, 0]), "in_b": linear([0, 0.6]), first: lif(), second: lif()}
    nodes |= {"w_ab": linear([0.6]), "w_ba": linear([-0.8]), "output": port_out()}
    edges = [("input", "in_a"), ("input", "in_b"), ("in_a", first), ("in_b", second), (first, "w_ab")]
    edges += [("w_ab", second), (second, "w_ba"), ("w_ba", first), (first, "output"), (second, "output")]
    return graph_of(nodes, edges)


@pytest.mark.parametrize(("first", "second"), [("exc", "inh"), ("z_exc", "inh")])
def test_a_loop_entered_at_two_nodes_is_refused_by_their_names(first, second):
    entered = ", ".join(sorted((first, second)))
    with pytest.raises(GraphError, match=f"loop of .*: it is entered at 2 nodes, {entered}, so nothing says which"):
        load(mutual(first, second))


def test_a_loop_that_nothing_enters_is_refused():
    nodes = {"in": port_in(), "a": li(), "b": linear([1]), "sum": li(), "out": port_out()}
    edges = [("a", "b"), ("b", "a"), ("a", "sum"), ("in", "sum"), ("sum", "out")]
    with pytest.raises(GraphError, match="loop of a, b: it is entered nowhere"):
        load(graph_of(nodes, edges))


def test_loops_may_nest_without_end():
    """A chain in which every node feeds all before it: each level of nesting is found, without recursion."""
    names = [f"n{i:03}" for i in range(300)]
    nodes = {"in": port_in(), **{name: li() for name in names}, "out": port_out()}
    edges = [("in", names[0]), *itertools.pairwise(names), (names[-1], "out")]
    edges += [(names[-1], name) for name in names]
    graph = load(graph_of(nodes, edges))
    assert graph.recurrent_edges == {(names[-1], name) for name in names}
