"""A quantised twin against sums of integers, level by level, and near its floating-point form."""

import json

import numpy as np
import pytest
import torch
from neurotarget.model import evaluate
from neurotarget.model.networks.twin import MatrixProduct
from neurotarget.model.spikescr import SpikeSCR
from neurotarget.model.training import checkpoint, registry
from neurotarget.model.training.evaluation import class_scores
from neurotarget.model.training.post_training import quantised
from torch import nn

from neurotarget.data import Split
from tests.torch_networks import lively

CONFIGS = [registry.preset("tiny", twin=True), registry.preset("delays_tiny", twin=True)]


def twin(config):
    torch.manual_seed(0)
    return lively(registry.build(config))


def split(samples=40, steps=24, features=12):
    rng = np.random.default_rng(1)
    frames = rng.poisson(0.8, (samples, steps, features)).astype(np.float32)
    return Split(frames, rng.integers(0, 4, samples), rng.integers(6, steps + 1, samples), ["a"] * samples)


def layers_of(network, frames):
    """What enters and leaves each module that multiplies, by name."""
    seen = {}
    for name, module in network.named_modules():
        if isinstance(module, (nn.Linear, nn.Conv1d, MatrixProduct)):
            module.register_forward_hook(lambda m, i, o, name=name: seen.update({name: (i, o)}))
    with torch.no_grad():
        network(torch.from_numpy(frames))
    return seen


@pytest.mark.parametrize("config", CONFIGS, ids=["spikescr", "delays"])
def test_errors_shrink_with_the_bits_and_the_network_stays(config):
    network, data = twin(config), split()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.no_grad():
        exact = class_scores(network, data.frames, data.lengths)
        errors = [
            float((class_scores(quantised(network, data, bits), data.frames, data.lengths) - exact).abs().max())
            for bits in (8, 5, 3)
        ]
        assert errors[0] < 0.1 * float(exact.max()) and errors[0] < errors[1] < errors[2]
        assert torch.equal(class_scores(network, data.frames, data.lengths), exact)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("bits", [8, 4])
def test_operands_and_weights_have_their_levels(bits):
    made = quantised(twin(CONFIGS[0]), split(), bits)
    for name, (operands, _) in layers_of(made, split().frames).items():
        assert all(len(x.unique()) <= 2**bits for x in operands), name
    for module in made.modules():
        if isinstance(module, (nn.Linear, nn.Conv1d)):
            assert all(len(channel.unique()) <= 256 for channel in module.weight)


def test_a_layer_is_a_sum_of_integers():
    """Weights in -128 .. 127 and activations in 0 .. 255, summed in integers by NumPy, times the two scales."""
    name, network = "blocks.0.mlp1.output.linear", twin(CONFIGS[0])
    made = quantised(network, split(), 8)
    ((x,), y) = layers_of(made, split().frames)[name]
    (operand,) = next(iter(made.get_submodule(name)._forward_pre_hooks.values())).args[0]
    before, after = (net.get_submodule(name).weight.detach().numpy().astype(np.float64) for net in (network, made))
    scales = np.abs(before).max(axis=1) / 127.5  # of each output channel, symmetric
    weights = np.round(after / scales[:, None]).astype(np.int64)
    np.testing.assert_allclose(after, weights * scales[:, None], rtol=1e-6, atol=1e-9)
    assert weights.min() == -128 or weights.max() == 127
    assert (np.abs(after - before) <= 0.501 * scales[:, None]).all()
    real = x.numpy().astype(np.float64) / float(operand.scale)
    integers = np.round(real).astype(np.int64)
    np.testing.assert_allclose(real, integers, atol=1e-3)
    assert integers.min() + int(operand.zero_point) >= 0 and integers.max() + int(operand.zero_point) <= 255
    np.testing.assert_allclose(integers @ weights.T * scales * float(operand.scale), y.numpy(), rtol=1e-4, atol=1e-5)
    assert len(np.unique(integers)) > 50


@pytest.mark.parametrize("bits", [1, 9])
def test_other_numbers_of_bits_are_refused(bits):
    with pytest.raises(ValueError, match="2 to 8"):
        quantised(twin(CONFIGS[0]), split(), bits)


def test_bits_are_for_twins(tmp_path, capsys):
    config = registry.preset("tiny")
    spiking = checkpoint.Checkpoint(config, SpikeSCR(config).state_dict(), {}, "synth", tuple("abcd"), 0.01, {})
    checkpoint.save(tmp_path / "ckpt.pt", spiking)
    assert evaluate.main([str(tmp_path / "ckpt.pt"), "--data", "synth", "--bits", "8", "--json"]) == 2
    assert "model.twin=true" in json.loads(capsys.readouterr().out)["error"]
