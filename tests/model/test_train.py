import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from neurotarget.model import train
from neurotarget.model.evaluate import main as evaluate_main
from neurotarget.model.spikescr import readout
from neurotarget.model.training import checkpoint, evaluation, loop, registry, settings

from neurotarget.data import open_dataset
from neurotarget.files import only_writer
from tests.model.training_runs import EPOCHS, contents, interrupted_after, rows_of, run, same_weights

FILES = ["ckpt.pt", "curves.png", "last.pt", "metrics.csv", "metrics.json"]


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
    """The folder of an uninterrupted run."""
    out = tmp_path_factory.mktemp("whole")
    assert run(config, out) == 0
    return out


def test_a_run_learns_and_leaves_its_files(config, tmp_path, capsys):
    out = tmp_path / "run"
    assert run(config, out, "--json") == 0
    assert sorted(file.name for file in out.iterdir()) == FILES
    metrics = json.loads((out / "metrics.json").read_text())
    printed = json.loads(capsys.readouterr().out)
    assert {name: metrics[name] for name in printed} == printed
    rows = rows_of(out)
    assert [int(row["epoch"]) for row in rows] == list(range(1, EPOCHS + 1))
    assert float(rows[-1]["train_loss"]) < 0.8 * float(rows[0]["train_loss"])
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert metrics["test_samples"] == 12
    assert metrics["settings"]["training"]["epochs"] == EPOCHS


def test_the_checkpoint_is_the_best_epoch_by_validation_accuracy(whole, capsys):
    saved = checkpoint.load(whole / "ckpt.pt")
    accuracies = [float(row["validation_accuracy"]) for row in rows_of(whole)]
    assert saved.metrics["epoch"] == 1 + accuracies.index(max(accuracies))
    dataset = open_dataset(saved.data)
    assert (saved.classes, saved.step_seconds, saved.config.features) == (dataset.classes, 0.02, dataset.features)
    for split in ("validation", "test"):
        capsys.readouterr()
        assert evaluate_main([str(whole / "ckpt.pt"), "--data", saved.data, "--split", split, "--json"]) == 0
        measured = json.loads(capsys.readouterr().out)
        assert measured["accuracy"] == saved.metrics[f"{split}_accuracy"]
        assert measured["loss"] == pytest.approx(saved.metrics[f"{split}_loss"], rel=1e-5)


def test_evaluate_counts_what_the_readout_says(words):
    dataset = open_dataset(f"{words}?steps=50")
    torch.manual_seed(0)
    config = registry.preset("tiny", features=140)
    model, split = registry.build(config).eval(), dataset.split("test")
    x, lengths = torch.from_numpy(np.array(split.frames, dtype=np.float32)), torch.from_numpy(split.lengths.copy())
    labels = torch.from_numpy(split.labels.copy())
    with torch.no_grad():
        scores = readout(model(x, lengths), lengths)
    loss, accuracy = evaluation.evaluate(model, split, batch=5)
    assert accuracy == (scores.argmax(-1) == labels).double().mean().item()
    assert loss == pytest.approx(F.cross_entropy(scores, labels).item(), rel=1e-5)


def test_the_same_seed_repeats_a_run_and_another_does_not(config, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(config, tmp_path / name, "--set", f"training.seed={seed}", "--set", "training.epochs=2")
    assert rows_of(tmp_path / "a") == rows_of(tmp_path / "b") != rows_of(tmp_path / "c")
    assert same_weights(tmp_path / "a/ckpt.pt", tmp_path / "b/ckpt.pt")


def test_warm_up_rises_then_a_cosine_falls_to_zero():
    schedule = settings.Training(epochs=43, warmup_epochs=3, learning_rate=0.01)
    rates = [loop.learning_rate(schedule, epoch) for epoch in (0, 1, 2, 3, 13, 23, 43)]
    assert rates[:4] == sorted(rates[:4]) and rates[3] == 0.01
    assert rates[4] == pytest.approx(0.005 * (1 + np.cos(np.pi / 4)))
    assert rates[5] == pytest.approx(0.005) and rates[6] == pytest.approx(0)


# ---- stopping and going on -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epochs", [0, 2])
def test_an_interrupted_run_goes_on_as_if_it_had_not_been(config, whole, tmp_path, capsys, epochs):
    with interrupted_after(epochs):
        assert run(config, tmp_path / "parts") == 130
    assert ("go on with --resume" if epochs else "there is nothing to go on from") in capsys.readouterr().err
    assert run(config, tmp_path / "parts", "--resume") == 0
    assert rows_of(tmp_path / "parts") == rows_of(whole)
    for name in ("ckpt.pt", "last.pt"):
        assert same_weights(tmp_path / "parts" / name, whole / name)


@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_it_had_not_been(config, tmp_path):
    assert run(config, tmp_path / "whole", "--set", "training.epochs=12") == 0
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "model.train", str(config), "--out", str(out), "--set", "training.epochs=12"]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2], stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 120
        while not (out / "metrics.csv").exists() or len(rows_of(out)) < 3:
            assert process.poll() is None and time.monotonic() < deadline, process.stderr.read().decode()
            time.sleep(0.01)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert 3 <= len(rows_of(out)) < 12
    (out / "last.pt.4711.part").write_bytes(b"what a killed writer leaves")
    assert run(config, out, "--resume", "--set", "training.epochs=12") == 0
    assert rows_of(out) == rows_of(tmp_path / "whole")
    for name in ("ckpt.pt", "last.pt"):
        assert same_weights(out / name, tmp_path / "whole" / name)
    assert sorted(file.name for file in out.iterdir()) == FILES


def test_resuming_a_complete_run_finishes_it_again(config, tmp_path, monkeypatch):
    out = tmp_path / "run"
    run(config, out, "--set", "training.epochs=2")
    before = contents(out)
    monkeypatch.setattr(loop, "train_epoch", lambda *_: pytest.fail("nothing is left to train"))
    assert run(config, out, "--resume", "--set", "training.epochs=2") == 0
    assert contents(out) == before


def test_changed_settings_are_refused_by_name(config, tmp_path, capsys):
    out = tmp_path / "run"
    run(config, out, "--set", "training.epochs=1")
    before = contents(out)
    changes = ["--set", "training.epochs=1", "--set", "training.learning_rate=0.5", "--set", "model.blocks=2"]
    assert run(config, out, "--resume", *changes) == 2
    error = capsys.readouterr().err
    assert "training.learning_rate was 0.02, is 0.5" in error and "model.blocks was 1, is 2" in error
    assert contents(out) == before


@pytest.mark.parametrize(
    ("now", "code", "said"),
    [([], 0, ""), (["--set", "model.twin=true"], 2, "model.twin was False, is True")],
)
def test_a_run_made_before_a_setting_existed_was_made_with_its_default(config, tmp_path, capsys, now, code, said):
    out = tmp_path / "run"
    run(config, out, "--set", "training.epochs=1")
    last = torch.load(out / "last.pt", weights_only=True)
    del last["settings"]["model"]["twin"], last["settings"]["training"]["delay_learning_rate"]
    torch.save(last, out / "last.pt")
    assert run(config, out, "--resume", "--set", "training.epochs=2", *now) == code
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda out: (out / "last.pt").write_bytes(b"half"), r"last.pt: not a checkpoint, or damaged"),
        (lambda out: torch.save({"settings": {}}, out / "last.pt"), "last.pt: not the state of a run: it lacks state"),
        (lambda out: (out / "ckpt.pt").unlink(), "ckpt.pt beside it"),
    ],
)
def test_a_damaged_run_is_not_resumed(config, tmp_path, capsys, damage, message):
    run(config, tmp_path / "run", "--set", "training.epochs=1")
    damage(tmp_path / "run")
    assert run(config, tmp_path / "run", "--resume", "--set", "training.epochs=1") == 2
    assert message in capsys.readouterr().err


def nan_readout(*logits_lengths_and_how):
    return readout(*logits_lengths_and_how) * float("nan")


def nan_frames(split, rows, how, rng):
    return np.full((len(rows), 20, 140), np.nan, np.float32), np.full(len(rows), 20), None


@pytest.mark.parametrize(
    ("module", "name", "spoiled", "message"),
    [
        (evaluation, "readout", nan_readout, "epoch 3, batch 1: the loss is nan"),
        (loop, "augmented", nan_frames, "epoch 3, batch 1: the norm of the gradient is nan"),
    ],
)
def test_nan_stops_and_keeps_the_last_good_checkpoint(
    config, tmp_path, capsys, monkeypatch, module, name, spoiled, message
):
    out = tmp_path / "run"
    with interrupted_after(2):
        run(config, out)
    before = contents(out)
    with monkeypatch.context() as patch:
        patch.setattr(module, name, spoiled)
        assert run(config, out, "--resume") == 2
    error = capsys.readouterr().err
    assert message in error and "the last good checkpoint is kept; lower training.learning_rate" in error
    assert contents(out) == before
    checkpoint.load(out / "ckpt.pt")
    assert run(config, out, "--resume") == 0


def test_a_parameter_that_overflows_is_noticed_where_the_loss_hides_it(config, tmp_path, capsys):
    assert run(config, tmp_path / "run", "--set", "training.learning_rate=9e18") == 2
    assert re.search(r"epoch 1, batch \d: the .* is (nan|inf); the last good", capsys.readouterr().err)
    assert not (tmp_path / "run" / "ckpt.pt").exists()


@pytest.mark.parametrize("written", [pytest.param(0, marks=pytest.mark.slow), 1, 2])
def test_a_full_disk_stops_and_keeps_the_last_good_checkpoint(config, whole, tmp_path, capsys, monkeypatch, written):
    """Of the files of an epoch, the first, second or third finds the disk full."""
    out = tmp_path / "run"
    with interrupted_after(1):
        run(config, out)
    left = written

    def fsync(_):
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        assert run(config, out, "--resume") == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith(f"error: {out}") and "No space left on device; what was written before is whole" in error
    checkpoint.load(out / "ckpt.pt")
    assert not list(out.glob("*.part"))
    assert run(config, out, "--resume") == 0
    assert rows_of(out) == rows_of(whole)
    assert same_weights(out / "ckpt.pt", whole / "ckpt.pt")


# ---- one clear sentence ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.spec=nowhere", "unknown data source 'nowhere'"),
        ("data.spec=shd:/nowhere", "/nowhere: no such folder"),
        ("training.epochs=none", "epochs = 'none'; a whole number of at least 1"),
        ("augmentation.feature_mask=141", "feature_mask 141, shift 1 and jitter 0 do not fit"),
        ("augmentation.shift=20", "feature_mask 10, shift 20 and jitter 0 do not fit"),
        ("augmentation.speed=0.1", "are counts, and this is for log-mel frames"),
        ("augmentation.background=0.5", "augmentation: background 0.5: frames of"),
        ("augmentation.background_from_db=30", "background_from_db 30 is above background_to_db 20"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(config, tmp_path, capsys, override, message):
    assert run(config, tmp_path / "run", "--set", override) == 2
    error = capsys.readouterr().err
    assert message in error and error.startswith("error: ") and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_an_unwritable_folder_is_one_sentence_and_exit_code_2(config, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert run(config, tmp_path / "file" / "run") == 2
    assert "file is not a folder; name another" in capsys.readouterr().err


def test_two_trainings_into_one_folder_are_refused(config, tmp_path, capsys):
    with only_writer(tmp_path / "run"):
        assert run(config, tmp_path / "run") == 2
    assert "run: another process is writing there" in capsys.readouterr().err
    assert not list((tmp_path / "run").iterdir())


def test_usage_errors_have_exit_code_2(config, capsys):
    assert train.main([str(config)]) == 2
    assert "--out" in capsys.readouterr().err
