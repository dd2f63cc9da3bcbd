"""The systems that SpikeSCR came from, through NIR: PyTorch, the reference simulator and Lava give the same spikes."""

import copy
import math

import numpy as np
import pytest
from neurotarget.conversion import quantize
from neurotarget.conversion.export.draft import Draft, Layer, UnsupportedModule
from neurotarget.conversion.export.fold import settle_time_constants
from neurotarget.conversion.to_nir import check, random_frames, to_nir, write
from neurotarget.hardware.counts.layers import count
from neurotarget.hardware.counts.twin_products import run_and_count
from neurotarget.model.networks.delays import DelayedLinear, LeakyIntegrator
from neurotarget.model.networks.neuron import FusedPLIFNode
from neurotarget.sim import lava, reference
from neurotarget.sim.graph import load
from neurotarget.sim.parity import compare

import neurotarget
from tests.systems import SYSTEMS, counts, made

EXPORTED = [name for name in SYSTEMS if "layer_norm" not in name and name != "ann"]


def converted(model, path, dt=1e-4):
    return write(to_nir(model, (12,), dt), path)


@pytest.mark.parametrize("name", EXPORTED)
def test_pytorch_and_the_reference_are_the_same_spike_for_spike(tmp_path, name):
    model = made(name)
    parity = check(copy.deepcopy(model), converted(model, tmp_path / "net.nir", 0.01), *random_frames((12,)))
    assert parity.spikes > 300
    assert parity.mismatched == 0 and parity.output_difference < 1e-9
    assert parity.activity.never_fire == ()


@pytest.mark.parametrize("attention", ["spikformer_tim", "sdsa", "qk_token", "qk_channel"])
def test_learnt_time_constants_go_with_every_attention(tmp_path, attention):
    model = made("plif", attention=attention, final_lif=True)
    parity = check(copy.deepcopy(model), converted(model, tmp_path / "net.nir"), *random_frames((12,)))
    assert parity.spikes > 1000 and parity.mismatched == 0


@pytest.mark.parametrize("name", ["plif", "delays_plif"])
def test_the_file_holds_the_learnt_time_constants(tmp_path, name):
    model, dt = made(name), 1e-3
    graph = converted(model, tmp_path / "net.nir", dt)
    learnt = {
        name: 1 / module.w.detach().double().sigmoid().item()
        for name, module in model.named_modules()
        if isinstance(module, (FusedPLIFNode, LeakyIntegrator))
    }
    assert len(set(learnt.values())) == len(learnt) == len(graph.of_kind("lif", "li"))
    for layer, tau in learnt.items():
        np.testing.assert_allclose(graph.nodes[layer].parameters["tau"], tau * dt, rtol=1e-14)


@pytest.mark.parametrize("dt", [1e-4, 1e-3, 0.01, 0.025])
def test_a_whole_spike_still_reaches_the_threshold(dt):
    """A factor tau that a simulator divides by again is one, whatever was learnt; the time constant is what it was."""
    for tau in np.random.default_rng(0).uniform(1.01, 9, 500):
        draft = Draft()
        draft.add(Layer("n", "lif", (), (1,), {"tau": tau, "decay_input": False}))
        settle_time_constants(draft, dt)
        settled = float(draft.layers["n"].parameters["tau"])
        assert dt / (settled * dt) * settled == 1.0
        assert abs(settled - tau) <= 64 * math.ulp(tau)


@pytest.mark.parametrize("name", ["layer_norm", "only_layer_norm"])
def test_layer_normalisation_is_refused_by_name_and_remedy(tmp_path, name):
    said = (
        r"layer blocks.0.entries.attention.norm \(StepNorm\): LayerNorm divides by the deviation of each step's own "
        r"values, .*; train with model.layer_normalisation=false"
    )
    with pytest.raises(UnsupportedModule, match=said):
        neurotarget.export(made(name), counts(2, 9), tmp_path / "net.nir")
    assert list(tmp_path.iterdir()) == []


def test_the_head_after_a_final_neuron_adds_once_a_spike_and_class(tmp_path):
    """By hand: spikes times classes; without that neuron each value of the stream is a multiplication."""
    model = made("final_lif")
    trace = reference.run(graph := converted(model, tmp_path / "net.nir"), *random_frames((12,)))
    record = {r.name: r for r in count(graph, trace)}["head"]
    assert record.synops == trace.spikes["final_lif"].sum(dtype=int) * 4 > 0


def test_a_sparse_layer_has_the_synapses_that_exist(tmp_path):
    model = made("sparse")
    frames, lengths = random_frames((12,))
    trace = reference.run(graph := converted(model, tmp_path / "net.nir"), frames, lengths)
    record = {r.name: r for r in count(graph, trace)}["hidden.0.synapse"]
    synapse = model.hidden[0].synapse
    assert isinstance(synapse, DelayedLinear)
    exists, delays = synapse.connected.numpy() > 0, synapse.rounded().numpy()
    assert record.synapses == exists.sum() < 12 * 16
    operations = 0
    for sample, length in zip(frames, lengths, strict=True):
        for step, channel in np.argwhere(sample[:length]):
            operations += int((exists[:, channel] & (step + delays[:, channel] < length)).sum())
    assert record.synops == operations > 0


def test_a_sparse_twin_stores_and_multiplies_what_exists():
    model = made("ann", sparsity=0.4)
    lengths = np.array([20, 11])
    first = run_and_count(model, counts(2, 20).numpy(), lengths).counts[0]
    exists = int((model.hidden[0].synapse.connected > 0).sum())
    assert (first.name, first.parameters) == ("hidden.0.synapse", exists + 16)  # and the bias of the normalisation
    assert first.dense_macs == exists * lengths.sum() and exists < 12 * 16


@pytest.mark.parametrize(("name", "changes"), [("plif", {}), ("baseline", {"blocks": 1}), ("delays_plif", {})])
def test_integers_say_nearly_the_same(tmp_path, name, changes):
    graph = converted(made(name, **changes), tmp_path / "net.nir")
    frames = np.random.default_rng(0).poisson(0.5, (6, 40, 12)).astype(np.float64)
    network_of_integers, _, before = quantize.quantize(graph, frames, None)
    after = reference.run(load(network_of_integers), frames)
    differing = np.mean([np.mean(after.spikes[layer] != spikes) for layer, spikes in before.spikes.items()])
    assert differing < 0.05


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("baseline", {"neuron": "plif", "final_lif": True, "blocks": 1}),
        ("sparse", {"delays": "fixed", "neuron": "plif"}),
    ],
)
def test_lava_and_the_reference_are_the_same_spike_for_spike(tmp_path, name, changes):
    graph = converted(made(name, **changes), tmp_path / "net.nir")
    frames, lengths = random_frames((12,))
    parity = compare(graph, reference.run(graph, frames[:2], lengths[:2]), lava.run(graph, frames[:2], lengths[:2]))
    assert parity.spikes > 300
    assert parity.mismatched == 0 and parity.output_difference < 1e-9
