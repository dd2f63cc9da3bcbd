"""Small NIR graphs with known weights, for counting by hand."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import nir
import numpy as np
from neurotarget.sim import reference
from neurotarget.sim.graph import Graph, dialect, load
from neurotarget.sim.trace import Trace

DT = 1e-3


def chain(input_shape: tuple[int, ...], nodes: Mapping[str, nir.NIRNode], output_shape: tuple[int, ...]) -> Graph:
    """input -> nodes in order -> output."""
    names = ["input", *nodes, "output"]
    return wire(input_shape, nodes, output_shape, list(itertools.pairwise(names)))


def wire(
    input_shape: tuple[int, ...],
    nodes: Mapping[str, nir.NIRNode],
    output_shape: tuple[int, ...],
    edges: list[tuple[str, str]],
) -> Graph:
    return load(nir_graph(input_shape, nodes, output_shape, edges))


def nir_graph(
    input_shape: tuple[int, ...],
    nodes: Mapping[str, nir.NIRNode],
    output_shape: tuple[int, ...],
    edges: list[tuple[str, str]],
) -> nir.NIRGraph:
    ports = {
        "input": nir.Input(input_type={"input": np.array(input_shape)}),
        "output": nir.Output(output_type={"output": np.array(output_shape)}),
    }
    return nir.NIRGraph(
        nodes={**ports, **nodes}, edges=edges, metadata={dialect.KEY_DT: DT, "readout": "sum"}, type_check=False
    )


def lif(neurons: int, threshold: float = 1.0) -> nir.LIF:
    """LIF with tau = 2 steps whose input is not scaled: dt / tau * r = 1."""
    ones = np.ones(neurons)
    return nir.LIF(tau=2 * DT * ones, r=2 * ones, v_leak=0 * ones, v_threshold=threshold * ones, v_reset=0 * ones)


def temporal(
    name: str, weight: np.ndarray, bias: np.ndarray | None, look_ahead: int
) -> tuple[dict[str, nir.NIRNode], list[tuple[str, str]], list[str]]:
    """A convolution over time as parallel delayed taps: nodes, inner edges, and the taps, which feed the next node.

    weight is [outputs, inputs, taps], or [channels, taps] when depthwise. The first inner node is `<name>.ahead`.
    """
    taps = weight.shape[-1]
    features = weight.shape[-2]
    nodes: dict[str, nir.NIRNode] = {
        f"{name}.ahead": dialect.extension("look_ahead", features, {"steps": look_ahead}),
    }
    edges = []
    for delay in range(taps):
        kernel = weight[..., taps - 1 - delay]
        if bias is not None and delay == 0:
            matrix = np.diag(kernel) if kernel.ndim == 1 else kernel
            nodes[f"{name}.tap{delay}"] = nir.Affine(weight=matrix, bias=bias)
        elif kernel.ndim == 1:
            nodes[f"{name}.tap{delay}"] = nir.Scale(scale=kernel)
        else:
            nodes[f"{name}.tap{delay}"] = nir.Linear(weight=kernel)
        source = f"{name}.ahead"
        if delay:
            nodes[f"{name}.delay{delay}"] = nir.Delay(delay=np.full(features, delay * DT))
            edges.append((source, f"{name}.delay{delay}"))
            source = f"{name}.delay{delay}"
        edges.append((source, f"{name}.tap{delay}"))
    return nodes, edges, [f"{name}.tap{delay}" for delay in range(taps)]


def temporal_graph(weight: np.ndarray, bias: np.ndarray | None, look_ahead: int) -> Graph:
    nodes, edges, taps = temporal("conv", weight, bias, look_ahead)
    edges += [("input", "conv.ahead"), *[(tap, "output") for tap in taps]]
    return wire((weight.shape[-2],), nodes, (weight.shape[0],), edges)


def run(graph: Graph, frames: np.ndarray, lengths: list[int] | None = None) -> Trace:
    return reference.run(graph, frames, None if lengths is None else np.array(lengths))
