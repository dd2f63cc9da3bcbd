"""Files from anywhere: those that nir's type check refuses and those that mean harm, through the command line."""

import html
import itertools
import json

import h5py
import nir
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from neurotarget.sim import reference
from neurotarget.sim.graph import dialect, load, nir_file
from neurotarget.sim.graph.node import GraphError
from neurotarget.sim.graph.resets import SILENT

from neurotarget import cli
from tests.sim.nodes import DT, graph_of, lif, port_in, port_out

TEXT = h5py.string_dtype()


def written(path, nodes, edges=None, metadata=None):
    """A file that nir's type check was not asked about."""
    names = list(nodes)
    edges = list(itertools.pairwise(names)) if edges is None else edges
    nir.write(path, nir.NIRGraph(nodes=nodes, edges=edges, metadata=metadata or {"dt": DT}, type_check=False))
    return path


def good(path):
    nodes = {"input": port_in(4), "fc": nir.Affine(np.ones((3, 4)), np.ones(3)), "lif": lif(3), "output": port_out(3)}
    return written(path, nodes)


def test_a_graph_is_shown_as_a_table(tmp_path):
    path = good(tmp_path / "x.nir")
    assert repr(load(path)).split("\n") == [
        f"{path}: 1 spiking nodes, arithmetic float, a step of {DT:g} s",
        "node    kind    reads  sends  parameters",
        "input   input          4               0",
        "fc      affine  input  3              15",
        "lif     lif     fc     3              15",
        "output  output  lif    3               0",
        f"note: {SILENT}",
    ]


# ---- nir's type check is wrong, or right ----------------------------------------------------------------------------


@pytest.mark.parametrize(("kernel", "groups"), [((3, 3), 2), ((3, 1), 1), ((1, 5), 2)])
def test_grouped_and_oblong_kernels_run_with_a_note(tmp_path, kernel, groups):
    rng = np.random.default_rng(0)
    weight, bias, frames = (
        rng.normal(size=(4, 4 // groups, *kernel)),
        rng.normal(size=4),
        rng.normal(size=(2, 3, 4, 6, 5)),
    )
    flat = torch.from_numpy(frames).flatten(0, 1)
    expected = F.conv2d(flat, torch.from_numpy(weight), torch.from_numpy(bias), padding=1, groups=groups)
    node = nir.Conv2d((6, 5), weight, stride=1, padding=1, dilation=1, groups=groups, bias=bias)
    path = written(
        tmp_path / "x.nir", {"input": port_in(4, 6, 5), "conv": node, "output": port_out(*expected.shape[1:])}
    )
    with pytest.raises(ValueError, match="type mismatch"):
        nir.read(path)
    graph = load(path)
    np.testing.assert_allclose(reference.run(graph, frames).output, expected.unflatten(0, (2, 3)).numpy(), atol=1e-12)
    assert len(graph.notes) == 1 and "nir's type check refuses" in graph.notes[0]


def test_grouped_conv1d_runs(tmp_path):
    rng = np.random.default_rng(0)
    weight, frames = rng.normal(size=(4, 1, 3)), rng.normal(size=(2, 3, 2, 7))
    node = nir.Conv1d(7, weight, stride=2, padding=0, dilation=1, groups=2, bias=np.zeros(4))
    path = written(tmp_path / "x.nir", {"input": port_in(2, 7), "conv": node, "output": port_out(4, 3)})
    expected = F.conv1d(torch.from_numpy(frames).flatten(0, 1), torch.from_numpy(weight), stride=2, groups=2)
    np.testing.assert_allclose(reference.run(load(path), frames).output.reshape(6, 4, 3), expected.numpy(), atol=1e-12)


def test_neurons_that_share_parameters_without_a_shape_run(tmp_path):
    path = good(tmp_path / "x.nir")
    expected = reference.run(load(path), np.ones((1, 9, 4))).output
    with h5py.File(path, "r+") as file:
        for key in ("tau", "r", "v_leak", "v_threshold", "v_reset"):
            value = file[f"node/nodes/lif/{key}"][0]
            del file[f"node/nodes/lif/{key}"]
            file[f"node/nodes/lif/{key}"] = value
    assert expected.sum() > 0
    np.testing.assert_array_equal(reference.run(load(path), np.ones((1, 9, 4))).output, expected)


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ({"input": port_in(4), "lif": lif(3), "output": port_out(3)}, r"lif .*gets shape \(4,\), expects \(3,\)"),
        ({"input": port_in(4), "s": nir.Scale(np.ones(1)), "output": port_out(4)}, r"node s .*expects \(1,\)"),
        ({"input": port_in(4), "d": nir.Delay(np.zeros(3)), "output": port_out(4)}, r"node d .*expects \(3,\)"),
        ({"input": port_in(2, 4), "w": nir.Linear(np.ones((3, 4))), "output": port_out(2, 3)}, r"w .*expects \(4,\)"),
        ({"input": port_in(4), "w": nir.Linear(np.ones((3, 4))), "output": port_out(5)}, r"output .*expects \(5,\)"),
        (
            {
                "input": port_in(2, 8),
                "c": nir.Conv1d(6, np.ones((2, 1, 3)), 1, 0, 1, 2, np.zeros(2)),
                "output": port_out(2, 6),
            },
            r"node c: the file says that its input has shape \(6,\), but it gets \(8,\)",
        ),
    ],
)  # fmt: skip
def test_an_inconsistent_file_is_refused_with_the_inconsistency(tmp_path, nodes, words):
    with pytest.raises(GraphError, match=words):
        load(written(tmp_path / "x.nir", nodes))


def test_one_node_that_edges_call_otherwise_is_found_and_two_are_not(tmp_path):
    path = good(tmp_path / "x.nir")
    expected = reference.run(load(path), np.ones((1, 3, 4))).spikes["lif"]
    with h5py.File(path, "r+") as file:
        file.move("node/nodes/lif", "node/nodes/neuron")
    graph = load(path)
    assert graph.notes[-1] == (
        f"{path}: no edge names node neuron, and no node is called lif, which edges name: taken for one and the same"
    )
    assert expected.any() and np.array_equal(reference.run(graph, np.ones((1, 3, 4))).spikes["lif"], expected)
    with h5py.File(path, "r+") as file:
        file.move("node/nodes/fc", "node/nodes/weights")
    with pytest.raises(
        GraphError, match=r"which does not exist in the graph.*a node and its edges need one name: mend"
    ):
        load(path)


def test_a_file_without_v_reset_says_so(tmp_path, capsys):
    path = good(tmp_path / "x.nir")
    with h5py.File(path, "r+") as file:
        del file["node/nodes/lif/v_reset"]
    data, out = str(tmp_path / "x.npz"), tmp_path / "report"
    np.savez(data, input=np.ones((1, 3, 4)))
    said = "does not say v_reset of lif: NIR's default holds, a reset to 0"
    for command in (["run", str(path), "--input", data], ["quantize", str(path), "--calibrate", data]):
        assert cli.main(command) == 0
        assert said in capsys.readouterr().err
    assert cli.main(["run", str(path), "--input", data, "--json"]) == 0
    assert said in json.loads(capsys.readouterr().out)["notes"][0]
    assert cli.main(["report", str(path), "--input", data, "--lava-samples", "0", "--out", str(out)]) == 0
    note, silent = json.loads((out / "report.json").read_text())["model"]["notes"]
    assert silent == SILENT
    assert said in note and f"note: {note}" in capsys.readouterr().out
    assert note in html.unescape((out / "report.html").read_text())


@pytest.mark.parametrize(("where", "named"), [("graph", "graph: its"), ("lif", "node lif: its")])
def test_a_soft_reset_in_the_metadata_is_refused(tmp_path, where, named):
    nodes = {"input": port_in(3), "lif": lif(3), "output": port_out(3)}
    metadata = {"reset_mechanism": "subtract"}
    if where == "lif":
        nodes["lif"].metadata, metadata = metadata, {}
    with pytest.raises(GraphError, match=f"{named} metadata say reset_mechanism = 'subtract'"):
        load(written(tmp_path / "x.nir", nodes, metadata=metadata))


# ---- hostile files ---------------------------------------------------------------------------------------------------


def put(path, value, **options):
    def change(file):
        if path in file:
            del file[path]
        file.create_dataset(path, data=value, **options)

    return change


def enormous(path, shape, chunks, **options):
    """An array of terabytes that takes no room in the file, because none of it was ever written."""

    def change(file):
        if path in file:
            del file[path]
        options.setdefault("dtype", "f8")
        file.create_dataset(path, shape=shape, chunks=chunks, compression="gzip", **options)

    return change


def edges(*more):
    pairs = [("input", "fc"), ("fc", "lif"), ("lif", "output"), *more]
    return put("node/edges", np.array([[a.encode(), b.encode()] for a, b in pairs], dtype=object), dtype=TEXT)


def ring_without_neuron(file):
    for name in ("a", "b"):
        group = file.create_group(f"node/nodes/{name}")
        group.create_dataset("type", data="Linear", dtype=TEXT)
        group["weight"] = np.eye(3)
    edges(("fc", "a"), ("a", "b"), ("b", "a"), ("b", "lif"))(file)


def slash(file):
    file.move("node/nodes/lif", "node/nodes/outer/lif")


def doubling(file):
    """Forty groups, each in its parent twice: 2^40 for who follows every path."""
    group = file["node/metadata"]
    for i in range(40):
        inner = file.create_group(f"level{i}")
        group["left"], group["right"], group = inner, inner, inner


def link(file):
    file["node/metadata/elsewhere"] = h5py.ExternalLink("other.h5", "/")


def alias(file):
    file["node/metadata/again"] = h5py.SoftLink("/node")


def values_elsewhere(file):
    file.create_dataset("node/metadata/x", shape=(8,), dtype="u1", external=[("secret", 0, 8)])


def without(path):
    return lambda file: file.__delitem__(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (ring_without_neuron, "loop a -> b holds no neuron"),
        (edges(("fc", "fc")), "loop fc holds no neuron"),
        (edges(("fc", "lif")), "Duplicate edge: ('fc', 'lif')"),
        (edges(("lif", "ghost")), "a node and its edges need one name"),
        (edges(("ghost", "lif")), "references source node 'ghost' which does not exist"),
        (edges(("output", "lif")), "node output: an Output ends the network, but it feeds lif"),
        (edges(("lif", "input")), "node input: an Input begins the network, but lif feeds it"),
        (put("node/edges", np.arange(6).reshape(3, 2)), "pairs of names are expected"),
        (put("node/nodes/fc/weight", np.full((3, 4), np.nan)), "node fc: 12 of 12 values of weight are NaN"),
        (put("node/nodes/fc/weight", "heavy"), "node fc: weight is no array of real numbers"),
        (put("node/nodes/fc/weight", 1j * np.ones((3, 4))), "node fc: weight is no array of real numbers"),
        (put("node/nodes/input/shape", np.array([10**6, 10**6])), "(1000000, 1000000) are more than 134217728 values"),
        (put("node/nodes/input/shape", np.array([-4])), "node input: shape [-4]; a row of whole numbers from 1 on"),
        (put("node/nodes/input/shape", np.array([4.5])), "node input: shape [4.5]; a row of whole numbers"),
        (put("node/nodes/lif/type", "Izhikevich", dtype=TEXT), "node lif has type 'Izhikevich', which is none of"),
        (slash, "node outer has no type; a node's name must not hold a slash"),
        (without("node/edges"), "the graph lacks its nodes or edges"),
        (without("node"), "not a NIR file that can be run"),
        (without("node/nodes/lif/tau"), "missing 1 required positional argument: 'tau'"),
        (put("node/metadata/dt", "soon", dtype=TEXT), "dt = 'soon' in the metadata is no real number"),
        (enormous("node/nodes/fc/weight", (200_000, 200_000), (1000, 1000)), "fc/weight has shape (200000, 200000)"),
        (enormous("node/nodes/fc/bias", (2**27,), (2**23,), dtype="i1"), "unpacked to float64 it takes more than"),
        (enormous("node/metadata/x", (2**40,), (2**20,)), "unpacked to float64 it takes more than 1073741824 bytes"),
        (enormous("node/nodes/fc/bias", (3,), (2**28,), maxshape=(None,)), "unpacked to float64 it takes more than"),
        (enormous("node/metadata/x", (2**26,), (2**16,), dtype=TEXT), "more than 131072 groups, arrays and strings"),
        (doubling, "stands in two places of the file"),
        (link, "node/metadata/elsewhere is a link to another place"),
        (alias, "node/metadata/again is a link to another place"),
        (values_elsewhere, "/node/metadata/x keeps its values in another file"),
    ],
)  # fmt: skip
def test_a_hostile_file_ends_with_code_2_and_one_sentence(tmp_path, capsys, change, words):
    path = good(tmp_path / "x.nir")
    with h5py.File(path, "r+") as file:
        change(file)
    np.savez(tmp_path / "x.npz", input=np.ones((1, 3, 4)))
    assert cli.main(["run", str(path), "--input", str(tmp_path / "x.npz")]) == 2
    error = capsys.readouterr().err
    assert words in error and len(error.strip().splitlines()) == 1, error


def test_more_nodes_than_nir_can_infer_are_refused(tmp_path, monkeypatch):
    path = good(tmp_path / "x.nir")
    monkeypatch.setattr(nir_file, "MOST_NODES", 5)  # the graph and its four nodes
    load(path)
    monkeypatch.setattr(nir_file, "MOST_NODES", 4)
    with pytest.raises(GraphError, match=r"x\.nir: it holds more than 4 nodes"):
        load(path)


def test_strings_that_repeat_one_long_string_are_weighed(tmp_path, monkeypatch):
    path = good(tmp_path / "x.nir")
    with h5py.File(path, "r+") as file:
        file.create_dataset("node/metadata/x", data=np.array(["x" * 10_000] * 100, dtype=object), dtype=TEXT)
    monkeypatch.setattr(nir_file, "LARGEST_BYTES", 500_000)
    with pytest.raises(GraphError, match="unpacked to float64 it takes more than 500000 bytes; /node/metadata/x"):
        load(path)


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (nir.Delay(np.full(4, 1e6)), "4 delays of up to 1e\\+10 steps of 0.0001 s need too much memory"),
        (nir.Conv1d(4, np.ones((1, 4, 1)), 10**12, 10**12, 1, 1, np.ones(1)), "padded by .* its input is too large"),
        (nir.Conv1d(4, np.ones((1, 4, 1)), 1, 0, 0, 1, np.ones(1)), r"dilation \(0,\); at least 1"),
        (nir.Conv1d(4, np.ones((1, 4, 1)), 1, -1, 1, 1, np.ones(1)), r"padding \(-1,\) is negative"),
        (nir.SumPool2d(*(np.array([k, k]) for k in (2, 0, 0))), r"stride \(0, 0\); at least 1"),
        (dialect.extension("look_ahead", 4, {"steps": -3}), "steps = -3; a whole number that is not negative"),
        (dialect.extension("look_ahead", 4, {"steps": 10**15}), "look-ahead of 10+ steps needs too much"),
        (dialect.extension("rotary", 4, {"angle": np.full(2, np.nan), "scale": 1.0}), "angle = .* is not finite"),
        (dialect.extension("rotary", 4, {"angle": np.ones(2), "scale": "x"}), "scale = 'x' is not finite or of"),
    ],
)  # fmt: skip
def test_numbers_beyond_sense_are_refused_before_memory_is_taken(node, words):
    shape = (4, 4) if isinstance(node, nir.Conv1d) else (1, 4, 4) if isinstance(node, nir.SumPool2d) else (4,)
    nodes = {"input": port_in(*shape), "x": node, "output": port_out(*shape)}
    graph = nir.NIRGraph(nodes=nodes, edges=[("input", "x"), ("x", "output")], metadata={"dt": DT}, type_check=False)
    with pytest.raises(GraphError, match=f"node x.*{words}"):
        load(graph)


def test_several_outputs_are_refused_by_name():
    nodes = {"input": port_in(2), "lif": lif(2), "a": port_out(2), "b": port_out(2)}
    with pytest.raises(GraphError, match=r"2 output nodes \['a', 'b'\]; exactly one is supported"):
        load(graph_of(nodes, [("input", "lif"), ("lif", "a"), ("lif", "b")]))
