import dataclasses
import sys
from pathlib import Path

import pytest
import torch
from neurotarget.model import train
from neurotarget.model.networks.delays import (
    LAST_SIGMA,
    DelayedLinear,
    DelaysConfig,
    DelaysNetwork,
    LeakyIntegrator,
    delay_rate,
    sigma_at,
)
from neurotarget.model.spikescr import SpikeSCRConfig
from neurotarget.model.training import checkpoint, loop, registry, settings
from spikingjelly.activation_based import neuron

CONFIGS = Path(__file__).parents[2] / "configs"


def network(seed=0, **changes):
    torch.manual_seed(seed)
    model = DelaysNetwork(DelaysConfig.preset("delays_tiny", **changes)).eval().double()
    with torch.no_grad():  # fresh weights hardly spike: spread the statistics so that every layer does
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.running_var.uniform_(0.5, 1.0)
                module.bias.uniform_(0.0, 0.6)
    return model


def counts(samples, steps, rate=0.8, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.poisson(torch.full((samples, steps, 12), rate, dtype=torch.float64), generator)


def spikes_of(model, frames, lengths=None):
    """Spikes by layer, [T, B, C], and logits."""
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


# ---- one layer -------------------------------------------------------------------------------------------------------


def test_a_synapse_is_one_weight_and_one_delay():
    """By hand: y[t, o] = sum over i of W[o, i] x[t - d[o, i], i]."""
    torch.manual_seed(0)
    layer = DelayedLinear(5, 3, max_delay=4).eval()
    x = torch.randn(9, 2, 5)
    expected = torch.zeros(9, 2, 3)
    delays = layer.delay.round().int()
    for step in range(9):
        for o in range(3):
            for i in range(5):
                if step >= delays[o, i]:
                    expected[step, :, o] += layer.weight[o, i] * x[step - delays[o, i], :, i]
    torch.testing.assert_close(layer(x), expected)
    assert (layer.kernel() != 0).sum(-1).eq(1).all()


def test_the_kernel_of_the_training_is_the_papers_gaussian():
    torch.manual_seed(0)
    layer = DelayedLinear(4, 3, max_delay=6)
    layer.sigma = 1.3
    taps = torch.arange(7)
    position = 6 - layer.delay[..., None]
    share = torch.exp(-0.5 * ((taps - position) / (1.3 + 0.27)) ** 2)  # dcls adds 0.27
    expected = layer.weight[..., None] * share / share.sum(-1, keepdim=True)
    torch.testing.assert_close(layer.kernel(), expected)


@pytest.mark.parametrize("max_delay", [0, 1, 4, 5])
def test_a_narrow_gaussian_at_a_whole_delay_is_the_rounded_synapse(max_delay):
    torch.manual_seed(0)
    layer = DelayedLinear(6, 5, max_delay)
    with torch.no_grad():
        layer.delay.round_()
    layer.sigma = 0.0  # 0.27 in dcls
    smooth, exact = layer.train().kernel(), layer.eval().kernel()
    assert torch.equal(smooth.abs().argmax(-1), exact.abs().argmax(-1))
    torch.testing.assert_close(smooth, exact, atol=5e-3, rtol=5e-3)


def test_weights_and_delays_have_gradients():
    torch.manual_seed(0)
    layer = DelayedLinear(4, 3, max_delay=6)
    layer(torch.randn(10, 2, 4)).pow(2).sum().backward()
    assert layer.weight.grad.abs().min() > 0 and layer.delay.grad.abs().min() > 0


def test_delays_outside_their_range_are_its_ends():
    layer = DelayedLinear(2, 1, max_delay=3)
    with torch.no_grad():
        layer.delay.copy_(torch.tensor([[-2.0, 9.0]]))
    assert layer.rounded().tolist() == [[0, 3]]


def test_the_integrator_is_a_lif_that_never_fires():
    x = torch.randn(12, 2, 3, dtype=torch.float64)
    lif = neuron.LIFNode(tau=1.5, decay_input=False, v_threshold=1e9, step_mode="m", store_v_seq=True)
    lif(x)
    torch.testing.assert_close(LeakyIntegrator(1.5)(x), lif.v_seq)


# ---- the network -----------------------------------------------------------------------------------------------------


def test_the_papers_network_for_shd():
    config = DelaysConfig.preset("delays_shd")
    model = DelaysNetwork(config)
    synapses = 140 * 256 + 256 * 256 + 256 * 20
    assert sum(p.numel() for p in model.parameters()) == 2 * synapses + 2 * 2 * 256  # weight and delay; scale and shift
    assert [module.max_delay for module in model.delayed()] == [24] * 3
    assert not [name for name, _ in model.named_parameters() if name.endswith("synapse.bias")]


def test_every_layer_spikes_in_the_test_network():
    seen, logits = spikes_of(network(), counts(3, 20))
    assert set(seen) == {"hidden.0.lif", "hidden.1.lif"} and logits.shape == (20, 3, 4)
    assert all(0 < spikes.mean() < 1 for spikes in seen.values())


def test_a_sample_is_the_same_alone_in_a_batch_and_with_padding():
    model, frames = network(), counts(5, 30)
    lengths = torch.tensor([30, 17, 25, 1, 9])
    together, logits = spikes_of(model, frames, lengths)
    for sample, length in enumerate(lengths.tolist()):
        alone, alone_logits = spikes_of(model, frames[sample : sample + 1, :length])
        for name, spikes in alone.items():
            assert torch.equal(spikes[:, 0], together[name][:length, sample]), f"{name}, sample {sample}"
        torch.testing.assert_close(alone_logits[:, 0], logits[:length, sample], rtol=0, atol=1e-12)
        assert not logits[length:, sample].any()


def test_what_stands_in_the_padding_does_not_matter():
    model, lengths = network(), torch.tensor([12, 20])
    clean, dirty = counts(2, 30), counts(2, 30)
    for sample, length in enumerate(lengths.tolist()):
        clean[sample, length:], dirty[sample, length:] = 0, 7
    with torch.no_grad():
        assert torch.equal(model(clean, lengths), model(dirty, lengths))


def test_delays_do_not_see_the_future():
    model, frames = network(), counts(1, 20)
    changed = frames.clone()
    changed[:, 12:] = counts(1, 8, rate=3.0)
    with torch.no_grad():
        a, b = model(frames), model(changed)
    assert torch.equal(a[:12], b[:12]) and not torch.equal(a[12:], b[12:])


def test_wrong_frames_are_refused():
    with pytest.raises(ValueError, match=r"\[B, T, 12\] is expected"):
        network()(torch.zeros(2, 5, 13))


def test_training_without_dcls_says_what_to_install_and_evaluation_does_not_need_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "DCLS.construct.modules", None)
    model = network()
    model(counts(1, 5))
    with pytest.raises(ImportError, match=r"pip install 'neurotarget\[delays\]'"):
        model.train()(counts(1, 5))


# ---- schedules, configuration ----------------------------------------------------------------------------------------


def test_the_gaussian_narrows_over_the_first_quarter():
    assert sigma_at(0.0, 24) == 12
    assert sigma_at(0.125, 24) == pytest.approx((12 * LAST_SIGMA) ** 0.5)
    assert sigma_at(0.25, 24) == pytest.approx(LAST_SIGMA) == sigma_at(1.0, 24)


def test_annealing_narrows_and_keeps_delays_in_their_range():
    model = network()
    with torch.no_grad():
        model.head.delay.fill_(99.0)
    model.anneal(0.125)
    assert {module.sigma for module in model.delayed()} == {sigma_at(0.125, 6)}
    assert (model.head.delay == 6).all()


def test_the_rate_of_the_delays_is_a_cosine():
    assert [delay_rate(0.1, share) for share in (0.0, 0.5, 1.0)] == pytest.approx([0.1, 0.05, 0.0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 0}, "width = 0; it must be at least 1"),
        ({"width": 16.0}, "width = 16.0; a int is expected"),
        ({"max_delay": -1}, "max_delay = -1; 0 to 1000 steps"),
        ({"max_delay": 10**9}, "max_delay = 1000000000; 0 to 1000 steps"),
        ({"tau": 1.0}, "tau = 1.0; it must exceed 1 step and be finite"),
        ({"dropout": 1.0}, "dropout = 1.0"),
        ({"heads": 2}, "unknown field heads; known are alpha"),
    ],
)
def test_what_cannot_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        DelaysConfig.preset("delays_tiny", **changes)


def test_presets_belong_to_one_network():
    assert isinstance(registry.preset("delays_tiny"), DelaysConfig)
    assert isinstance(registry.preset("tiny", width=32), SpikeSCRConfig)
    with pytest.raises(ValueError, match=r"preset 'huge'; known are shd, ssc, gsc, tiny, .*, delays_shd"):
        registry.preset("huge")
    with pytest.raises(ValueError, match="preset 'shd'; known are delays_shd"):
        DelaysConfig.preset("shd")
    for name, config in registry.CONFIGS.items():
        assert registry.name_of(config()) == name == type(registry.build(config(width=16))).__name__


def test_a_configuration_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        DelaysConfig().blocks = 3


# ---- training and checkpoints ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def config(tmp_path_factory, words):
    path = tmp_path_factory.mktemp("config") / "delays.toml"
    path.write_text(
        f'[data]\nspec = "{words}?steps=50"\n[model]\npreset = "delays_tiny"\ndropout = 0.1\n'
        "[training]\nepochs = 8\nbatch = 8\nlearning_rate = 0.02\nwarmup_epochs = 2\nclip = 1e6\n"
    )
    return path


@pytest.fixture(scope="module")
def trained(config, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained")
    assert train.main([str(config), "--out", str(out)]) == 0
    return out


def test_training_learns_weights_and_delays(config, trained):
    loaded = checkpoint.load(trained / "ckpt.pt")
    assert isinstance(loaded.model(), DelaysNetwork) and not loaded.model().training
    assert loaded.metrics["test_accuracy"] >= 0.75  # four words
    torch.manual_seed(0)
    before = registry.build(loaded.config).state_dict()
    moved = (loaded.state["head.delay"] - before["head.delay"]).abs()
    assert moved.mean() > 0.1 and loaded.state["head.delay"].min() > -1 and loaded.state["head.delay"].max() < 7


def test_an_interrupted_training_goes_on_as_if_it_had_not_been(config, trained, tmp_path, monkeypatch):
    whole = loop.train_epoch

    def epoch(*arguments):
        if arguments[-1] > 3:
            raise KeyboardInterrupt
        return whole(*arguments)

    monkeypatch.setattr(loop, "train_epoch", epoch)
    assert train.main([str(config), "--out", str(tmp_path)]) == 130
    monkeypatch.undo()
    assert train.main([str(config), "--out", str(tmp_path), "--resume"]) == 0
    states = [checkpoint.load_content(folder / "last.pt")["state"] for folder in (trained, tmp_path)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_training_without_dcls_ends_with_one_sentence(config, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "DCLS.construct.modules", None)
    assert train.main([str(config), "--out", str(tmp_path)]) == 2
    assert "error: training delays needs the package dcls" in capsys.readouterr().err


def test_weights_and_delays_have_rates_of_their_own():
    model = network()
    schedule = settings.Training(epochs=10, learning_rate=0.01, warmup_epochs=0, delay_learning_rate=0.2)
    learner = train.NetworkLearner(model, schedule, train.Task())
    weights, delays = learner.optimizer.param_groups
    assert {id(p) for p in delays["params"]} == {id(module.delay) for module in model.delayed()}
    assert delays["weight_decay"] == 0 < weights["weight_decay"]
    assert len(weights["params"]) + len(delays["params"]) == len(list(model.parameters()))
    assert learner.begin_step(schedule, 5.0) == weights["lr"] == pytest.approx(0.005)
    assert delays["lr"] == pytest.approx(0.1) and model.head.sigma == pytest.approx(LAST_SIGMA)


def test_the_committed_configurations_are_valid(monkeypatch):
    monkeypatch.setenv("NEUROTARGET_SHD", "/shd")
    monkeypatch.setenv("NEUROTARGET_GSC", "/gsc")
    for data, preset in (("synth", "delays_shd"), ("shd", "delays_shd"), ("gsc", "delays_gsc")):
        assert settings.read(CONFIGS / f"delays_{data}.toml").model == DelaysConfig.preset(preset)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": "SpikeSCR"}, "its configuration is not valid: .*max_delay"),
        ({"network": "Dcls"}, "holds 'Dcls' in format 1; this version reads SpikeSCR, DelaysNetwork in format 1"),
        ({"network": ["DelaysNetwork"]}, "this version reads"),
        ({"config": {"blocks": 10**9}}, "cannot fill 1000000000 blocks"),
        ({"config": {"width": 10**9}}, r"largest parameter has \d+ values; .* is 1000000000 wide"),
        ({"config": {"max_delay": 10**9}}, "max_delay = 1000000000"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(trained, tmp_path, change, message):
    content = checkpoint.load_content(trained / "ckpt.pt")
    assert content["network"] == "DelaysNetwork"
    torch.save({**content, **change}, tmp_path / "other.pt")
    with pytest.raises(checkpoint.CheckpointError, match=message):
        checkpoint.load(tmp_path / "other.pt")
