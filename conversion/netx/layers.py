"""A quantised network as the layers of lava-dl's NetX, where both compute the same integers; else refused by name.

NetX builds a chain of dense and conv blocks, each a synapse and a LIF (lava-dl 0.6.0, `lava/lib/dl/netx/hdf5.py`). It
knows no weight exponent, fixes the bias exponent at 6, clamps delays at 62 and drops layers that it does not know
without a word. So each number is either carried over exactly, by a rule named here, or refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from neurotarget.conversion.netx.weights import check_same, folded, kernel, matrix, netx_weights
from neurotarget.sim.graph import Graph
from neurotarget.sim.graph.kinds import SPIKING, SYNAPTIC
from neurotarget.sim.graph.node import GraphError, Node
from neurotarget.sim.reference.integer import INTEGER, WIDTHS, integer_parameters, lava_weights
from neurotarget.sim.reference.integer_kernels import ALIGN_BITS, DECAY_BITS

LONGEST_DELAY = 62  # hdf5.py, `create_dense`: what is longer is clamped
BIAS_EXPONENT = 6  # hdf5.py, `get_neuron_params`
CURRENT_LIMIT = 1 << 17  # a larger current may wrap u around
CONV_LIMIT = 1 << 23  # lava/proc/conv/models.py: a larger sum wraps around
BEYOND = {
    "sum_pool": "NetX has no pooling",
    "avg_pool": "NetX has no pooling",
    "li": "it sends its potential, and a layer of NetX sends spikes; end the network in neurons that spike",
    "cuba_li": "it sends its potential, and a layer of NetX sends spikes; end the network in neurons that spike",
    "integrator": "it sends its potential, and a layer of NetX sends spikes; end the network in neurons that spike",
} | dict.fromkeys(("attention", "rotary", "gate", "look_ahead"), "NetX has no layer that computes it")


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer of NetX: a synapse and the neurons that it feeds.

    Attributes:
        synapse, neuron: nodes of the NIR file.
        kind: `dense`, `dense_rec` or `conv`.
        flatten: the layer reads the images of the layer before as a vector.
        shape: of the neurons, (neurons,) or (channels, height, width).
        weight: int64 [outputs, inputs] or [outputs, inputs / groups, height, width].
        recurrent: int64 [outputs, outputs], from the neurons to themselves, a step late; nothing when there is none.
        delay: int64 [outputs, inputs] in steps; nothing when all are 0.
        bias: int64 of `shape`, mantissas with the exponent 6; nothing when all are 0.
        du, dv, vth: as in docs/fixed_point.md.
        geometry: of a convolution: stride, padding, dilation (height, width), groups.
    """

    synapse: str
    neuron: str
    kind: str
    flatten: bool
    shape: tuple[int, ...]
    weight: np.ndarray
    recurrent: np.ndarray | None
    delay: np.ndarray | None
    bias: np.ndarray | None
    du: int
    dv: int
    vth: int
    geometry: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class NetX:
    """Layers in order, and what the network takes as input.

    Attributes:
        input_shape: (features,) or (channels, height, width).
        input_scale, input_minimum, input_maximum: the network takes `clip(rint(x / scale), minimum, maximum)`.
    """

    input_shape: tuple[int, ...]
    input_scale: float
    input_minimum: int
    input_maximum: int
    layers: tuple[Layer, ...]


def to_layers(graph: Graph) -> NetX:
    """The layers of NetX that compute what a quantised graph computes.

    Raises:
        GraphError: the graph is in floating point, or a node has no exact counterpart; the message names it.
    """
    if not graph.quantised:
        raise GraphError(
            f"{graph.source}: in floating point; NetX takes integers: first run "
            f"python -m conversion.quantize {graph.source} --calibrate INPUT"
        )
    loops = _loops(graph)
    chain = _chain(graph, loops)
    given = integer_parameters(graph.input, graph.fixed.get(graph.input.name, {}))
    peak = max(-given["minimum"], given["maximum"])
    input_shape, part = _as_image(graph.input.output_shape), _Part()
    layers: list[Layer] = []
    for node in chain:
        if node.kind == "delay":
            part.delayed(node)
        elif node.kind == "flatten":
            part.flattened(node)
            if not layers:
                input_shape, part.flatten = node.output_shape, False
        elif node.kind in SYNAPTIC:
            if part.synapse is not None:
                raise GraphError(f"node {node.name}: follows the synapse {part.synapse.name} without neurons between")
            part.synapse = node
        else:
            layers.append(part.closed(node, loops.get(node.name), graph, peak))
            part, peak = _Part(), 1
    if part.synapse is not None or part.before is not None or part.flatten or not layers:
        last = chain[-1].name if chain else graph.input.name
        raise GraphError(f"node {last}: the output reads it; a network of NetX ends in neurons that spike")
    _check_start(layers)
    return NetX(input_shape, given["scale"], given["minimum"], given["maximum"], tuple(layers))


def _loops(graph: Graph) -> dict[str, Node]:
    """Neuron -> the synapse from it to itself, after refusing what has no counterpart anywhere."""
    for node in graph.nodes.values():
        if node.kind in BEYOND:
            raise GraphError(f"node {node.name} ({node.kind}): {BEYOND[node.kind]}")
        if node.subtracts or np.any(node.parameters.get("v_initial", 0)):
            what = f"resets by subtraction ({node.reset})" if node.subtracts else "starts at a potential other than 0"
            raise GraphError(f"node {node.name}: {what}; NetX's neurons reset to 0 and start there")
    loops: dict[str, Node] = {}
    for source, target in sorted(graph.recurrent_edges):
        pair = sorted((graph.nodes[source], graph.nodes[target]), key=lambda node: node.kind in SPIKING)
        synapse, neuron = pair
        alone = synapse.sources == (neuron.name,) and graph.targets(synapse.name) == [neuron]
        if synapse.kind not in ("affine", "scale") or neuron.kind not in SPIKING or not alone or neuron.name in loops:
            raise GraphError(
                f"edge {source} -> {target} closes a loop; NetX has one dense synapse from a layer to itself"
            )
        loops[neuron.name] = synapse
    return loops


def _chain(graph: Graph, loops: dict[str, Node]) -> list[Node]:
    """The nodes between input and output, which must stand in one row but for the synapses in `loops`."""
    chain: list[Node] = []
    node = graph.input
    while True:
        own = loops.get(node.name)
        readers = [reader for reader in graph.targets(node.name) if reader is not own]
        if len(readers) != 1:
            found = " and ".join(reader.name for reader in readers) or "nothing"
            raise GraphError(f"node {node.name}: is read by {found}; NetX is sequential, one reader a layer")
        (node,) = readers
        own = loops.get(node.name)
        if len(node.sources) != 1 + (own is not None):
            summed = " and ".join(source for source in node.sources if own is None or source != own.name)
            raise GraphError(f"node {node.name}: sums {summed}; NetX is sequential, without residuals")
        if node.kind == "output":
            return chain
        chain.append(node)


def _as_image(shape: tuple[int, ...]) -> tuple[int, ...]:
    """NetX convolves over two dimensions: one dimension is an image of height 1."""
    return (shape[0], 1, shape[1]) if len(shape) == 2 else shape


def _check_start(layers: list[Layer]) -> None:
    """Layer k waits k + 1 steps for its first input, and its bias acts from the first step on.

    A reset at its start (`reset_offset=1`) clears u and v, but not spikes that already wait in a delay or a loop.
    """
    for number, layer in enumerate(layers):
        delayed = [
            later.synapse for later in layers[number + 1 :] if later.delay is not None or later.recurrent is not None
        ]
        delayed += [layer.neuron] if layer.recurrent is not None else []
        largest = 0 if layer.bias is None else int(layer.bias.max(initial=0))
        if delayed and (number + 1) * largest > layer.vth:
            raise GraphError(
                f"node {layer.neuron}: its bias alone may fire it before the input arrives, and the delays or the "
                f"loop at {delayed[0]} carry such spikes past NetX's reset"
            )


# ---- one layer -------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Part:
    """What stands between the neurons before and those to come."""

    flatten: bool = False
    before: np.ndarray | None = None  # delays of the inputs, in steps, of the shape of the inputs
    synapse: Node | None = None
    after: np.ndarray | None = None  # delays of the sums

    def delayed(self, node: Node) -> None:
        steps = np.broadcast_to(node.parameters["steps"], node.output_shape).astype(INTEGER)
        if self.synapse is None:
            self.before = steps if self.before is None else self.before + steps
        else:
            self.after = steps if self.after is None else self.after + steps

    def flattened(self, node: Node) -> None:
        if self.synapse is not None:
            raise GraphError(f"node {node.name}: flattens between a synapse and its neurons; flatten after the neurons")
        if len(node.output_shape) != 1:
            raise GraphError(f"node {node.name}: gives shape {node.output_shape}; NetX flattens to a vector only")
        self.flatten = self.flatten or len(node.input_shape) > 1
        self.before = None if self.before is None else self.before.reshape(-1)

    def closed(self, neuron: Node, loop: Node | None, graph: Graph, peak: int) -> Layer:
        """The layer that ends in `neuron`.

        Args:
            loop: the synapse from the neurons to themselves.
            peak: the largest magnitude that the inputs send.
        """
        synapse = self.synapse
        if synapse is None:
            raise GraphError(f"node {neuron.name}: has no synapse before it; a layer of NetX has one")
        if neuron.kind not in SPIKING:
            raise GraphError(f"node {neuron.name} ({neuron.kind}): NetX has no layer that computes it")
        p = integer_parameters(synapse, graph.fixed.get(synapse.name, {}))
        own = integer_parameters(neuron, graph.fixed.get(neuron.name, {}))
        du = (1 << DECAY_BITS) - own["keep_u"] - 1
        geometry: dict[str, Any] = {}
        if synapse.kind in ("conv1d", "conv2d"):
            if any(d is not None and d.any() for d in (self.before, self.after)):
                raise GraphError(f"node {synapse.name}: NetX ignores delays at a convolution")
            weight, geometry = kernel(synapse, p)
            delay = np.zeros((1, 1), INTEGER)
        else:
            if len(synapse.input_shape) != 1:
                raise GraphError(f"node {synapse.name}: reads shape {synapse.input_shape}; NetX needs a Flatten before")
            weight, delay = matrix(synapse, p)
            delay = (
                delay + (0 if self.before is None else self.before) + (0 if self.after is None else self.after[:, None])
            )
            delay = np.where(weight == 0, 0, delay)
        if delay.max(initial=0) > LONGEST_DELAY:
            raise GraphError(
                f"node {synapse.name}: a delay of {delay.max()} steps; NetX clamps delays at {LONGEST_DELAY}"
            )
        weight = folded(synapse, weight, p["weight_exp"])
        recurrent = None if loop is None else self._recurrent(loop, bool(geometry) or bool(delay.any()), graph)
        if geometry:
            check_same(synapse, weight, lava_weights(weight))
        else:
            parts = {synapse: weight}
            if loop is not None and recurrent is not None:
                parts[loop] = recurrent
            for node, kept in zip(parts, netx_weights(*parts.values()), strict=True):
                check_same(node, parts[node], kept)
        reach = int(np.abs(weight).reshape(len(weight), -1).sum(axis=1).max()) * peak
        reach += 0 if recurrent is None else int(np.abs(recurrent).sum(axis=1).max())
        if geometry and reach >= CONV_LIMIT:
            raise GraphError(f"node {synapse.name}: its sums may reach {reach}; Lava's Conv wraps them at {CONV_LIMIT}")
        shape = _as_image(neuron.output_shape)
        kind = "conv" if geometry else "dense" if recurrent is None else "dense_rec"
        return Layer(
            synapse=synapse.name,
            neuron=neuron.name,
            kind=kind,
            flatten=self.flatten,
            shape=shape,
            weight=weight,
            recurrent=recurrent,
            delay=delay if delay.any() else None,
            bias=self._bias(neuron, own["bias"], p.get("bias"), du, reach, shape),
            du=du,
            dv=(1 << DECAY_BITS) - own["keep_v"],
            vth=int(own["threshold"]) >> ALIGN_BITS,
            geometry=geometry,
        )

    def _recurrent(self, loop: Node, beside_others: bool, graph: Graph) -> np.ndarray:
        """Weights [neurons, neurons] of the synapse from the neurons to themselves."""
        if beside_others:
            raise GraphError(
                f"node {loop.name}: a loop beside delays or a convolution; NetX has it beside weights only"
            )
        p = integer_parameters(loop, graph.fixed.get(loop.name, {}))
        if p.get("bias") is not None and np.any(p["bias"]):
            raise GraphError(f"node {loop.name}: a bias in a loop is a step late; NetX adds biases at once")
        if len(loop.input_shape) != 1:
            raise GraphError(
                f"node {loop.name}: a loop over shape {loop.input_shape}; NetX has loops over vectors only"
            )
        return folded(loop, matrix(loop, p)[0], p["weight_exp"])

    def _bias(
        self, neuron: Node, own: np.ndarray, added: np.ndarray | None, du: int, reach: int, shape: tuple[int, ...]
    ) -> np.ndarray | None:
        """Mantissas with the exponent 6.

        A bias at the synapse enters u << 6 finer than it is; where u forgets all in one step (du = 4095) and does not
        wrap around, it is the same number at v. Elsewhere it is not.
        """
        total = own.reshape(neuron.output_shape)
        if added is not None and np.any(added):
            name = self.synapse.name if self.synapse is not None else neuron.name
            if du != WIDTHS["du"][1] or reach + int(np.abs(added).max()) >= CURRENT_LIMIT:
                raise GraphError(f"node {name}: its bias passes through u; NetX adds biases to v")
            if self.after is not None and self.after.any():
                raise GraphError(f"node {name}: its bias is delayed; NetX adds biases at once")
            total = total + (added.reshape(-1, *[1] * (len(neuron.output_shape) - 1)) << ALIGN_BITS)
        if not total.any():
            return None
        mantissa = total >> BIAS_EXPONENT
        low, high = WIDTHS["bias_mant"]
        if np.any(mantissa << BIAS_EXPONENT != total) or mantissa.min() < low or mantissa.max() > high:
            raise GraphError(
                f"node {neuron.name}: a bias is no multiple of {1 << BIAS_EXPONENT} from {low} to {high}; "
                f"NetX fixes the bias exponent at {BIAS_EXPONENT}; --fit FILE takes the nearest"
            )
        return mantissa.reshape(shape)
