"""Writes a folded draft as a NIR graph: standard primitives wherever one exists, extension operations elsewhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import nir
import numpy as np
from neurotarget.conversion.export.draft import Draft, Layer, UnsupportedModule
from neurotarget.sim.graph import dialect

Nodes = dict[str, Any]
Edges = list[tuple[str, str]]


def emit(draft: Draft, dt: float, readout: str) -> nir.NIRGraph:
    """The NIR graph of a folded draft.

    Args:
        dt: seconds per step; a time constant of tau steps is written as tau * dt.
        readout: how a class is read from the output, a `dialect.READOUT_*`.
    """
    nodes: Nodes = {}
    edges: Edges = []
    writers: dict[str, list[str]] = {}  # layer -> the nodes that give its output
    loops: Edges = []  # (source, layer) where the source comes later
    for layer in draft.layers.values():
        loops += [(source, layer.name) for source in layer.sources if source not in writers]
        inputs = list(dict.fromkeys(name for source in layer.sources for name in writers.get(source, ())))
        if layer.roles:  # a role names a node
            named = {role: _only(layer.name, writers[source]) for role, source in layer.roles.items()}
            layer = dataclasses.replace(layer, roles=named)
        writers[layer.name] = EMITTERS[layer.kind](layer, inputs, nodes, edges, dt)
    edges.extend((name, target) for source, target in loops for name in writers[source])
    thetas = {layer.parameters["theta"] for layer in draft.layers.values() if "theta" in layer.parameters}
    metadata: dict[str, Any] = {
        dialect.KEY_DIALECT: dialect.DIALECT,
        dialect.KEY_DT: dt,
        dialect.KEY_SCHEME: dialect.SCHEME_EULER,
        dialect.KEY_RULE: dialect.RULE_REACHES,
        dialect.KEY_READOUT: readout,
    }
    if len(thetas) == 1:
        metadata[dialect.KEY_THETA] = thetas.pop()
    return nir.NIRGraph(nodes=nodes, edges=edges, metadata=metadata)


def _only(name: str, found: list[str]) -> str:
    if len(found) != 1:
        raise UnsupportedModule(f"layer {name}: {len(found)} nodes ({', '.join(found)}) feed one of its inputs")
    return found[0]


def _node(layer: Layer, node: Any, inputs: list[str], nodes: Nodes, edges: Edges) -> list[str]:
    nodes[layer.name] = node
    edges.extend((source, layer.name) for source in inputs)
    return [layer.name]


def _input(layer: Layer, inputs: list[str], nodes: Nodes, edges: Edges, dt: float) -> list[str]:
    return _node(layer, nir.Input(input_type={"input": np.array(layer.shape)}), inputs, nodes, edges)


def _output(layer: Layer, inputs: list[str], nodes: Nodes, edges: Edges, dt: float) -> list[str]:
    return _node(layer, nir.Output(output_type={"output": np.array(layer.shape)}), inputs, nodes, edges)


def _affine(weight: np.ndarray, bias: np.ndarray | None) -> Any:
    return nir.Linear(weight=weight) if bias is None else nir.Affine(weight=weight, bias=bias)


def _linear(layer: Layer, inputs: list[str], nodes: Nodes, edges: Edges, dt: float) -> list[str]:
    return _node(layer, _affine(layer.parameters["weight"], layer.parameters["bias"]), inputs, nodes, edges)


def _scale(layer: Layer, inputs: list[str], nodes: Nodes, edges: Edges, dt: float) -> list[str]:
    return _node(layer, nir.Scale(scale=layer.parameters["weight"]), inputs, nodes, edges)


def _conv(layer: Layer, inputs: list[str], nodes: Nodes, edges: Edges, dt: float) -> list[str]:
    p = layer.parameters
    weight, groups = p["weight"], p["groups"]
    if groups > 1:
        # nir 1.0.8 infers a wrong input type for grouped kernels, so no reader could check the file: write the kernel
        # with its zeros, and the number of groups as metadata, from which our own reader takes the zeros out again.
        outputs, inputs_per_group = weight.shape[0] // groups, weight.shape[1]
        full = np.zeros((weight.shape[0], inputs_per_group * groups, *weight.shape[2:]))
        for g in range(groups):
            rows = slice(g * outputs, (g + 1) * outputs)
            full[rows, g * inputs_per_group : (g + 1) * inputs_per_group] = weight[rows]
        weight = full
    common = {"weight": weight, "bias": p["bias"], "groups": 1}
    if weight.ndim == 3:
        one = {key: int(p[key][0]) for key in ("stride", "padding", "dilation")}
        node: Any = nir.Conv1d(input_shape=int(p["input_space"][0]), **one, **common)
    else:
        two = {key: tuple(int(v) for v in p[key]) for key in ("stride", "padding", "dilation")}
        node = nir.Conv2d(input_shape=tuple(p["input_space"]), **two, **common)
    if groups > 1:
        node.metadata = {dialect.KEY_GROUPS: groups}
    return _node(layer, node, inputs, nodes, edges)


def _temporal_conv(layer: Layer, inputs: list[str], nodes: Nodes, edges: Edges, dt: float) -> list[str]:
    """Look-ahead, then for each tap a Delay and a linear map; all taps feed the same reader, which sums them.

    A tap without any weight is left out.

    y[t] = sum over i of W[..., i] x[t + look_ahead - (taps - 1 - i)] + b. A depthwise tap is a Scale, but the one
    that carries the bias an Affine with a diagonal matrix, because a Scale has no bias.
    """
    weight, bias, ahead = (layer.parameters[key] for key in ("weight", "bias", "look_ahead"))
    depthwise, taps = weight.ndim == 2, weight.shape[-1]
    channels = weight.shape[0] if depthwise else weight.shape[1]
    if ahead:
        name = f"{layer.name}.ahead"
        nodes[name] = dialect.extension("look_ahead", channels, {"steps": ahead})
        edges.extend((source, name) for source in inputs)
        inputs = [name]
    written: list[str] = []
    for i in [i for i in range(taps) if weight[..., i].any()] or [0]:
        steps, sources = taps - 1 - i, inputs
        if steps:
            delay = f"{layer.name}.delay{steps}"
            nodes[delay] = nir.Delay(delay=np.full(channels, steps * dt))
            edges.extend((source, delay) for source in sources)
            sources = [delay]
        tap = f"{layer.name}.tap{i}"
        tap_bias = None if written else bias
        if depthwise and tap_bias is None:
            nodes[tap] = nir.Scale(scale=weight[:, i])
        else:
            nodes[tap] = _affine(np.diag(weight[:, i]) if depthwise else weight[:, :, i], tap_bias)
        edges.extend((source, tap) for source in sources)
        written.append(tap)
    return written


def _avg_pool(layer: Layer, inputs: list[str], nodes: Nodes, edges: Edges, dt: float) -> list[str]:
    return _node(layer, nir.AvgPool2d(**{k: np.array(v) for k, v in layer.parameters.items()}), inputs, nodes, edges)


def _flatten(layer: Layer, inputs: list[str], nodes: Nodes, edges: Edges, dt: float) -> list[str]:
    shape = {"input": np.array(layer.parameters["input_shape"])}
    return _node(layer, nir.Flatten(input_type=shape, start_dim=0, end_dim=-1), inputs, nodes, edges)


def _neuron(layer: Layer, inputs: list[str], nodes: Nodes, edges: Edges, dt: float) -> list[str]:
    p = layer.parameters

    def full(value: float) -> np.ndarray:
        return np.full(layer.shape, value, dtype=np.float64)

    # `v > v_threshold` is then `v >= theta`, which is how SpikingJelly fires.
    thresholds = {"v_threshold": full(np.nextafter(p["theta"], -np.inf)), "v_reset": full(p["v_reset"])}
    if layer.kind == "if":
        return _node(layer, nir.IF(r=full(1 / dt), **thresholds), inputs, nodes, edges)
    # SpikingJelly leaks towards v_reset; so does NIR with v_leak = v_reset.
    resistance = p["tau"] * p["gain"] if "gain" in p else 1.0
    leak = {"tau": full(p["tau"] * dt), "r": full(resistance), "v_leak": full(p["v_reset"])}
    return _node(layer, nir.LIF(**leak, **thresholds), inputs, nodes, edges)


def _leaky_integrator(layer: Layer, inputs: list[str], nodes: Nodes, edges: Edges, dt: float) -> list[str]:
    def full(value: float) -> np.ndarray:
        return np.full(layer.shape, value, dtype=np.float64)

    node = nir.LI(tau=full(layer.parameters["tau"] * dt), r=full(1.0), v_leak=full(0.0))
    return _node(layer, node, inputs, nodes, edges)


def _extension(layer: Layer, inputs: list[str], nodes: Nodes, edges: Edges, dt: float) -> list[str]:
    metadata = {**layer.parameters, **layer.roles}
    return _node(layer, dialect.extension(layer.kind, layer.shape[0], metadata), inputs, nodes, edges)


EMITTERS: dict[str, Callable[[Layer, list[str], Nodes, Edges, float], list[str]]] = {
    "input": _input,
    "output": _output,
    "linear": _linear,
    "scale": _scale,
    "conv": _conv,
    "temporal_conv": _temporal_conv,
    "avg_pool": _avg_pool,
    "flatten": _flatten,
    "lif": _neuron,
    "if": _neuron,
    "li": _leaky_integrator,
    "gate": _extension,
    "rotary": _extension,
    "attention": _extension,
}
