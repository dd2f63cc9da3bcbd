"""The memory boundary against SpikingJelly's own implementation of Lemaire et al. 2022."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from neurotarget.conversion.to_nir import to_nir
from neurotarget.hardware.counts.layers import count
from neurotarget.hardware.energy.memory import memory_energy
from neurotarget.sim.graph import load
from spikingjelly.activation_based import functional, layer, neuron
from spikingjelly.activation_based.op_counter import LemaireEnergyProfiler
from torch import nn

from tests.hardware.counted import JOINED
from tests.hardware.networks import run


def test_linear_and_lif_layers_take_the_same_energy() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        layer.Linear(30, 40), neuron.LIFNode(tau=2.0, decay_input=False), layer.Linear(40, 10), neuron.LIFNode()
    ).double()
    functional.set_step_mode(network, "m")
    network.eval()
    frames = (np.random.default_rng(0).random((1, 25, 30)) < 0.4).astype(np.float64)
    profiler = LemaireEnergyProfiler()
    profiler.bind_model(network)
    with profiler, torch.no_grad():
        output = network(torch.as_tensor(frames).swapaxes(0, 1))
    theirs = profiler.get_report()

    graph = load(to_nir(network, (30,)))
    trace = run(graph, frames)
    assert sum(int(array.sum()) for array in trace.spikes.values()) == theirs.counts["ac"] - (
        theirs.counts["synop"] + 25 * 50
    )  # the same spikes: their AC is synops, biases and spikes
    assert int(trace.spikes[graph.spiking[-1].name].sum()) == int(output.sum())
    figure = memory_energy(count(graph, trace), JOINED)
    assert figure.snn_uj == pytest.approx(theirs.total_pj * 1e-6, rel=1e-9)
