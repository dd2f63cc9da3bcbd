"""Wrong inputs end with exit code 2 and one clear sentence, whatever the command."""

import json
import os
import subprocess
import sys
from importlib import metadata

import numpy as np
import pytest
import torch
from neurotarget.conversion.export.draft import UnsupportedModule
from neurotarget.conversion.quantize import quantize
from neurotarget.conversion.to_nir import to_nir, write
from neurotarget.model.training import checkpoint
from neurotarget.sim.graph import load
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


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with good files and bad ones, as a user might have."""
    folder = tmp_path_factory.mktemp("user")
    write(to_nir(networks.tiny(), (12,)), folder / "good.nir")
    saved(folder / "good.pt")
    frames = np.random.default_rng(0).poisson(0.5, (2, 5, 12)).astype(np.float32)
    np.savez(folder / "good.npz", input=frames)
    quantised, _, trace = quantize(load(folder / "good.nir"), frames)
    write(quantised, folder / "good.q.nir")
    trace.save(folder / "trace.npz")
    torch.save({"state_dict": {}}, folder / "foreign.pt")
    torch.save(networks.tiny().state_dict(), folder / "weights.pt")
    torch.save(nn.Linear(1, 1), folder / "whole.pt")
    np.save(folder / "array.npy", frames)
    saved(folder / "nan.pt", **{"head.weight": torch.full((4, 16), float("nan"))})
    np.savez(folder / "wide.npz", input=np.ones((2, 5, 13)))
    np.savez(folder / "output.npz", output=np.ones((2, 5, 12)))
    for name in ("shd_train.h5", "shd_test.h5"):
        write_spikes(folder / "cut" / name, random_utterances(0, 6), [0, 1] * 3, speakers=[0, 0, 1, 1, 2, 2])
    whole = (folder / "cut" / "shd_train.h5").read_bytes()
    (folder / "cut" / "shd_train.h5").write_bytes(whole[: len(whole) // 2])
    (folder / "cut.nir").write_bytes((folder / "good.nir").read_bytes()[:1000])
    settings = '[data]\nspec = "shd:cut"\n[model]\npreset = "tiny"\n'
    for name, text in {
        "train.toml": settings,
        "chain.toml": f"{settings}[[stage]]\nsteps = 100\n[[stage]]\nsteps = 50\n",
        "huge.toml": f"{settings}[training]\nepochs = {10**400}\n",
        "digits.toml": f"{settings}[training]\nepochs = {'9' * 5000}\n",
        "brackets.toml": f"a = {'[' * 3000}",
        "claims.toml": "[[claim]]\nname = 'x'\n",
        "prices.toml": "[prices_pj]\nac = -1\n",
        "secret.toml": "[[claim]]\nname = 'x'\nboundary = 'operations'\nrelation = 'at most'\nvalue = 1\nunit = 'uJ'\n"
        "source = 'y'\nsubject = { model = 'good.nir', input = 'gsc:$A_SECRET' }\n",
        "chip.toml": "title = 'x'\n[limits.cores]\nvalue = 1\n",
        "device.json": '{"rows": [{"watts": 3}]}',
        "notes.txt": "hello",
        "empty.nir": "",
    }.items():
        (folder / name).write_text(text)
    (folder / "latin.toml").write_bytes(b"a = '\xe9'")
    return folder


@pytest.fixture
def folder(files, monkeypatch):
    monkeypatch.chdir(files)
    monkeypatch.setenv("NEUROTARGET_CACHE", str(files / "cache"))
    monkeypatch.setenv("A_SECRET", "hunter2")
    return files


REPORT = ["report", "good.nir", "--input", "good.npz", "--samples", "2", "--lava-samples", "0", "--out"]
OWN = ["to-nir", "--network", "torch.nn:Identity", "--frames", "good.npz", "-o", "own.nir", "--weights"]
WRONG = [
    # missing
    (["to-nir", "missing.pt"], "missing.pt: no such file"),
    (["run", "missing.nir", "--input", "good.npz"], "missing.nir: no such file"),
    (["compare", "missing.nir", "--input", "good.npz"], "missing.nir: no such file"),
    (["compare", "good.nir", "--against", "missing.npz"], "missing.npz: no such file"),
    (["to-nir", "--network", "nets:make", "--frames", "good.npz", "-o", "x.nir"], "no module nets in"),
    ([*REPORT, "out", "--network", "nets:make"], "no module nets in"),
    (["quantize", "missing.nir", "--calibrate", "good.npz"], "missing.nir: no such file"),
    (["to-netx", "missing.nir"], "missing.nir: no such file"),
    (["place", "missing.nir", "--chip", "loihi1"], "missing.nir: no such file"),
    (["report", "missing.nir", "--input", "good.npz", "--out", "out"], "missing.nir: no such file"),
    (["evaluate", "missing.pt", "--data", "synth"], "missing.pt: no such file"),
    (["measure", "missing.pt", "--out", "out"], "missing.pt: no such file"),
    (["train", "missing.toml", "--out", "out"], "missing.toml: no such file"),
    (["distill", "missing.toml", "--out", "out"], "missing.toml: no such file"),
    (["ablation", "missing.toml", "--out", "out"], "missing.toml: no such file"),
    (["fine-tune", "missing.toml", "--quantized", "good.q.nir", "--out", "out"], "missing.toml: no such file"),
    (["ablation-cost", "missing"], "metrics.json: not the summary of an ablation"),
    (["run", "good.nir", "--input", "missing.npz"], "missing.npz: no such file"),
    (["place", "good.nir", "--chip", "missing.toml"], "missing.toml: no such chip"),
    ([*REPORT, "out", "--claims", "missing.toml"], "missing.toml: no such file"),
    ([*REPORT, "out", "--prices", "missing.toml"], "missing.toml: no such file"),
    ([*REPORT, "out", "--checkpoint", "missing.pt"], "missing.pt: no such file"),
    # of another kind
    (["to-nir", "good.nir"], "good.nir: this is a NIR file, not a checkpoint; sim.run"),
    (["run", "good.pt", "--input", "good.npz"], "good.pt: this is a checkpoint, not a NIR file; model.evaluate"),
    (["run", "good.npz", "--input", "good.npz"], "good.npz: this is an .npz of arrays, not a NIR file"),
    (["run", "good.nir", "--input", "good.pt"], "good.pt: this is a checkpoint, not a data SPEC"),
    (
        ["run", "good.nir", "--input", "array.npy"],
        "numpy's, not a data SPEC; --input takes an .npz: np.savez('frames.npz'",
    ),
    (["run", "train.toml", "--input", "good.npz"], "train.toml: this is a training configuration, not a NIR file"),
    (["evaluate", "good.pt", "--data", "good.npz"], "good.npz: this is an .npz of arrays, not a data SPEC"),
    (["train", "chain.toml", "--out", "out"], "chain.toml: this is a configuration of several stages"),
    (["train", "good.pt", "--out", "out"], "good.pt: this is a checkpoint, not a training configuration"),
    (["distill", "train.toml", "--out", "out"], "train.toml: this is a training configuration, not"),
    (["place", "good.nir", "--chip", "prices.toml"], "prices.toml: this is a price table, not a chip; hardware.report"),
    ([*REPORT, "out", "--claims", "prices.toml"], "prices.toml: this is a price table, not a claims file"),
    ([*REPORT, "out", "--prices", "claims.toml"], "claims.toml: this is a claims file, not a price table"),
    (["quantize", "good.q.nir", "--calibrate", "good.npz"], "good.q.nir: already quantised"),
    (["to-netx", "good.nir"], "good.nir"),
    (["fine-tune", "train.toml", "--quantized", "good.nir", "--out", "out"], "good.nir"),
    (["run", "cut", "--input", "good.npz"], "cut"),
    (["run", "empty.nir", "--input", "good.npz"], "empty.nir: this is an empty file, not a NIR file"),
    # damaged or hostile
    (["run", "cut.nir", "--input", "good.npz"], "cut.nir: not a NIR file"),
    (["run", "notes.txt", "--input", "good.npz"], "notes.txt: not a NIR file"),
    (["to-nir", "foreign.pt"], "foreign.pt: not a checkpoint of this program"),
    (["to-nir", "weights.pt"], "network: give it too, --network MODULE:FACTORY --weights weights.pt"),
    ([*OWN, "whole.pt"], "no plain data; write it with torch.save(network.state_dict(), FILE)"),
    (["to-nir", "nan.pt"], "head.weight holds 64 NaN"),
    (["train", "train.toml", "--out", "out"], "shd_train.h5"),
    (["train", "huge.toml", "--out", "out"], "epochs = 1000"),
    (["train", "digits.toml", "--out", "out"], "digits.toml: not a training configuration"),
    (["train", "brackets.toml", "--out", "out"], "brackets.toml: not a training configuration"),
    (["train", "latin.toml", "--out", "out"], "latin.toml: not a training configuration"),
    (["place", "good.nir", "--chip", "chip.toml"], "chip.toml: no encoding"),
    ([*REPORT, "out", "--prices", "prices.toml"], "prices.toml: no title"),
    ([*REPORT, "out", "--prices", "device.json"], "device.json: row 1: unknown key 'watts'"),
    ([*REPORT, "out", "--claims", "claims.toml"], "claims.toml: claim 1: no boundary"),
    # input that does not fit
    (["run", "good.nir", "--input", "output.npz"], "[samples, steps, features]; it holds output"),
    (["run", "good.nir", "--input", "shd:cut"], "shd_train.h5"),
    (["run", "good.nir", "--input", "wide.npz"], "(2, 5, 13)"),
    (["compare", "good.nir", "--input", "wide.npz"], "(2, 5, 13)"),
    (["quantize", "good.nir", "--calibrate", "wide.npz"], "(2, 5, 13)"),
    (["report", "good.nir", "--input", "wide.npz", "--out", "out"], "(2, 5, 13)"),
    (["run", "good.nir", "--input", "marvels:here"], "a network is also run on an .npz file"),
    (["run", "good.nir", "--input", "synht"], "unknown data source 'synht' (did you mean synth?)"),
    (["evaluate", "good.pt", "--data", "gsc:nowhere"], "nowhere"),
    # a place that cannot be written, before any work
    (
        ["run", "good.nir", "--input", "good.npz", "--trace", "nowhere/t.npz"],
        "nowhere/t.npz: there is no folder nowhere",
    ),
    (["to-nir", "good.pt", "-o", "nowhere/x.nir"], "nowhere/x.nir: there is no folder nowhere"),
    (["to-nir", "good.pt", "-o", "good.pt"], "good.pt: would replace what it is made from; name another"),
    ([*OWN, "weights.pt", "-o", "weights.pt"], "weights.pt: would replace what it is made from; name another"),
    ([*OWN, "weights.pt", "-o", "good.npz"], "good.npz: would replace what it is made from; name another"),
    (["quantize", "good.nir", "--calibrate", "good.npz", "-o", "nowhere/x"], "nowhere/x: there is no folder nowhere"),
    (["to-netx", "good.q.nir", "-o", "cut"], "cut: is a folder; name a file in it"),
    (["place", "good.nir", "--chip", "loihi1", "--picture", "nowhere/a.png"], "there is no folder nowhere"),
    ([*REPORT, "notes.txt"], "notes.txt: it is not a folder"),
    (["train", "train.toml", "--out", "notes.txt/run"], "notes.txt is not a folder"),
    (["measure", "good.pt", "--out", "notes.txt"], "notes.txt: it is not a folder"),
    # usage
    (
        ["run", "good.nir", "--inptu", "good.npz"],
        "no option --inptu (did you mean --input?); see neurotarget run --help",
    ),
    (
        ["run", "good.nir", "--input", "good.npz", "--tracefile", "t.npz"],
        "no option --tracefile (did you mean --trace?)",
    ),
    (["place", "good.nir", "--chip", "Loihi2"], "no such chip (did you mean loihi2?)"),
    (["run", "good.nir"], "the following arguments are required: --input; see neurotarget run --help"),
    (["run", "good.nir", "--input", "good.npz", "--backend", "loihi"], "invalid choice: 'loihi'"),
    (["compare", "good.nir"], "one of --input and --against is expected"),
    (["compare", "good.nir", "--against", "wide.npz"], "wide.npz: no spikes; at least one of spikes/"),
    (["run", "good.nir", "--input", "good.npz", "--samples", "0"], "--samples 0: at least 1"),
    (["ablation", "chain.toml", "--out", "out", "--seeds", "0"], "--seeds 0: at least 1"),
    (
        ["train", "train.toml", "--out", "out", "--set", "training.epoch=3"],
        "unknown key 'epoch' (did you mean epochs?)",
    ),
    (["compare", "good.nir", "--input", "good.npz", "--backends", "reference"], "--backends reference: two of"),
    (["stream", "good.nir", "--input", "good.npz"], "looks 1 step (0.1 ms) ahead, and 2 other layers too"),
    (["validate", "chip.toml"], "unrecognized arguments: chip.toml"),
    (["doctor", "good.nir"], "unrecognized arguments: good.nir"),
]


def test_every_command_is_tried():
    assert {arguments[0] for arguments, _ in WRONG} == set(VERBS)


@pytest.mark.parametrize(("arguments", "words"), WRONG)
def test_wrong_input(folder, capsys, arguments, words):
    before = {path.name for path in folder.iterdir()}
    assert cli.main(arguments) == 2
    out, error = capsys.readouterr()
    assert words in error and len(error.strip().splitlines()) == 1 and not out, error
    assert cli.main([*arguments, "--json"]) == 2
    out, error = capsys.readouterr()
    assert json.loads(out) == {"error": error.removeprefix("error: ").rstrip("\n")}
    left = {path.name for path in folder.iterdir()} - before - {"cache"}
    assert not left, f"something was written: {left}"


def test_a_claims_file_does_not_see_what_a_variable_holds(folder, capsys):
    assert cli.main([*REPORT, "out", "--claims", "secret.toml"]) == 2
    error = capsys.readouterr().err
    assert "$A_SECRET" in error and "hunter2" not in error


def test_a_path_that_is_not_utf_8(folder, capsys):
    name = os.fsdecode(b"caf\xe9.nir")
    (folder / name).write_bytes((folder / "good.nir").read_bytes())
    try:
        assert cli.main(["run", name, "--input", "good.npz", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["model"] == name
        assert cli.main(["run", f"missing{name}", "--input", "good.npz"]) == 2
        assert capsys.readouterr().err == "error: missingcaf\\xe9.nir: no such file\n"
    finally:
        (folder / name).unlink()


def test_unknown_layer_is_refused_by_name():
    with pytest.raises(UnsupportedModule, match=r"tanh at layer 1, .* put a spiking neuron in its place"):
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
