"""A run that is folded batch by batch says what the whole run says, in whatever batches it ran."""

import dataclasses

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from neurotarget.hardware.counts.layers import count, layer_counts
from neurotarget.hardware.counts.tallies import Counting
from neurotarget.sim import reference
from neurotarget.sim.graph import load
from neurotarget.sim.graph.node import GraphError
from neurotarget.sim.observed import observe
from neurotarget.sim.parity import compare, compare_part
from neurotarget.sim.reference import Again, Attempt, Attempting

from tests.sim.golden import fields, golden

SAMPLES = 6


@pytest.fixture(scope="module", params=["model.nir", "model.q.nir"])
def ran(request, tmp_path_factory):
    """A golden network, its input and its whole run."""
    graph, frames, lengths = golden(tmp_path_factory.mktemp("golden"), request.param)
    labels = np.arange(len(frames)) % graph.output.neurons
    return graph, frames, lengths, labels, reference.run(graph, frames, lengths, labels)


@settings(max_examples=6, deadline=None, derandomize=True)
@given(batch=st.integers(1, SAMPLES + 1))
def test_counts_observations_and_parity_are_those_of_the_whole_run(ran, batch):
    graph, frames, lengths, labels, trace = ran
    counting = Counting(graph)
    other = dataclasses.replace(trace, spikes={name: array.copy() for name, array in trace.spikes.items()})
    other.spikes[graph.spiking[0].name][3, 2, 1] ^= 1  # so that there is a divergence to name, in some batch
    again = Again(graph)

    def against(part):
        at = next(i for i in range(len(frames)) if np.array_equal(trace.input[i], part.input[0]))
        return compare_part(graph, again(part), other.rows(slice(at, at + part.samples)))

    found = reference.folded(graph, frames, lengths, labels, [observe, counting, against], batch=batch)
    whole, expected = found[0], observe(trace)
    peaks = {name: peak.tolist() for name, peak in whole.peaks.items()}
    assert peaks == {name: peak.tolist() for name, peak in expected.peaks.items()}
    assert fields(dataclasses.replace(whole, peaks={})) == fields(dataclasses.replace(expected, peaks={}))
    assert layer_counts(counting, found[1]) == count(graph, trace)
    parity = found[2].parity(graph)
    assert parity == compare(graph, trace, other)
    assert parity.mismatched == 1 and parity.first_divergence.sample == 3


def test_records_of_layers_would_not_add_up():
    """A batch of spikes and a batch of numbers: the widest payload decides of all, so only tallies are summed."""
    graph = load(
        nir.NIRGraph(
            nodes={
                "input": nir.Input(np.array([2])),
                "fc": nir.Linear(np.ones((3, 2))),
                "output": nir.Output(np.array([3])),
            },
            edges=[("input", "fc"), ("fc", "output")],
        )
    )
    frames = np.ones((4, 5, 2))
    frames[2:] = 2
    counting = Counting(graph)
    [tallies] = reference.folded(graph, frames, None, None, [counting], batch=2)
    [record] = layer_counts(counting, tallies)
    parts = [count(graph, reference.run(graph, part))[0] for part in (frames[:2], frames[2:])]
    assert [part.acs for part in parts] == [60, 0] and (record.acs, record.macs) == (0, 120)


def test_an_attempt_that_fails_on_one_batch_fails():
    def refused(trace):
        raise GraphError("here")

    failed = Attempting(refused)(None)
    assert Attempt(1) + Attempting(lambda trace: 2)(None) == Attempt(3)
    for total in (Attempt(1) + failed + Attempt(5), failed + Attempt(5)):
        assert total.found is None and str(total.failed) == "here"
