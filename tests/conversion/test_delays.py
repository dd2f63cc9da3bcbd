"""A network with learnt delays through NIR: PyTorch, the reference simulator and Lava give the same spikes."""

import copy

import nir
import numpy as np
import pytest
import torch
from neurotarget.conversion.to_nir import check, main, random_frames, to_nir, write
from neurotarget.hardware.counts.layers import count
from neurotarget.model.networks.delays import DelaysConfig, DelaysNetwork
from neurotarget.model.training import checkpoint
from neurotarget.sim import lava, reference
from neurotarget.sim.graph import dialect
from neurotarget.sim.parity import compare
from neurotarget.sim.schedule import schedule

from tests.torch_networks import lively


def network(seed=0, **changes):
    torch.manual_seed(seed)
    return lively(DelaysNetwork(DelaysConfig.preset("delays_tiny", **changes)))


def converted(model, path, dt=1e-4):
    return write(to_nir(model, (model.config.features,), dt), path)


def random_input(model, seed=0):
    return random_frames((model.config.features,), seed)


@pytest.mark.parametrize(
    "changes", [{}, {"blocks": 1}, {"blocks": 3}, {"max_delay": 0}, {"max_delay": 1}, {"max_delay": 24}, {"tau": 1.5}]
)
@pytest.mark.parametrize("dt", [1e-4, 0.01])
def test_pytorch_and_the_reference_are_the_same_spike_for_spike(tmp_path, changes, dt):
    model = network(**changes)
    graph = converted(model, tmp_path / "delays.nir", dt)
    parity = check(copy.deepcopy(model), graph, *random_input(model))
    assert parity.spikes > 300
    assert parity.mismatched == 0 and parity.output_difference < 1e-9


@pytest.mark.slow
def test_lava_and_the_reference_are_the_same_spike_for_spike(tmp_path):
    model = network()
    graph = converted(model, tmp_path / "delays.nir")
    frames, lengths = random_input(model)
    expected = reference.run(graph, frames[:3], lengths[:3])
    found = lava.run(graph, frames[:3], lengths[:3])
    parity = compare(graph, expected, found)
    assert parity.spikes > 300
    assert parity.mismatched == 0 and parity.output_difference < 1e-9
    assert found.header["latency_steps"] == 3  # a step a layer: what a delay holds back is in logical time


def test_the_file_is_pure_nir_and_opens_anywhere(tmp_path):
    model = network()
    converted(model, tmp_path / "delays.nir")
    raw = nir.read(tmp_path / "delays.nir", type_check=True)
    kinds = {type(node) for node in raw.nodes.values()}
    assert kinds == {nir.Input, nir.Output, nir.Delay, nir.Linear, nir.Affine, nir.LIF, nir.LI}
    assert raw.metadata["readout"] == dialect.READOUT_SOFTMAX_SUM
    nir.write(tmp_path / "again.nir", raw)
    again = nir.read(tmp_path / "again.nir", type_check=True)
    assert sorted(map(tuple, again.edges)) == sorted(map(tuple, raw.edges))


def test_third_parties_that_ignore_resistance_compute_the_same(tmp_path):
    raw = to_nir(network(tau=1.5), (12,), 1e-3)
    neurons = [node for node in raw.nodes.values() if isinstance(node, (nir.LIF, nir.LI))]
    assert len(neurons) == 3
    for node in neurons:
        assert (node.r == 1).all() and (node.v_leak == 0).all() and node.tau == pytest.approx(1.5e-3)


def test_weights_and_delays_read_back_exactly(tmp_path):
    model = network()
    graph = converted(model, tmp_path / "delays.nir")
    assert {node.kind for node in graph.nodes.values()} == {"input", "temporal_conv", "lif", "li", "output"}
    for name, module in model.named_modules():
        if name.endswith(("synapse", "head")):
            kernel = graph.nodes[name].parameters["weight"]
            assert ((kernel != 0).sum(-1) == 1).all()
            delays = kernel.shape[-1] - 1 - np.argmax(kernel != 0, axis=-1)
            np.testing.assert_array_equal(delays, module.rounded().numpy())
    weight = model.head.weight.detach().double().numpy() * model.config.tau
    np.testing.assert_array_equal(graph.nodes["head"].parameters["weight"].sum(-1), weight)


def test_only_delays_that_occur_are_written(tmp_path):
    model = network(blocks=1)
    with torch.no_grad():
        model.hidden[0].synapse.delay.fill_(2.2)
        model.head.delay.copy_(torch.where(torch.arange(16) < 8, 0.0, 4.0).expand(4, 16))
    graph = to_nir(model, (12,))
    assert {name for name in graph.nodes if "delay" in name} == {"hidden.0.synapse.delay2", "head.delay4"}
    taps = [name for name in graph.nodes if ".tap" in name]
    assert sorted(taps) == ["head.tap2", "head.tap6", "hidden.0.synapse.tap4"]  # of 7: tap i is 6 - i steps late
    parity = check(copy.deepcopy(model), write(graph, tmp_path / "delays.nir"), *random_input(model))
    assert parity.spikes > 300 and parity.mismatched == 0 and parity.output_difference < 1e-9


def test_a_layer_without_weights_still_has_its_bias(tmp_path):
    model = network(blocks=1)
    with torch.no_grad():
        model.hidden[0].synapse.weight.zero_()
        model.hidden[0].norm.bias.fill_(2.0)
    parity = check(copy.deepcopy(model), converted(model, tmp_path / "delays.nir"), *random_input(model))
    assert parity.spikes > 300 and parity.mismatched == 0


def test_each_connection_is_counted_as_one_synapse(tmp_path):
    """By hand: an event is one operation for each connection whose delayed effect lies inside the window."""
    model = network(blocks=1)
    graph = converted(model, tmp_path / "delays.nir")
    frames, lengths = random_input(model)
    record = {r.name: r for r in count(graph, reference.run(graph, frames, lengths))}["hidden.0.synapse"]
    delays = model.hidden[0].synapse.rounded().numpy()
    assert (record.fan_out, record.fan_in, record.synapses) == (16, 12, 12 * 16)
    operations = 0
    for sample, length in zip(frames, lengths, strict=True):
        for step, channel in np.argwhere(sample[:length]):
            operations += int((step + delays[:, channel] < length).sum())
    assert record.synops == operations
    assert record.parameters == 12 * 16 + 16  # weights, and the bias that was the batch normalisation


def test_the_schedule_leaves_the_longest_delay_between_utterances(tmp_path):
    graph = converted(network(), tmp_path / "delays.nir")
    timing = schedule(graph, 20)
    assert timing.gap == 6 and timing.total == 3


def test_command_converts_a_checkpoint(tmp_path, capsys):
    model = network()
    checkpoint.save(
        tmp_path / "ckpt.pt",
        checkpoint.Checkpoint(
            config=model.config,
            state=model.state_dict(),
            metrics={},
            data="gsc:/nowhere",
            classes=("a", "b", "c", "d"),
            step_seconds=0.01,
            versions=checkpoint.versions(),
        ),
    )
    assert main([str(tmp_path / "ckpt.pt")]) == 0
    assert "against reference float64  holds " in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ckpt.nir", "ckpt.pt"]
