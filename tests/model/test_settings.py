from pathlib import Path

import pytest
from neurotarget.model.training import settings
from neurotarget.model.training.settings import Augmentation, SettingsError, Training

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(
        '[data]\nspec = "synth"\n[model]\npreset = "tiny"\ndropout = 0.2\n'
        "[training]\nepochs = 3\nlearning_rate = 1\n[augmentation]\ntime_mask = 0.5\n"
    )
    return path


def test_a_file_is_read_and_what_it_leaves_out_has_defaults(file):
    read = settings.read(file)
    assert read.data == "synth"
    assert (read.model.width, read.model.dropout) == (16, 0.2)
    assert read.training == Training(epochs=3, learning_rate=1)
    assert read.augmentation == Augmentation(time_mask=0.5)


def test_only_the_data_must_be_named(tmp_path):
    (tmp_path / "short.toml").write_text('[data]\nspec = "synth"')
    read = settings.read(tmp_path / "short.toml")
    assert (read.training, read.augmentation, read.model.width) == (Training(), Augmentation(), 128)


def test_overrides_change_values_and_add_tables(file):
    texts = ["training.epochs=7", "data.spec=shd:/a=b?steps=40", 'model.preset="shd"', "augmentation.shift=2"]
    read = settings.read(file, texts)
    assert (read.training.epochs, read.data, read.model.width) == (7, "shd:/a=b?steps=40", 128)
    assert read.augmentation.shift == 2


def test_environment_variables_in_the_spec(file, monkeypatch):
    monkeypatch.setenv("NEUROTARGET_SPEECH", "/speech")
    assert settings.read(file, ["data.spec=gsc:$NEUROTARGET_SPEECH?words=10"]).data == "gsc:/speech?words=10"
    monkeypatch.delenv("NEUROTARGET_SPEECH")
    with pytest.raises(SettingsError, match=r"variable NEUROTARGET_SPEECH is not set"):
        settings.read(file, ["data.spec=gsc:${NEUROTARGET_SPEECH}"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training", "--set training: expected table.key=value"),
        ("training.epochs", "expected table.key=value"),
        ("epochs=3", "expected table.key=value"),
        ("training.epochs.more=3", "expected table.key=value"),
        ("traning.epochs=3", "unknown table traning; known are data, model, training, augmentation"),
        ("training.epoch=3", r"\[training\]: unknown key 'epoch' .did you mean epochs\?.; known are epochs, batch"),
        ("training.epochs=3.5", r"epochs = 3.5; a whole number of at least 1 is expected"),
        ("training.epochs=true", r"epochs = True; a whole number"),
        ("training.epochs=many", r"epochs = 'many'; a whole number"),
        ("training.epochs=0", r"epochs = 0; a whole number of at least 1"),
        ("training.batch=-4", r"batch = -4; a whole number of at least 1"),
        ("training.learning_rate=nan", r"learning_rate = nan; a number above 0"),
        ("training.learning_rate=inf", r"learning_rate = inf"),
        ("training.learning_rate=0", r"learning_rate = 0; a number above 0"),
        ("training.seed=99999999999999999999", "seed = 9"),
        ("augmentation.time_mask=1.5", r"time_mask = 1.5; a number of at least 0 and at most 1"),
        ("augmentation.cut_mix=1.5", r"cut_mix = 1.5; a number of at least 0 and at most 1"),
        ("augmentation.cut_mix_width=wide", "cut_mix_width = 'wide'"),
        ("augmentation.added_counts_form=uniform", "added_counts_form = 'uniform'"),
        ("augmentation.added_counts_deviation=0", "added_counts_deviation = 0; a number above 0"),
        ("augmentation.jitter=0", "jitter = 0; a whole number of at least 1"),
        ("augmentation.event_drop=-1", "event_drop = -1; a whole number of at least 0"),
        ("augmentation.background=2", "background = 2; a number of at least 0 and at most 1"),
        ("training.label_smoothing=1", "label_smoothing = 1; a number of at least 0 and at most 0.99"),
        ("training.average=mean", "average = 'mean'"),
        ("training.average_epochs=0", "average_epochs = 0; a whole number of at least 1"),
        ("training.average_decay=1", "average_decay = 1; a number of at least 0 and at most 0.9999"),
        ("model.preset=huge", r"\[model\] preset 'huge'; known are shd"),
        ("model.colour=3", r"\[model\] unknown field colour"),
        ("model.width=15", r"\[model\] width 15 does not divide"),
        ("model.width=16.0", r"\[model\] width = 16.0; a int is expected"),
        ("model.classes=3", r"\[model\] classes: the data set decides"),
        ("data.path=/x", r"\[data\] takes one key"),
        ("data.spec=3", r"\[data\] takes one key"),
    ],
)
def test_a_wrong_key_or_value_is_named(file, override, message):
    with pytest.raises(SettingsError, match=message):
        settings.read(file, [override])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"[data", "not a training configuration"),
        (b"\xff\xfe", "not a training configuration"),
        (b"data = 3", r"data = 3; a table \[data\] is expected"),
        (b"[training]\nepochs = 3", r"\[data\] takes one key, spec"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, text, message):
    (tmp_path / "bad.toml").write_bytes(text)
    with pytest.raises(SettingsError, match=rf"bad\.toml: .*{message}"):
        settings.read(tmp_path / "bad.toml")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"nowhere\.toml: no such file"):
        settings.read(tmp_path / "nowhere.toml")
    with pytest.raises(SettingsError, match="this is a folder, not a training configuration"):
        settings.read(tmp_path)


def test_the_shipped_configurations_are_valid(monkeypatch):
    monkeypatch.setenv("NEUROTARGET_GSC", "/speech")
    monkeypatch.setenv("NEUROTARGET_SHD", "/shd")
    files = [path for path in CONFIGS.glob("*.toml") if not path.name.startswith(("ptcd_", "claims_"))]
    assert files
    for path in files:
        settings.read(path)
