"""The stages of a chain, from one file."""

from pathlib import Path

import pytest
from neurotarget.model.training import stages
from neurotarget.model.training.settings import SettingsError

CONFIGS = Path(__file__).parents[2] / "configs"


def test_a_stage_takes_what_it_does_not_say_from_the_tables(chain_file, words):
    first, second = stages.read(chain_file)
    assert (first.number, first.steps, first.folder) == (1, 50, "stage1_steps50")
    assert first.settings.data == f"{words}?steps=50" and second.settings.data == f"{words}?steps=20"
    assert (first.settings.training.epochs, second.settings.training.epochs) == (3, 2)
    assert (first.settings.training.learning_rate, second.settings.training.learning_rate) == (0.02, 0.005)
    assert first.settings.augmentation == second.settings.augmentation
    assert first.distillation == stages.Distillation(1.0, 0.5, 1.0, False)
    assert second.distillation == stages.Distillation(temperature=2)


def test_overrides_reach_all_stages_or_one(chain_file):
    texts = ["training.batch=4", "stage.2.epochs=9", "distillation.entropy_weighted=true", "stage.1.time_mask=0"]
    first, second = stages.read(chain_file, texts)
    assert (first.settings.training.batch, second.settings.training.batch) == (4, 4)
    assert (first.settings.training.epochs, second.settings.training.epochs) == (3, 9)
    assert first.distillation.entropy_weighted and second.distillation.entropy_weighted
    assert (first.settings.augmentation.time_mask, second.settings.augmentation.time_mask) == (0, 0.2)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stage.2.steps=51", "stage 2 has 51 steps per second, the one before 50; a curriculum goes from many"),
        ("stage.2.steps=80", "stage 2 has 80 steps per second, the one before 50"),
        ("stage.2.steps=2.5", r"stage 2: steps = 2.5; a whole number"),
        ("stage.2.step=3", r"stage 2 has no key step; known are steps, epochs"),
        ("stage.2.epochs=0", r"epochs = 0; a whole number of at least 1"),
        ("stage.3.epochs=1", r"--set stage.3.epochs=1: no stage 3; there are 2, counted from 1"),
        ("distillation.temperature=0", r"\[distillation\]: temperature = 0; a number above 0"),
        ("distillation.entropy_weighted=1", r"entropy_weighted = 1; true or false"),
        ("distillation.weight=1", r"\[distillation\]: unknown key 'weight'"),
        ("data.spec=synth?steps=100", "leave steps out; each stage has its own"),
    ],
)
def test_a_wrong_stage_is_named(chain_file, override, message):
    with pytest.raises(SettingsError, match=message):
        stages.read(chain_file, [override])


def test_learnt_time_constants_keep_no_common_leak(chain_file):
    with pytest.raises(SettingsError, match=r"leak_in_seconds sets one tau for all neurons, model\.neuron = 'plif'"):
        stages.read(chain_file, ["model.neuron=plif", "distillation.leak_in_seconds=true"])
    assert stages.read(chain_file, ["model.neuron=plif"])[0].settings.model.neuron == "plif"


def test_a_file_without_stages_is_refused(tmp_path):
    (tmp_path / "none.toml").write_text('[data]\nspec = "synth"\n')
    with pytest.raises(SettingsError, match=r"a training configuration, not a configuration of several stages"):
        stages.read(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("name", "steps", "epochs", "rate", "decay"),
    [
        ("shd", [100, 40], [800, 800], 0.01, 0.01),
        ("ssc", [500, 200, 100, 40], [300, 400, 400, 400], 0.005, 0.01),
        ("gsc", [400, 200, 100, 40], [300, 400, 400, 400], 0.002, 0.005),
    ],
)
def test_the_papers_configurations_hold_its_hyperparameters(monkeypatch, name, steps, epochs, rate, decay):
    monkeypatch.setenv(f"NEUROTARGET_{name.upper()}", "/data")
    chain = stages.read(CONFIGS / f"ptcd_{name}.toml")
    assert [stage.steps for stage in chain] == steps
    for stage in chain:
        training = stage.settings.training
        assert (training.batch, training.learning_rate, training.weight_decay) == (256, rate, decay)
        assert (training.schedule, training.restart_epochs, training.clip) == ("periodic", 40, 0)
        assert (training.initialisation, stage.settings.model.dropout_sites) == ("xavier_uniform", "published")
        assert training.select_by == ("accuracy" if stage is chain[-1] else "loss")
        assert stage.distillation == stages.Distillation(1.0, 0.5, 1.0, False)
    assert [stage.settings.training.epochs for stage in chain] == epochs


def test_every_shipped_chain_is_valid(monkeypatch):
    for name in ("SHD", "SSC", "GSC", "FSDD"):
        monkeypatch.setenv(f"NEUROTARGET_{name}", "/data")
    for path in CONFIGS.glob("ptcd_*.toml"):
        chain = stages.read(path)
        assert chain[-1].steps == 40, path
        if chain[0].settings.data.startswith(("gsc:", "fsdd:")):
            assert all(8000 % stage.steps == 0 for stage in chain), path
