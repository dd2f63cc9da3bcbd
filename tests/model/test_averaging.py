"""Averages of weights: closed forms, torch's own statistics, and a training that they leave as it was."""

import numpy as np
import pytest
import torch
from neurotarget.model.networks.neuron import FusedLIFNode
from neurotarget.model.spikescr import SpikeSCR, SpikeSCRConfig
from neurotarget.model.training import checkpoint, loop
from neurotarget.model.training.averaging import Average
from neurotarget.model.training.settings import Training
from torch import nn
from torch.optim.swa_utils import update_bn

from neurotarget.data import Split
from tests.model.training_runs import interrupted_after, rows_of, run, same_weights


def made():
    torch.manual_seed(0)
    return SpikeSCR(SpikeSCRConfig.preset("tiny", dropout=0.0))


def made_split(samples=10, steps=12):
    frames = np.random.default_rng(0).poisson(0.8, (samples, steps, 12)).astype(np.float32)
    return Split(frames, np.arange(samples) % 4, np.full(samples, steps), ("",) * samples)


def set_weights(network, value):
    with torch.no_grad():
        network.head.weight.fill_(value)


def test_an_equal_average_is_the_mean_of_the_last_epochs():
    network, split = made(), made_split()
    average = Average(network, Training(epochs=5, average_epochs=3, average="equal", batch=5))
    for epoch, value in enumerate((100.0, 50.0, 1.0, 2.0, 6.0), start=1):
        set_weights(network, -7.0)
        average.end_step(network, epoch)
        set_weights(network, value)
        average.end_epoch(network, split, epoch)
        assert (average.network is None) == (epoch < 3)
    torch.testing.assert_close(average.network.head.weight, torch.full_like(network.head.weight, 3.0))
    assert (network.head.weight == 6).all()


def test_an_exponential_average_follows_every_step():
    network, split = made(), made_split()
    average = Average(network, Training(epochs=2, average_epochs=1, average="exponential", average_decay=0.75))
    for epoch, values in ((1, (100.0, 50.0)), (2, (8.0, 0.0, 4.0))):
        for value in values:
            set_weights(network, value)
            average.end_step(network, epoch)
        average.end_epoch(network, split, epoch)
    expected = 0.75 * (0.75 * 8 + 0.25 * 0) + 0.25 * 4
    torch.testing.assert_close(average.network.head.weight, torch.full_like(network.head.weight, expected))


def test_statistics_of_an_average_are_torchs():
    """`torch.optim.swa_utils.update_bn` on the same batches."""
    network, split = made(), made_split()
    schedule = Training(epochs=1, average="equal", batch=5)
    average = Average(network, schedule)
    average.end_epoch(network, split, 1)
    batches = loop.dealt(split, schedule, np.random.default_rng(schedule.seed))
    for module in network.modules():
        if isinstance(module, FusedLIFNode):
            module.store_v_seq = True  # which the compiled pass leaves to torch and SpikingJelly
    update_bn([torch.from_numpy(split.frames[rows]) for rows in batches], network)
    fresh, measured = made().state_dict(), average.network.state_dict()
    names = [name for name in measured if "running" in name]
    assert names and not any(torch.equal(measured[name], fresh[name]) for name in names)
    for name in names:
        torch.testing.assert_close(measured[name], network.state_dict()[name], rtol=1e-5, atol=1e-6)
    momenta = {module.momentum for module in average.network.modules() if isinstance(module, nn.BatchNorm1d)}
    assert momenta == {module.momentum for module in made().modules() if isinstance(module, nn.BatchNorm1d)}


@pytest.fixture(scope="module")
def plain(config, tmp_path_factory):
    out = tmp_path_factory.mktemp("plain") / "run"
    assert run(config, out) == 0
    return out


@pytest.mark.parametrize("how", ["equal", "exponential"])
def test_a_training_is_the_same_and_its_average_goes_on_after_an_interruption(config, plain, tmp_path, how):
    options = ("--set", f"training.average={how}", "--set", "training.average_epochs=2")
    assert run(config, tmp_path / "whole", *options) == 0
    with interrupted_after(3):
        assert run(config, tmp_path / "run", *options) == 130
    assert run(config, tmp_path / "run", "--resume", *options) == 0
    assert rows_of(tmp_path / "run") == rows_of(tmp_path / "whole")
    assert same_weights(tmp_path / "run" / "ckpt.pt", tmp_path / "whole" / "ckpt.pt")
    last, before = (checkpoint.load_content(path / "last.pt") for path in (tmp_path / "whole", plain))
    assert all(torch.equal(last["state"][name], before["state"][name]) for name in before["state"])
    assert int(last["average"]["n_averaged"]) == (2 if how == "equal" else 2 * 4)
    rows, others = rows_of(tmp_path / "whole"), rows_of(plain)
    assert rows[:2] == others[:2]
    assert [row["train_loss"] for row in rows] == [row["train_loss"] for row in others]
    assert rows[3]["validation_loss"] != others[3]["validation_loss"]


def test_with_more_epochs_an_average_begins_anew(config, tmp_path):
    options = ("--set", "training.average=equal", "--set", "training.average_epochs=2", "--set", "training.epochs=")
    assert run(config, tmp_path / "run", *options[:-1], f"{options[-1]}2") == 0
    assert run(config, tmp_path / "run", "--resume", *options[:-1], f"{options[-1]}3") == 0
    assert int(checkpoint.load_content(tmp_path / "run" / "last.pt")["average"]["n_averaged"]) == 1
