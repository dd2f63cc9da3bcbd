import dataclasses
import json
import math
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from neurotarget.model import distill
from neurotarget.model.spikescr import readout
from neurotarget.model.training import checkpoint, loop, stages, targets
from neurotarget.model.training.checkpoint import CheckpointError
from neurotarget.model.training.divergence import distillation_loss, divergence
from neurotarget.model.training.evaluation import Answer

from neurotarget.data import Dataset, Split, open_dataset

FILES = ["ckpt.pt", "curves.png", "last.pt", "metrics.csv", "metrics.json"]


# ---- the loss --------------------------------------------------------------------------------------------------------


def test_divergence_by_hand():
    """softmax of (log 3, 0) is (3/4, 1/4), of (0, 0) is (1/2, 1/2)."""
    teacher = torch.tensor([[math.log(3), 0.0]], dtype=torch.float64)
    student = torch.zeros(1, 2, dtype=torch.float64)
    expected = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert divergence(student, teacher).item() == pytest.approx(expected, rel=1e-12)
    # the student's entropy is the largest possible: its weight is one
    assert divergence(student, teacher, entropy_weighted=True).item() == pytest.approx(expected, rel=1e-12)
    reverse = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) / math.log(2)
    assert divergence(teacher, student).item() == pytest.approx(reverse, rel=1e-12)
    weighted = divergence(teacher, student, entropy_weighted=True)
    assert weighted.item() == pytest.approx(reverse * entropy, rel=1e-12)


@pytest.mark.parametrize("temperature", [1.0, 0.5, 4.0])
def test_divergence_and_its_gradient_are_torchs(temperature):
    generator = torch.Generator().manual_seed(1)
    student, teacher = (5 * torch.rand(7, 20, generator=generator, dtype=torch.float64) for _ in range(2))
    gradients, values = [], []
    for ours in (True, False):
        scores = student.clone().requires_grad_()
        if ours:
            value = divergence(scores, teacher, temperature)
        else:
            log_student, shares = F.log_softmax(scores / temperature, -1), F.softmax(teacher / temperature, -1)
            value = temperature**2 * F.kl_div(log_student, shares, reduction="batchmean")
        value.backward()
        gradients.append(scores.grad)
        values.append(value.detach())
    torch.testing.assert_close(values[0], values[1], rtol=1e-12, atol=0)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-10, atol=1e-15)


def test_divergence_is_zero_for_equal_scores_and_finite_for_sure_ones():
    scores = torch.tensor([[100.0, 0.0, 0.0], [1.0, 2.0, 3.0]])
    assert divergence(scores, scores).item() == 0
    opposite = scores.flip(-1).requires_grad_()
    for weighted in (False, True):
        value = divergence(opposite, scores, entropy_weighted=weighted)
        (gradient,) = torch.autograd.grad(value, opposite)
        assert torch.isfinite(value) and torch.isfinite(gradient).all()


def test_the_entropy_weight_has_no_gradient():
    student = torch.tensor([[0.3, 1.0, -0.5]], dtype=torch.float64, requires_grad=True)
    teacher = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    plain, weighted = (
        torch.autograd.grad(divergence(student, teacher, entropy_weighted=how), student)[0] for how in (False, True)
    )
    entropy = torch.distributions.Categorical(logits=student.detach()).entropy().item() / math.log(3)
    torch.testing.assert_close(weighted, plain * entropy, rtol=1e-12, atol=0)


def test_the_loss_is_the_papers_with_its_weights_and_the_teachers_rows():
    generator = torch.Generator().manual_seed(2)
    teacher, scores = torch.rand(9, 4, generator=generator), torch.rand(3, 4, generator=generator)
    labels, rows = torch.tensor([1, 3, 0]), np.array([7, 0, 4])
    paper = F.cross_entropy(scores, labels) + 0.5 * F.kl_div(
        scores.log_softmax(-1), teacher[[7, 0, 4]].softmax(-1), reduction="batchmean"
    )
    loss = distillation_loss(stages.Distillation(), SimpleNamespace(scores=teacher))
    torch.testing.assert_close(loss(Answer(scores, scores[None], (), labels), labels, rows), paper)


# ---- teachers --------------------------------------------------------------------------------------------------------


def dataset(spec="made", keys=("a", "b", "c"), labels=(0, 1, 0)):
    def split(keys, labels):
        return Split(np.zeros((len(keys), 4, 3)), np.array(labels), np.full(len(keys), 4), tuple(keys))

    splits = {"train": split(keys, labels), "validation": split("v", [0]), "test": split("t", [1])}
    return Dataset(spec, ("no", "yes"), (3,), 0.1, splits)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keys": ("a", "c", "b")}, "train split of fine and made: utterance 1 is c in the one and b in the other"),
        ({"keys": ("a", "b"), "labels": (0, 1)}, "2 and 3 utterances cannot be paired"),
        ({"labels": (0, 1, 1)}, "c has the labels 1, 0"),
    ],
)
def test_utterances_that_cannot_be_paired_are_an_error(changes, message):
    distill.check_pairs(dataset(), dataset())
    with pytest.raises(distill.DistillationError, match=message):
        distill.check_pairs(dataset("fine", **changes), dataset())


def run(chain_file, out, *options):
    return distill.main([str(chain_file), "--out", str(out), *options])


@pytest.fixture(scope="module")
def chain(chain_file, tmp_path_factory):
    """The folder of an uninterrupted chain of two stages."""
    out = tmp_path_factory.mktemp("chain")
    assert run(chain_file, out) == 0
    return out


def test_a_chain_leaves_a_folder_a_stage_and_a_summary(chain, words):
    names = ["accuracy.png", "metrics.json", "stage1_steps50", "stage2_steps20"]
    assert sorted(file.name for file in chain.iterdir()) == names
    for folder, spec in (("stage1_steps50", f"{words}?steps=50"), ("stage2_steps20", f"{words}?steps=20")):
        assert sorted(file.name for file in (chain / folder).iterdir()) == FILES
        saved = checkpoint.load(chain / folder / "ckpt.pt")
        assert (saved.data, saved.step_seconds) == (spec, open_dataset(spec).step_seconds)
    summary = json.loads((chain / "metrics.json").read_text())
    assert [row["steps_per_second"] for row in summary["stages"]] == [50, 20]
    last = json.loads((chain / "stage2_steps20" / "metrics.json").read_text())
    assert summary["test_accuracy"] == summary["stages"][1]["test_accuracy"] == last["test_accuracy"]
    assert summary["checkpoint"] == "stage2_steps20/ckpt.pt" and summary["steps_saved"] == pytest.approx(0.6)
    assert last["settings"]["distillation"]["temperature"] == 2
    assert last["settings"]["distillation"]["teacher_steps"] == 50
    assert (chain / "accuracy.png").read_bytes().startswith(b"\x89PNG")


def test_the_student_starts_from_the_teachers_state_and_the_teacher_stays(chain_file, chain, tmp_path, monkeypatch):
    path = chain / "stage1_steps50" / "ckpt.pt"
    before, state = path.read_bytes(), checkpoint.load(path).state
    started = []
    whole = loop.train_epoch

    def epoch(learner, *arguments):
        if arguments[-1] == 1:
            started.append({name: value.clone() for name, value in learner.network.state_dict().items()})
        return whole(learner, *arguments)

    monkeypatch.setattr(loop, "train_epoch", epoch)
    assert run(chain_file, tmp_path / "run", "--teacher", str(path)) == 0
    assert len(started) == 1  # the teacher has the first stage's time scale and stands in its place
    assert all(torch.equal(started[0][name], state[name]) for name in state) and started[0].keys() == state.keys()
    assert path.read_bytes() == before
    trained = checkpoint.load(tmp_path / "run" / "stage2_steps20" / "ckpt.pt").state
    assert not torch.equal(trained["head.weight"], state["head.weight"])
    expected = checkpoint.load(chain / "stage2_steps20" / "ckpt.pt").state
    assert all(torch.equal(trained[name], expected[name]) for name in expected)


def test_a_stage_of_as_many_steps_learns_from_the_one_before(chain_file, chain, tmp_path):
    path, out = chain / "stage1_steps50" / "ckpt.pt", tmp_path / "run"
    weights = (
        "--set",
        "stage.2.teacher_weight=0",
        "--set",
        "stage.2.label_weight=0",
        "--set",
        "stage.2.weight_decay=0",
    )
    assert run(chain_file, out, "--teacher", str(path), "--set", "stage.2.steps=50", *weights) == 0
    summary = json.loads((out / "metrics.json").read_text())
    assert [row["steps_per_second"] for row in summary["stages"]] == [50, 50] and summary["steps_saved"] == 0
    student, teacher = (checkpoint.load(where).state for where in (out / "stage2_steps50" / "ckpt.pt", path))
    learnt = [name for name, value in teacher.items() if name.endswith("weight") and "norm" not in name]
    assert all(torch.equal(student[name], teacher[name]) for name in learnt)  # nothing to learn from, so it stays


def test_the_kept_scores_are_what_the_teacher_says_of_each_sample(chain_file, chain, words):
    """In evaluation mode, on the finer frames, without augmentation, one sample at a time."""
    first, second = stages.read(chain_file)
    path = chain / "stage1_steps50" / "ckpt.pt"
    loaded = checkpoint.load(path)
    teacher = distill.Teacher(path, loaded, open_dataset(first.settings.data))
    task = distill.lesson(second, teacher, open_dataset(second.settings.data))
    split = teacher.dataset.split("train")
    rows, labels = np.array([5, 0, 31]), torch.tensor([0, 1, 2])
    with torch.no_grad():
        alone = torch.cat(
            [
                readout(loaded.model()(torch.from_numpy(np.float32(split.frames[[row], : split.lengths[row]]))))
                for row in rows
            ]
        )
    scores = torch.rand(3, 4)
    expected = F.cross_entropy(scores, labels) + 0.5 * divergence(scores, alone, temperature=2)
    torch.testing.assert_close(task.loss(Answer(scores, scores[None], (), labels), labels, rows), expected)
    state = task.state()
    assert all(torch.equal(state[name], loaded.state[name]) for name in loaded.state)


@pytest.mark.parametrize("stage", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_an_interrupted_chain_goes_on_as_if_it_had_not_been(chain_file, chain, tmp_path, capsys, stage):
    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        whole, begun = loop.train_epoch, []

        def epoch(*arguments):
            begun.append(arguments[-1])
            if begun.count(1) == stage and arguments[-1] == 2:
                raise KeyboardInterrupt
            return whole(*arguments)

        patch.setattr(loop, "train_epoch", epoch)
        assert run(chain_file, out) == 130
    assert "go on with --resume" in capsys.readouterr().err
    assert run(chain_file, out, "--resume") == 0
    same_chain(out, chain)


def same_chain(out, other):
    for folder in ("stage1_steps50", "stage2_steps20"):
        for name in ("ckpt.pt", "last.pt"):
            states = [checkpoint.load_content(root / folder / name)["state"] for root in (out, other)]
            assert all(torch.equal(states[0][key], states[1][key]) for key in states[1]), f"{folder}/{name}"
    summaries = [json.loads((root / "metrics.json").read_text()) for root in (out, other)]
    for summary in summaries:
        for row in [summary, *summary["stages"]]:
            row.pop("seconds")
    assert summaries[0] == summaries[1]


def test_resuming_a_complete_chain_trains_nothing(chain_file, chain, monkeypatch):
    monkeypatch.setattr(loop, "train_epoch", lambda *_: pytest.fail("nothing is left to train"))
    monkeypatch.setattr(targets, "split_scores", lambda *_: pytest.fail("the teacher is not needed"))
    before = (chain / "metrics.json").read_bytes()
    assert run(chain_file, chain, "--resume") == 0
    assert (chain / "metrics.json").read_bytes() == before


def test_a_chain_in_seconds_hands_on_its_leak(chain_file, chain, tmp_path, capsys):
    path = chain / "stage1_steps50" / "ckpt.pt"
    options = [f"--set=distillation.{option}=true" for option in stages.IN_SECONDS]
    command = ["--teacher", str(path), "--set", "stage.2.epochs=1", *options]
    assert run(chain_file, tmp_path / "run", *command) == 0
    student = checkpoint.load(tmp_path / "run" / "stage2_steps20" / "ckpt.pt")
    assert student.config.tau == pytest.approx(1 / (1 - 0.5**2.5))
    before = (tmp_path / "run" / "metrics.json").read_bytes()
    assert run(chain_file, tmp_path / "run", *command, "--resume") == 0
    assert (tmp_path / "run" / "metrics.json").read_bytes() == before
    capsys.readouterr()
    assert run(chain_file, tmp_path / "run", *command[:-1], "--resume") == 2
    assert "distillation.statistics_estimated was True, is False" in capsys.readouterr().err


def test_a_chain_made_before_an_option_existed_goes_on(chain_file, chain, tmp_path):
    shutil.copytree(chain, tmp_path / "run")
    path = tmp_path / "run" / "stage2_steps20" / "last.pt"
    last = torch.load(path, weights_only=True)
    for option in stages.IN_SECONDS:
        del last["settings"]["distillation"][option]
    torch.save(last, path)
    assert run(chain_file, tmp_path / "run", "--resume") == 0


def test_another_teacher_is_another_run(chain_file, chain, tmp_path, capsys):
    path = chain / "stage1_steps50" / "ckpt.pt"
    assert run(chain_file, tmp_path / "run", "--teacher", str(path), "--set", "stage.2.epochs=1") == 0
    saved = checkpoint.load(path)
    other = {**saved.state, "head.weight": saved.state["head.weight"] * 2}
    checkpoint.save(tmp_path / "other.pt", dataclasses.replace(saved, state=other))
    capsys.readouterr()
    options = ["--teacher", str(tmp_path / "other.pt"), "--set", "stage.2.epochs=1", "--resume"]
    assert run(chain_file, tmp_path / "run", *options) == 2
    assert "distillation.teacher was" in capsys.readouterr().err


def test_a_finer_teacher_teaches_the_first_stage(chain_file, chain, tmp_path):
    path = chain / "stage1_steps50" / "ckpt.pt"
    options = ["--teacher", str(path), "--set", "stage.1.steps=40", "--set", "training.epochs=1", "--json"]
    assert run(chain_file, tmp_path / "run", *options) == 0
    summary = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert [row["steps_per_second"] for row in summary["stages"]] == [50, 40, 20]
    saved = json.loads((chain / "metrics.json").read_text())["stages"][0]
    for name in ("validation_accuracy", "test_accuracy"):
        assert summary["stages"][0][name] == saved[name]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ("one", "two", "three", "five")}, "its classes are 4 (one, two, three, five), not 4 (one, two"),
        (
            {"data": "ssc:/elsewhere?steps=50"},
            "it was trained on ssc:/elsewhere?steps=50; only the folder and steps may",
        ),
        ({"step_seconds": 0.1}, "has 10 steps per second, fewer than the first stage's 50"),
        ({"overrides": ["model.width=32"]}, "width is 16, the student's is 32"),
        ({"overrides": ["model.tau=3"]}, "tau is 2.0, the student's is 3"),
        ({"overrides": ["model.causal=true"]}, "causal is False, the student's is True"),
    ],
)
def test_a_teacher_that_does_not_fit_is_an_error(chain_file, chain, tmp_path, capsys, change, message):
    overrides = change.pop("overrides", [])
    saved = dataclasses.replace(checkpoint.load(chain / "stage1_steps50" / "ckpt.pt"), **change)
    checkpoint.save(tmp_path / "teacher.pt", saved)
    options = [option for text in overrides for option in ("--set", text)]
    assert run(chain_file, tmp_path / "run", "--teacher", str(tmp_path / "teacher.pt"), *options) == 2
    error = capsys.readouterr().err
    assert message in error and error.startswith(f"error: {tmp_path / 'teacher.pt'}") and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_the_folder_and_the_steps_of_a_teacher_may_differ_but_not_what_makes_its_features():
    source = distill.source_of
    assert source("gsc:/a?words=10&steps=100") == source("gsc:/b?steps=40&words=10")
    assert source("gsc:/a?words=10") != source("gsc:/a?words=10&fmax=14000") != source("gsc:/a?fmax=14000")
    assert source("shd:/a") != source("ssc:/a")


def test_dropout_may_differ_from_the_teachers(chain_file, chain, words):
    teacher = distill.Teacher(
        Path("t"), checkpoint.load(chain / "stage1_steps50/ckpt.pt"), open_dataset(f"{words}?steps=50")
    )
    second = stages.read(chain_file, ["model.dropout=0.3"])[1]
    distill.check_teacher(teacher, second, open_dataset(second.settings.data))


def test_a_missing_or_damaged_teacher_is_an_error(chain_file, tmp_path, capsys):
    assert run(chain_file, tmp_path / "run", "--teacher", str(tmp_path / "nowhere.pt")) == 2
    assert "nowhere.pt: no such file" in capsys.readouterr().err
    (tmp_path / "damaged.pt").write_bytes(b"damaged")
    assert run(chain_file, tmp_path / "run", "--teacher", str(tmp_path / "damaged.pt")) == 2
    assert "damaged.pt: not a checkpoint, or damaged" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    with pytest.raises(CheckpointError):
        distill.distill(stages.read(chain_file), tmp_path / "run", tmp_path / "nowhere.pt")


def test_mixed_utterances_have_no_teacher(chain_file, tmp_path, capsys):
    assert run(chain_file, tmp_path / "run", "--set", "stage.2.cut_mix=0.5") == 2
    assert "stage 2: cut_mix 0.5: its teacher answers whole utterances" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_teacher_at_the_last_time_scale_leaves_nothing_to_do(chain_file, chain, tmp_path, capsys):
    path = chain / "stage1_steps50" / "ckpt.pt"
    one_stage = tmp_path / "one.toml"
    one_stage.write_text(chain_file.read_text().rpartition("[[stage]]")[0])
    assert run(one_stage, tmp_path / "run", "--teacher", str(path)) == 2
    assert "has 50 steps per second already; no stage is left" in capsys.readouterr().err
