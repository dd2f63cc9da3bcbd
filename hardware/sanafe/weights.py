"""The weights of a projection, as many links of source neuron, target neuron, weight and delay as it has synapses."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from neurotarget.hardware.chips import synapses
from neurotarget.hardware.chips.populations import Projection, neuron_order
from neurotarget.sim.graph import Graph
from neurotarget.sim.graph.kinds import CARRIERS, ENTRIES, OVER_TIME, POOLS, SYNAPTIC
from neurotarget.sim.graph.node import Node
from scipy.sparse import block_diag, coo_array, csr_array, diags_array


def layer_weights(node: Node) -> list[tuple[int, csr_array]]:
    """Weights of a synaptic layer by the steps that its own taps delay them: (delay, float64 [inputs, outputs]).

    A convolution over time weighs x[t + look_ahead - (taps - 1 - i)] with its tap i: the last tap reads the newest.
    """
    weight = node.parameters["weight"]
    if node.kind == "affine":
        copies = int(np.prod(node.input_shape[:-1]))
        return [(0, csr_array(block_diag([csr_array(weight.T.astype(np.float64))] * copies, format="csr")))]
    if node.kind == "scale":
        return [(0, _diagonal(np.broadcast_to(weight, node.input_shape).ravel()))]
    if node.kind in OVER_TIME:
        taps = weight.shape[-1]
        each = _diagonal if node.kind == "depthwise_conv" else lambda tap: csr_array(tap.T.astype(np.float64))
        return [(taps - 1 - tap, each(weight[..., tap])) for tap in range(taps)]
    row, column, values = synapses.slid(node)
    shape = (int(np.prod(node.input_shape)), node.neurons)
    return [(0, csr_array(coo_array((values, (row, column)), shape=shape)))]


def _diagonal(values: np.ndarray) -> csr_array:
    return csr_array(diags_array(values.astype(np.float64), format="csr"))


def links(
    graph: Graph, projection: Projection, weighted: bool
) -> Iterator[tuple[str, int, np.ndarray, np.ndarray, np.ndarray, int]]:
    """The synapses of a projection, source by source and tap by tap.

    Args:
        weighted: with the layer's weights; otherwise each link weighs 0 and only carries spikes.

    Yields:
        population, steps in relays, rows and columns int64, weights float64, and the steps that the synapse holds a
        spike beyond the one that every synapse takes. A weight of 0 is no synapse.
    """
    layer, target = graph.nodes.get(projection.layer), graph.nodes.get(projection.target)
    if layer is not None and layer.kind in SYNAPTIC:
        order = slice(None) if target is None else neuron_order(target)
        taps = [(delay, csr_array(matrix[:, order])) for delay, matrix in layer_weights(layer)]
    else:
        taps = [(0, csr_array(projection.matrix.astype(np.float64)))]
    for source in projection.sources:
        axons = projection.axons[source.population].astype(np.float64)
        for delay, matrix in taps:
            found = coo_array(axons @ matrix)
            stored = found.data != 0
            values = found.data[stored] if weighted else np.zeros(int(stored.sum()))
            rows, columns = found.row[stored].astype(np.int64), found.col[stored].astype(np.int64)
            pools = 0 if layer is None else _pools_before(graph, layer, source.population)
            yield source.population, source.held, rows, columns, values, source.delay + delay + pools


def _pools_before(graph: Graph, layer: Node, population: str) -> int:
    """Pools between a population and a layer; -1 where none leads there.

    The schedule has a step for each pool. On a chip they are axons and take none.
    """
    for name in layer.sources:
        node = graph.nodes[name]
        if node.kind in CARRIERS - ENTRIES | POOLS and population != name:
            inner = _pools_before(graph, node, population)
            if inner >= 0:
                return inner + (node.kind in POOLS)
        elif name == population:
            return 0
    return -1
