"""The attentions of other papers in SpikeSCR's place, each against its paper's equation written out."""

import math

import pytest
import torch
from neurotarget.model.networks.attentions import ATTENTION_CLASSES, HeadSpread, HeadSum, TemporalInteraction, TokenSum
from neurotarget.model.networks.configuration import ATTENTIONS
from neurotarget.model.spikescr import SpikeSCR, SpikeSCRConfig, readout
from neurotarget.model.training import settings
from spikingjelly.activation_based import functional, neuron

from tests.torch_networks import lively

NAMES = ATTENTIONS[1:]


def network(attention, seed=0, **changes):
    torch.manual_seed(seed)
    model = lively(SpikeSCR(SpikeSCRConfig.preset("tiny", attention=attention, **changes))).double()
    with torch.no_grad():  # fresh kernels are half negative: their neurons would never fire
        for module in model.modules():
            if isinstance(module, TemporalInteraction):
                module.past.weight.uniform_(0, 0.5)
    return model


def frames_of(samples, steps, seed=1):
    torch.manual_seed(seed)
    return torch.poisson(torch.full((samples, steps, 12), 0.8, dtype=torch.float64))


def spikes_of(model, frames, lengths=None):
    """Outputs by module, [T, B, C], and the logits."""
    seen = {}
    hooks = [
        module.register_forward_hook(lambda m, i, o, name=name: seen.setdefault(name, []).append(o.clone()))
        for name, module in model.named_modules()
        if not name.endswith(("surrogate_function", "interaction.past"))  # inside a loop over steps
    ]
    with torch.no_grad():
        logits = model(frames, lengths)
    for hook in hooks:
        hook.remove()
    assert all(len(calls) == 1 for calls in seen.values())
    return {name: calls[0] for name, calls in seen.items()}, logits


def neurons_of(model, seen):
    return {name: seen[name] for name, module in model.named_modules() if isinstance(module, neuron.BaseNode)}


def lif(current, theta=1.0):
    """v = v / 2 + x; fires at theta; resets to zero. [T, ...] currents to spikes."""
    v, spikes = torch.zeros_like(current[0]), []
    for x in current:
        v = v / 2 + x
        spikes.append((v >= theta).to(x))
        v = torch.where(v >= theta, 0.0, v)
    return torch.stack(spikes)


# ---- choice ----------------------------------------------------------------------------------------------------------


def test_every_name_has_its_module():
    assert tuple(ATTENTION_CLASSES) == ATTENTIONS
    for name, kind in ATTENTION_CLASSES.items():
        assert type(network(name).blocks[0].attention) is kind


def test_a_configuration_file_chooses(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('[data]\nspec = "synth"\n[model]\npreset = "shd"\nattention = "sdsa"\n')
    assert settings.read(file).model.attention == "sdsa"
    file.write_text('[data]\nspec = "synth"\n[model]\nattention = "softmax"\n')
    with pytest.raises(settings.SettingsError, match="attention = 'softmax'; known are spikescr, spikformer"):
        settings.read(file)


@pytest.mark.parametrize(
    ("attention", "parameters"),
    [
        ("spikescr", 261_640),
        ("spikformer", 261_632),  # without 8 angles
        ("spikformer_tim", 261_638),  # 5 taps and a bias
        ("sdsa", 261_632),
        ("qk_token", 244_864),  # without values: 128 * 128 weights, 128 biases, 256 of batch normalisation
        ("qk_channel", 244_864),
    ],
)
def test_number_of_parameters(attention, parameters):
    model = SpikeSCR(SpikeSCRConfig.preset("shd", attention=attention))
    assert sum(p.numel() for p in model.parameters()) == parameters


# ---- equations -------------------------------------------------------------------------------------------------------


def attention_of(attention, **changes):
    """What the parts of the first block's attention gave on three samples, by name inside it."""
    model = network(attention, **changes)
    seen, _ = spikes_of(model, frames_of(3, 25))
    prefix = "blocks.0.attention."
    return {name.removeprefix(prefix): value for name, value in seen.items() if name.startswith(prefix)}


@pytest.mark.parametrize("attention", ["spikformer", "spikformer_tim"])
@pytest.mark.parametrize("causal", [False, True])
def test_spikformer_is_query_key_value_times_scale(attention, causal):
    part = attention_of(attention, causal=causal)
    query = part["interaction" if attention == "spikformer_tim" else "query"]
    key, value = part["key"], part["value"]
    for sample in range(3):
        for head in (slice(0, 8), slice(8, 16)):
            score = query[:, sample, head] @ key[:, sample, head].T
            product = (score.tril() if causal else score) @ value[:, sample, head] / math.sqrt(8)
            assert torch.equal(lif(product), part["product_lif"][:, sample, head])
    assert part["product_lif"].any()


@pytest.mark.parametrize("causal", [False, True])
def test_sdsa_masks_values_by_what_queries_and_keys_share(causal):
    part = attention_of("sdsa", causal=causal)
    shared = part["query"] * part["key"]
    total = shared.cumsum(0) if causal else shared.sum(0, keepdim=True).expand_as(shared)
    gate = lif(total)
    assert torch.equal(gate, part["gate_lif"]) and 0 < gate.mean() < 1
    assert torch.equal(gate * part["value"], part["product"]) and part["product"].any()


@pytest.mark.parametrize("causal", [False, True])
def test_channel_attention_masks_keys_by_the_sum_of_queries_over_tokens(causal):
    part = attention_of("qk_channel", causal=causal)
    query = part["query"]
    gate = lif(query.cumsum(0) if causal else query.sum(0, keepdim=True).expand_as(query))
    assert torch.equal(gate, part["gate_lif"]) and 0 < gate.mean() < 1
    assert torch.equal(gate * part["key"], part["product"]) and part["product"].any()


def test_token_attention_masks_keys_by_the_sum_of_queries_over_a_heads_channels():
    part = attention_of("qk_token")
    gate = lif(torch.stack([part["query"][..., :8].sum(-1), part["query"][..., 8:].sum(-1)], dim=-1))
    assert torch.equal(gate, part["gate_lif"]) and 0 < gate.mean() < 1
    expected = torch.cat([gate[..., :1] * part["key"][..., :8], gate[..., 1:] * part["key"][..., 8:]], dim=-1)
    assert torch.equal(expected, part["product"]) and expected.any()


def test_temporal_interaction_mixes_the_query_with_its_own_past():
    """The recursion step by step, the convolution as a sum over taps, the first step the query itself."""
    part = attention_of("spikformer_tim")
    module = network("spikformer_tim").blocks[0].attention.interaction
    weight, bias = module.past.weight.flatten(), module.past.bias
    query, found = part["query"], part["interaction"]
    assert torch.equal(found[0], query[0]) and query[0].any()
    past_v, output_v = torch.zeros(3, 16, dtype=torch.float64), torch.zeros(3, 16, dtype=torch.float64)
    for step in range(1, len(query)):
        past_v = past_v / 2 + bias
        for channel in range(16):
            for tap in range(5):
                other = channel + tap - 2
                if other // 8 == channel // 8:  # the convolution ends with the head
                    past_v[:, channel] += weight[tap] * found[step - 1, :, other]
        past = (past_v >= 0.3).double()
        past_v = past_v * (1 - past)
        output_v = output_v / 2 + 0.5 * past + 0.5 * query[step]
        output = (output_v >= 0.5).double()
        output_v = output_v * (1 - output)
        assert torch.equal(output, found[step]), step
        assert torch.equal(past, part["interaction.past_lif"][step - 1])
    assert 0 < part["interaction.past_lif"].mean() < 1 and not torch.equal(found, query)


def test_temporal_interaction_has_the_gradient_of_its_loop():
    """Against SpikingJelly's neurons, called step by step."""
    torch.manual_seed(0)
    module = network("spikformer_tim").blocks[0].attention.interaction.train()
    query = (torch.rand(9, 2, 16, dtype=torch.float64) < 0.3).double().requires_grad_()
    wanted = torch.randn(9, 2, 16, dtype=torch.float64)

    def gradients(output):
        loss = (output * wanted).sum()
        return torch.autograd.grad(loss, [query, module.past.weight, module.past.bias])

    found = module(query)
    ours = gradients(found)
    functional.reset_net(module)
    outputs, past = [], torch.zeros_like(query[0])
    for step in range(9):
        if step:
            past = neuron.LIFNode.single_step_forward(module.past_lif, module.interact(outputs[-1]))
        outputs.append(neuron.LIFNode.single_step_forward(module.output_lif, 0.5 * past + 0.5 * query[step]))
    assert torch.equal(torch.stack(outputs), found)
    for a, b in zip(ours, gradients(torch.stack(outputs)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
        assert a.any()


def test_sums_by_hand():
    x = torch.tensor([[[1.0, 0, 1, 1]], [[0.0, 0, 1, 0]]])  # two steps, one sample, four channels
    assert TokenSum(causal=False)(x, None).tolist() == [[[1, 0, 2, 1]], [[1, 0, 2, 1]]]
    assert TokenSum(causal=True)(x, None).tolist() == [[[1, 0, 1, 1]], [[1, 0, 2, 1]]]
    mask = torch.tensor([1.0, 0.0])[:, None, None]
    assert TokenSum(causal=False)(x, mask).tolist() == [[[1, 0, 1, 1]], [[1, 0, 1, 1]]]
    assert HeadSum(2)(x).tolist() == [[[1, 2]], [[0, 1]]]
    assert HeadSpread(4)(HeadSum(2)(x)).tolist() == [[[1, 1, 2, 2]], [[0, 0, 1, 1]]]


# ---- window ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attention", NAMES)
@pytest.mark.parametrize("causal", [False, True])
def test_a_sample_is_the_same_alone_in_a_batch_and_with_padding(attention, causal):
    model = network(attention, causal=causal)
    frames, lengths = frames_of(4, 24), torch.tensor([24, 11, 1, 17])
    seen, logits = spikes_of(model, frames, lengths)
    together = neurons_of(model, seen)
    for sample, length in enumerate(lengths.tolist()):
        seen, alone_logits = spikes_of(model, frames[sample : sample + 1, :length])
        for name, spikes in neurons_of(model, seen).items():
            assert torch.equal(spikes[:, 0], together[name][:length, sample]), f"{name}, sample {sample}"
        torch.testing.assert_close(alone_logits[:, 0], logits[:length, sample], rtol=0, atol=1e-12)
        assert not logits[length:, sample].any()


@pytest.mark.parametrize("attention", NAMES)
def test_what_stands_in_the_padding_does_not_matter(attention):
    model = network(attention)
    clean, lengths = frames_of(2, 24), torch.tensor([10, 18])
    dirty = clean.clone()
    for sample, length in enumerate(lengths.tolist()):
        clean[sample, length:], dirty[sample, length:] = 0, 7
    with torch.no_grad():
        assert torch.equal(model(clean, lengths), model(dirty, lengths))


@pytest.mark.parametrize("attention", NAMES)
def test_causal_attention_does_not_see_the_future(attention):
    model = network(attention, causal=True)
    frames = frames_of(1, 20)
    changed = frames.clone()
    changed[:, 12:] = 3 - changed[:, 12:].clamp(max=3)
    with torch.no_grad():
        a, b = model(frames), model(changed)
    assert torch.equal(a[:12], b[:12]) and not torch.equal(a[12:], b[12:])


@pytest.mark.parametrize("attention", NAMES)
def test_every_parameter_gets_a_gradient(attention):
    model = network(attention).float().train()
    loss = torch.nn.functional.cross_entropy(readout(model(frames_of(8, 20).float())), torch.arange(8) % 4)
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        if name.endswith("weight") and "attention" in name:
            assert parameter.grad.any(), name
