"""What choosing integers holds and for how long, and that what candidates share is what each would work out."""

from __future__ import annotations

import dataclasses
import gc
import weakref

import numpy as np
import pytest
from neurotarget.conversion import quantize
from neurotarget.conversion.fixed import calibrate
from neurotarget.conversion.fixed.choice import Candidate
from neurotarget.conversion.fixed.units import groups
from neurotarget.conversion.to_nir import to_nir
from neurotarget.sim import reference
from neurotarget.sim.graph import Graph, load
from neurotarget.sim.graph.nir_file import to_bytes

from tests import torch_networks as networks

FRAMES = np.random.default_rng(0).poisson(0.5, (6, 40, 12)).astype(np.float64)
LENGTHS = np.array([40, 40, 31, 40, 7, 40])


@pytest.fixture(scope="module")
def graph() -> Graph:
    return load(to_nir(networks.tiny(), (12,)))


def test_what_a_calibration_held_goes_with_it(graph: Graph) -> None:
    """Caught in a cycle its currents would stay until Python looks for cycles, beside the workers that compare."""
    for step in quantize.STEPS:
        graph = step(graph)
    calibration = calibrate.Calibration(graph, reference.run(graph, FRAMES, LENGTHS))
    for group in groups(graph):
        calibration.choose(group)
    held = weakref.ref(calibration), weakref.ref(calibration.real), weakref.ref(calibration.replay)
    gc.disable()
    try:
        del calibration
        assert [reference() for reference in held] == [None, None, None]
    finally:
        gc.enable()


def test_what_candidates_share_is_what_each_works_out(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    """Candidates with the same weights share their currents, and one with the same integers is not run again."""
    ran = []
    run = calibrate.Calibration._run
    monkeypatch.setattr(calibrate.Calibration, "_run", lambda *given: ran.append(given) or run(*given))
    shared, few = quantize.quantize(graph, FRAMES, LENGTHS)[:2], len(ran)
    monkeypatch.setattr(Candidate, "has_weights_of", lambda self, other: False)
    each = quantize.quantize(graph, FRAMES, LENGTHS)[:2]
    assert few < len(ran) - few
    assert to_bytes(shared[0]) == to_bytes(each[0])
    assert [dataclasses.asdict(choice) for choice in shared[1]] == [dataclasses.asdict(choice) for choice in each[1]]
