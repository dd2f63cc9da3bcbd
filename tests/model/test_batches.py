"""Batches cut to their longest utterance or sorted, and schedules with restarts: closed forms and equal results."""

import math

import numpy as np
import pytest
import torch
from neurotarget.model.networks.delays import DelaysConfig, DelaysNetwork
from neurotarget.model.spikescr import SpikeSCR, SpikeSCRConfig, readout
from neurotarget.model.training import evaluation, loop
from neurotarget.model.training.settings import Augmentation, Settings, Training
from torch import nn

from neurotarget.data import Dataset, Split

LENGTHS = np.array([30, 4, 17, 9, 25, 2, 11, 6, 20, 8])


def made_split(rng):
    frames = np.zeros((len(LENGTHS), 30, 12), np.float32)
    for sample, length in zip(frames, LENGTHS, strict=True):
        sample[:length] = rng.poisson(0.8, (length, 12))
    return Split(frames, np.arange(len(LENGTHS)) % 4, LENGTHS, tuple("abcdefghij"))


def made_network(kind):
    torch.manual_seed(0)
    config = SpikeSCRConfig.preset("tiny") if kind is SpikeSCR else DelaysConfig.preset("delays_tiny")
    network = kind(config).double().eval()
    with torch.no_grad():  # so that every layer spikes
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.running_var.uniform_(0.05, 0.2)
                module.bias.uniform_(0.0, 0.6)
    return network


@pytest.mark.parametrize("kind", [SpikeSCR, DelaysNetwork])
def test_scores_of_cut_batches_are_those_of_padded_ones(kind):
    split, network = made_split(np.random.default_rng(0)), made_network(kind)
    with torch.no_grad():
        x, lengths = torch.from_numpy(split.frames).double(), torch.from_numpy(split.lengths)
        padded = readout(network(x, lengths), lengths)
    seen = []

    def scorer(frames, lengths):
        seen.append((frames.shape[1], lengths.max()))
        return evaluation.class_scores(network, frames, lengths)

    scores = evaluation.split_scores(scorer, split, batch=3)
    torch.testing.assert_close(scores, padded, rtol=0, atol=1e-12)
    assert padded.std(dim=0).min() > 0.01  # samples differ: their order is tested
    assert seen == [(6, 6), (11, 11), (25, 25), (30, 30)]


class Seer(loop.Learner):
    """Learns nothing, and writes down what it is shown."""

    def __init__(self):
        network = nn.Linear(12, 4)
        super().__init__(network, torch.optim.SGD(network.parameters(), lr=0.0), "nothing")
        self.seen = []

    def scores(self, frames, lengths):
        self.seen.append((frames.shape[1], lengths.tolist()))
        return self.network(torch.from_numpy(frames.sum(axis=1)))


@pytest.mark.parametrize("batches", ["padded", "cut", "sorted"])
def test_an_epoch_shows_every_utterance_once_and_no_more_steps_than_it_has_to(batches):
    split, learner = made_split(np.random.default_rng(0)), Seer()
    dataset = Dataset("made", ("a", "b", "c", "d"), (12,), 0.01, {"train": split, "validation": split})
    config = Settings("made", SpikeSCRConfig.preset("tiny"), Training(batch=3, batches=batches), Augmentation())
    loop.train_epoch(learner, dataset, config, 1)
    shown = learner.seen[:3]
    assert sorted(length for _, lengths in shown for length in lengths) == sorted(LENGTHS)
    assert [steps for steps, _ in shown] == [30 if batches == "padded" else max(lengths) for _, lengths in shown]
    ordered = sorted(sorted(lengths) for _, lengths in shown)
    assert (ordered == [[2, 4, 6, 8], [9, 11, 17], [20, 25, 30]]) == (batches == "sorted")


def test_sorted_batches_are_dealt_anew_in_each_epoch():
    """Of 640 utterances batches of 10 are another choice each time, and do not come in the order of their lengths."""
    lengths = np.random.default_rng(1).integers(1, 1000, 640)
    split = Split(np.zeros((640, 1, 1)), np.zeros(640, int), lengths, ("",) * 640)
    schedule = Training(batch=10, batches="sorted")
    first, second = (loop.dealt(split, schedule, np.random.default_rng(seed)) for seed in (1, 2))
    for epoch in (first, second):
        assert sorted(np.concatenate(epoch)) == list(range(640)) and {len(rows) for rows in epoch} == {10}
        spread = np.mean([np.ptp(lengths[rows]) for rows in epoch])
        assert spread < 100  # of 1000; of ten at random it is about 820
        assert np.mean(np.diff([lengths[rows].mean() for rows in epoch]) > 0) < 0.75
    assert {frozenset(rows) for rows in first}.isdisjoint({frozenset(rows) for rows in second})


# ---- schedules -------------------------------------------------------------------------------------------------------


def test_warm_restarts_fall_to_zero_and_begin_at_the_peak_again():
    schedule = Training(epochs=100, warmup_epochs=2, schedule="warm_restarts", restart_epochs=10, learning_rate=0.4)
    rates = [loop.learning_rate(schedule, 2 + since) for since in (0, 5, 9.999, 10, 15, 20, 27.5)]
    expected = [0.4, 0.2, 0.0, 0.4, 0.2, 0.4, 0.2 * (1 + math.cos(0.75 * math.pi))]
    assert rates == pytest.approx(expected, abs=1e-6)
    assert loop.learning_rate(schedule, 1) < 0.4


def test_a_periodic_cosine_is_torchs_beyond_its_t_max():
    """The published code steps CosineAnnealingLR(T_max = 40) each epoch, far beyond 40."""
    schedule = Training(epochs=300, warmup_epochs=0, schedule="periodic", restart_epochs=40, learning_rate=0.002)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.002)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=40)
    for epoch in range(170):
        assert loop.learning_rate(schedule, epoch) == pytest.approx(theirs.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        theirs.step()


def test_with_restarts_more_epochs_leave_the_earlier_rates_as_they_were():
    for name in ("warm_restarts", "periodic"):
        short, long = (Training(epochs=epochs, schedule=name, restart_epochs=20) for epochs in (40, 400))
        assert all(loop.learning_rate(short, epoch) == loop.learning_rate(long, epoch) for epoch in range(40))
