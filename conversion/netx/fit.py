"""The nearest quantised network that NetX can hold: weight exponents 0, biases with the exponent 6.

A layer's current, threshold and bias are all divided by 2^weight_exp, which changes no weight: what is lost is the
fraction of the threshold, of the bias, and of the states below one step. The result is a quantised network like any
other, to be judged by running it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import nir
import numpy as np
from neurotarget.conversion.fixed.emit_fixed import emit_fixed
from neurotarget.sim.graph import Graph
from neurotarget.sim.graph.kinds import SYNAPTIC
from neurotarget.sim.graph.node import GraphError, Node
from neurotarget.sim.reference.integer import INTEGER, WIDTHS, integer_parameters, lava_bias, lava_weights
from neurotarget.sim.reference.integer_kernels import ALIGN_BITS


def fit(graph: Graph) -> nir.NIRGraph:
    """A quantised network whose exponents NetX holds, as a NIR graph.

    Raises:
        GraphError: a threshold or bias leaves its width; the message names the neuron.
    """
    for node in graph.nodes.values():
        integer_parameters(node, graph.fixed.get(node.name, {}))  # a file that lacks a number says so here
    fixed = {name: dict(keys) for name, keys in graph.fixed.items()}
    nodes = dict(graph.nodes)
    for neuron in graph.spiking:
        synapses = _synapses(graph, neuron)
        exponents = {int(graph.fixed[node.name]["weight_exp"]) for node in synapses}
        lost = (
            0 if all(_holds(node, int(graph.fixed[node.name]["weight_exp"])) for node in synapses) else max(exponents)
        )
        if lost and len(exponents) > 1:
            raise GraphError(f"node {neuron.name}: its synapses differ in their weight exponent")
        for node in synapses:
            nodes[node.name], fixed[node.name] = _synapse(node, graph.fixed[node.name], lost)
        nodes[neuron.name], fixed[neuron.name] = _neuron(neuron, graph.fixed[neuron.name], lost)
    return emit_fixed(replace(graph, nodes=nodes), fixed)


def _synapses(graph: Graph, neuron: Node) -> list[Node]:
    """What a neuron reads, but for delays and changes of shape between."""
    found, waiting = [], list(neuron.sources)
    while waiting:
        node = graph.nodes[waiting.pop()]
        if node.kind in SYNAPTIC:
            found.append(node)
        elif node.kind in ("delay", "flatten"):
            waiting += node.sources
    return found


def _holds(node: Node, exponent: int) -> bool:
    """Whether the weights hold their exponent within 8 bits."""
    weight = node.parameters["weight"].astype(INTEGER) << max(exponent, 0)
    return exponent >= 0 and np.array_equal(lava_weights(weight), weight)


def _synapse(node: Node, fixed: Mapping[str, Any], lost: int) -> tuple[Node, dict[str, Any]]:
    """The synapse with an exponent of 0, whose current is 2^lost times coarser."""
    kept = int(fixed["weight_exp"]) - lost  # what goes into the weights
    changed = {"weight": node.parameters["weight"].astype(INTEGER) << kept}
    if node.parameters.get("bias") is not None:
        changed["bias"] = np.rint(node.parameters["bias"] / 2.0**lost).astype(INTEGER)
    keys = {**fixed, "weight_exp": 0, "scale": float(fixed["scale"]) * 2.0**lost}
    return replace(node, parameters={**node.parameters, **changed}), keys


def _neuron(node: Node, fixed: Mapping[str, Any], exponent: int) -> tuple[Node, dict[str, Any]]:
    """The neuron whose current is 2^exponent times coarser."""
    vth = int(np.floor(int(fixed["vth"]) / 2.0**exponent))
    bias = lava_bias(np.asarray(fixed["bias_mant"], INTEGER), np.asarray(fixed["bias_exp"], INTEGER))
    mantissa = np.rint(bias / 2.0 ** (ALIGN_BITS + exponent)).astype(INTEGER)
    if vth > WIDTHS["vth"][1] or np.abs(mantissa).max(initial=0) > WIDTHS["bias_mant"][1]:
        raise GraphError(f"node {node.name}: its threshold or a bias does not fit with a weight exponent of 0")
    threshold = np.full(node.output_shape, float(vth << ALIGN_BITS))
    changed = {
        "vth": vth,
        "bias_mant": mantissa,
        "bias_exp": np.full(mantissa.shape, ALIGN_BITS),
        "scale": float(fixed["scale"]) * 2.0**exponent,
    }
    return replace(node, parameters={**node.parameters, "v_threshold": threshold}), {**fixed, **changed}
