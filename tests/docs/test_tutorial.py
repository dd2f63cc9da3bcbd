"""The tutorial's commands, as they stand, on a small network and two made-up words instead of `synth`."""

import json
from pathlib import Path

import numpy as np
import pytest
from neurotarget.model.training import checkpoint
from neurotarget.sim.trace import Trace

from neurotarget.cli import VERBS, command
from tests.docs.documented import ROOT, Documented, commands
from tests.recordings import write_spikes

TUTORIAL = "docs/guide/tutorial.md"
SMALL = {"configs/demo.toml": "train.toml", "synth": "shd:shd", "training.epochs=4": "training.epochs=6"}
DOORS = {command(verb).door: command(verb) for verb in VERBS}


def words(seed, count):
    """Two words that differ in where their events lie: low or high units."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    utterances = []
    for label in labels:
        times = np.sort(rng.uniform(0, rng.uniform(0.15, 0.3), 250))
        units = np.clip(rng.normal(200 + 300 * label, 60, 250), 0, 699).astype(int)
        utterances.append((times, units))
    return utterances, labels


def shown():
    """The tutorial's commands in order, without `make`: the words that a shell would run."""
    text = (ROOT / TUTORIAL).read_text(encoding="utf-8")
    found = [Documented(TUTORIAL, line).words for line in commands(text)]
    return [[SMALL.get(word, word) for word in line] for line in found if line[0] == "python"]


@pytest.mark.slow
def test_the_tutorial_from_training_to_the_report(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEUROTARGET_CACHE", str(tmp_path / "cache"))
    for name, seed, count in (("shd_train.h5", 0, 64), ("shd_test.h5", 1, 16)):
        utterances, labels = words(seed, count)
        speakers = np.arange(count) // 8
        write_spikes(tmp_path / "shd" / name, utterances, labels, speakers=speakers)
    (tmp_path / "train.toml").write_text(
        '[data]\nspec = "shd:shd"\n[model]\npreset = "tiny"\n[training]\nbatch = 8\nseed = 1\n'
    )
    said = {}
    for line in shown():
        code = DOORS[line[2]](line[3:])
        refused = "loihi1" in line  # attention needs neurons with a program: the tutorial says so
        assert code == int(refused), line
        said[" ".join(line[2:])] = capsys.readouterr().out

    def output(*parts):
        (found,) = [text for line, text in said.items() if all(part in line for part in parts)]
        return found

    loaded = checkpoint.load("runs/first/ckpt.pt")
    assert loaded.config.features == 140 and loaded.config.classes == 2
    accuracy = loaded.metrics["test_accuracy"]
    assert accuracy >= 0.9 and f"accuracy {accuracy:.4f}" in output("model.evaluate")
    assert "shd:shd       pytorch float64 against reference float64  holds" in output("conversion.to_nir")
    spikes = sum(int(fired.sum()) for fired in Trace.load("runs/first/trace.npz").spikes.values())
    assert f" {spikes} spikes, accuracy {accuracy:.4f}" in output("sim.run") and spikes > 0
    identical = [output("sim.compare", option).splitlines()[-1] for option in ("--backends", "--states")]
    assert identical[0].startswith("identical: reference float64 against lava float64, 3 samples")
    assert identical[1].startswith("identical: reference lava-fixed against lava lava-fixed")
    assert "runs/first/ckpt.q.nir: written" in output("conversion.quantize")
    assert "Does not fit Loihi 1 (attention" in output("loihi1") and "Fits Loihi 2" in output("loihi2")
    report = json.loads(Path("runs/first/report/report.json").read_text())
    assert report["accuracy"] is not None
    assert {row["name"] for row in report["layers"]} >= {"embed.conv", "blocks.0.attention.product", "head"}
    assert Path("runs/first/report/report.html").read_text().startswith("<!doctype html>")
