import dataclasses

import pytest
import torch
from neurotarget.model.networks.parts import Product, Rotary, TemporalConv, rotary_angle
from neurotarget.model.spikescr import SpikeSCR, SpikeSCRConfig, readout
from spikingjelly.activation_based import neuron


def network(seed=0, **changes):
    torch.manual_seed(seed)
    model = SpikeSCR(SpikeSCRConfig.preset("tiny", **changes)).eval().double()
    with torch.no_grad():  # fresh weights hardly spike: spread the statistics so that every layer does
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.running_var.uniform_(0.05, 0.2)
                module.bias.uniform_(0.0, 0.6)
    return model


def spikes_of(model, frames, lengths=None):
    """Spikes by layer, [T, B, C]."""
    seen = {}
    hooks = [
        module.register_forward_hook(lambda m, i, o, name=name: seen.__setitem__(name, o.clone()))
        for name, module in model.named_modules()
        if isinstance(module, neuron.BaseNode)
    ]
    with torch.no_grad():
        logits = model(frames, lengths)
    for hook in hooks:
        hook.remove()
    return seen, logits


@pytest.mark.parametrize(
    ("preset", "blocks", "parameters"),
    [("shd", 1, 261_640), ("ssc", 1, 1_709_832), ("gsc", 1, 1_709_832), ("ssc", 2, 3_302_416), ("gsc", 2, 3_302_416)],
)
def test_number_of_parameters_is_the_papers(preset, blocks, parameters):
    model = SpikeSCR(SpikeSCRConfig.preset(preset, blocks=blocks))
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize(("preset", "blocks", "neurons"), [("shd", 1, 2176), ("ssc", 2, 11_520)])
def test_number_of_spiking_neurons_is_the_papers(preset, blocks, neurons):
    config = SpikeSCRConfig.preset(preset, blocks=blocks)
    model = SpikeSCR(config)
    seen, _ = spikes_of(model.eval(), torch.zeros(1, 3, config.features))
    assert sum(spikes.shape[-1] for spikes in seen.values()) == neurons


def test_every_layer_spikes_in_the_test_network():
    frames = torch.poisson(torch.full((3, 20, 12), 0.8, dtype=torch.float64))
    seen, _ = spikes_of(network(), frames)
    assert all(0 < spikes.mean() < 1 for spikes in seen.values()), {k: v.mean().item() for k, v in seen.items()}


@pytest.mark.parametrize("causal", [False, True])
def test_a_sample_is_the_same_alone_in_a_batch_and_with_padding(causal):
    model = network(causal=causal)
    torch.manual_seed(1)
    frames = torch.poisson(torch.full((5, 30, 12), 0.8, dtype=torch.float64))
    lengths = torch.tensor([30, 17, 25, 1, 9])
    together, logits = spikes_of(model, frames, lengths)
    for sample, length in enumerate(lengths.tolist()):
        alone, alone_logits = spikes_of(model, frames[sample : sample + 1, :length])
        for name, spikes in alone.items():
            assert torch.equal(spikes[:, 0], together[name][:length, sample]), f"{name}, sample {sample}"
        torch.testing.assert_close(alone_logits[:, 0], logits[:length, sample], rtol=0, atol=1e-12)
        assert not logits[length:, sample].any()


def test_what_stands_in_the_padding_does_not_matter():
    model = network()
    frames = torch.poisson(torch.full((2, 30, 12), 0.8, dtype=torch.float64))
    lengths = torch.tensor([12, 20])
    clean, dirty = frames.clone(), frames.clone()
    for sample, length in enumerate(lengths.tolist()):
        clean[sample, length:], dirty[sample, length:] = 0, 7
    with torch.no_grad():
        assert torch.equal(model(clean, lengths), model(dirty, lengths))


def test_a_call_does_not_depend_on_the_call_before():
    model = network()
    frames = torch.poisson(torch.full((2, 15, 12), 0.8, dtype=torch.float64))
    with torch.no_grad():
        first = model(frames)
        assert torch.equal(model(frames), first)


def test_causal_network_does_not_see_the_future():
    model = network(causal=True)
    frames = torch.poisson(torch.full((1, 20, 12), 0.8, dtype=torch.float64))
    changed = frames.clone()
    changed[:, 12:] = torch.poisson(torch.full((1, 8, 12), 3.0, dtype=torch.float64))
    with torch.no_grad():
        a, b = model(frames), model(changed)
    assert torch.equal(a[:12], b[:12])
    assert not torch.equal(a[12:], b[12:])


def test_attention_equals_the_quadratic_form():
    torch.manual_seed(0)
    query, key, value = ((torch.rand(9, 2, 8, dtype=torch.float64) < 0.4).double() for _ in range(3))
    for causal in (False, True):
        out = Product(8, 2, causal)(query, key, value)
        for sample in range(2):
            for head in range(2):
                part = slice(4 * head, 4 * head + 4)
                score = query[:, sample, part] @ key[:, sample, part].T
                expected = (torch.tril(score) if causal else score) @ value[:, sample, part] / 2
                torch.testing.assert_close(out[:, sample, part], expected, rtol=0, atol=1e-12)


def test_rotary_keeps_the_relative_position():
    """q_s . k_t depends on t - s only (RoFormer, equation 16), and the first step is not turned."""
    rotary = Rotary(rotary_angle(4), heads=1)
    vector = torch.tensor([1.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    turned = rotary(vector.expand(6, 1, 4))[:, 0]
    assert torch.equal(turned[0], vector)
    products = turned @ turned.T
    for offset in range(6):
        diagonal = torch.diagonal(products, offset)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=0, atol=1e-12)


def test_temporal_convolution_by_hand():
    conv = TemporalConv(1, 1, 3, groups=1, bias=False, causal=False)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([[[1.0, 10.0, 100.0]]]))
        out = conv(torch.tensor([1.0, 2.0, 3.0])[:, None, None]).flatten()
        conv.look_ahead = 0
        causal = conv(torch.tensor([1.0, 2.0, 3.0])[:, None, None]).flatten()
    assert out.tolist() == [210.0, 321.0, 32.0]
    assert causal.tolist() == [100.0, 210.0, 321.0]


def test_readout_sums_probabilities_inside_the_window():
    logits = torch.zeros(3, 1, 2)
    logits[2, 0, 0] = 50.0
    torch.testing.assert_close(readout(logits, torch.tensor([2])), torch.tensor([[1.0, 1.0]]))
    torch.testing.assert_close(readout(logits), torch.tensor([[2.0, 1.0]]))


@pytest.mark.parametrize(
    "changes", [{"width": 18, "heads": 4}, {"width": 6, "heads": 2}, {"kernel": 4}, {"tau": 1.0}, {"blocks": 0}]
)
def test_impossible_configurations_are_refused(changes):
    with pytest.raises(ValueError, match=r"width|kernel|tau|blocks"):
        SpikeSCRConfig.preset("tiny", **changes)


def test_unknown_preset_and_field_are_refused():
    with pytest.raises(ValueError, match="known are shd, ssc, gsc, tiny"):
        SpikeSCRConfig.preset("imagenet")
    with pytest.raises(ValueError, match="unknown field depth"):
        SpikeSCRConfig.preset("shd", depth=3)


def test_config_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        SpikeSCRConfig.preset("shd").blocks = 2


def test_wrong_number_of_features_is_refused():
    with pytest.raises(ValueError, match=r"\[B, T, 12\]"):
        network()(torch.zeros(1, 5, 13, dtype=torch.float64))
