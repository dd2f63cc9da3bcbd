"""What a training does with the run that its folder holds: refuses it, goes on, to more epochs too, or starts over."""

import dataclasses
import json

import pytest
from neurotarget.model import ablation, distill, train
from neurotarget.model.training import loop, settings

from tests.model.training_runs import EPOCHS, contents, interrupted_after, rows_of, run, same_weights

SHORT = ("--set", "training.epochs=2")


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    """The folder of a run of two epochs."""
    out = tmp_path_factory.mktemp("finished")
    assert run(config, out, *SHORT) == 0
    return out


@pytest.fixture
def copied(finished, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    for name, content in contents(finished).items():
        (out / name).write_bytes(content)
    return out


def run_chain(chain_file, out, *options):
    return distill.main([str(chain_file), "--out", str(out), *options])


@pytest.fixture(scope="module")
def finished_chain(chain_file, tmp_path_factory):
    """The folder of two stages of an epoch each."""
    out = tmp_path_factory.mktemp("chain")
    assert run_chain(chain_file, out, "--set", "training.epochs=1", "--set", "stage.2.epochs=1") == 0
    return out


def all_contents(out):
    return {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_a_run_is_not_replaced_without_being_asked(config, copied, capsys, monkeypatch):
    before = contents(copied)
    monkeypatch.setattr(train, "open_dataset", lambda *_: pytest.fail("it is refused before any work"))
    for missing in ((), ("metrics.json", "last.pt")):  # finished; killed in its first epoch
        for name in missing:
            (copied / name).unlink()
            before.pop(name)
        assert run(config, copied) == 2
        error = capsys.readouterr().err
        assert "run: holds a run already (ckpt.pt)" in error and "--resume" in error and "--force" in error
        assert contents(copied) == before


def test_chains_and_ablations_are_not_replaced_without_being_asked(chain_file, finished_chain, tmp_path, capsys):
    before = all_contents(finished_chain)
    assert run_chain(chain_file, finished_chain) == 2
    assert "holds a run already (stage1_steps50/ckpt.pt)" in capsys.readouterr().err
    assert all_contents(finished_chain) == before
    (tmp_path / "seed0").mkdir()
    (tmp_path / "seed0" / "ptcd").symlink_to(finished_chain)
    assert ablation.main([str(chain_file), "--out", str(tmp_path), "--seeds", "1", "--arms", "scratch"]) == 2
    assert "seed0: holds a run already (ptcd/stage1_steps50/last.pt)" in capsys.readouterr().err
    assert not (tmp_path / "seed0" / "scratch").exists()


def test_force_starts_over(config, copied, tmp_path):
    other = (*SHORT, "--set", "training.seed=5")
    assert run(config, tmp_path / "alone", *other) == 0
    assert run(config, copied, "--force", *other) == 0
    assert rows_of(copied) == rows_of(tmp_path / "alone")
    assert all(same_weights(copied / name, tmp_path / "alone" / name) for name in ("ckpt.pt", "last.pt"))
    assert json.loads((copied / "metrics.json").read_text())["settings"]["training"]["seed"] == 5


def test_what_was_started_over_does_not_go_on_with_the_older_run(config, copied, finished, tmp_path, capsys):
    other = (*SHORT, "--set", "training.seed=5")
    with interrupted_after(0):
        assert run(config, copied, "--force", *other) == 130
    assert "there is nothing to go on from" in capsys.readouterr().err
    assert (copied / "ckpt.pt").read_bytes() == (finished / "ckpt.pt").read_bytes()
    with interrupted_after(1):
        assert run(config, copied, "--force", *other) == 130
    assert f"go on with --resume (state in {copied / 'last.pt'})" in capsys.readouterr().err
    assert sorted(contents(copied)) == ["ckpt.pt", "last.pt", "metrics.csv"]  # of the new run, all of them
    assert run(config, copied, "--resume", *other) == 0
    assert run(config, tmp_path / "alone", *other) == 0
    assert rows_of(copied) == rows_of(tmp_path / "alone")


def test_more_epochs_go_on_along_their_own_learning_rates(config, copied, tmp_path, capsys):
    """As a run that is told of two epochs until it has done them, and of four from then on."""
    assert run(config, copied, "--resume") == 0
    note = "note: training.epochs was 2, is 4: after 2 epochs the learning rate goes on at 0.015, along"
    assert note in capsys.readouterr().err  # 0.02 (1 + cos(pi (2 - 1) / (4 - 1))) / 2
    with pytest.MonkeyPatch.context() as patch:
        whole = loop.train_epoch

        def epoch(learner, dataset, config: settings.Settings, number):
            short = dataclasses.replace(config, training=dataclasses.replace(config.training, epochs=2))
            return whole(learner, dataset, short if number <= 2 else config, number)

        patch.setattr(loop, "train_epoch", epoch)
        assert run(config, tmp_path / "told") == 0
    assert rows_of(copied) == rows_of(tmp_path / "told")
    assert all(same_weights(copied / name, tmp_path / "told" / name) for name in ("ckpt.pt", "last.pt"))
    metrics = json.loads((copied / "metrics.json").read_text())
    assert metrics["settings"]["training"]["epochs"] == EPOCHS
    rates = [float(row["learning_rate"]) for row in rows_of(copied)]
    assert rates[1] < rates[2] > rates[3]  # the first schedule had almost ended


def test_fewer_epochs_than_are_done_are_refused(config, copied, capsys):
    before = contents(copied)
    assert run(config, copied, "--resume", "--set", "training.epochs=1") == 2
    assert "last.pt: 2 epochs are done, training.epochs is 1; give at least 2" in capsys.readouterr().err
    assert contents(copied) == before


def test_the_last_stage_of_a_chain_goes_on_to_more_epochs(chain_file, finished_chain, tmp_path):
    for path, content in all_contents(finished_chain).items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
    longer = ("--resume", "--set", "training.epochs=1", "--set", "stage.2.epochs=3")
    assert run_chain(chain_file, tmp_path, *longer) == 0
    assert len(rows_of(tmp_path / "stage1_steps50")) == 1 and len(rows_of(tmp_path / "stage2_steps20")) == 3
    assert json.loads((tmp_path / "metrics.json").read_text())["stages"][1]["epochs"] == 3


def test_a_stage_that_has_taught_does_not_go_on(chain_file, finished_chain, capsys):
    before = all_contents(finished_chain)
    assert run_chain(chain_file, finished_chain, "--resume", "--set", "stage.2.epochs=1") == 2
    error = capsys.readouterr().err
    assert "would go on from 1 to 3 epochs, but stage 2 has learned from it as it is; give stage.1.epochs=1" in error
    assert all_contents(finished_chain) == before


@pytest.mark.parametrize("door", [train, distill, ablation])
def test_an_interruption_while_data_are_made_names_no_file(config, chain_file, tmp_path, capsys, monkeypatch, door):
    def interrupted(*_):
        raise KeyboardInterrupt

    for module in (train, distill):
        monkeypatch.setattr(module, "open_dataset", interrupted)
    out = tmp_path / "run"
    assert door.main([str(config if door is train else chain_file), "--out", str(out)]) == 130
    words = "interrupted before an epoch was complete: there is nothing to go on from\n"
    assert capsys.readouterr().err == words and not out.exists()


def test_to_resume_and_to_start_over_exclude_each_other(config, tmp_path, capsys):
    assert run(config, tmp_path, "--resume", "--force") == 2
    assert "not allowed with argument" in capsys.readouterr().err
