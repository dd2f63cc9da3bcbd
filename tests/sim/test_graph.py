"""What a graph says of a file, and what it refuses, by node name."""

import nir
import numpy as np
import pytest
from neurotarget.conversion.to_nir import to_nir
from neurotarget.sim import reference
from neurotarget.sim.graph import dialect, load
from neurotarget.sim.graph.node import GraphError

from tests import torch_networks as networks
from tests.sim.nodes import DT, graph_of, lif, port_in, port_out


def simple(node, size=2, metadata=None):
    edges = [("input", "node"), ("node", "output")]
    return graph_of({"input": port_in(size), "node": node, "output": port_out(size)}, edges, metadata)


def test_taps_of_a_temporal_convolution_become_one_layer():
    network = networks.tiny()
    graph = load(to_nir(network, (12,)))
    embed, depthwise = graph.nodes["embed.conv"], graph.nodes["blocks.0.convolution.depthwise.conv"]
    assert (embed.kind, embed.parameters["look_ahead"], embed.parameters["weight"].shape) == (
        "temporal_conv",
        1,
        (16, 12, 3),
    )
    assert (depthwise.kind, depthwise.parameters["look_ahead"]) == ("depthwise_conv", 2)
    assert depthwise.parameters["weight"].shape == (16, 5)
    assert not [name for name in graph.nodes if ".tap" in name or ".delay" in name or ".ahead" in name]


def test_nested_graphs_are_spliced_under_their_name():
    inner = graph_of({"input": port_in(2), "lif": lif(2), "output": port_out(2)}, [("input", "lif"), ("lif", "output")])
    graph = load(simple(inner))
    assert [node.name for node in graph.nodes.values()] == ["input", "node.lif", "output"]
    assert graph.output.sources == ("node.lif",)


def test_grouped_kernels_lose_their_zeros():
    network, shape = networks.convolutional()
    graph = load(to_nir(network, shape))
    assert graph.nodes["3"].parameters["weight"].shape == (8, 2, 3, 3)
    assert graph.nodes["3"].parameters["groups"] == 2


def test_time_step_comes_from_the_file_or_from_the_caller():
    assert load(simple(lif(2))).dt == DT and load(simple(lif(2))).dt_is_default
    assert load(simple(lif(2)), dt=5e-5).dt == 5e-5
    assert load(simple(lif(2, 2e-3), metadata={"dt": 1e-3})).dt == 1e-3
    with pytest.raises(GraphError, match=r"written for dt = 0.001 s, asked to run at 0.0001 s"):
        load(simple(lif(2, 2e-3), metadata={"dt": 1e-3}), dt=1e-4)


def nan_lif():
    node = lif(2)
    node.v_threshold = np.array([1.0, np.nan])
    return node


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        (simple(nan_lif()), "node node: 1 of 2 values of v_threshold are NaN"),
        (simple(lif(2, tau=5e-5)), "node node: tau = 5e-05 s is shorter than one step of 0.0001 s.*--dt"),
        (simple(nir.Delay(delay=np.array([DT, 1.5 * DT]))), "node node: a delay is not a whole number of steps"),
        (simple(nir.Delay(delay=np.array([DT, -DT]))), "node node: delays must be finite and not negative"),
        (simple(lif(2), metadata={"dialect": "neurotarget-99"}), "dialect 'neurotarget-99', this version reads"),
        (simple(lif(2), metadata={"dt": -1.0}), "it must be positive and finite"),
        (
            graph_of({"input": port_in(2), "node": lif(2), "output": port_out(2), "other": port_out(2)},
                     [("input", "node"), ("node", "output"), ("node", "other")]),
            r"2 output nodes \['output', 'other'\]; exactly one is supported",
        ),
        (simple(lif(2), metadata={"dt": "soon"}), "dt = 'soon' in the metadata is no real number"),
        (simple(lif(2), metadata={"scheme": "exponential"}), "scheme 'exponential', this version runs euler"),
        (simple(lif(2), metadata={"rule": "about"}), "rule 'about', this version runs > and >="),
        (simple(lif(2), metadata={"readout": "last"}), "readout 'last', this version runs sum and softmax_sum and max"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused_by_name(graph, words):
    with pytest.raises(GraphError, match=words):
        load(graph)


def test_an_unknown_operation_is_refused():
    extension = dialect.extension("look_ahead", 2, {"steps": 1})
    extension.metadata["op"] = "softmax"
    with pytest.raises(GraphError, match="operation 'softmax' is not one of"):
        load(simple(extension))


def test_an_extension_whose_roles_do_not_match_its_edges_is_refused():
    raw = to_nir(networks.tiny(), (12,))
    raw.nodes["blocks.0.attention.product"].metadata["key"] = "head"
    with pytest.raises(GraphError, match=r"blocks\.0\.attention\.product: its edges come from"):
        load(raw)


def test_an_extension_is_built_with_all_its_parameters_only():
    with pytest.raises(ValueError, match=r"rotary takes \['angle', 'scale'\]"):
        dialect.extension("rotary", 2, {"angle": np.zeros(1)})


def test_missing_and_foreign_files_are_refused(tmp_path):
    (tmp_path / "text.nir").write_text("hello")
    with pytest.raises(GraphError, match=r"none\.nir: no such file"):
        load(tmp_path / "none.nir")
    with pytest.raises(GraphError, match=r"text\.nir: not a NIR file that can be run"):
        load(tmp_path / "text.nir")


def test_an_edge_to_nowhere_is_refused_with_the_reason(tmp_path):
    good = simple(lif(2))
    nir.write(tmp_path / "bad.nir", good)
    import h5py

    with h5py.File(tmp_path / "bad.nir", "r+") as file:
        edges = file["node/edges"]
        edges[0] = (b"input", b"missing")
    with pytest.raises(GraphError, match=r"bad\.nir: .*missing"):
        load(tmp_path / "bad.nir")


def test_a_gate_takes_maps_and_the_other_operations_vectors():
    """AND and IAND of a SEW-ResNet work on [channels, height, width]: y = current gate, place by place."""
    shape = (2, 3, 3)
    ports = {name: nir.Input(input_type={"input": np.array(shape)}) for name in ("a", "b")}
    threshold = nir.Threshold(threshold=np.full(shape, 0.5))
    gate = dialect.extension("gate", shape, {"current": "a", "gate": "spikes"})
    nodes = {**ports, "spikes": threshold, "gate": gate, "output": nir.Output(output_type={"output": np.array(shape)})}
    edges = [("b", "spikes"), ("spikes", "gate"), ("a", "gate"), ("gate", "output")]
    graph = load(nir.NIRGraph(nodes=nodes, edges=edges, metadata={"dt": DT}))
    frames = np.random.default_rng(0).random((2, 5, 36))
    a, b = frames[..., :18], frames[..., 18:]
    assert np.array_equal(reference.run(graph, frames).output.reshape(2, 5, 18), a * (b > 0.5))
    wrong = dialect.extension("look_ahead", shape, {"steps": 1})
    with pytest.raises(GraphError, match=r"look_ahead works on a vector of neurons, found shape \[2 3 3\]"):
        load(nir.NIRGraph(nodes={**ports, "n": wrong}, edges=[("a", "n")], metadata={"dt": DT}, type_check=False))
