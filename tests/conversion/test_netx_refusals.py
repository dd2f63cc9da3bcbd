"""What NetX cannot be is refused by the name of its node."""

import re

import nir
import numpy as np
import pytest
from neurotarget.conversion import quantize, to_netx
from neurotarget.conversion.netx.layers import to_layers
from neurotarget.conversion.to_nir import to_nir
from neurotarget.sim.graph import load
from neurotarget.sim.graph.node import GraphError

from tests import torch_networks as networks
from tests.conversion.chains import Chain, loop, taps


def broken(graph, add=(), edges=(), drop=()):
    """The graph with nodes and edges more, and edges less."""
    kept = [edge for edge in graph.edges if edge not in drop]
    return nir.NIRGraph(nodes={**graph.nodes, **dict(add)}, edges=[*kept, *edges], metadata=graph.metadata)


def two():
    return Chain((6,)).dense(6).lif().dense(6).lif()


def squared():
    return 2.0 * np.eye(6)


REFUSED = {
    "node linear3: NetX has no weight exponent, and with its 3": lambda: two_exponents(3),
    "node linear3: NetX has no weight exponent, and with its -3": lambda: two_exponents(-3),
    "node lif4: a bias is no multiple of 64": lambda: (
        Chain((6,)).dense(6).lif().dense(6).lif(bias=1, exponent=5).graph()
    ),
    "node lif4: a bias is no multiple of 64 from": (
        lambda: Chain((6,)).dense(6).lif().dense(6).lif(bias=4095, exponent=7).graph()
    ),
    "node linear4: a delay of 63 steps; NetX clamps": lambda: (
        Chain((6,)).dense(6).lif().delay(63).dense(4).lif().graph()
    ),
    "node conv2d4: NetX ignores delays": lambda: Chain((2, 5, 5)).conv(4).lif().delay(3).conv(4).lif().graph(),
    "node sumpool2d3 .*NetX has no pooling": lambda: pooled(),
    "node linear1: the output reads it": lambda: Chain((6,)).dense(6).graph(),
    "node linear3: the output reads it": lambda: Chain((6,)).dense(6).lif().dense(4).graph(),
    "node lif3: has no synapse": lambda: Chain((6,)).dense(6).lif().lif().graph(),
    "node linear2: follows the synapse linear1": lambda: Chain((6,)).dense(6).dense(6).lif().graph(),
    "node lif2: is read by .*sequential": lambda: broken(two().graph(), edges=[("lif2", "lif4")]),
    "node linear1: NetX would change its weights": lambda: one_sign_and_a_zero(),
    "node scale1: reads shape .*needs a Flatten": (
        lambda: Chain((2, 5, 5)).add(nir.Scale(np.full((2, 5, 5), 2.0)), weight_exp=0, scale=1.0).lif().graph()
    ),
    "node lif2: its bias alone may fire it": lambda: Chain((6,)).dense(6).lif(bias=200).delay(3).dense(4).lif().graph(),
    "node affine1: its bias passes through u": lambda: synapse_bias(du=1500),
    "node loop: a loop beside delays": lambda: loop(Chain((6,)).delay(3).dense(6).lif(), squared()),
    "closes a loop; NetX has one dense synapse": lambda: broken(
        two().graph(), [("back", nir.Linear(weight=squared()))], [("lif4", "back"), ("back", "lif2")]
    ),
    "node conv: .* more than one delay": lambda: several_taps(),
}


def two_exponents(exponent):
    return Chain((6,)).dense(6).lif().dense(6, exponent).lif().graph()


def synapse_bias(du):
    chain = Chain((6,))
    weight = chain.weights((6, 6))
    chain.add(nir.Affine(weight=weight, bias=np.arange(-30.0, 30, 10)), weight_exp=0, scale=1.0)
    return chain.lif(du=du).graph()


def one_sign_and_a_zero():
    weight = -np.array([[3.0, 0, 7], [1, 5, 201]])
    chain = Chain((3,)).add(nir.Linear(weight=weight), weight_exp=0, scale=1.0)
    chain.shape = (2,)
    return chain.lif().graph()


def pooled():
    chain = Chain((2, 6, 6)).conv(4).lif()
    chain.add(nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])))
    chain.shape = (4, 3, 3)
    return chain.flatten().dense(4).lif().graph()


def several_taps():
    graph = taps(Chain((6,)).dense(8).lif())
    for name in ("conv.tap0", "conv.tap1"):
        graph.nodes[name].weight = np.full((9, 8), 2.0)
    return graph


@pytest.mark.parametrize("reason", REFUSED)
def test_what_netx_cannot_be_is_refused_by_name(tmp_path, capsys, reason):
    nir.write(tmp_path / "model.q.nir", REFUSED[reason]())
    assert to_netx.main([str(tmp_path / "model.q.nir")]) == 2
    error = capsys.readouterr().err.strip()
    assert re.search(reason, error) and len(error.splitlines()) == 1, error
    assert [path.name for path in tmp_path.iterdir()] == ["model.q.nir"]


def test_operations_over_time_and_float_files_are_refused(tmp_path, capsys):
    graph = to_nir(networks.tiny(), (12,))
    nir.write(tmp_path / "model.nir", graph)
    assert to_netx.main([str(tmp_path / "model.nir")]) == 2
    error = capsys.readouterr().err
    assert "in floating point" in error and "python -m conversion.quantize" in error
    frames = np.random.default_rng(0).poisson(0.5, (2, 30, 12)).astype(float)
    whole = load(quantize.quantize(load(graph), frames)[0])
    with pytest.raises(GraphError, match=r"node blocks.0.*NetX has no layer that computes it"):
        to_layers(whole)


def test_a_bias_of_a_synapse_becomes_one_of_its_neurons():
    (layer,) = to_layers(load(synapse_bias(du=4095))).layers
    assert layer.bias.tolist() == [-30, -20, -10, 0, 10, 20]


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"reset": "subtract"}, r"resets by subtraction \(subtract\)"),
        ({"v_initial": 5.0}, "starts at a potential other"),
    ],
)
def test_other_resets_and_starts_are_refused_by_name(metadata, words):
    chain = Chain((6,)).dense(6).lif()
    name, neuron = list(chain.nodes.items())[-1]
    neuron.metadata = metadata
    with pytest.raises(GraphError, match=f"node {name}: {words}"):
        to_layers(load(chain.graph()))
