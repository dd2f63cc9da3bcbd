"""Errors over speakers: closed forms, and pairs on the same utterances."""

import numpy as np
import pytest
from neurotarget.model.training.bootstrap import bootstrapped

from neurotarget.data import Split


def split_of(speakers, samples):
    frames = np.zeros((samples, 1, 1), np.float32)
    keys = tuple(f"{row}.wav" for row in range(samples))
    return Split(frames, np.zeros(samples, int), np.ones(samples, int), keys, speakers)


def test_without_speakers_it_is_the_binomials():
    right = np.arange(400) % 10 != 0
    found = bootstrapped(right, split_of(None, 400))
    assert (found["over"], found["units"]) == ("utterances", 400)
    assert found["standard_error"] == pytest.approx((0.9 * 0.1 / 400) ** 0.5, rel=0.03)
    assert found["low"] == pytest.approx(0.87, abs=0.004) and found["high"] == pytest.approx(0.93, abs=0.004)


def test_speakers_that_are_right_or_wrong_as_a_whole_count_once_each():
    """40 speakers of ten utterances, 30 of them always right: the error is that of 40 draws, not of 400."""
    speakers = tuple(f"s{row // 10}" for row in range(400))
    right = np.arange(400) < 300
    found = bootstrapped(right, split_of(speakers, 400))
    assert (found["over"], found["units"]) == ("speakers", 40)
    assert found["standard_error"] == pytest.approx((0.75 * 0.25 / 40) ** 0.5, rel=0.03)
    alone = bootstrapped(right, split_of(None, 400))["standard_error"]
    assert found["standard_error"] == pytest.approx(alone * 10**0.5, rel=0.05)


def test_a_speaker_with_many_utterances_weighs_as_many():
    """One of two speakers has three of four utterances: of the four draws the means are 0, 3/4 twice, and 1."""
    found = bootstrapped(np.array([1.0, 1.0, 1.0, 0.0]), split_of(("a", "a", "a", "b"), 4))
    means = np.array([0.0, 0.75, 0.75, 1.0])
    assert found["standard_error"] == pytest.approx(means.std(), rel=0.02)
    assert (found["low"], found["high"]) == (0.0, 1.0)


def test_a_pair_on_the_same_utterances_is_surer_than_two_that_are_apart():
    """Both fail on the same hard speakers; one fails on one utterance more of each speaker."""
    speakers = tuple(f"s{row // 10}" for row in range(400))
    one = (np.arange(400) < 300).astype(float)
    other = one * (np.arange(400) % 10 != 0)
    split = split_of(speakers, 400)
    paired = bootstrapped(one - other, split)
    assert paired["low"] > 0.05 and paired["high"] < 0.1
    assert paired["standard_error"] < 0.15 * bootstrapped(one, split)["standard_error"]
    assert bootstrapped(one - one, split)["standard_error"] == 0
