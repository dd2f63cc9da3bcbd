"""What meets at a node is summed in the precision of the run, whatever types arrive."""

import nir
import numpy as np
import pytest
from neurotarget.sim import reference
from neurotarget.sim.graph import load
from neurotarget.sim.reference.operations import summed

DT = 1e-4


def meeting(nodes, edges, size=1):
    ports = {
        "input": nir.Input(input_type={"input": np.array([size])}),
        "output": nir.Output(output_type={"output": np.array([size])}),
    }
    return load(nir.NIRGraph(nodes={**ports, **nodes}, edges=edges, metadata={"dt": DT}))


def skip(scale=1.0):
    """y[t] = x[t] + x[t - 1]."""
    delay, out = nir.Delay(delay=np.full(1, DT)), nir.Scale(scale=np.full(1, scale))
    edges = [("input", "late"), ("input", "sum"), ("late", "sum"), ("sum", "output")]
    return meeting({"late": delay, "sum": out}, edges)


@pytest.mark.parametrize(
    ("dtype", "value", "twice"),
    [
        (np.uint8, 200, 400),
        (bool, True, 2),
        (np.int8, 100, 200),
        (np.int16, 20000, 40000),
        (np.uint16, 40000, 80000),
        (np.float16, 40000, 80000),
    ],
)
def test_small_input_types_do_not_overflow(dtype, value, twice):
    frames = np.full((1, 3, 1), value, dtype)
    assert reference.run(skip(), frames).output.ravel().tolist() == [float(value), twice, twice]


def test_single_precision_input_is_summed_in_double_precision():
    frames = np.array([0.1, 0.7, 1e-9], np.float32)[None, :, None]
    expected = reference.run(skip(), frames.astype(np.float64)).output
    np.testing.assert_array_equal(reference.run(skip(), frames).output, expected)
    assert expected[0, 1, 0] != np.float32(0.1) + np.float32(0.7)  # the two precisions differ here


def test_double_precision_input_of_a_single_precision_run_is_rounded_before_it_is_summed():
    frames = np.array([0.1, 0.7, 0.3])[None, :, None]
    expected = reference.run(skip(), frames.astype(np.float32), precision="float32").output
    np.testing.assert_array_equal(reference.run(skip(), frames, precision="float32").output, expected)


def test_three_hundred_spikes_into_one_node():
    names = [f"spike{i}" for i in range(300)]
    nodes = {name: nir.Threshold(threshold=np.zeros(1)) for name in names} | {"sum": nir.Scale(scale=np.ones(1))}
    edges = [e for name in names for e in (("input", name), (name, "sum"))] + [("sum", "output")]
    frames = np.array([[[1.0], [0.0], [1.0]]])
    assert reference.run(meeting(nodes, edges), frames).output.ravel().tolist() == [300, 0, 300]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_spikes_stay_bytes_where_a_byte_holds_their_sum(dtype):
    spikes = [np.full((2, 2), 1, np.uint8)] * 255
    assert summed(spikes, np.dtype(dtype)).dtype == np.uint8 and (summed(spikes, np.dtype(dtype)) == 255).all()
    more = [*spikes, np.array([[1, 0], [0, 0]], np.uint8)]
    assert summed(more, np.dtype(dtype)).dtype == dtype
    assert summed(more, np.dtype(dtype)).tolist() == [[256, 255], [255, 255]]


def test_a_sum_leaves_its_sources_as_they_are():
    first = np.ones((1, 1), np.float64)
    assert summed([first, first], np.dtype(np.float64)).item() == 2 and first.item() == 1


def test_a_delay_in_a_loop_keeps_what_needed_more_than_a_byte():
    """A delay of two steps holds 400 while what arrives now fits a byte."""
    nodes = {
        "late": nir.Delay(delay=np.full(1, DT)),
        "held": nir.Delay(delay=np.full(1, 2 * DT)),
        "scale": nir.Scale(scale=np.zeros(1)),
        "li": nir.LI(tau=np.full(1, DT), r=np.ones(1), v_leak=np.zeros(1)),
    }
    edges = [("input", "late"), ("input", "held"), ("late", "held"), ("held", "li"), ("li", "scale")]
    edges += [("scale", "held"), ("li", "output")]
    frames = np.array([200, 200, 0, 0, 0], np.uint8)[None, :, None]
    # x + late: 200, 400, 200, 0, 0; two steps later
    assert reference.run(meeting(nodes, edges), frames).output.ravel().tolist() == [0, 0, 200, 400, 200]
