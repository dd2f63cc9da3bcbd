"""Files from elsewhere: numbers that are no whole numbers, images as outputs, nodes that nothing reads."""

import json

import nir
import numpy as np
import pytest
from neurotarget.sim import lava, reference, run
from neurotarget.sim.graph import load
from neurotarget.sim.graph.node import GraphError
from neurotarget.sim.graph.resets import SILENT
from neurotarget.sim.lava.parent import make_plan
from neurotarget.sim.schedule import schedule
from neurotarget.sim.trace import accuracy, unreadable

from tests.sim.nodes import DT, graph_of, lif, port_in, port_out


def convolution(**changes):
    values = {"input_shape": (4, 4), "stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": np.zeros(1)}
    node = nir.Conv2d(weight=np.ones((1, 1, 2, 2)), **values)
    for key, value in changes.items():
        setattr(node, key, value)
    return node


def pool(**changes):
    two = np.array([2, 2])
    node = nir.SumPool2d(kernel_size=two, stride=two, padding=np.array([0, 0]))
    for key, value in changes.items():
        setattr(node, key, np.asarray(value))
    return node


def image(node, metadata=None):
    nodes = {"in": port_in(1, 4, 4), "node": node, "out": nir.Output(output_type={"output": None})}
    return nir.NIRGraph(nodes, [("in", "node"), ("node", "out")], metadata=metadata or {"dt": DT}, type_check=False)


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (convolution(stride=2.7), "stride = 2.7; 2 whole"),
        (convolution(groups=1.9), "groups = 1.9; 1 whole"),
        (convolution(groups=np.nan), "groups = nan; 1 whole"),
        (convolution(dilation=np.array([1, 1 + 1j])), r"dilation = \[.*j\]; 2 whole"),
        (convolution(padding=np.array([0, np.inf])), r"padding = \[ 0. inf\]; 2 whole"),
        (convolution(stride=np.array([1, 1, 1])), r"stride = \[1 1 1\]; 2 whole"),
        (convolution(stride=2**60), "stride = 1152921504606846976; 2 whole"),
        (pool(kernel_size=[np.inf, 2]), r"kernel_size = \[inf  2.\]; 2 whole"),
        (pool(kernel_size=2.9), "kernel_size = 2.9; 2 whole"),
        (pool(stride=[]), r"stride = \[\]; 2 whole"),
    ],
)
def test_what_is_no_whole_number_is_refused_by_node(node, words):
    with pytest.raises(GraphError, match=f"node node: {words}"):
        load(image(node))


def test_whole_numbers_in_floats_are_taken():
    assert load(image(pool(kernel_size=[2.0, 2.0]))).output.output_shape == (1, 2, 2)


@pytest.mark.parametrize("dt", [1e-4 + 1j, np.array([1e-4, 1e-4]), "soon"])
def test_a_time_step_that_is_no_real_number_is_refused(dt):
    with pytest.raises(GraphError, match=r"dt = .* is no real number"):
        load(image(pool(), {"dt": dt}))


# ---- outputs that are no vector --------------------------------------------------------------------------------------


def image_file(folder, labels):
    size = (1, 2, 2)
    nodes = {"input": port_in(*size), "lif": lif(size), "output": port_out(*size)}
    nir.write(folder / "image.nir", graph_of(nodes, [("input", "lif"), ("lif", "output")], {"dt": DT}))
    frames = np.full((2, 5, *size), 3.0)
    np.savez(folder / "in.npz", input=frames, **({"label": np.array([0, 1])} if labels else {}))
    return [str(folder / "image.nir"), "--input", str(folder / "in.npz")]


def test_labels_of_an_image_are_said_not_to_be_read_and_the_run_goes_on(tmp_path, capsys):
    assert run.main([*image_file(tmp_path, labels=True), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    # v = 3/2 > 1 at each step: 2 samples, 5 steps, 4 neurons
    assert result["spikes"] == 40 and result["accuracy"] is None and result["predicted"] == []
    assert any("labels cannot be read from outputs of shape [1, 2, 2]" in note for note in result["notes"])


def test_an_image_without_labels_needs_no_word(tmp_path, capsys):
    assert run.main([*image_file(tmp_path, labels=False), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == [SILENT]


def test_a_vector_is_readable():
    assert unreadable(np.zeros((1, 2, 3))) is None and "[]" in (unreadable(np.zeros((1, 2))) or "")
    graph = load(graph_of({"in": port_in(1, 1), "out": port_out(1, 1)}, [("in", "out")], {"dt": DT}))
    assert accuracy(reference.run(graph, np.ones((1, 1, 1, 1)), labels=np.array([0])), graph.readout) is None


# ---- what no record reads --------------------------------------------------------------------------------------------


def dead_first_input():
    nodes = {"a": port_in(1), "b": port_in(2), "c": nir.Linear(weight=np.array([[1.0, 10.0]])), "o": port_out(1)}
    return load(nir.NIRGraph(nodes, [("b", "c"), ("c", "o")], metadata={"dt": DT}, type_check=False))


def test_an_input_that_nothing_reads_has_no_process():
    graph = dead_first_input()
    planned = make_plan(graph, schedule(graph, 2), np.ones((1, 2, 3)), np.array([2]))
    assert set(planned.specs) == {"b", "c"} and all(source in planned.specs for source, _, _ in planned.connections)


def test_lava_runs_beside_an_input_that_nothing_reads():
    pytest.importorskip("lava.magma")
    frames = np.array([[[7.0, 1, 2], [7, 3, 4]]])
    trace = lava.run(dead_first_input(), frames)
    assert (
        trace.output.ravel().tolist() == [21, 43] == reference.run(dead_first_input(), frames).output.ravel().tolist()
    )
