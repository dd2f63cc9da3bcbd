"""Fan-out of every input of a layer, exact at the edges: how many synapses one event drives.

A strided or padded convolution drives fewer outputs from its border than from its middle, so a fan-out belongs to each
input position, not to a layer. Operations are then a dot product: events at a position times the fan-out there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from neurotarget.hardware.counts.kernels import kernel_of, slide
from neurotarget.sim.graph.kinds import OVER_TIME, SLIDING, STATEFUL
from neurotarget.sim.graph.node import Node


@dataclass(frozen=True, eq=False)
class Connections:
    """The synapses of one layer.

    Attributes:
        fan_out: int64, synapses driven by one event: [*input_shape]; for convolutions over time [taps, channels], the
            synapses that lie at each tap, because which taps fall inside the window depends on the step.
        fan_in: the largest number of synapses that end at one output.
        synapses: connections, unrolled over space and not over time.
    """

    fan_out: np.ndarray
    fan_in: int
    synapses: int

    @property
    def largest_fan_out(self) -> int:
        temporal = self.fan_out.sum(axis=0) if self.fan_out.ndim == 2 else self.fan_out
        return int(temporal.max(initial=0))


def connections(node: Node, zero_weights: bool = True) -> Connections:
    """Counts the synapses of a node.

    Args:
        zero_weights: count weights that are exactly zero, as a dense synapse memory does. Convolutions over time never
            count them: a learnt delay is a kernel that is zero at all taps but one.

    Raises:
        KeyError: the node has no synapses (see `FIXED_FAN`).
    """
    if node.kind in OVER_TIME:
        return _temporal(node)
    if node.kind in ("affine", "scale"):
        return _linear(node, zero_weights)
    if node.kind in SLIDING:
        return _slid(node, zero_weights)
    fan = FIXED_FAN[node.kind]
    return Connections(np.full(node.input_shape, fan), fan, fan * int(np.prod(node.input_shape)))


# Rotary turns pairs: every input reaches both outputs of its pair. A gate selects; a direct edge adds to a membrane.
FIXED_FAN = {"rotary": 2, "gate": 1, **dict.fromkeys(STATEFUL, 1)}


def _linear(node: Node, zero_weights: bool) -> Connections:
    weight = node.parameters["weight"]
    mask = np.ones(weight.shape, bool) if zero_weights else weight != 0
    if node.kind == "scale":
        fan_out = np.broadcast_to(mask, node.input_shape).astype(np.int64)
        return Connections(fan_out, 1, int(fan_out.sum()))
    fan_out = np.broadcast_to(mask.sum(axis=0, dtype=np.int64), node.input_shape)
    return Connections(fan_out, int(mask.sum(axis=1).max(initial=0)), int(fan_out.sum()))


def _temporal(node: Node) -> Connections:
    mask = node.parameters["weight"] != 0
    if node.kind == "depthwise_conv":  # [channels, taps]
        return Connections(mask.T.astype(np.int64), int(mask.sum(axis=1).max(initial=0)), int(mask.sum()))
    fan_out = mask.sum(axis=0, dtype=np.int64).T  # [outputs, inputs, taps] -> [taps, inputs]
    return Connections(fan_out, int(mask.sum(axis=(1, 2)).max(initial=0)), int(mask.sum()))


def _slid(node: Node, zero_weights: bool) -> Connections:
    """A kernel slid over the input; where it hangs over the edge there is padding and no synapse."""
    kernel = kernel_of(node, zero_weights)
    outputs, inputs = kernel.mask.shape[:2]
    elements = kernel.mask.reshape(kernel.groups, outputs // kernel.groups, inputs, -1)
    # Synapses from one input channel, and to one output channel, by element of the kernel.
    leaving = elements.sum(axis=1).reshape(kernel.groups * inputs, -1)
    arriving = elements.sum(axis=2).reshape(outputs, -1)
    fan_out = np.zeros((node.input_shape[0], int(np.prod(node.input_shape[1:]))), np.int64)
    fan_in = np.zeros((node.output_shape[0], int(np.prod(node.output_shape[1:]))), np.int64)
    for element, (source, target) in enumerate(slide(node, kernel)):
        fan_out[:, source] += leaving[:, element, None]
        fan_in[:, target] += arriving[:, element, None]
    return Connections(fan_out.reshape(node.input_shape), int(fan_in.max(initial=0)), int(fan_out.sum()))


def taps_inside(lengths: np.ndarray, steps: int, taps: int, look_ahead: int) -> np.ndarray:
    """Which taps carry an event at a step to an output inside the window: bool [taps, samples, steps].

    Tap i takes input step s to output step s - look_ahead + (taps - 1) - i (`_temporal_conv` of the reference).
    """
    target = np.arange(steps)[None, :] - look_ahead + (taps - 1) - np.arange(taps)[:, None]
    length = np.asarray(lengths)[None, :, None]
    inside: np.ndarray = (target[:, None, :] >= 0) & (target[:, None, :] < length) & (np.arange(steps) < length)
    return inside
