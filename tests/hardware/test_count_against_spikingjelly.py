"""Our counts against SpikingJelly's op_counter, at the layers where both define the same figure.

They agree where every payload is a spike. They part, by definition, at integer payloads: op_counter counts such a layer
as dense MACs, we count its events.
"""

from __future__ import annotations

from collections.abc import Callable

import nir
import numpy as np
import pytest
import torch
from neurotarget.hardware.counts.layers import LayerCount, count
from neurotarget.sim.graph import Graph, dialect
from spikingjelly.activation_based.op_counter import ACCounter, DispatchCounterMode, MACCounter

from tests.hardware.networks import chain, run, wire


def theirs(compute: Callable[[], torch.Tensor]) -> tuple[int, int]:
    """ACs and MACs that op_counter sees in one computation."""
    ac, mac = ACCounter(), MACCounter()
    with DispatchCounterMode([ac, mac]):
        compute()
    return ac.get_total(), mac.get_total()


def ours(graph: Graph, frames: np.ndarray, name: str) -> LayerCount:
    return {record.name: record for record in count(graph, run(graph, frames))}[name]


def spikes(*shape: int) -> np.ndarray:
    return (np.random.default_rng(1).random(shape) < 0.3).astype(np.float64)


def test_linear() -> None:
    weight = np.random.default_rng(2).normal(size=(7, 5))
    frames = spikes(3, 4, 5)
    record = ours(chain((5,), {"fc": nir.Linear(weight=weight)}, (7,)), frames, "fc")
    ac, _ = theirs(lambda: torch.as_tensor(frames.reshape(-1, 5)) @ torch.as_tensor(weight).T)
    assert record.acs == ac > 0


@pytest.mark.parametrize(("stride", "padding", "groups"), [(1, 0, 1), (2, 1, 1), (1, 2, 2), (3, 1, 2)])
def test_convolution(stride: int, padding: int, groups: int) -> None:
    weight = np.random.default_rng(2).normal(size=(6, 4 // groups, 3, 3))
    frames = spikes(2, 3, 4, 7, 8)
    conv = nir.Conv2d(
        input_shape=None,
        weight=weight,
        stride=stride,
        padding=padding,
        dilation=1,
        groups=groups,
        bias=np.zeros(6),
    )
    rows, columns = ((n + 2 * padding - 3) // stride + 1 for n in (7, 8))
    record = ours(chain((4, 7, 8), {"c": conv}, (6, rows, columns)), frames, "c")
    images = torch.as_tensor(frames.reshape(-1, 4, 7, 8))
    ac, _ = theirs(lambda: torch.conv2d(images, torch.as_tensor(weight), None, stride, padding, 1, groups))
    assert record.acs == ac > 0


def test_attention() -> None:
    heads, width, steps = 2, 6, 5
    size = width // heads
    nodes: dict[str, nir.NIRNode] = {
        name: nir.Linear(weight=np.eye(3 * width)[i * width : (i + 1) * width]) for i, name in enumerate("qkv")
    }
    roles = {"query": "q", "key": "k", "value": "v"}
    nodes["a"] = dialect.extension("attention", width, {**roles, "heads": heads, "scale": 1.0, "causal": False})
    edges = [("input", name) for name in "qkv"] + [(name, "a") for name in "qkv"] + [("a", "output")]
    frames = spikes(2, steps, 3 * width)
    record = ours(wire((3 * width,), nodes, (width,), edges), frames, "a")
    total = 0
    for sample, head in np.ndindex(2, heads):
        columns = slice(head * size, (head + 1) * size)
        query, key, value = (
            torch.as_tensor(frames[sample, :, role * width : (role + 1) * width][:, columns]) for role in range(3)
        )
        total += theirs(lambda key=key, value=value: key.T @ value)[0]  # type: ignore[misc]
        # A state that is not binary: op_counter then counts nnz(q) * columns.
        total += theirs(lambda query=query: query @ torch.full((size, size), 0.5, dtype=torch.float64))[0]  # type: ignore[misc]
    assert record.acs == total > 0


def test_integer_payloads_are_where_the_definitions_part() -> None:
    weight = np.random.default_rng(2).normal(size=(7, 5))
    frames = 2 * spikes(3, 4, 5)
    record = ours(chain((5,), {"fc": nir.Linear(weight=weight)}, (7,)), frames, "fc")
    ac, mac = theirs(lambda: torch.as_tensor(frames.reshape(-1, 5)) @ torch.as_tensor(weight).T)
    assert ac == record.acs == 0
    assert mac == record.dense_macs > record.macs == np.count_nonzero(frames) * 7
