"""Networks of three frameworks, each a row of docs/your_network.md: the file computes the framework's own spikes."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from neurotarget.conversion.quantize import quantize
from neurotarget.conversion.to_nir import check, to_nir, write
from neurotarget.sim import lava, reference
from neurotarget.sim.graph import Graph, load
from neurotarget.sim.graph.node import GraphError
from neurotarget.sim.parity import compare

from tests.conversion.frameworks import Row
from tests.conversion.frameworks.table import DOCUMENT, FRAMEWORKS, document

SAMPLES, STEPS = 2, 12
ROWS = [row for rows in FRAMEWORKS.values() for row in rows]
every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)


def frames(row: Row) -> np.ndarray:
    """Random counts; for a network that is shown one frame, the same at every step."""
    counts = np.random.default_rng(0).poisson(0.5, (SAMPLES, STEPS, *row.shape)).astype(np.float64)
    return np.repeat(counts[:, :1], STEPS, axis=1) if "one frame" in row.name else counts


def converted(row: Row, folder: Path) -> tuple[torch.nn.Module, Graph]:
    network = row.build()
    return network, write(to_nir(network, row.shape), folder / "network.nir")


@every_row
def test_the_file_computes_the_networks_own_spikes(row: Row, tmp_path: Path) -> None:
    network, graph = converted(row, tmp_path)
    before = copy.deepcopy(network.state_dict())
    parity = check(network, graph, frames(row))
    assert parity.holds and parity.mismatched == 0, parity
    assert parity.output_difference < 1e-9
    ours = reference.run(graph, frames(row))
    assert ours.spikes and not [name for name, spikes in ours.spikes.items() if not spikes.any()]
    after = network.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())


def assert_same(graph: Graph, data: np.ndarray) -> None:
    """The reference against Lava, spike for spike and output for output."""
    parity = compare(graph, reference.run(graph, data), lava.run(graph, data))
    assert parity.holds and parity.mismatched == 0 and parity.spikes, parity
    assert parity.output_difference < 1e-9


@pytest.mark.slow
@every_row
def test_lava_computes_the_same_spikes(row: Row, tmp_path: Path) -> None:
    assert_same(converted(row, tmp_path)[1], frames(row))


@pytest.mark.slow
@pytest.mark.parametrize("row", [row for row in ROWS if not row.no_integers], ids=lambda row: row.name)
def test_lavas_integers_are_the_references(row: Row, tmp_path: Path) -> None:
    """Half the frames calibrate; what the integers say of the float network is quantisation's own test."""
    graph, data = converted(row, tmp_path)[1], frames(row)
    assert_same(load(quantize(graph, data)[0]), data)


@pytest.mark.parametrize("row", [row for row in ROWS if row.no_integers], ids=lambda row: row.name)
def test_what_has_no_integers_says_so(row: Row, tmp_path: Path) -> None:
    with pytest.raises(GraphError, match=row.no_integers):
        quantize(converted(row, tmp_path)[1], frames(row))


def test_the_document_has_these_networks() -> None:
    assert document() == DOCUMENT.read_text(encoding="utf-8"), "run python -m tests.conversion.frameworks.table"
    assert [len(rows) for rows in FRAMEWORKS.values()] == [15, 8, 6]
