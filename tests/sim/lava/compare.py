"""Reference against Lava: spikes of every spiking node and step, and outputs."""

from __future__ import annotations

import numpy as np
from neurotarget.sim import lava, reference
from neurotarget.sim.graph import Graph
from neurotarget.sim.trace import Trace

OTHER = "NEUROTARGET_TEST_LAVA_PYTHON"  # names an interpreter with a Lava of its own


def assert_equal(graph: Graph, frames: np.ndarray, lengths: np.ndarray | None = None, quiet: int = 0) -> Trace:
    """Runs both; at most `quiet` spiking nodes may stay silent, so that the comparison means something."""
    expected = reference.run(graph, frames, lengths)
    found = lava.run(graph, frames, lengths)
    assert set(found.spikes) == set(expected.spikes)
    for name, spikes in expected.spikes.items():
        differing = np.argwhere(found.spikes[name] != spikes)
        assert not len(differing), f"{name}: {len(differing)} spikes differ, first at {differing[0]}"
        assert found.spikes[name].dtype == np.uint8
    silent = [name for name, spikes in expected.spikes.items() if not spikes.any()]
    assert len(silent) <= quiet, f"silent: {silent}"
    np.testing.assert_allclose(found.output, expected.output, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(found.input, expected.input)
    np.testing.assert_array_equal(found.lengths, expected.lengths)
    return found
