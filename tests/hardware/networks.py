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
    name: str, source: str, weight: np.ndarray, bias: np.ndarray | None, look_ahead: int
) -> tuple[dict[str, nir.NIRNode], list[tuple[str, str]], list[str]]:
    """A convolution over time as parallel taps: nodes, edges, and the taps, which feed the next node.

    weight is [outputs, inputs, taps], or [channels, taps] when depthwise; tap i sees step t + look_ahead - (taps-1-i).
    """
    taps = weight.shape[-1]
    features = weight.shape[-2]
    nodes: dict[str, nir.NIRNode] = {}
    edges = []
    for i in range(taps):
        kernel, offset, tap, shift = weight[..., i], look_ahead - (taps - 1 - i), f"{name}.tap{i}", f"{name}.shift{i}"
        if bias is not None and not i:
            nodes[tap] = nir.Affine(weight=np.diag(kernel) if kernel.ndim == 1 else kernel, bias=bias)
        else:
            nodes[tap] = nir.Scale(scale=kernel) if kernel.ndim == 1 else nir.Linear(weight=kernel)
        if offset < 0:
            nodes[shift] = nir.Delay(delay=np.full(features, -offset * DT))
        elif offset:
            nodes[shift] = dialect.extension("look_ahead", features, {"steps": offset})
        edges += [(source, shift), (shift, tap)] if offset else [(source, tap)]
    return nodes, edges, [f"{name}.tap{i}" for i in range(taps)]


def temporal_graph(weight: np.ndarray, bias: np.ndarray | None, look_ahead: int) -> Graph:
    nodes, edges, taps = temporal("conv", "input", weight, bias, look_ahead)
    return wire((weight.shape[-2],), nodes, (weight.shape[0],), [*edges, *[(tap, "output") for tap in taps]])


def run(graph: Graph, frames: np.ndarray, lengths: list[int] | None = None) -> Trace:
    return reference.run(graph, frames, None if lengths is None else np.array(lengths))
