"""Loihi 1's population axons: positions of an image share a convolution's weights, channels of one share an axon.

A spike of a population axon says which neuron of its population fired. The axon's list holds the synapses of all of
them, and the axon adds a base to the index of each, so that every position that sees the same part of the kernel can
start the same list (nengo-loihi 1.1.0, conv.py and block.py, `pop_type` 32, which takes two slots per output axon).
The base is less than 256 compartments: beyond that a list is stored again with larger indices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from neurotarget.hardware.counts.kernels import kernel_of, slide
from neurotarget.sim.graph.node import Node
from scipy.sparse import coo_array, csr_array

SHARING = frozenset({"conv1d", "conv2d"})


@dataclass(frozen=True, eq=False)
class SharedKernel:
    """A convolution as positions see it. Neurons are in order of position, the channels of one together.

    Attributes:
        elements: int [input positions, output positions], the number of the kernel's element that connects them, plus
            one; 0 where none does.
        synapses: int [elements, channels + 1], synapses of an element into the first so many channels of a position.
        axons: source population -> [its positions, input positions]: which lists a position's spikes start.
        channels: of each source population.
    """

    elements: csr_array
    synapses: np.ndarray
    axons: Mapping[str, csr_array]
    channels: Mapping[str, int]

    def reach(self, edges: Sequence[int]) -> np.ndarray:
        """Which input positions reach which part: int [input positions, parts]."""
        width = self.synapses.shape[1] - 1
        parts = [self.elements[:, edges[i] // width : -(-edges[i + 1] // width)] for i in range(len(edges) - 1)]
        return np.stack([np.diff(part.indptr) > 0 for part in parts], axis=1).astype(np.int64)

    def lists(self, start: int, stop: int, bases: int) -> tuple[np.ndarray, int]:
        """Synapses of each list that neurons `start` to `stop` need, each list once; and how many an index must tell.

        Args:
            bases: how many bases an axon can add.
        """
        width = self.synapses.shape[1] - 1
        first, last = start // width, -(-stop // width)
        low, high = np.zeros(last - first, np.int64), np.full(last - first, width)
        low[0], high[-1] = start - first * width, stop - (last - 1) * width
        part = self.elements[:, first:last]
        found: dict[tuple[int, bytes], int] = {}
        targets = 0
        for begin, end in zip(part.indptr[:-1], part.indptr[1:], strict=True):
            if begin == end:
                continue
            # Two positions share a list when they see the same elements at the same distance from their base.
            columns, element = part.indices[begin:end], part.data[begin:end] - 1
            base = int(columns[0]) * width + int(low[columns[0]]) - int(low[0])
            seen = np.stack([element, columns - columns[0], low[columns], high[columns]])
            key = (base // bases, seen.tobytes())
            if key not in found:
                counts = self.synapses[element, high[columns]] - self.synapses[element, low[columns]]
                found[key] = int(counts.sum())
                end_of_list = int(columns[-1]) * width + int(high[columns[-1]]) - int(low[0])
                targets = max(targets, end_of_list - base % bases)
        return np.array(list(found.values()), np.int64), targets


def shared_kernel(
    node: Node, target: Node, sources: Mapping[str, Node], axons: Mapping[str, csr_array]
) -> SharedKernel | None:
    """A convolution's kernel for population axons; None where its weights are not shared, or not by whole positions.

    Args:
        target: whose neurons the convolution reaches.
        sources, axons: by population: its node, and [its neurons, inputs of the convolution], which list each starts.
    """
    rank = len(node.output_shape)
    if node.kind not in SHARING or int(np.prod(node.output_shape[1:])) < 2 or target.output_shape != node.output_shape:
        return None
    if any(len(source.output_shape) != rank for source in sources.values()):
        return None
    kernel = kernel_of(node, zero_weights=False)
    positions_in, positions_out = (int(np.prod(shape[1:])) for shape in (node.input_shape, node.output_shape))
    rows, columns, elements = [], [], []
    for index, (source, reached) in enumerate(slide(node, kernel)):
        rows.append(source)
        columns.append(reached)
        elements.append(np.full(len(source), index + 1, np.int32))
    shape = (positions_in, positions_out)
    taken = coo_array((np.concatenate(elements), (np.concatenate(rows), np.concatenate(columns))), shape=shape)
    # [channels, elements], synapses from all input channels together
    into = np.count_nonzero(kernel.mask, axis=1).reshape(len(kernel.mask), -1)
    synapses = np.concatenate([np.zeros((into.shape[1], 1), np.int64), np.cumsum(into, axis=0).T], axis=1)
    by_position = {}
    for name, lists in axons.items():
        found = lists.tocoo()
        width = sources[name].output_shape[0]
        links = np.unique(np.stack([found.row // width, found.col % positions_in]), axis=1)
        size = (sources[name].neurons // width, positions_in)
        by_position[name] = csr_array(coo_array((np.ones(links.shape[1], np.int64), tuple(links)), shape=size))
    channels = {name: int(source.output_shape[0]) for name, source in sources.items()}
    ordered = csr_array(taken)
    ordered.sort_indices()
    return SharedKernel(ordered, synapses, by_position, channels)
