"""Which populations SANA-FE computes itself, and with which constants; the others are driven by our recorded run.

Its neuron of Loihi (`leaky_integrate_fire`, src/models.cpp of SANA-FE) computes, step by step and in double precision,

    v = trunc(64 * v * leak_decay) / 64;  v = v + bias + input;  fire at v > threshold;  v = reset, or v - threshold

That is Lava's fixed-point LIF to the bit, with v in units of 64: the decay goes towards zero, and v is 64 times finer
than the input. A quantised file therefore runs in it unchanged, as long as no v leaves its 24 bits. A floating-point
one is multiplied by a power of two, so that what is cut off in a step lies 2^-30 below the largest potential that the
neuron can reach; SANA-FE keeps its weights, biases and thresholds in single precision.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from neurotarget.hardware.chips.populations import Network, Population, neuron_order
from neurotarget.sim.graph import Graph
from neurotarget.sim.graph.kinds import CARRIERS, ENTRIES, SPIKING, STATEFUL, SYNAPTIC
from neurotarget.sim.graph.node import Node
from neurotarget.sim.reference.integer import integer_parameters
from neurotarget.sim.reference.operations import cast_parameters
from neurotarget.sim.resets import RESET_SUBTRACT_AT_ONCE, RESET_ZERO

STATE_UNIT = 64  # SANA-FE cuts v off to multiples of 1/64
LARGEST_POTENTIAL = 2.0**24  # 64 times v is cut off in a 32-bit integer
COMPUTED = ("lif", "if", "threshold")
RESET_MODES = {RESET_ZERO: "hard", RESET_SUBTRACT_AT_ONCE: "soft"}
NEVER = 1e300  # a threshold that no potential passes


@dataclass(frozen=True, eq=False)
class Constants:
    """Of the neurons of one population, float64 [neurons], in the order in which they are placed.

    Attributes:
        decay, bias, threshold, reset, initial: as in the equation above.
        gain: what each weight that ends at the neuron is multiplied by.
        reset_mode: `hard` or `soft`.
    """

    decay: np.ndarray
    bias: np.ndarray
    threshold: np.ndarray
    reset: np.ndarray
    initial: np.ndarray
    gain: np.ndarray
    reset_mode: str


def silent(neurons: int) -> Constants:
    """Neurons that sum what arrives and never fire: those of a read-out."""
    zero, one = np.zeros(neurons), np.ones(neurons)
    return Constants(zero, zero, np.full(neurons, NEVER), zero, zero, one, "hard")


def repeating(neurons: int) -> Constants:
    """Neurons that fire when 1 reaches them: relays, and driven ones."""
    zero, one = np.zeros(neurons), np.ones(neurons)
    return Constants(zero, zero, one / 2, zero, zero, one, "hard")


def why_driven(graph: Graph, network: Network, population: Population) -> str | None:
    """Why SANA-FE cannot compute a population, in words; None where it can."""
    node = graph.nodes[population.name]
    if node.kind not in COMPUTED:
        return f"SANA-FE's Loihi has no {node.kind} neuron"
    if node.reset and node.reset not in RESET_MODES:
        return "its reset takes the threshold off a step late"
    if graph.quantised and integer_parameters(node, graph.fixed[node.name])["keep_u"]:
        return "it has a synaptic current"
    for name in node.sources:
        if graph.nodes[name].kind in STATEFUL | ENTRIES:
            return f"it reads {name} without a synapse, which takes a step on the chip and none in the schedule"
    for behind in _behind(graph, node):
        if behind.name in network.from_currents:
            return f"{behind.name} is fed by currents"
        if behind.name in network.unmet_delays:
            return f"{behind.name} needs a delay that no synapse holds"
        if behind.kind in STATEFUL - SPIKING:
            return f"it reads the potentials of {behind.name}"
        if behind.kind == "delay" and len(np.unique(behind.parameters["steps"])) > 1:
            return f"{behind.name} delays each of its values by a time of its own, and is placed at the longest"
        if behind.kind not in SYNAPTIC | CARRIERS | SPIKING | ENTRIES and behind.kind != "sum_pool":
            return f"it reads {behind.name}, and SANA-FE has no {behind.kind}"
        if graph.quantised and behind.kind in SYNAPTIC and not _linear(graph, behind):
            return f"{behind.name} cuts its sum off, and SANA-FE sums weights as they are"
    return None


def _behind(graph: Graph, node: Node) -> list[Node]:
    """What lies between a neuron and the neurons and inputs that it reads, and these."""
    found: dict[str, Node] = {}
    left = list(node.sources)
    while left:
        name = left.pop()
        if name not in found:
            found[name] = graph.nodes[name]
            if found[name].kind not in STATEFUL | ENTRIES:
                left += found[name].sources
    return list(found.values())


def _linear(graph: Graph, layer: Node) -> bool:
    """Whether the shift of a quantised layer cuts nothing off: every weight stays an integer."""
    shifted = layer.parameters["weight"] * weight_unit(graph, layer)
    return bool(np.array_equal(shifted, np.rint(shifted)))


def weight_unit(graph: Graph, layer: Node | None) -> float:
    """What a layer's stored weights are multiplied by: 2^weight_exp in a quantised file."""
    quantised = graph.quantised and layer is not None and layer.kind in SYNAPTIC
    return 2.0 ** int(graph.fixed[layer.name]["weight_exp"]) if quantised and layer is not None else 1.0


def constants(graph: Graph, node: Node, largest_weights: np.ndarray, steps: int) -> Constants:
    """Constants of a population that SANA-FE computes.

    Args:
        largest_weights: float64 [neurons], in the order of placement: the most that may arrive in one step.
        steps: of the longest window; they bound the potential of a neuron that does not leak.
    """
    ones, order = np.ones(node.neurons), neuron_order(node)
    biases = _layer_biases(graph, node)
    if graph.quantised:
        p = integer_parameters(node, graph.fixed[node.name])
        decay, gain, offset = ones * p["keep_v"] / 4096, ones, p["bias"] / STATE_UNIT
        threshold, reset, initial = ones * p["threshold"] / STATE_UNIT, 0 * ones, ones * p["v_initial"] / STATE_UNIT
        scale = 1.0
    else:
        p = cast_parameters(node, graph, np.dtype(np.float64))
        decay, gain, offset = (p.get(key, fill * ones) for key, fill in (("decay", 0), ("gain", 1), ("offset", 0)))
        threshold, reset, initial = p["v_threshold"], p["v_reset"], ones * p.get("v_initial", 0.0)
        arriving = np.abs(gain[order]) * (largest_weights + np.abs(biases[order])) + np.abs(offset[order])
        kept = np.minimum(1 / np.maximum(1 - np.abs(decay[order]), 1 / steps), steps)
        reached = (arriving * kept + np.abs(initial[order]) + np.abs(reset[order])).max(initial=0)
        largest = max(float(reached), float(np.abs(threshold).max(initial=0)), 2.0**-200)
        scale = 2.0 ** math.floor(math.log2(LARGEST_POTENTIAL / largest))
        threshold = _single_below(threshold)
    bias = offset + gain * biases
    mode = RESET_MODES.get(node.reset, "hard")
    scaled = {"bias": bias, "threshold": threshold, "reset": reset, "initial": initial, "gain": gain}
    return Constants(decay[order], **{key: value[order] * scale for key, value in scaled.items()}, reset_mode=mode)


def _single_below(values: np.ndarray) -> np.ndarray:
    """The largest numbers of single precision that are not above: a potential that meets theta still passes them."""
    single = values.astype(np.float32)
    return np.where(single > values, np.nextafter(single, np.float32(-np.inf)), single).astype(np.float64)


def _layer_biases(graph: Graph, node: Node) -> np.ndarray:
    """Sum of the biases of the layers that a neuron reads, float64 [neurons]; those of channels at every position."""
    total = np.zeros(node.neurons)
    for layer in _behind(graph, node):
        bias = layer.parameters.get("bias") if layer.kind in SYNAPTIC else None
        if bias is not None:
            wide = (
                bias.reshape(-1, *[1] * (len(layer.output_shape) - 1)) if layer.kind in ("conv1d", "conv2d") else bias
            )
            total += np.broadcast_to(wide, layer.output_shape).ravel()
    return total
