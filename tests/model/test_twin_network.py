"""The trained twin: which modules it is made of, its attention against torch's, and that it trains as every network."""

import dataclasses
import json

import pytest
import torch
import torch.nn.functional as F
from neurotarget.conversion import to_nir
from neurotarget.model import evaluate, train
from neurotarget.model.networks.attentions import ATTENTION_CLASSES
from neurotarget.model.networks.twin import SoftmaxProduct
from neurotarget.model.training import checkpoint, registry
from spikingjelly.activation_based import neuron

CONFIGS = [
    *(registry.preset("tiny", twin=True, attention=name) for name in ATTENTION_CLASSES),
    registry.preset("tiny", twin=True, causal=True, blocks=2),
    registry.preset("delays_tiny", twin=True),
]


def build(config):
    torch.manual_seed(0)
    return registry.build(config).double().eval()


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: getattr(config, "attention", "delays"))
def test_nothing_spikes_and_a_sample_does_not_depend_on_its_batch(config):
    network = build(config)
    assert not [name for name, module in network.named_modules() if isinstance(module, neuron.BaseNode)]
    frames = torch.poisson(torch.full((3, 20, 12), 0.8, dtype=torch.float64))
    lengths = torch.tensor([20, 7, 13])
    together = network(frames, lengths)
    assert torch.isfinite(together).all() and len(together.unique()) > 20
    for row, length in enumerate(lengths.tolist()):
        alone = network(frames[row : row + 1, :length])
        torch.testing.assert_close(together[:length, row : row + 1], alone, rtol=1e-9, atol=1e-9)


def test_a_causal_twin_does_not_look_ahead():
    network = build(registry.preset("tiny", twin=True, causal=True))
    frames = torch.poisson(torch.full((1, 20, 12), 0.8, dtype=torch.float64))
    changed = frames.clone()
    changed[:, 10:] += 1
    before, after = network(frames), network(changed)
    assert torch.equal(before[:10], after[:10]) and not torch.equal(before[10:], after[10:])


@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_torchs_own(causal):
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 9, 2, 8, dtype=torch.float64)  # [T, B, C]
    mask = torch.ones(9, 2, 1, dtype=torch.float64)
    mask[6:, 1] = 0
    ours = SoftmaxProduct(8, 2, causal)(query, key, value, mask)
    for row, length in ((0, 9), (1, 6)):
        heads = [x[:length, row].unflatten(-1, (2, 4)).transpose(0, 1) for x in (query, key, value)]
        theirs = F.scaled_dot_product_attention(*heads, is_causal=causal).transpose(0, 1).flatten(-2)
        torch.testing.assert_close(ours[:length, row], theirs)


def test_a_twin_has_the_weights_of_the_spiking_network():
    """Also their shapes: only what spikes is replaced, and nothing that replaces it is trained."""
    for config in CONFIGS:
        if getattr(config, "attention", "spikescr") == "spikescr":
            twin, spiking = (registry.build(dataclasses.replace(config, twin=value)) for value in (True, False))
            shapes = [{name: value.shape for name, value in net.state_dict().items()} for net in (twin, spiking)]
            assert shapes[0] == shapes[1]


# ---- commands --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["tiny", "delays_tiny"])
def trained(request, tmp_path_factory, words):
    """The folder of a twin that the usual command trained."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "config.toml").write_text(
        f'[data]\nspec = "{words}?steps=50"\n[model]\npreset = "{request.param}"\n'
        "[training]\nepochs = 4\nbatch = 8\nlearning_rate = 0.02\nwarmup_epochs = 1\n"
    )
    assert train.main([str(folder / "config.toml"), "--out", str(folder), "--set", "model.twin=true"]) == 0
    return folder


def test_it_trains_says_so_and_is_evaluated(trained, words, capsys):
    assert checkpoint.load(trained / "ckpt.pt").config.twin
    metrics = json.loads((trained / "metrics.json").read_text())
    assert metrics["settings"]["model"]["twin"] is True
    assert metrics["validation_accuracy"] > 0.5  # of four words
    argv = [str(trained / "ckpt.pt"), "--data", f"{words}?steps=50", "--bits", "8", "5", "--json"]
    assert evaluate.main(argv) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["accuracy"] == metrics["test_accuracy"]
    assert [form["bits"] for form in found["quantised"]] == [8, 5]
    assert "softmax" in found["float_operations"]


def test_it_is_not_converted(trained, capsys):
    assert to_nir.main([str(trained / "ckpt.pt")]) == 2
    error = capsys.readouterr().err
    assert "a twin does not spike" in error and error.count("\n") == 1
    assert not (trained / "ckpt.nir").exists()
