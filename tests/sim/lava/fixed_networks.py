"""Small quantised networks: of random weights, by calibration; or of integers by hand, for the ends of the ranges."""

from __future__ import annotations

import itertools
from typing import Any

import nir
import numpy as np
from neurotarget.conversion.quantize import quantize
from neurotarget.sim import reference
from neurotarget.sim.graph import Graph, dialect, load
from neurotarget.sim.graph.kinds import STATEFUL

from tests.sim.networks import DT


def quantised(graph: Graph, frames: np.ndarray, lengths: np.ndarray | None = None) -> Graph:
    """A float network, calibrated on the frames."""
    return load(quantize(graph, frames, lengths)[0])


def neurons(graph: Graph) -> list[str]:
    return [node.name for node in graph.of_kind(*STATEFUL)]


def one_neuron_each(
    weight: int, weight_exp: int = 0, du: int = 4095, dv: int = 0, vth: int = 1, bias: tuple[int, int] = (0, 0)
) -> Graph:
    """Input -> Linear(weight) -> CubaLIF -> Output, one neuron; an input step is 1, of -128 to 127."""
    one = np.ones(1)
    nodes: dict[str, Any] = {
        "input": nir.Input(np.array([1])),
        "synapse": nir.Linear(np.array([[float(weight)]])),
        "neuron": nir.CubaLIF(2 * DT * one, 2 * DT * one, one, 0 * one, (vth << 6) * one, 0 * one),
        "output": nir.Output(np.array([1])),
    }
    fixed = {
        "input": {"scale": 1.0, "minimum": -128, "maximum": 127},
        "synapse": {"weight_exp": weight_exp},
        "neuron": {"du": du, "dv": dv, "vth": vth, "bias_mant": [bias[0]], "bias_exp": [bias[1]]},
        "output": {"scale": 0.5},
    }
    metadata = {"dialect": dialect.DIALECT, "dt": DT, "rule": ">", "arithmetic": "lava-fixed", "fixed": fixed}
    names = list(nodes)
    return load(nir.NIRGraph(nodes, list(itertools.pairwise(names)), metadata=metadata))


def assert_identical(graph: Graph, frames: np.ndarray, lengths: np.ndarray | None = None, quiet: int = 0) -> Any:
    """u, v, spikes and outputs of Lava are the reference's; at most `quiet` spiking nodes are silent.

    Returns:
        Lava's trace, and u and v by neuron.
    """
    from neurotarget.sim import lava

    names = neurons(graph)
    expected, states = reference.run(graph, frames, lengths), reference.states(graph, frames, lengths, names)
    found, found_states = lava.run_with_states(graph, frames, lengths, nodes=names)
    for name in names:
        for what, x, y in zip("uv", states[name], found_states[name], strict=True):
            np.testing.assert_array_equal(y, x, err_msg=f"{what} of {name}")
            assert y.dtype == np.int32
    assert all(any(state.any() for state in found_states[name]) for name in names[:3])
    assert set(found.spikes) == set(expected.spikes)
    for name, spikes in expected.spikes.items():
        np.testing.assert_array_equal(found.spikes[name], spikes, err_msg=name)
    silent = [name for name, spikes in expected.spikes.items() if not spikes.any()]
    assert len(silent) <= quiet, f"silent: {silent}"
    np.testing.assert_array_equal(found.output, expected.output)
    np.testing.assert_array_equal(found.input, expected.input)
    assert found.header["precision"] == expected.header["precision"] == "lava-fixed"
    return found, found_states
