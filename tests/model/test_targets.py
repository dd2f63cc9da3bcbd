"""What a student learns step by step and from its teacher's blocks: means over time, distances, the whole loss."""

import math

import numpy as np
import pytest
import torch
from neurotarget.model import distill
from neurotarget.model.networks.delays import DelaysConfig
from neurotarget.model.spikescr import SpikeSCR, SpikeSCRConfig
from neurotarget.model.training import checkpoint, registry, stages
from neurotarget.model.training.divergence import distillation_loss, divergence_of_steps, feature_distance
from neurotarget.model.training.evaluation import answer_of, class_scores
from neurotarget.model.training.settings import SettingsError
from neurotarget.model.training.targets import Targets, pooled

from neurotarget.data import Split


def teacher_of(network, steps=100):
    return checkpoint.Checkpoint(network.config, network.state_dict(), {}, "synth", tuple("abcd"), 1 / steps, {})


def firing(config, seed=0):
    """A network of which every layer fires, in evaluation mode."""
    torch.manual_seed(seed)
    network = registry.build(config)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            torch.nn.init.uniform_(module.bias, 0.2, 0.9)
    return network.eval()


def made_split(steps, lengths, seed=1):
    frames = np.random.default_rng(seed).poisson(0.5, (len(lengths), steps, 12)).astype(np.float32)
    for row, length in enumerate(lengths):
        frames[row, length:] = 0
    return Split(frames, np.arange(len(lengths)) % 4, np.array(lengths), tuple(map(str, range(len(lengths)))))


# ---- means over time -------------------------------------------------------------------------------------------------


def test_a_ratio_of_two_and_a_half_shares_a_step_between_two():
    """Steps 0 .. 4 of 10 ms fill two of 25 ms: 0, 1 and half of 2; half of 2, 3 and 4."""
    values = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0], dtype=torch.float64)[:, None, None]
    means, there = pooled(values, torch.tensor([5]), 2.5, 3)
    assert means.flatten().tolist() == pytest.approx([(1 + 2 + 2) / 2.5, (2 + 8 + 16) / 2.5, 0], rel=1e-15)
    assert there.flatten().tolist() == [True, True, False]


def test_steps_beyond_the_utterance_do_not_count():
    """Of four steps the second student's step has 1.5, of two it has none; what stands there changes nothing."""
    values = torch.tensor([1.0, 2.0, 4.0, 8.0, math.nan], dtype=torch.float64)[:, None, None].repeat(1, 2, 1)
    means, there = pooled(values.nan_to_num(1e9), torch.tensor([4, 2]), 2.5, 2)
    assert means[:, 0].flatten().tolist() == pytest.approx([(1 + 2 + 2) / 2.5, (2 + 8) / 1.5], rel=1e-15)
    assert means[:, 1].flatten().tolist() == pytest.approx([1.5, 0], rel=1e-15)
    assert there.tolist() == [[True, True], [True, False]]


def test_a_ratio_of_one_changes_nothing_and_the_mean_over_time_stays():
    values = torch.rand(20, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    lengths = torch.tensor([20, 20, 20])
    assert torch.equal(pooled(values, lengths, 1.0, 20)[0], values)
    for ratio, steps in ((2.5, 8), (1.25, 16), (4.0, 5)):
        torch.testing.assert_close(pooled(values, lengths, ratio, steps)[0].mean(0), values.mean(0), rtol=1e-14, atol=0)


# ---- distances -------------------------------------------------------------------------------------------------------


def test_the_divergence_of_steps_by_hand():
    """softmax of (log 3, 0) is (3/4, 1/4); a sample's steps that neither side has do not count."""
    logits = torch.tensor([math.log(3), 0.0], dtype=torch.float64).repeat(3, 2, 1)
    target = torch.tensor([0.5, 0.5], dtype=torch.float64).repeat(3, 2, 1)
    target[1, 0] = torch.tensor([0.75, 0.25])  # what the student says: nothing to learn
    target[2, 0] = 0  # the teacher's utterance has ended
    target[1:, 1] = torch.tensor([1.0, 0.0])  # beyond the student's length of 1
    one = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    found = divergence_of_steps(logits, target, torch.tensor([3, 1]))
    assert found.item() == pytest.approx((one / 2 + one) / 2, rel=1e-12)
    assert divergence_of_steps(2 * logits, 3 * target, torch.tensor([3, 1]), 2.0).item() == pytest.approx(4 * found)


def test_the_distance_of_features_by_hand():
    student = torch.tensor([[3.0, 4.0], [0.0, 0.0], [9.0, 9.0]], dtype=torch.float64)[:, None].requires_grad_()
    teacher = torch.tensor([[4.0, 3.0], [0.0, 0.0], [0.0, 1.0]], dtype=torch.float64)[:, None]
    counted = torch.tensor([[True], [True], [False]])
    assert feature_distance(student, teacher, counted, "squared").item() == pytest.approx((1 + 0) / 2, rel=1e-12)
    cosine = feature_distance(student, teacher, counted, "cosine")
    assert cosine.item() == pytest.approx((1 - 24 / 25 + 0) / 2, rel=1e-12)  # two silent steps are equal
    (gradient,) = torch.autograd.grad(cosine, student)
    assert gradient.abs().max() < 1


# ---- teacher and student ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [SpikeSCRConfig.preset("tiny", blocks=2), DelaysConfig.preset("delays_tiny")])
@pytest.mark.parametrize("distance", stages.DISTANCES)
def test_a_student_that_equals_its_teacher_has_nothing_to_learn_from_it(config, distance):
    network, split = firing(config).double(), made_split(20, [20, 13, 20, 9])
    teacher = teacher_of(network)
    targets = Targets(teacher, split, batch=2, ratio=1.0, steps=20, temperature=2.0)
    targets.__dict__["network"] = network
    how = stages.Distillation(0, 0, 2.0, step_weight=1, feature_weight=0)
    rows = np.array([3, 0, 1])
    answer = answer_of(network, split.frames[rows], split.lengths[rows])
    assert all(values.std() > 0 for values in answer.features) and answer.logits[:9].std() > 0
    labels = torch.tensor([0, 1, 2])
    steps = distillation_loss(how, targets)(answer, labels, rows)
    assert 0 <= steps.item() < 1e-5  # shares in float16
    features = stages.Distillation(0, 0, feature_weight=1, feature_distance=distance)
    assert distillation_loss(features, targets)(answer, labels, rows).item() == pytest.approx(0, abs=1e-12)
    other = answer_of(firing(config, seed=5).double(), split.frames[rows], split.lengths[rows])
    assert distillation_loss(how, targets)(other, labels, rows).item() > 1e-2
    assert distillation_loss(features, targets)(other, labels, rows).item() > 1e-2


def test_targets_are_the_teachers_shares_of_each_utterance_alone():
    network, split = firing(SpikeSCRConfig.preset("tiny")), made_split(25, [25, 11, 18])
    targets = Targets(teacher_of(network), split, batch=2, ratio=2.5, steps=12, temperature=2.0)
    assert targets.steps.shape == (3, 12, 4) and targets.steps.dtype == torch.float16
    for row, length in enumerate(split.lengths):
        with torch.no_grad():
            shares = (network(torch.from_numpy(split.frames[[row], :length]))[:, 0] / 2).softmax(-1)
        expected = torch.zeros(12, 4)
        for step in range(math.ceil(length / 2.5)):
            pieces = [(t, min(t + 1, 2.5 * step + 2.5) - max(t, 2.5 * step)) for t in range(length)]
            weights = torch.tensor([max(0.0, piece) for _, piece in pieces])
            expected[step] = weights @ shares / weights.sum()
        torch.testing.assert_close(targets.steps[row].float(), expected, rtol=0, atol=3e-4)
        assert (targets.steps[row].sum(-1) > 0).tolist() == [step * 2.5 < length for step in range(12)]


def test_half_precision_moves_neither_loss_nor_gradient():
    """Also of a teacher that is sure: shares down to 1e-9."""
    generator = torch.Generator().manual_seed(3)
    logits = (torch.randn(40, 64, 35, generator=generator, dtype=torch.float64) * 3).requires_grad_()
    shares = (torch.randn(40, 64, 35, generator=generator, dtype=torch.float64) * 4).softmax(-1)
    lengths = torch.full((64,), 40)
    found = []
    for target in (shares, shares.half().double()):
        loss = divergence_of_steps(logits, target, lengths)
        found.append((loss.detach(), torch.autograd.grad(loss, logits)[0]))
    (exact, gradient), (rounded, near) = found
    assert abs(exact - rounded) / exact < 1e-5
    assert (gradient - near).norm() / gradient.norm() < 5e-4


def test_answers_that_do_not_fit_are_refused(monkeypatch):
    monkeypatch.setattr("neurotarget.model.training.targets.LARGEST_BYTES", 2 * 3 * 12 * 4 - 1)
    targets = Targets(teacher_of(firing(SpikeSCRConfig.preset("tiny"))), made_split(25, [25, 11, 18]), 2, 2.5, 12, 1.0)
    with pytest.raises(SettingsError, match=r"3 utterances of 12 steps and 4 classes in float16.*step_weight = 0"):
        _ = targets.steps


def test_what_is_asked_for_beside_the_scores_changes_no_bit_of_them():
    network, split = SpikeSCR(SpikeSCRConfig.preset("tiny")).eval(), made_split(20, [20, 13])
    answer = answer_of(network, split.frames, split.lengths)
    assert torch.equal(class_scores(network, split.frames, split.lengths), answer.scores)
    assert [values.shape for values in answer.features] == [(20, 2, 16)]
    assert not network.blocks[0]._forward_hooks


def test_a_chain_that_learns_step_by_step_and_from_features(chain_file, tmp_path):
    options = ["distillation.step_weight=0.5", "distillation.feature_weight=0.1", "training.epochs=1"]
    command = [str(chain_file), *(f"--set={option}" for option in options), "--set=stage.2.epochs=2"]
    assert distill.main([*command, "--out", str(tmp_path / "run")]) == 0
    assert distill.main([*command, "--set=distillation.step_weight=0", "--out", str(tmp_path / "other")]) == 0
    last = [
        checkpoint.load_content(tmp_path / name / "stage2_steps20" / "last.pt")["state"] for name in ("run", "other")
    ]
    assert any(not torch.equal(last[0][name], last[1][name]) for name in last[0])
