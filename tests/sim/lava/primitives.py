"""Each kind of neuron with parameters that all matter; loops, and layers in space."""

from __future__ import annotations

import itertools
from typing import Any

import nir
import numpy as np
from neurotarget.sim.graph import Graph, load

from tests.sim.networks import DT, THETA, Network

N = 4
ONE = np.ones(N)
TAU = np.array([2.0, 3.0, 5.5, 10.0]) * DT

NEURONS: dict[str, nir.NIRNode] = {
    "lif with every parameter": nir.LIF(TAU, 1.3 * ONE, -0.2 * ONE, 0.9 * ONE, 0.1 * ONE),
    "if": nir.IF(0.3 / DT * ONE, THETA * ONE, 0.2 * ONE),
    "cuba_lif": nir.CubaLIF(
        tau_syn=TAU, tau_mem=TAU[::-1].copy(), r=2 * ONE, v_leak=0.1 * ONE, v_threshold=0.6 * ONE, w_in=1.5 * ONE
    ),
    "threshold": nir.Threshold(0.7 * ONE),
}
POTENTIALS: dict[str, nir.NIRNode] = {
    "li": nir.LI(TAU, 1.3 * ONE, -0.2 * ONE),
    "integrator": nir.I(0.1 / DT * ONE),
    "cuba_li": nir.CubaLI(tau_syn=TAU, tau_mem=TAU[::-1].copy(), r=2 * ONE, v_leak=0.1 * ONE, w_in=1.5 * ONE),
}


def recurrent(loop_bias: bool, into_synapse: bool = False) -> Graph:
    net = Network(3, seed=2)
    net.nodes["n"] = nir.CubaLIF(TAU, TAU, ONE, 0 * ONE, THETA * ONE, 0 * ONE, 4 * ONE)
    if into_synapse:  # the loop enters before the synapse: x + s through one matrix
        net.affine("in", N, 3, "input")
        net.lif("first", N, "in")
        net.affine("shared", N, N, "first", "n", bias=loop_bias)
        net.edges.append(("shared", "n"))
    else:
        net.affine("in", N, 3, "input")
        net.affine("back", N, N, "n", bias=loop_bias)
        net.edges += [("in", "n"), ("back", "n")]
    return net.finish(net.affine("readout", 2, N, "n"), outputs=2)


def spatial(*layers: tuple[str, nir.NIRNode], shape: tuple[int, ...]) -> Graph:
    nodes: dict[str, Any] = {"input": nir.Input(np.array(shape))}
    nodes |= dict(layers)
    names = [*nodes, "output"]
    nodes["output"] = nir.Output(None)
    graph = nir.NIRGraph(nodes, list(itertools.pairwise(names)), metadata={"dt": DT}, type_check=False)
    return load(graph)
