"""How the answers of the steps become one: in training, in the file, in integers, always the same class."""

import numpy as np
import pytest
import torch
from neurotarget.conversion import fine_tune
from neurotarget.conversion.quantize import quantize
from neurotarget.conversion.tuning.integer_network import IntegerNetwork
from neurotarget.model.networks.configuration import READOUTS
from neurotarget.model.networks.delays import DelaysConfig, DelaysNetwork
from neurotarget.model.networks.parts import readout
from neurotarget.model.training import evaluation
from neurotarget.model.training.settings import Training
from neurotarget.sim import reference
from neurotarget.sim.graph import load
from neurotarget.sim.trace import classify

import neurotarget
from tests.torch_networks import lively, tiny

IN_THE_FILE = {"softmax_sum": "softmax_sum", "mean": "sum", "spike_count": "sum", "max": "max"}


def test_each_by_hand():
    """Two steps of one sample, one of the other, whose second step does not count."""
    logits = torch.tensor([[[1.0, 3.0], [-2.0, -1.0]], [[4.0, 0.0], [9.0, 9.0]]])
    lengths = torch.tensor([2, 1])
    assert readout(logits, lengths, "mean").tolist() == [[2.5, 1.5], [-2.0, -1.0]]
    assert readout(logits, lengths, "max").tolist() == [[4.0, 3.0], [-2.0, -1.0]]
    assert readout(logits, lengths, "spike_count").tolist() == [[5.0, 3.0], [-2.0, -1.0]]
    shares = [[1 / (1 + np.e**2), 1 / (1 + np.e**-2)], [1 / (1 + np.e**-4), 1 / (1 + np.e**4)]]
    torch.testing.assert_close(readout(logits, lengths)[0], torch.tensor(np.sum(shares, axis=0)).float())


def test_whole_utterances_are_read_as_in_the_public_code():
    """`calc_loss` of DCLS-Delays and SpikeSCR: over the first dimension, whatever is padded."""
    output = torch.randn(7, 4, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    theirs = {
        "mean": torch.mean(output, 0),
        "max": torch.max(output, 0)[0],
        "spike_count": torch.sum(output, 0),
        "softmax_sum": torch.sum(torch.nn.Softmax(dim=2)(output), 0),
    }
    assert set(theirs) == set(READOUTS)
    for how, expected in theirs.items():
        for lengths in (None, torch.full((4,), 7)):
            found = readout(output, lengths, how)
            torch.testing.assert_close(found, expected)
            gradients = [
                torch.autograd.grad((scores**2).sum(), output, retain_graph=True)[0] for scores in (found, expected)
            ]
            torch.testing.assert_close(*gradients)


def frames_of(samples=12, steps=20):
    frames = torch.poisson(torch.full((samples, steps, 12), 0.8), generator=torch.Generator().manual_seed(0))
    return frames.numpy(), np.random.default_rng(0).integers(3, steps + 1, samples)


def undecided(network):
    """Rows of the head that sum to zero: what the stream has in common names no class."""
    with torch.no_grad():
        network.head.weight -= network.head.weight.mean(dim=1, keepdim=True)
        network.head.weight *= 5
    return network


def delays(**changes):
    torch.manual_seed(0)
    return lively(DelaysNetwork(DelaysConfig.preset("delays_tiny", **changes)))


@pytest.mark.parametrize(("make", "how"), [*((tiny, how) for how in READOUTS), (delays, "max"), (delays, "mean")])
def test_the_file_names_the_class_that_the_network_names(tmp_path, make, how):
    network = undecided(make(readout=how))
    frames, lengths = frames_of()
    graph = neurotarget.export(network, frames, tmp_path / "network.nir", lengths=lengths)
    assert graph.readout == IN_THE_FILE[how]
    with torch.no_grad():
        scores = evaluation.class_scores(network.double(), frames, lengths)
    trace = reference.run(graph, frames, lengths)
    assert trace.header["readout"] == graph.readout
    named = classify(trace.output, trace.lengths, graph.readout)
    assert named.tolist() == scores.argmax(-1).tolist()
    others = {word: classify(trace.output, trace.lengths, word).tolist() for word in IN_THE_FILE.values()}
    assert len(set(map(tuple, others.values()))) > 1  # it matters


def test_the_largest_output_is_read_in_integers_too(tmp_path):
    frames, lengths = frames_of()
    graph = neurotarget.export(undecided(tiny(readout="max")), frames, tmp_path / "network.nir", lengths=lengths)
    whole = load(quantize(graph, frames, lengths)[0])
    assert whole.quantised and whole.readout == "max"
    trace = reference.run(whole, frames, lengths)
    learner = fine_tune.IntegerLearner(IntegerNetwork(whole, 5.0), Training())
    with torch.no_grad():
        scores = learner.scores(frames.astype(np.float64), lengths)
    named = classify(trace.output, lengths, "max").tolist()
    assert scores.argmax(-1).tolist() == named and len(set(named)) > 1


@pytest.mark.parametrize("make", [tiny, delays])
def test_another_word_is_refused(make):
    with pytest.raises(ValueError, match="readout = 'last'; known are softmax_sum, mean, max, spike_count"):
        make(readout="last")
