"""Writes a folded draft as a NIR graph: standard primitives wherever one exists, extension operations elsewhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import nir
import numpy as np
from neurotarget.conversion.export.draft import Draft, Layer, UnsupportedModule
from neurotarget.sim.graph import dialect
from neurotarget.sim.resets import RESET_ZERO

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
        writers[layer.name] = emit_layer(layer, inputs, nodes, edges, dt)
    edges.extend((name, target) for source, target in loops for name in writers[source])
    firing = [layer.parameters for layer in draft.layers.values() if "theta" in layer.parameters]
    metadata: dict[str, Any] = {
        dialect.KEY_DIALECT: dialect.DIALECT,
        dialect.KEY_DT: dt,
        dialect.KEY_SCHEME: dialect.SCHEME_EULER,
        dialect.KEY_RULE: dialect.RULE_REACHES,
        dialect.KEY_READOUT: readout,
    }
    if firing and all(p.get("strict") for p in firing):
        metadata[dialect.KEY_RULE] = dialect.RULE_EXCEEDS
    thetas = {float(theta) for p in firing for theta in np.unique(p["theta"])}
    if len(thetas) == 1:
        metadata[dialect.KEY_THETA] = thetas.pop()
    return nir.NIRGraph(nodes=nodes, edges=edges, metadata=metadata)


def emit_layer(layer: Layer, inputs: list[str], nodes: Nodes, edges: Edges, dt: float) -> list[str]:
    """Adds the nodes of a layer and the edges from `inputs` to them, and gives the nodes that are its output."""
    if layer.kind == "temporal_conv":
        return _temporal_conv(layer, inputs, nodes, edges, dt)
    nodes[layer.name] = NODES[layer.kind](layer, dt)
    edges.extend((source, layer.name) for source in inputs)
    return [layer.name]


def _only(name: str, found: list[str]) -> str:
    if len(found) != 1:
        raise UnsupportedModule(f"layer {name}: {len(found)} nodes ({', '.join(found)}) feed one of its inputs")
    return found[0]


def _affine(weight: np.ndarray, bias: np.ndarray | None) -> Any:
    return nir.Linear(weight=weight) if bias is None else nir.Affine(weight=weight, bias=bias)


def _conv(layer: Layer, dt: float) -> Any:
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
    return node


def _neuron(layer: Layer, dt: float) -> Any:
    """A neuron with memory. Time constants are in steps, `gain` is what v gains of a unit of input in one step.

    Without a gain the resistance is 1, and the gain 1 / tau. `reset` and `v_initial` become metadata of the node, where
    they are not NIR's own reset and a start at 0.
    """
    p = layer.parameters
    resistance = p["tau"] * p["gain"] if {"tau", "gain"} <= set(p) else 1.0
    values = {"r": p.get("gain", 1.0) / dt if layer.kind in ("if", "integrator") else resistance}
    if layer.kind in ("lif", "li"):
        values |= {"tau": p["tau"] * dt, "v_leak": p.get("v_leak", 0.0)}
    if layer.kind in ("cuba_lif", "cuba_li"):
        values |= {"tau_mem": p["tau"] * dt, "tau_syn": p["tau_syn"] * dt, "w_in": p["tau_syn"]}
        values |= {"v_leak": p.get("v_leak", 0.0)}
    if "theta" in p:
        values |= {"v_threshold": p["theta"] if p.get("strict") else np.nextafter(p["theta"], -np.inf)}
        values |= {"v_reset": p["v_reset"]}
    metadata: dict[str, Any] = {}
    if p.get("reset", RESET_ZERO) != RESET_ZERO:
        metadata[dialect.KEY_RESET] = p["reset"]
    if np.any(p.get("v_initial", 0)):
        metadata[dialect.KEY_V_INITIAL] = _full(layer, p["v_initial"])
    return NEURONS[layer.kind](**{key: _full(layer, value) for key, value in values.items()}, metadata=metadata)


def _full(layer: Layer, value: Any) -> np.ndarray:
    return np.full(layer.shape, value, dtype=np.float64)


def _temporal_conv(layer: Layer, inputs: list[str], nodes: Nodes, edges: Edges, dt: float) -> list[str]:
    """A linear map for each tap, behind a look-ahead or a Delay by its net offset; their readers sum all taps.

    A tap without any weight is left out.

    y[t] = sum over i of W[..., i] x[t + look_ahead - (taps - 1 - i)] + b. A depthwise tap is a Scale, but the one
    that carries the bias an Affine with a diagonal matrix, because a Scale has no bias.
    """
    weight, bias, ahead = (layer.parameters[key] for key in ("weight", "bias", "look_ahead"))
    depthwise, taps = weight.ndim == 2, weight.shape[-1]
    channels = weight.shape[0] if depthwise else weight.shape[1]
    written: list[str] = []
    for i in [i for i in range(taps) if weight[..., i].any()] or [0]:
        offset, sources = ahead - (taps - 1 - i), inputs
        if offset:
            shift = f"{layer.name}.{'ahead' if offset > 0 else 'delay'}{abs(offset)}"
            if offset > 0:
                nodes[shift] = dialect.extension("look_ahead", channels, {"steps": offset})
            else:
                nodes[shift] = nir.Delay(delay=np.full(channels, -offset * dt))
            edges.extend((source, shift) for source in sources)
            sources = [shift]
        tap = f"{layer.name}.tap{i}"
        tap_bias = None if written else bias
        if depthwise and tap_bias is None:
            nodes[tap] = nir.Scale(scale=weight[:, i])
        else:
            nodes[tap] = _affine(np.diag(weight[:, i]) if depthwise else weight[:, :, i], tap_bias)
        nodes[tap].metadata = {dialect.KEY_LAYER: layer.name}
        edges.extend((source, tap) for source in sources)
        written.append(tap)
    return written


NEURONS = {"lif": nir.LIF, "if": nir.IF, "li": nir.LI, "integrator": nir.I}
NEURONS |= {"cuba_lif": nir.CubaLIF, "cuba_li": nir.CubaLI}
NODES: dict[str, Callable[[Layer, float], Any]] = {
    "input": lambda layer, dt: nir.Input(input_type={"input": np.array(layer.shape)}),
    "output": lambda layer, dt: nir.Output(output_type={"output": np.array(layer.shape)}),
    "linear": lambda layer, dt: _affine(layer.parameters["weight"], layer.parameters["bias"]),
    "scale": lambda layer, dt: nir.Scale(scale=layer.parameters["weight"]),
    "conv": _conv,
    "avg_pool": lambda layer, dt: nir.AvgPool2d(**{key: np.array(value) for key, value in layer.parameters.items()}),
    "sum_pool": lambda layer, dt: nir.SumPool2d(**{key: np.array(value) for key, value in layer.parameters.items()}),
    "threshold": lambda layer, dt: nir.Threshold(threshold=_full(layer, layer.parameters["threshold"])),
    "delay": lambda layer, dt: nir.Delay(delay=_full(layer, layer.parameters["steps"] * dt)),
    "flatten": lambda layer, dt: nir.Flatten({"input": np.array(layer.parameters["input_shape"])}, 0, -1),
    **dict.fromkeys(NEURONS, _neuron),
    **dict.fromkeys(
        ("gate", "rotary", "attention"),
        lambda layer, dt: dialect.extension(layer.kind, layer.shape, {**layer.parameters, **layer.roles}),
    ),
}
