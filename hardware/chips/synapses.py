"""Synapses as a chip stores them: a list of synapses for each input, and the bits that the lists take.

A matrix here is sparse, [inputs, outputs], and holds how many synapses run from an input to an output: more than one
where a convolution over time reaches the output at several delays. A weight that is exactly zero is not stored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from neurotarget.hardware.chips.limits import Chip
from neurotarget.hardware.counts.kernels import kernel_of, slide
from neurotarget.sim.graph.kinds import OVER_TIME
from neurotarget.sim.graph.node import Node
from scipy.sparse import block_diag, coo_array, csr_array, eye_array

# nengo-loihi 1.1.0, block.py, SynapseConfig: the widths that the format field can name.
WEIGHT_BITS = (1, 2, 3, 4, 5, 6, 8)
INDEX_BITS = (0, 6, 7, 8, 9, 10, 11, 12)


def synapse_matrix(node: Node) -> csr_array:
    """Synapses of a synaptic layer or pool, [inputs, outputs], values from flattened positions.

    Raises:
        KeyError: the node has no synapses.
    """
    if node.kind == "affine":
        mask = (node.parameters["weight"] != 0).T
        copies = int(np.prod(node.input_shape[:-1]))
        single = csr_array(mask.astype(np.int32))
        return single if copies == 1 else csr_array(block_diag([single] * copies, format="csr"))
    if node.kind == "scale":
        mask = np.broadcast_to(node.parameters["weight"] != 0, node.input_shape).ravel()
        return csr_array(coo_array((mask.astype(np.int32), (np.arange(mask.size),) * 2), shape=(mask.size,) * 2))
    if node.kind == "temporal_conv":  # [outputs, inputs, taps]
        return csr_array(np.count_nonzero(node.parameters["weight"], axis=-1).T.astype(np.int32))
    if node.kind == "depthwise_conv":  # [channels, taps]
        taps = np.count_nonzero(node.parameters["weight"], axis=-1).astype(np.int32)
        return csr_array(coo_array((taps, (np.arange(taps.size),) * 2), shape=(taps.size,) * 2))
    return _slid(node)


def _slid(node: Node) -> csr_array:
    """A kernel's synapses at every position of a convolution over space or a pool."""
    row, column, _ = slid(node)
    shape = (int(np.prod(node.input_shape)), int(np.prod(node.output_shape)))
    return csr_array(coo_array((np.ones(len(row), np.int32), (row, column)), shape=shape))


def slid(node: Node) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same as lists: input, output and weight of each synapse, int64, int64 and float64; 1 in a pool."""
    kernel = kernel_of(node, zero_weights=False)
    outputs, inputs = kernel.mask.shape[:2]
    size_out, size_in = int(np.prod(node.output_shape[1:])), int(np.prod(node.input_shape[1:]))
    elements = np.asarray(node.parameters.get("weight", kernel.mask), np.float64).reshape(outputs, inputs, -1)
    rows, columns, weights = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0)]
    for element, (source, target) in enumerate(slide(node, kernel)):
        for out, local in np.argwhere(elements[:, :, element]):
            channel = out // (outputs // kernel.groups) * inputs + local
            rows.append(channel * size_in + source)
            columns.append(out * size_out + target)
            weights.append(np.full(len(source), elements[out, local, element]))
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(weights)


def one_to_one(size: int) -> csr_array:
    """Each input reaches the output of its own number."""
    return csr_array(eye_array(size, dtype=np.int32, format="csr"))


def heads(size: int, width: int) -> csr_array:
    """Each input reaches every output of its own group of `width`: heads of attention, pairs of a rotary."""
    return csr_array(block_diag([csr_array(np.ones((width, width), np.int32))] * (size // width), format="csr"))


def tap_delay(node: Node) -> int:
    """The longest delay among a layer's own synapses, in steps."""
    return int(node.parameters["weight"].shape[-1] - 1) if node.kind in OVER_TIME else 0


@dataclass(frozen=True)
class Format:
    """How the synapses of one projection are stored.

    Attributes:
        weight_bits, delay_bits, index_bits: per synapse. An index of 0 bits: the synapses of a list run through
            neighbouring targets one by one.
    """

    weight_bits: int
    delay_bits: int
    index_bits: int


def delay_bits(steps: int) -> int:
    """Bits that hold delays of 0 to `steps`."""
    return int(steps).bit_length()


def index_bits(targets: int) -> int:
    """Bits of an index to one of `targets` compartments: one of 6 to 12, on Loihi 1.

    Raises:
        ValueError: more than 4096 targets.
    """
    need = max(targets - 1, 0).bit_length()
    fitting = [bits for bits in INDEX_BITS[1:] if bits >= need]
    if not fitting:
        raise ValueError(f"an index to {targets} targets needs {need} bits; at most {INDEX_BITS[-1]} are supported")
    return fitting[0]


def memory_bits(chip: Chip, synapses: np.ndarray, form: Format) -> int:
    """Bits that lists of synapses take, each list on words of its own.

    Loihi 1 (nengo-loihi 1.1.0, block.py, `bits_per_axon`): blocks of up to 64 synapses, each n * (weight + delay + tag
    + index bits) + 10, rounded up to words of 64 bits. `plain`: n * (weight + delay + index bits), rounded up likewise.

    Args:
        synapses: int [lists], synapses of each list.
    """
    each = form.weight_bits + form.delay_bits + form.index_bits + chip.size("tag_bits")
    word = chip.size("memory_word_bits")

    def rounded(bits: np.ndarray) -> np.ndarray:
        whole: np.ndarray = -(-bits // word) * word
        return whole

    counts = np.asarray(synapses, np.int64)
    if chip.encoding == "plain":
        return int(rounded(counts * each).sum())
    block, header = chip.size("block_synapses"), chip.size("block_header_bits")
    full, rest = np.divmod(counts, block)
    whole_blocks = full * rounded(np.array(block * each + header))
    return int((whole_blocks + np.where(rest > 0, rounded(rest * each + header), 0)).sum())
