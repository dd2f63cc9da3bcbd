"""Wrong inputs end with exit code 2 and one clear sentence, whatever the command."""

import subprocess
import sys
from importlib import metadata

import numpy as np
import pytest
import torch
from neurotarget.conversion.export.draft import UnsupportedModule
from neurotarget.conversion.to_nir import to_nir, write
from neurotarget.model.training import checkpoint
from torch import nn

from neurotarget import cli
from tests import torch_networks as networks
from tests.recordings import random_utterances, write_spikes

VERBS = list(cli.VERBS)


def saved(path, **changes):
    network = networks.tiny()
    checkpoint.save(
        path,
        checkpoint.Checkpoint(
            config=network.config,
            state=network.state_dict() | changes,
            metrics={},
            data="synth",
            classes=("a", "b", "c", "d"),
            step_seconds=0.01,
            versions=checkpoint.versions(),
        ),
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with good files and bad ones, as a user might have."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEUROTARGET_CACHE", str(tmp_path / "cache"))
    write(to_nir(networks.tiny(), (12,)), "good.nir")
    saved("good.pt")
    np.savez("good.npz", input=np.ones((2, 5, 12)))
    torch.save({"state_dict": {}}, "foreign.pt")
    saved("nan.pt", **{"head.weight": torch.full((4, 16), float("nan"))})
    np.savez("wide.npz", input=np.ones((2, 5, 13)))
    for name in ("shd_train.h5", "shd_test.h5"):
        write_spikes(tmp_path / "cut" / name, random_utterances(0, 6), [0, 1] * 3, speakers=[0, 0, 1, 1, 2, 2])
    whole = (tmp_path / "cut" / "shd_train.h5").read_bytes()
    (tmp_path / "cut" / "shd_train.h5").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "train.toml").write_text('[data]\nspec = "shd:cut"\n[model]\npreset = "tiny"\n')
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["to-nir", "missing.pt"], "missing.pt: no such file"),
        (["run", "missing.nir", "--input", "good.npz"], "missing.nir: no such file"),
        (["evaluate", "missing.pt", "--data", "synth"], "missing.pt: no such file"),
        (["train", "missing.toml", "--out", "out"], "missing.toml"),
        (["to-nir", "foreign.pt"], "foreign.pt: not a checkpoint of this program"),
        (["to-nir", "good.nir"], "good.nir: this is a NIR file, not a checkpoint; sim.run"),
        (["train", "train.toml", "--out", "out"], "shd_train.h5"),
        (["run", "good.nir", "--input", "shd:cut"], "shd_train.h5"),
        (["run", "good.nir", "--input", "wide.npz"], "(2, 5, 13)"),
        (["compare", "good.nir", "--input", "wide.npz"], "(2, 5, 13)"),
        (["report", "good.nir", "--input", "wide.npz", "--out", "out"], "(2, 5, 13)"),
        (["to-nir", "nan.pt"], "head.weight holds 64 NaN"),
        (["run", "good.nir", "--input", "marvels:here"], "marvels"),
        (["evaluate", "good.pt", "--data", "gsc:nowhere"], "nowhere"),
        (["report", "missing.nir", "--input", "good.npz", "--out", "out"], "missing.nir: no such file"),
    ],
)
def test_wrong_input(folder, capsys, arguments, words):
    before = sorted(path.name for path in folder.iterdir())
    assert cli.main(arguments) == 2
    output = capsys.readouterr()
    assert words in output.err and len(output.err.strip().splitlines()) == 1, output.err
    left = {path.name for path in folder.iterdir()} - set(before) - {"cache"}
    assert not left, f"something was written: {left}"


def test_unknown_layer_is_refused_by_name():
    with pytest.raises(UnsupportedModule, match="layer 1: Tanh cannot be converted; supported are"):
        to_nir(nn.Sequential(nn.Linear(3, 3), nn.Tanh()), (3,))


def test_lava_that_is_not_installed(folder, capsys, monkeypatch):
    """Another interpreter without Lava stands for an installation without it."""
    bare = folder / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    monkeypatch.setenv("NEUROTARGET_LAVA_PYTHON", str(bare / "bin" / "python"))
    assert cli.main(["run", "good.nir", "--input", "good.npz", "--backend", "lava"]) == 2
    error = capsys.readouterr().err
    assert "Lava is not installed: pip install" in error and len(error.strip().splitlines()) == 1


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_an_example(verb, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main([verb, "--help"])
    assert exit_.value.code == 0
    assert f"example: neurotarget {verb} " in capsys.readouterr().out


def test_console_script_help_lists_the_verbs(capsys):
    assert cli.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(verb in out for verb in VERBS)


def test_console_script_without_a_verb_says_how(capsys):
    assert cli.main([]) == 2
    assert "usage: neurotarget VERB" in capsys.readouterr().out


def test_console_script_names_an_unknown_verb_and_the_nearest(capsys):
    assert cli.main(["quantise", "model.nir"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: unknown verb quantise (did you mean quantize?); known are train, ")
    assert cli.main(["fly"]) == 2
    assert "unknown verb fly; known are" in capsys.readouterr().err


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"neurotarget {metadata.version('neurotarget')}\n"
