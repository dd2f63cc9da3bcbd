"""Resets by subtraction and starts of the potential in Lava: every kind of neuron side by side, in one network."""

from __future__ import annotations

import nir
import numpy as np
from neurotarget.sim import reference
from neurotarget.sim.graph import Graph
from neurotarget.sim.resets import RESETS

from tests.sim.lava.compare import assert_equal
from tests.sim.lava.fixed_networks import assert_identical, quantised
from tests.sim.networks import DT, THETA, Network, spikes

N = 4
ONE = np.ones(N)
START = np.array([0.75, -0.5, 1.5, 0.0])
KINDS = {
    "lif": lambda metadata: nir.LIF(3 * DT * ONE, 1.5 * ONE, 0.1 * ONE, THETA * ONE, 0 * ONE, metadata=metadata),
    "if": lambda metadata: nir.IF(0.5 / DT * ONE, THETA * ONE, 0 * ONE, metadata=metadata),
    "cuba_lif": lambda metadata: nir.CubaLIF(
        3 * DT * ONE, 4 * DT * ONE, 2 * ONE, 0 * ONE, THETA * ONE, 0 * ONE, 2 * ONE, metadata=metadata
    ),
}


def every_reset(seed: int = 0) -> Graph:
    """Each kind of neuron with each reset and a start; a LIF of each reset excites itself; an LI starts away from 0."""
    net = Network(3, seed=seed)
    ends = []
    for kind, build in KINDS.items():
        for reset in RESETS:
            for start in ({}, {"v_initial": START}) if kind == "lif" else ({"v_initial": 0.5},):
                name = f"{kind} {reset}{' start' if start else ''}"
                ends.append(net.add(name, build({"reset": reset} | start), net.affine(f"{name} w", N, 3, "input")))
                if name.startswith("lif") and start:
                    net.affine(f"{name} back", N, N, name, bias=False)
                    net.edges.append((f"{name} back", name))
    readout = net.add(
        "li", nir.LI(4 * DT * ONE, ONE, 0 * ONE, metadata={"v_initial": START}), net.affine("readout", N, N, *ends)
    )
    return net.finish(readout, outputs=N)


def test_every_reset_in_floating_point() -> None:
    graph = every_reset()
    assert graph.recurrent_edges and {node.reset for node in graph.spiking} == set(RESETS)
    trace = assert_equal(graph, spikes(3, 16, 3), np.array([16, 5, 11]))
    assert np.ptp([trace.spikes[f"if {reset} start"].sum() for reset in RESETS]) > 10


def test_every_reset_in_fixed_point() -> None:
    """Spikes, outputs, u and v of Lava's own arithmetic with our two resets, and near the float network's spikes."""
    frames, lengths = spikes(3, 16, 3), np.array([16, 5, 11])
    real = every_reset()
    graph = quantised(real, frames, lengths)
    assert {name: node.reset for name, node in graph.nodes.items() if node.reset} == {
        node.name: node.reset for node in real.spiking
    }
    trace, _ = assert_identical(graph, frames, lengths)
    assert np.ptp([trace.spikes[f"if {reset} start"].sum() for reset in RESETS]) > 10
    start = graph.nodes["li"].parameters["v_initial"]
    assert np.array_equal(start, np.rint(start)) and np.array_equal(np.sign(start), np.sign(START))
    expected = reference.run(real, frames, lengths).spikes
    for name, found in trace.spikes.items():
        assert abs(int(found.sum()) - int(expected[name].sum())) <= 0.1 * expected[name].sum(), name
