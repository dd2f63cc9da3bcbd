"""Labels that are smoothed or mixed, and each augmentation on its way from the configuration to the batch."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from neurotarget.model.spikescr import SpikeSCRConfig
from neurotarget.model.training import loop
from neurotarget.model.training.augmentation import augmented
from neurotarget.model.training.labels import aimed_at
from neurotarget.model.training.settings import Augmentation, Settings, SettingsError, Training, check_augmentation
from torch import nn

from neurotarget.data import Dataset, Split, Standardisation

LABELS = np.array([2, 0, 1, 2])


def scores_of(seed=0):
    return torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_labels_stay_labels_where_nothing_is_asked_for():
    assert aimed_at(LABELS, 3) is LABELS


def test_smoothed_labels_are_torchs():
    aims = torch.from_numpy(aimed_at(LABELS, 3, smoothing=0.1))
    labels = torch.from_numpy(LABELS)
    expected = F.cross_entropy(scores_of(), labels, label_smoothing=0.1)
    torch.testing.assert_close(F.cross_entropy(scores_of(), aims), expected, rtol=1e-6, atol=0)
    assert abs(expected - F.cross_entropy(scores_of(), labels)) > 0.01


def test_the_loss_of_a_mixed_label_is_the_mixed_loss():
    others, shares = np.array([1, 1, 3, 0]), np.array([0.25, 0.0, 0.75, 0.5])
    aims = torch.from_numpy(aimed_at(LABELS, 3, mix=(others, shares)))
    of_own, of_other = (
        F.cross_entropy(scores_of(), torch.from_numpy(labels), reduction="none") for labels in (LABELS, LABELS[others])
    )
    weights = torch.from_numpy(shares)
    expected = ((1 - weights) * of_own + weights * of_other).mean()
    torch.testing.assert_close(F.cross_entropy(scores_of(), aims), expected, rtol=1e-6, atol=0)


def made_dataset(dtype=np.uint8, standardisation=None):
    """Of the first three features that of the class is one, so that its sum counts steps; the others are random."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(8, 21, 30)
    labels = np.arange(30) % 3
    frames = np.zeros((30, 20, 6), dtype)
    for sample, label, length in zip(frames, labels, lengths, strict=True):
        sample[:length, label] = 1
        sample[:length, 3:] = rng.integers(0, 3, (length, 3))
    split = Split(frames, labels, lengths, ("",) * 30)
    return Dataset("made", ("a", "b", "c"), (6,), 0.01, {"train": split, "validation": split}, standardisation)


def settings(**changes):
    training = {name: changes.pop(name) for name in ("label_smoothing", "batch", "batches") if name in changes}
    how = Augmentation(time_mask=0, feature_mask=0, **changes)
    return Settings("made", SpikeSCRConfig.preset("tiny"), Training(**training), how)


class Seer(loop.Learner):
    """Learns nothing, and writes down its batches."""

    def __init__(self):
        network = nn.Linear(6, 3)
        super().__init__(network, torch.optim.SGD(network.parameters(), lr=0.0), "nothing")
        self.shares, self.aims = [], []

    def scores(self, frames, lengths):
        self.shares.append(frames.sum(axis=1)[:, :3] / lengths[:, None])
        return self.network(torch.from_numpy(frames.sum(axis=1, dtype=np.float32)))

    def scores_and_loss(self, frames, lengths, labels, rows):
        self.aims.append(labels)
        return super().scores_and_loss(frames, lengths, labels, rows)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_an_epoch_aims_at_each_class_by_its_share_of_the_steps(smoothing):
    learner = Seer()
    config = settings(cut_mix=0.8, cut_mix_share=0.9, label_smoothing=smoothing, batch=10, batches="cut")
    loop.train_epoch(learner, made_dataset(), config, 1)
    shares, aims = np.concatenate(learner.shares[:3]), torch.cat(learner.aims).numpy()
    np.testing.assert_allclose(aims, (1 - smoothing) * shares + smoothing / 3, atol=1e-6)
    assert 5 < ((shares > 0).sum(axis=1) == 2).sum() < 30


KEYS = {
    "time_jitter": {"time_jitter": 1.0},
    "feature_jitter": {"feature_jitter": 1.0, "jitter": 2},
    "event_drop": {"event_drop": 60},
    "added_counts": {"added_counts": 1.0},
    "normal_counts": {"added_counts": 1.0, "added_counts_form": "normal"},
    "cut_mix": {"cut_mix": 1.0, "cut_mix_width": "fixed", "cut_mix_share": 0.5},
}


@pytest.mark.parametrize("changes", KEYS.values(), ids=KEYS)
def test_each_augmentation_is_done_where_it_is_asked_for(changes):
    dataset, rows = made_dataset(), np.arange(30)
    config = settings(**changes)
    check_augmentation(config, dataset)
    frames, lengths, mix = augmented(dataset, rows, config.augmentation, np.random.default_rng(0))
    before = dataset.split("train").frames
    assert (frames != before).any(axis=(1, 2)).mean() > 0.3 and frames.dtype == before.dtype
    assert not any(sample[length:].any() for sample, length in zip(frames, lengths, strict=True))
    assert (mix is not None) == ("cut_mix" in changes)
    plain, *_ = augmented(dataset, rows, settings().augmentation, np.random.default_rng(0))
    np.testing.assert_array_equal(plain, before)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"time_jitter": 0.5, "jitter": 20}, "jitter 20 do not fit"),
        ({"feature_jitter": 0.5, "jitter": 6}, "jitter 6 do not fit"),
        ({"level": 0.1, "background": 0.5}, r"level 0.1, background 0.5: .* are counts, and this is for log-mel"),
    ],
)
def test_what_does_not_fit_counts_is_named(changes, message):
    with pytest.raises(SettingsError, match=message):
        check_augmentation(settings(**changes), made_dataset())


def test_counts_are_not_added_to_log_mel_frames():
    heard = Standardisation(np.zeros(6, np.float32), np.ones(6, np.float32), 4000)
    with pytest.raises(SettingsError, match=r"added_counts 0.5: .* are log-mel, and this is for counts"):
        check_augmentation(settings(added_counts=0.5), made_dataset(np.float32, heard))
