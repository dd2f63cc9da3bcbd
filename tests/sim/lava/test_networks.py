"""Whole networks: Lava gives the reference's spikes and outputs."""

from __future__ import annotations

import os

import numpy as np
import pytest
from neurotarget.sim import lava

from tests.sim.lava.compare import OTHER, assert_equal
from tests.sim.networks import chain, spike_scr, spikes


def test_layers_with_bias_and_a_residual_path() -> None:
    trace = assert_equal(chain(), spikes(3, 14, 4), np.array([14, 6, 9]))
    # a synapse each: input -> a -> b -> readout
    assert trace.header["latency_steps"] == 3
    assert trace.header["latency"] == {
        "input": 0,
        "a": 1,
        "first": 1,
        "b": 2,
        "second": 2,
        "readout": 3,
        "output": 3,
    }
    assert trace.header["backend"] == "lava"
    assert trace.header["precision"] == "float64"


@pytest.mark.parametrize("tau_steps", [1.0, 3.7, 20.0])
def test_any_time_constant(tau_steps: float) -> None:
    assert_equal(chain(tau_steps=tau_steps), spikes(2, 12, 4, seed=4, largest=6))


@pytest.mark.parametrize("causal", [False, True])
def test_spike_scr(causal: bool) -> None:
    graph, steps = spike_scr(causal=causal, seed=2), 16
    trace = assert_equal(graph, spikes(3, steps, 5, largest=3), np.array([16, 5, 11]))
    # embedding 1 (+1 ahead), query 1, its gain 1, attention (+ the run), projection 1, feed-forward 2,
    # gated convolution: in 1, depthwise 1 (+2 ahead), gate 1, out 1; head 1, logits 1
    assert trace.header["latency_steps"] == 12 + (0 if causal else 1 + steps + 2)


def test_real_payload() -> None:
    frames = np.random.default_rng(3).normal(size=(2, 12, 5)).astype(np.float32)
    assert_equal(spike_scr(seed=31), frames, np.array([9, 12]))


def test_samples_in_one_run_equal_a_fresh_start() -> None:
    graph, frames, lengths = spike_scr(seed=2), spikes(3, 12, 5, largest=3), np.array([12, 7, 10])
    together = lava.run(graph, frames, lengths)
    for i in (1, 2):  # the first starts fresh anyway
        alone = lava.run(graph, frames[i : i + 1], lengths[i : i + 1])
        for name in alone.spikes:
            np.testing.assert_array_equal(alone.spikes[name][0], together.spikes[name][i])
        np.testing.assert_array_equal(alone.output[0], together.output[i])


def test_samples_and_labels_are_cut() -> None:
    trace = lava.run(chain(), spikes(4, 5, 4), labels=np.arange(4), samples=2)
    assert trace.samples == 2
    assert trace.labels is not None and trace.labels.tolist() == [0, 1]


def test_an_utterance_of_no_steps_is_silent() -> None:
    trace = assert_equal(chain(), spikes(2, 6, 4), np.array([0, 6]))
    assert not trace.output[0].any()


@pytest.mark.skipif(OTHER not in os.environ, reason=f"{OTHER} names no second interpreter with a Lava of its own")
def test_another_interpreter_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, frames, lengths = spike_scr(seed=2), spikes(2, 16, 5, largest=3), np.array([16, 11])
    here = lava.run(graph, frames, lengths)
    monkeypatch.setenv("NEUROTARGET_LAVA_PYTHON", os.environ[OTHER])
    there = lava.run(graph, frames, lengths)
    assert here.header["python"] != there.header["python"]
    for name in here.spikes:
        np.testing.assert_array_equal(there.spikes[name], here.spikes[name])
    np.testing.assert_allclose(there.output, here.output, rtol=0, atol=1e-9)
