"""The public code's recipe, option by option: where dropout is, first weights, no clipping, which epoch is kept."""

import math

import numpy as np
import pytest
import torch
from neurotarget.model import train
from neurotarget.model.spikescr import SpikeSCR, SpikeSCRConfig
from neurotarget.model.training import checkpoint, loop, registry
from neurotarget.model.training.divergence import divergence
from neurotarget.model.training.settings import Augmentation, Settings, Training
from spikingjelly.activation_based import layer
from torch import nn

import neurotarget
from neurotarget.data import Dataset, Split
from tests.model.training_runs import rows_of, run
from tests.torch_networks import tiny

# The reference lists eleven in the network of SHD.
PUBLISHED = [
    "embed.dropout",
    "blocks.0.attention.product_dropout",
    "blocks.0.attention.output.dropout",
    "blocks.0.mlp1.hidden.dropout",
    "blocks.0.mlp1.output.dropout",
    "blocks.0.convolution.expand.dropout",
    "blocks.0.convolution.depthwise.dropout",
    "blocks.0.convolution.dropout",
    "blocks.0.mlp2.hidden.dropout",
    "blocks.0.mlp2.output.dropout",
    "head_dropout",
]


def dropouts(**changes):
    network = SpikeSCR(SpikeSCRConfig.preset("shd", **changes))
    return [name for name, module in network.named_modules() if isinstance(module, layer.Dropout) and module.p == 0.1]


def test_the_published_sites_of_dropout_are_eleven():
    assert dropouts(dropout_sites="published") == PUBLISHED
    passing = ["query", "key", "value"], ["gate", "gate_output"]
    ours = {f"blocks.0.attention.{name}.dropout" for name in passing[0]}
    ours |= {f"blocks.0.convolution.{name}.dropout" for name in passing[1]}
    assert set(dropouts()) == {*PUBLISHED, *ours} - {"blocks.0.attention.product_dropout", "head_dropout"}
    assert dropouts(twin=True, dropout_sites="published") == PUBLISHED
    with pytest.raises(ValueError, match="dropout_sites = 'none'; known are every_unit, published"):
        SpikeSCRConfig.preset("tiny", dropout_sites="none")


def test_a_published_dropout_drops_in_training_and_changes_no_file(tmp_path):
    network = tiny(dropout_sites="published", dropout=0.5)
    frames = torch.poisson(torch.full((4, 20, 12), 0.8), generator=torch.Generator().manual_seed(0))
    graph = neurotarget.export(network, frames, tmp_path / "network.nir")  # raises where it computes something else
    assert not any("dropout" in name for name in graph.nodes)
    seen = []
    network.head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    network.train()(frames)
    silent = (seen[0] == 0).all(dim=0).float().mean()
    assert 0.4 < silent < 0.9


def test_xavier_uniform_draws_every_matrix_and_nothing_else():
    torch.manual_seed(0)
    network = registry.build(SpikeSCRConfig.preset("shd"))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    train.initialise(network)
    for name, value in network.named_parameters():
        if value.dim() == 1:
            assert torch.equal(value, before[name]), name
            continue
        inputs, outputs = (value[0].numel(), value[:, 0].numel())
        bound = math.sqrt(6 / (inputs + outputs))
        assert value.abs().max() <= bound and value.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.03), name


def stepped(clip):
    """Weights of a linear map after one step of plain gradient descent."""
    torch.manual_seed(0)
    network = nn.Linear(3, 2, bias=False)

    class Summing(loop.Learner):
        def scores(self, frames, lengths):
            return self.network(torch.from_numpy(frames.sum(axis=1)))

    frames = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32) * 100
    split = Split(frames, np.array([0, 1, 0, 1]), np.full(4, 5), tuple("abcd"))
    data = Dataset("made", ("a", "b"), (3,), 0.01, {"train": split, "validation": split})
    schedule = Training(batch=4, warmup_epochs=0, learning_rate=1.0, clip=clip)
    config = Settings("made", SpikeSCRConfig.preset("tiny"), schedule, Augmentation())
    before = network.weight.detach().clone()
    loop.train_epoch(Summing(network, torch.optim.SGD(network.parameters(), lr=1.0), ""), data, config, 1)
    return (network.weight.detach() - before).norm().item()


def test_a_clip_of_zero_is_none():
    assert stepped(0) == stepped(1e6) > 10
    assert stepped(0.5) == pytest.approx(0.5, rel=1e-4)


def test_the_epoch_with_the_least_validation_loss_is_kept_where_that_is_asked_for(config, tmp_path):
    """Seed 3: its losses and accuracies choose different epochs."""
    assert run(config, tmp_path / "run", "--set", "training.select_by=loss", "--set", "training.seed=3") == 0
    rows = rows_of(tmp_path / "run")
    losses = [float(row["validation_loss"]) for row in rows]
    accuracies = [float(row["validation_accuracy"]) for row in rows]
    assert losses.index(min(losses)) != accuracies.index(max(accuracies))
    assert checkpoint.load(tmp_path / "run" / "ckpt.pt").metrics["epoch"] == 1 + losses.index(min(losses))


def test_the_entropy_weights_gradient_flows_where_it_is_asked_for():
    student = torch.tensor([[0.3, 1.0, -0.5]], dtype=torch.float64, requires_grad=True)
    teacher = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    values = [divergence(student, teacher, 1.0, True, through) for through in (False, True)]
    assert values[0] == values[1]
    assert torch.autograd.gradcheck(lambda scores: divergence(scores, teacher, 2.0, True, True), student)
    gradients = [torch.autograd.grad(value, student)[0] for value in values]
    assert (gradients[0] - gradients[1]).abs().max() > 1e-3
