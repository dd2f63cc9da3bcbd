"""Population axons: convolutions as nengo-loihi stores them, and list by list by brute force."""

from __future__ import annotations

import itertools
from dataclasses import replace

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from neurotarget.hardware.chips.limits import load_chip
from neurotarget.hardware.chips.placement import place
from neurotarget.hardware.chips.populations import chip_network
from neurotarget.hardware.chips.rules import check
from neurotarget.sim.graph import Graph
from neurotarget.sim.schedule import schedule

from tests.hardware.networks import chain
from tests.hardware.placed import placed, spatial

LOIHI1 = load_chip("loihi1")
ONE_EACH = replace(LOIHI1, sizes={key: size for key, size in LOIHI1.sizes.items() if "population" not in key})
Layer = tuple[int, tuple[int, int], tuple[int, int], tuple[int, int]]  # filters, kernel, stride, padding


def convolutions(channels: int, size: tuple[int, int], layers: list[Layer]) -> Graph:
    """Neurons `n0`, and behind each convolution `n1`, `n2`, ..."""
    rng = np.random.default_rng(0)
    shape = (channels, *size)
    nodes: dict[str, nir.NIRNode] = {"s": nir.Scale(scale=np.ones(shape)), "n0": spatial(shape)}
    for number, (filters, kernel, stride, padding) in enumerate(layers):
        weight = rng.normal(size=(filters, shape[0], *kernel))
        nodes[f"c{number}"] = nir.Conv2d(shape[1:], weight, stride, padding, 1, 1, np.zeros(filters))
        space = [(n + 2 * p - k) // s + 1 for n, p, k, s in zip(shape[1:], padding, kernel, stride, strict=True)]
        shape = (filters, *space)
        nodes[f"n{number + 1}"] = spatial(shape)
    return chain((channels, *size), nodes, shape)


@pytest.mark.parametrize(
    ("channels", "size", "layers", "expected"),
    [
        (
            2,
            (12, 12),
            [(4, (3, 3), (1, 1), (0, 0)), (8, (3, 3), (1, 1), (0, 0))],
            [(288, 288, 0), (400, 144, 200, 16000), (512, 100, 0, 62208)],
        ),
        (
            3,
            (11, 11),
            [(6, (3, 3), (1, 1), (1, 1)), (10, (3, 3), (2, 2), (0, 0))],
            [(363, 242, 0), (726, 121, 242, 31232), (250, 121, 0, 24000)],
        ),
        (
            4,
            (9, 7),
            [(12, (5, 3), (1, 1), (2, 1)), (8, (3, 3), (1, 1), (0, 0))],
            [(252, 126, 0), (756, 63, 126, 161664), (280, 63, 0, 145152)],
        ),
    ],
)
def test_as_nengo_loihi_stores_it(
    channels: int, size: tuple[int, int], layers: list[Layer], expected: list[tuple[int, ...]]
) -> None:
    """nengo-loihi 1.1.0, LoihiBlock.utilization() of the same ensembles, `channels_last=True`, `pop_type` 32.

    Compartments, input axons, output axons, synapse bits; of the first ensemble compartments and output axons.
    """
    parts = {part.population: part.use for part in placed(convolutions(channels, size, layers)).parts}
    first, *rest = expected
    assert (parts["n0"]["compartments"], parts["n0"]["output_axons"]) == first[:2]
    keys = ("compartments", "input_axons", "output_axons", "memory_bits")
    assert [tuple(parts[f"n{i + 1}"][key] for key in keys) for i in range(len(rest))] == rest


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**31),
    st.integers(1, 2),
    st.integers(1, 3),
    st.integers(1, 2),
    st.tuples(st.integers(4, 7), st.integers(4, 6)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.integers(1, 2),
    st.integers(0, 1),
    st.integers(1, 2),
    st.integers(1, 5),
    st.sampled_from([4, 16, 256]),
)
def test_lists_one_by_one(
    seed: int,
    groups: int,
    per_group: int,
    inputs: int,
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: int,
    padding: int,
    dilation: int,
    parts: int,
    bases: int,
) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(groups * per_group, inputs, *kernel)) * (rng.random((groups * per_group, 1, 1, 1)) < 0.8)
    space = [(n + 2 * padding - dilation * (k - 1) - 1) // stride + 1 for n, k in zip(size, kernel, strict=True)]
    if min(space) < 1 or max(space) < 2:
        return
    conv = nir.Conv2d(size, weight, stride, padding, dilation, groups, np.zeros(len(weight)))
    nodes = {"c": conv, "n": spatial((len(weight), *space))}
    graph = chain((groups * inputs, *size), nodes, (len(weight), *space))
    (projection,) = chip_network(graph, schedule(graph, 10), LOIHI1).populations["n"].projections
    assert projection.kernel is not None
    channels, neurons = len(weight), len(weight) * space[0] * space[1]
    edges = [neurons * part // parts for part in range(parts + 1)] if parts < neurons else [0, neurons]
    reach = projection.kernel.reach(edges)
    for number, (start, stop) in enumerate(itertools.pairwise(edges)):
        # What each input position stores: (input channel, element of the kernel, output channel, neuron - base).
        lists: dict[tuple[int, frozenset[tuple[int, int, int, int]]], int] = {}
        largest = -1
        for row, column in np.ndindex(*size):
            reached: list[tuple[int, int, int, int]] = []
            for i, j, y, x in itertools.product(range(kernel[0]), range(kernel[1]), range(space[0]), range(space[1])):
                if (y * stride + i * dilation - padding, x * stride + j * dilation - padding) != (row, column):
                    continue
                for out in range(channels):
                    neuron = (y * space[1] + x) * channels + out
                    if start <= neuron < stop:
                        reached.append((i, j, out, neuron))
            assert bool(reached) == bool(reach[row * size[1] + column, number])
            if reached:
                base = min(neuron for *_, neuron in reached) - start
                seen = frozenset((i, j, out, neuron - start - base) for i, j, out, neuron in reached)
                stored = sum(np.count_nonzero(weight[out, :, i, j]) for i, j, out, _ in reached)
                lists[base // bases, seen] = stored
                largest = max(largest, *(neuron - start - base % bases for *_, neuron in reached))
        found, targets = projection.kernel.lists(start, stop, bases)
        assert sorted(found.tolist()) == sorted(lists.values())
        assert targets == largest + 1


def test_sharing_takes_fewer_cores() -> None:
    graph = convolutions(2, (32, 32), [(16, (3, 3), (1, 1), (1, 1)), (32, (3, 3), (2, 2), (1, 1))])
    shared, apart = placed(graph), placed(graph, ONE_EACH)
    assert check(shared) == check(apart) == []
    assert len(shared.cores) < 0.7 * len(apart.cores)
    assert sum(part.synapses for part in shared.parts) < 0.4 * sum(part.synapses for part in apart.parts)


def test_behind_a_pool_each_position_starts_the_list_of_its_sum() -> None:
    pool = nir.SumPool2d(kernel_size=np.array([2, 2]), stride=np.array([2, 2]), padding=np.array([0, 0]))
    conv = nir.Conv2d((4, 4), np.ones((5, 3, 3, 3)), 1, 1, 1, 1, np.zeros(5))
    nodes = {"s": nir.Scale(scale=np.ones((3, 8, 8))), "a": spatial((3, 8, 8)), "p": pool, "c": conv}
    placement = placed(chain((3, 8, 8), nodes | {"n": spatial((5, 4, 4))}, (5, 4, 4)))
    use = {part.population: part.use for part in placement.parts}
    assert use["n"]["input_axons"] == 64 and use["a"]["output_axons"] == 2 * 64


def test_weights_that_nothing_shares_are_stored_one_by_one() -> None:
    # A kernel as large as the image is a fully connected layer: no index at all.
    conv = nir.Conv2d((4, 4), np.ones((5, 3, 4, 4)), 1, 0, 1, 1, np.zeros(5))
    graph = chain((3, 4, 4), {"c": conv, "n": spatial((5, 1, 1))}, (5, 1, 1))
    network = chip_network(graph, schedule(graph, 10), LOIHI1)
    assert network.populations["n"].projections[0].kernel is None
    (part,) = place(network, LOIHI1).parts
    assert part.use["input_axons"] == 48 and part.use["memory_bits"] == 48 * 64
