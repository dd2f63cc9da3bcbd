"""How far integers depart from the float run, folded batch by batch, against a comparison of the whole traces."""

from __future__ import annotations

import nir
import numpy as np
from neurotarget.conversion import quantize
from neurotarget.conversion.fixed.departure import Departing
from neurotarget.conversion.to_nir import to_nir
from neurotarget.sim import reference
from neurotarget.sim.graph import load

from tests import torch_networks as networks


def test_the_departure_of_batches_is_that_of_the_whole(tmp_path) -> None:
    nir.write(tmp_path / "model.nir", to_nir(networks.tiny(), (12,)))
    graph = load(tmp_path / "model.nir")
    frames = np.random.default_rng(0).poisson(0.5, (7, 30, 12)).astype(np.float64)
    lengths = np.array([30, 12, 30, 30, 1, 25, 30])
    nir.write(tmp_path / "model.q.nir", quantize.quantize(graph, frames[:2], lengths[:2])[0])
    integers = load(tmp_path / "model.q.nir")
    one, other = (reference.run(network, frames, lengths).spikes for network in (graph, integers))
    differs = {node.name: one[node.name] != other[node.name] for node in graph.spiking}
    assert any(places.any() for places in differs.values())
    departing = Departing(graph, reference.Again(integers))
    for batch in (7, 3, 1):
        [found] = reference.folded(graph, frames, lengths, None, [departing], batch=batch, processes=1)
        assert found.mismatched == {name: np.count_nonzero(places) for name, places in differs.items()}
        assert found.partings.keys() == {name for name, places in differs.items() if places.any()}
        for name, parting in found.partings.items():
            step, sample, neuron = min((t, s, n) for s, t, n in np.argwhere(differs[name]).tolist())
            assert (parting.step, parting.sample, parting.neuron) == (step, sample, neuron)
            assert parting.values == (one[name][sample, step, neuron], other[name][sample, step, neuron])
        assert found.before.fired.spikes == {name: np.count_nonzero(spikes) for name, spikes in one.items()}
        assert found.after.fired.spikes == {name: np.count_nonzero(spikes) for name, spikes in other.items()}
