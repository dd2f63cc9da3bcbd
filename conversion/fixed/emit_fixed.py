"""Writes a network in integers as a NIR file that stock `nir.read` opens (docs/fixed_point.md, key by key).

Weights stand in NIR's own fields as integers. What NIR has no field for stands in the graph's metadata. tau, r and
v_leak of the neurons are derived from the integers, so that a tool that runs the file in floating point computes the
same network but for the rounding of Lava's decays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import nir
import numpy as np
from neurotarget.conversion.export.draft import Layer
from neurotarget.conversion.export.emit import Edges, Nodes, emit_layer
from neurotarget.sim.graph import Graph, dialect
from neurotarget.sim.graph.kinds import STATEFUL
from neurotarget.sim.graph.node import GraphError, Node
from neurotarget.sim.reference.integer_kernels import ALIGN_BITS, DECAY_BITS

# Kind of node -> kind of layer in emit.py, which writes floats and integers alike.
SAME = {
    "input": "input",
    "output": "output",
    "affine": "linear",
    "scale": "scale",
    "conv1d": "conv",
    "conv2d": "conv",
    "temporal_conv": "temporal_conv",
    "depthwise_conv": "temporal_conv",
}


Fixed = Mapping[str, Mapping[str, Any]]


def emit_fixed(graph: Graph, fixed: Fixed) -> nir.NIRGraph:
    """The NIR graph of a network whose nodes hold integer parameters.

    Args:
        graph: as `Calibration` left it.
        fixed: integers that NIR has no field for, by node.
    """
    nodes: Nodes = {}
    edges: Edges = []
    writers: dict[str, list[str]] = {}  # node -> the NIR nodes that give its output
    entries: dict[str, str] = {}
    for node in graph.nodes.values():
        inside: Edges = []
        own: Nodes = {}
        written = _write(graph, node, fixed, own, inside, writers)
        if taken := sorted(own.keys() & (graph.nodes.keys() - {node.name} | nodes.keys())):
            raise GraphError(f"node {node.name}: its part {taken[0]} has the name of another node; rename that")
        nodes |= own
        writers[node.name] = written
        edges += [edge for edge in inside if edge[0] != HERE]
        entries |= {edge[1]: node.name for edge in inside if edge[0] == HERE}
    for entry, name in entries.items():
        edges += [(writer, entry) for source in dict.fromkeys(graph.nodes[name].sources) for writer in writers[source]]
    metadata = {
        dialect.KEY_DIALECT: dialect.DIALECT,
        dialect.KEY_DT: graph.dt,
        dialect.KEY_SCHEME: dialect.SCHEME_EULER,
        dialect.KEY_RULE: dialect.RULE_EXCEEDS,
        dialect.KEY_READOUT: graph.readout,
        dialect.KEY_ARITHMETIC: dialect.ARITHMETIC_LAVA_FIXED,
        dialect.KEY_FIXED: {name: dict(keys) for name, keys in fixed.items()},
        **dialect.data_metadata(graph.classes, graph.standardisation),
    }
    try:
        return nir.NIRGraph(nodes=nodes, edges=edges, metadata=metadata)
    except ValueError:  # nir 1.0.8 infers a wrong shape for kernels that are not square; `load` works it out itself
        return nir.NIRGraph(nodes=nodes, edges=edges, metadata=metadata, type_check=False)


HERE = "(sources of the node)"  # stands in edges until every node is written: loops reach back


def _write(
    graph: Graph, node: Node, fixed: Fixed, nodes: Nodes, edges: Edges, writers: Mapping[str, list[str]]
) -> list[str]:
    if node.kind == "input" and graph.of_kind("input_part"):
        return []  # its parts are the Inputs of the file
    if node.kind == "input_part":
        nodes[node.name] = nir.Input(input_type={"input": np.array(node.output_shape)})
        return [node.name]
    if node.kind in SAME:
        parameters = {"bias": None, **node.parameters}
        if node.kind in ("conv1d", "conv2d"):
            parameters["input_space"] = node.input_shape[1:]
        layer = Layer(node.name, SAME[node.kind], node.sources, node.output_shape, parameters)
        inputs = [] if node.kind == "input" else [HERE]
        return emit_layer(layer, inputs, nodes, edges, graph.dt)
    if node.kind in STATEFUL:
        nodes[node.name] = _neuron(node, fixed[node.name], _weight_exp(graph, node, fixed), graph.dt)
    elif node.kind == "sum_pool":
        nodes[node.name] = nir.SumPool2d(**{key: np.array(value) for key, value in node.parameters.items()})
    elif node.kind == "flatten":
        shape = {"input": np.array(node.input_shape)}
        nodes[node.name] = nir.Flatten(input_type=shape, **node.parameters)
    elif node.kind == "delay":
        steps = np.broadcast_to(node.parameters["steps"], node.output_shape)
        nodes[node.name] = nir.Delay(delay=steps * graph.dt)
    else:
        feeders = {role: [n for s in sources for n in writers.get(s, [s])] for role, sources in node.roles.items()}
        if any(len(names) > 1 for names in feeders.values()):
            raise GraphError(f"node {node.name}: a file names one source a role, found {feeders}")
        roles = {role: name for role, (name,) in feeders.items()}
        nodes[node.name] = dialect.extension(node.kind, node.output_shape, {**node.parameters, **roles})
    edges.append((HERE, node.name))
    return [node.name]


def _weight_exp(graph: Graph, node: Node, fixed: Fixed) -> int:
    """Exponent of the synapses that drive a neuron: one, because they share a unit."""
    name = node.name
    while "weight_exp" not in fixed.get(name, {}) and graph.nodes[name].sources and graph.nodes[name].kind != "rotary":
        name = graph.nodes[name].sources[0]
    return int(fixed.get(name, {}).get("weight_exp", 0))


def _neuron(node: Node, fixed: Mapping[str, Any], weight_exp: int, dt: float) -> Any:
    """NIR's form of `u = u (1 - b) + 64 2^e I; v = v (1 - a) + u + bias`, a = dv / 4096 and b = (du + 1) / 4096."""
    unity, finer = float(1 << DECAY_BITS), 2.0 ** (ALIGN_BITS + weight_exp)
    a, b = fixed["dv"] / unity, (fixed["du"] + 1) / unity

    def full(value: float) -> np.ndarray:
        return np.full(node.output_shape, value)

    bias = (fixed["bias_mant"] << fixed["bias_exp"]).reshape(node.output_shape).astype(np.float64)
    thresholds = {key: node.parameters[key] for key in ("v_threshold", "v_reset") if key in node.parameters}
    metadata = {dialect.KEY_RESET: node.reset} if node.subtracts else {}
    if dialect.KEY_V_INITIAL in node.parameters:
        metadata[dialect.KEY_V_INITIAL] = node.parameters[dialect.KEY_V_INITIAL]
    common = {**thresholds, "metadata": metadata}
    if node.kind in ("if", "integrator"):  # has no v_leak: a tool without our metadata runs it without bias
        return (nir.IF if thresholds else nir.I)(r=full(finer / dt), **common)
    if not a:
        raise GraphError(
            f"node {node.name} ({node.kind}): dv = 0 is no leak, which NIR writes as IF or I; quantise again"
        )
    leak = {"r": full(finer / a), "v_leak": bias / a}
    if node.kind in ("lif", "li"):
        return (nir.LIF if thresholds else nir.LI)(tau=full(dt / a), **leak, **common)
    current = {"tau_syn": full(dt / b), "tau_mem": full(dt / a), "w_in": full(1 / b)}
    return (nir.CubaLIF if thresholds else nir.CubaLI)(**current, **leak, **common)
