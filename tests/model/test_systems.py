"""The switches of the systems that SpikeSCR came from, each against the same thing written out with torch alone."""

import pytest
import torch
import torch.nn.functional as F
from neurotarget.model import train
from neurotarget.model.networks import delays
from neurotarget.model.networks.neuron import FusedPLIFNode
from neurotarget.model.spikescr import SpikeSCRConfig, readout
from neurotarget.model.training import registry, settings
from spikingjelly.activation_based import neuron
from torch import nn

from tests.systems import SYSTEMS, counts, made


def lif(x, tau):
    """SpikingJelly's own, over all steps of [T, B, C]."""
    node = neuron.LIFNode(tau=tau, decay_input=False, step_mode="m")
    return node(x)


def normed(x, norm):
    """Batch normalisation of evaluation, by its formula."""
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return (x - norm.running_mean) * scale + norm.bias


# ---- every system ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_few_steps_of_training_learn_three_words(name):
    """Each word is a band of features; the loss of all utterances falls to less than a half."""
    preset, fields = SYSTEMS[name]
    torch.manual_seed(0)
    model = registry.build(registry.preset(preset, **fields, classes=3, dropout=0.0))
    if fields.get("batch_normalisation", "everywhere") != "everywhere":
        train.initialise(model)
    labels = torch.arange(24) % 3
    frames = counts(24, 12, 0.3) + 2 * F.one_hot(labels, 3).repeat_interleave(4, dim=1)[:, None]
    schedule = settings.Training(epochs=40, learning_rate=0.02, warmup_epochs=2, delay_learning_rate=0.1)
    learner = train.NetworkLearner(model, schedule, train.Task())
    losses = []
    for epoch in range(schedule.epochs):
        learner.begin_step(schedule, epoch)
        loss = F.cross_entropy(readout(model.train()(frames)), labels)
        learner.optimizer.zero_grad()
        loss.backward()
        learner.optimizer.step()
        losses.append(float(loss.detach()))
        if losses[-1] < losses[0] / 2:
            break
    assert losses[-1] < losses[0] / 2, losses
    taus = [value for parameter, value in model.named_parameters() if parameter.endswith(".w")]
    assert bool(taus) == ("plif" in name) and all(value.grad.abs() > 0 for value in taus)


@pytest.mark.parametrize("name", [name for name in SYSTEMS if name not in ("ann", "delays_fixed")])
def test_a_sample_is_the_same_alone_and_with_padding(name):
    model = made(name).double()
    frames, lengths = counts(3, 20).double(), torch.tensor([20, 11, 1])
    with torch.no_grad():
        together = model(frames, lengths)
        for sample, length in enumerate(lengths.tolist()):
            alone = model(frames[sample : sample + 1, :length])
            torch.testing.assert_close(alone[:, 0], together[:length, sample], rtol=0, atol=1e-12)


# ---- SpikeSCR's ------------------------------------------------------------------------------------------------------


def test_every_layer_has_a_time_constant_of_its_own():
    model = made("plif")
    nodes = [module for module in model.modules() if isinstance(module, FusedPLIFNode)]
    assert len(nodes) == len([m for m in model.modules() if isinstance(m, neuron.BaseNode)]) == 17  # 1 + 7 + 4 + 5
    fresh = registry.build(model.config)
    taus = [1 / module.w.sigmoid().item() for module in fresh.modules() if isinstance(module, FusedPLIFNode)]
    assert taus == pytest.approx([3.0] * 17)
    assert sum(p.numel() for p in fresh.parameters()) == 17 + sum(
        p.numel() for p in registry.build(registry.preset("tiny")).parameters()
    )


@torch.no_grad()
def baseline(model, frames):
    """Spiking-Transformer-Speech-baseline, written out: attention without softmax and one MLP in each block."""
    config = model.config
    x = F.conv1d(frames.transpose(1, 2), model.embed.conv.weight, model.embed.conv.bias, padding=1).permute(2, 0, 1)
    x = lif(normed(x, model.embed.norm), config.tau)
    for block in model.blocks:

        def unit(part, x):
            return lif(normed(F.linear(x, part.linear.weight, part.linear.bias), part.norm), config.tau)

        def heads(x):  # [T, B, C] -> [B, heads, T, C / heads]
            return x.unflatten(-1, (config.heads, -1)).permute(1, 2, 0, 3)

        query, key, value = (heads(unit(getattr(block.attention, role), x)) for role in ("query", "key", "value"))
        scores = query @ key.transpose(-1, -2)
        mixed = (scores @ value / (config.width // config.heads) ** 0.5).permute(2, 0, 1, 3).flatten(-2)
        x = x + unit(block.attention.output, lif(mixed, config.tau))
        x = x + unit(block.mlp1.output, unit(block.mlp1.hidden, x))
    return F.linear(x, model.head.weight)


def test_the_baseline_is_attention_and_one_mlp():
    model, frames = made("baseline").double(), counts(3, 20).double()
    expected = baseline(model, frames)
    with torch.no_grad():
        torch.testing.assert_close(model(frames), expected, rtol=0, atol=1e-12)
    assert expected.abs().min() > 0


@pytest.mark.parametrize(("data", "blocks"), [("shd", 1), ("ssc", 1), ("gsc", 2)])
def test_the_baselines_presets_have_the_published_shapes(data, blocks):
    model = registry.build(registry.preset(f"baseline_{data}"))
    width, hidden, classes = (128, 128, 20) if data == "shd" else (256, 1024, 35)
    embedding = 140 * width * 3 + width + 2 * width
    attention, mlp = 4 * (width * width + 3 * width), 2 * width * hidden + 2 * hidden + 2 * width
    expected = embedding + blocks * (attention + mlp) + width * classes
    assert sum(p.numel() for p in model.parameters()) == expected
    assert len([m for m in model.modules() if isinstance(m, neuron.BaseNode)]) == 1 + 7 * blocks


def test_the_head_reads_the_final_neurons_spikes():
    model, frames, seen = made("final_lif").double(), counts(2, 20).double(), {}
    model.final_lif.register_forward_hook(lambda module, inputs, output: seen.update(stream=inputs[0], spikes=output))
    with torch.no_grad():
        logits = model(frames)
    assert seen["stream"].max() > 1 and 0 < seen["spikes"].mean() < 1
    assert torch.equal(seen["spikes"], lif(seen["stream"], 2.0))
    torch.testing.assert_close(logits, seen["spikes"] @ model.head.weight.T, rtol=0, atol=1e-12)


def test_batch_normalisation_is_where_the_switch_says():
    def names(**changes):
        model = registry.build(registry.preset("tiny", **changes))
        return {name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm1d)}

    everywhere = names()
    assert len(everywhere) == 1 + 4 + 4 + 5  # embedding, attention, MLPs, convolution: expand, depthwise, value, gates
    without = names(batch_normalisation="without_embedding_and_gate")
    assert everywhere - without == {"embed.norm", "blocks.0.convolution.gate_output.norm"}
    assert names(batch_normalisation="none") == set()


def test_layer_normalisation_begins_each_branch_by_its_formula():
    model, frames, seen = made("layer_norm").double(), counts(2, 15).double(), {}
    block = model.blocks[0]
    assert list(block.entries) == ["attention", "mlp1", "convolution", "mlp2"]
    for name, entry in block.entries.items():
        nn.init.uniform_(entry.norm.weight)
        nn.init.uniform_(entry.norm.bias)
        entry.register_forward_hook(lambda m, i, o, name=name: seen.update({name: (i[0], o)}))
    block.mlp1.register_forward_pre_hook(lambda m, i: seen.update(read=i[0]))
    block.attention.register_forward_hook(lambda m, i, o: seen.update(added=o))
    with torch.no_grad():
        model(frames)
        for name, entry in block.entries.items():
            (x, out), norm = seen[name], entry.norm
            centred = x - x.mean(dim=-1, keepdim=True)
            deviation = (centred.pow(2).mean(dim=-1, keepdim=True) + 1e-5).sqrt()
            expected = centred / deviation * norm.weight + norm.bias
            if name == "attention":  # spikes enter it
                assert 0 < out.mean() < 1
                expected = lif(expected, 2.0)
            torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)
    assert torch.equal(seen["read"], seen["mlp1"][1])
    stream, _ = seen["attention"]
    assert torch.equal(seen["mlp1"][0], stream + seen["added"])  # the residual stream itself is not normalised


def test_what_does_not_go_together_is_refused():
    with pytest.raises(ValueError, match="twin with layer_normalisation"):
        SpikeSCRConfig.preset("tiny", twin=True, layer_normalisation=True)
    with pytest.raises(ValueError, match="neuron = 'izhikevich'; known are lif, plif"):
        SpikeSCRConfig.preset("tiny", neuron="izhikevich")
    with pytest.raises(ValueError, match="block_type = 'conformer'; known are spikescr, spikformer"):
        SpikeSCRConfig.preset("tiny", block_type="conformer")
    with pytest.raises(ValueError, match="delays = 'random'; known are learnt, fixed, none"):
        delays.DelaysConfig.preset("delays_tiny", delays="random")
    with pytest.raises(ValueError, match=r"sparsity = 1.0; it must lie in \[0, 1\)"):
        delays.DelaysConfig.preset("delays_tiny", sparsity=1.0)


# ---- DCLS-Delays' ----------------------------------------------------------------------------------------------------


def test_fixed_delays_are_whole_from_the_start_and_stay(monkeypatch):
    monkeypatch.setattr(delays, "_dcls", None)  # not needed
    model = registry.build(registry.preset("delays_tiny", delays="fixed"))
    before = {name: value.clone() for name, value in model.named_buffers() if name.endswith("delay")}
    assert len(before) == 3 and all(torch.equal(value, value.round()) for value in before.values())
    assert model.delayed() == [] and not any(name.endswith("delay") for name, _ in model.named_parameters())
    assert torch.equal(model.train().head.kernel(), model.eval().head.kernel())
    schedule = settings.Training(epochs=1, warmup_epochs=0)
    learner = train.NetworkLearner(model.train(), schedule, train.Task())
    assert len(learner.optimizer.param_groups) == 1
    learner.begin_step(schedule, 0.5)
    model(counts(2, 9)).sum().backward()
    learner.optimizer.step()
    assert all(torch.equal(value, model.get_buffer(name)) for name, value in before.items())


@torch.no_grad()
def test_without_delays_a_layer_is_a_linear_map():
    model, frames = made("snn").double(), counts(2, 20).double()
    x = frames.transpose(0, 1)
    for unit in model.hidden:
        x = lif(normed(F.linear(x, unit.synapse.weight), unit.norm), model.config.tau)
        assert 0 < x.mean() < 1
    read = neuron.LIFNode(tau=model.config.tau, decay_input=False, v_threshold=1e9, step_mode="m", store_v_seq=True)
    read(F.linear(x, model.head.weight))
    torch.testing.assert_close(model(frames), read.v_seq, rtol=0, atol=1e-12)


@torch.no_grad()
def test_the_ann_sees_each_step_alone():
    model, frames = made("ann").double(), counts(2, 20).double()
    layers = []
    for unit in model.hidden:
        linear = nn.Linear(unit.synapse.weight.shape[1], 16, bias=False).double()
        linear.weight.copy_(unit.synapse.weight)
        layers += [linear, unit.norm, nn.ReLU()]
    step = nn.Sequential(*layers).eval()
    unit.norm.step_mode = model.hidden[0].norm.step_mode = "s"
    expected = torch.stack([F.linear(step(frames[:, t]), model.head.weight) for t in range(20)])
    unit.norm.step_mode = model.hidden[0].norm.step_mode = "m"
    torch.testing.assert_close(model(frames), expected, rtol=0, atol=1e-12)


def test_the_readout_of_plif_learns_its_time_constant_too():
    x = torch.randn(9, 2, 3, dtype=torch.float64)
    ours = delays.LeakyIntegrator(3.0, learnt=True).double()
    theirs = neuron.ParametricLIFNode(
        init_tau=3.0, decay_input=False, v_threshold=1e9, step_mode="m", store_v_seq=True
    ).double()
    theirs(x)
    potentials = ours(x)
    torch.testing.assert_close(potentials, theirs.v_seq, rtol=1e-12, atol=1e-12)
    potentials.pow(2).sum().backward()
    theirs.v_seq.pow(2).sum().backward()
    torch.testing.assert_close(ours.w.grad, theirs.w.grad, rtol=1e-10, atol=0)
    assert ours.tau == pytest.approx(3.0)


def test_connections_that_do_not_exist_neither_act_nor_learn():
    torch.manual_seed(0)
    layer = delays.DelayedLinear(60, 50, max_delay=4, sparsity=0.3).eval()
    missing = layer.connected == 0
    assert missing.float().mean() == pytest.approx(0.3, abs=4 * (0.21 / 3000) ** 0.5)  # four standard errors
    x = torch.randn(9, 2, 60)
    before = layer(x)
    before.pow(2).sum().backward()
    assert not layer.weight.grad[missing].any() and layer.weight.grad[~missing].all()
    with torch.no_grad():
        layer.weight[missing] = 7.0
    assert torch.equal(layer(x), before)
    assert torch.equal((layer.kernel() != 0).sum(-1), (~missing).long())
    again = delays.DelayedLinear(60, 50, max_delay=4, sparsity=0.3)
    again.load_state_dict(layer.state_dict())  # the mask is part of a checkpoint
    assert torch.equal(again.eval()(x), before)
