"""The attentions of other papers through NIR: PyTorch, the reference simulator and Lava give the same spikes."""

import copy

import nir
import numpy as np
import pytest
import torch
from neurotarget.conversion import quantize
from neurotarget.conversion.to_nir import check, random_frames, to_nir, write
from neurotarget.hardware.counts.layers import count
from neurotarget.model.networks.attentions import TemporalInteraction
from neurotarget.model.networks.configuration import ATTENTIONS
from neurotarget.model.networks.parts import Rotary
from neurotarget.sim import lava, reference
from neurotarget.sim.graph import load
from neurotarget.sim.parity import compare

from tests import torch_networks as networks

NAMES = ATTENTIONS[1:]


def network(attention, **changes):
    model = networks.tiny(attention=attention, **changes)
    with torch.no_grad():  # fresh kernels are half negative: their neurons would never fire
        for module in model.modules():
            if isinstance(module, TemporalInteraction):
                module.past.weight.uniform_(0, 0.5)
    return model


def converted(model, path, dt=1e-4):
    return write(to_nir(model, (12,), dt), path)


@pytest.mark.parametrize("attention", NAMES)
@pytest.mark.parametrize("changes", [{}, {"causal": True}, {"blocks": 2, "heads": 4}])
@pytest.mark.parametrize("dt", [1e-4, 0.01])
def test_pytorch_and_the_reference_are_the_same_spike_for_spike(tmp_path, attention, changes, dt):
    model = network(attention, **changes)
    graph = converted(model, tmp_path / "net.nir", dt)
    parity = check(copy.deepcopy(model), graph, *random_frames((12,)))
    assert parity.spikes > 1000
    assert parity.mismatched == 0 and parity.output_difference < 1e-9


@pytest.mark.parametrize("attention", NAMES)
def test_another_neuron_is_the_same_but_for_ties(tmp_path, attention):
    model = network(attention, tau=3.0, threshold=0.8)
    parity = check(copy.deepcopy(model), converted(model, tmp_path / "net.nir"), *random_frames((12,)))
    assert parity.spikes > 1000 and parity.holds


@pytest.mark.slow
@pytest.mark.parametrize("attention", NAMES)
def test_lava_and_the_reference_are_the_same_spike_for_spike(tmp_path, attention):
    model = network(attention)
    graph = converted(model, tmp_path / "net.nir")
    frames, lengths = random_frames((12,))
    expected = reference.run(graph, frames[:3], lengths[:3])
    found = lava.run(graph, frames[:3], lengths[:3])
    parity = compare(graph, expected, found)
    assert parity.spikes > 1000
    assert parity.mismatched == 0 and parity.output_difference < 1e-9
    # Token attention does not wait for the end of the utterance; the others do.
    assert (found.header["latency_steps"] < 20) == (attention == "qk_token")


@pytest.mark.parametrize("attention", NAMES)
def test_layer_names_are_those_of_named_modules(tmp_path, attention):
    model = network(attention)
    graph = converted(model, tmp_path / "net.nir")
    modules = dict(model.named_modules())
    assert {node.name for node in graph.nodes.values()} - {"input", "output"} <= set(modules)
    attentive = {node.name: node.kind for node in graph.nodes.values() if ".attention." in node.name}
    assert not any(isinstance(module, Rotary) for module in modules.values()) and "rotary" not in attentive.values()
    assert ("attention" in attentive.values()) == (attention != "qk_token")


@pytest.mark.parametrize("attention", NAMES)
def test_stock_nir_opens_the_file_and_no_new_operation_is_in_it(tmp_path, attention):
    converted(network(attention), tmp_path / "net.nir")
    raw = nir.read(tmp_path / "net.nir", type_check=True)
    operations = {node.metadata["op"] for node in raw.nodes.values() if isinstance(node, nir.NIRGraph)}
    assert operations <= {"look_ahead", "gate", "attention"}
    nir.write(tmp_path / "again.nir", raw)
    again = nir.read(tmp_path / "again.nir", type_check=True)
    assert sorted(map(tuple, again.edges)) == sorted(map(tuple, raw.edges))


def test_temporal_interaction_is_a_loop_of_one_synapse(tmp_path):
    graph = converted(network("spikformer_tim"), tmp_path / "net.nir")
    name = "blocks.0.attention.interaction"
    loop = next(component for component in graph.components if len(component) > 1)
    assert set(loop) == {f"{name}.{part}" for part in ("output_lif", "past", "past_lif")}
    assert graph.recurrent_edges == {(f"{name}.past_lif", f"{name}.output_lif")}
    # Half of either input times tau 2, where NIR's gain is r / tau
    assert (graph.nodes[f"{name}.output_lif"].parameters["r"] == 1).all()


def test_sums_over_tokens_and_heads_cost_what_they_do(tmp_path):
    """By hand: a spike adds once to its sum; a head's gate reaches its 8 channels; ones are biases."""
    frames, lengths = random_frames((12,))
    steps = int(lengths.sum())
    for attention in ("sdsa", "qk_channel", "qk_token"):
        graph = converted(network(attention), tmp_path / "net.nir")
        trace = reference.run(graph, frames, lengths)
        part = {r.name.removeprefix("blocks.0.attention."): r for r in count(graph, trace)}

        def spikes(name, trace=trace):
            return trace.spikes[
                f"blocks.0.attention.{name}.lif" if name != "gate_lif" else f"blocks.0.attention.{name}"
            ]

        query = spikes("query")
        if attention == "qk_token":
            assert part["total"].synops == query.sum()
            assert part["spread"].synops == 8 * spikes("gate_lif").sum(dtype=int)
            continue
        added = query.sum(dtype=int) if attention == "qk_channel" else (query * spikes("key")).sum(dtype=int)
        assert part["total"].synops == added + 16 * steps  # and each step reads 16 sums
        assert part["total.ones"].synops == 0 and part["total.ones"].biases == 16 * steps


@pytest.mark.parametrize("attention", NAMES)
def test_integers_of_each_run_in_the_reference(tmp_path, attention):
    """Quantised on random input, few spikes differ."""
    graph = converted(network(attention), tmp_path / "net.nir")
    frames = np.random.default_rng(0).poisson(0.5, (6, 40, 12)).astype(np.float64)
    network_of_integers, _, before = quantize.quantize(graph, frames, None)
    after = reference.run(load(network_of_integers), frames)
    differing = np.mean([np.mean(after.spikes[name] != spikes) for name, spikes in before.spikes.items()])
    assert differing < 0.05
