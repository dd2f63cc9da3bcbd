"""A kernel slid over positions: which input each of its elements connects with which output.

Fan-out and the memory of synapses are both read from here, so that they agree. Padding is not a synapse.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from neurotarget.sim.graph.kinds import POOLS
from neurotarget.sim.graph.node import Node


@dataclass(frozen=True, eq=False)
class Kernel:
    """The kernel of a convolution over space, or of a pool.

    Attributes:
        mask: bool [outputs, inputs per group, *elements], where there is a synapse.
        groups: of channels.
        dilation: distance between neighbouring elements, per axis.
    """

    mask: np.ndarray
    groups: int
    dilation: tuple[int, ...]


def kernel_of(node: Node, zero_weights: bool) -> Kernel:
    """The kernel of a `conv1d`, `conv2d`, `sum_pool` or `avg_pool`.

    Args:
        zero_weights: count a weight that is exactly zero as a synapse.
    """
    if node.kind in POOLS:  # each channel by itself, without weights
        size, channels = node.parameters["kernel_size"], node.input_shape[0]
        return Kernel(np.ones((channels, 1, *size), bool), channels, (1,) * len(size))
    weight = node.parameters["weight"]
    mask = np.ones(weight.shape, bool) if zero_weights else weight != 0
    return Kernel(mask, node.parameters["groups"], node.parameters["dilation"])


def slide(node: Node, kernel: Kernel) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each element of a kernel in order, the input and output positions that it connects, int64, flattened."""
    stride, padding = node.parameters["stride"], node.parameters["padding"]
    space = node.output_shape[1:]
    positions = np.indices(space).reshape(len(space), -1)
    for offset in np.ndindex(*kernel.mask.shape[2:]):
        read = [
            axis * s + k * d - p
            for axis, s, k, d, p in zip(positions, stride, offset, kernel.dilation, padding, strict=True)
        ]
        inside = np.all([(r >= 0) & (r < n) for r, n in zip(read, node.input_shape[1:], strict=True)], axis=0)
        yield np.ravel_multi_index([r[inside] for r in read], node.input_shape[1:]), np.flatnonzero(inside)
