"""The whole path on a small network: train, export, run, compare with Lava, report."""

import json

import numpy as np
import pytest
from neurotarget.model.training import checkpoint
from neurotarget.sim.trace import Trace

from neurotarget import cli
from tests.recordings import write_spikes


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


@pytest.mark.slow
def test_from_training_to_the_report(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEUROTARGET_CACHE", str(tmp_path / "cache"))
    for name, seed, count in (("shd_train.h5", 0, 64), ("shd_test.h5", 1, 16)):
        utterances, labels = words(seed, count)
        speakers = np.arange(count) // 8
        write_spikes(tmp_path / "shd" / name, utterances, labels, speakers=speakers)
    (tmp_path / "train.toml").write_text(
        '[data]\nspec = "shd:shd"\n[model]\npreset = "tiny"\n[training]\nepochs = 6\nbatch = 8\nseed = 1\n'
    )

    assert cli.main(["train", "train.toml", "--out", "run"]) == 0
    loaded = checkpoint.load("run/ckpt.pt")
    assert loaded.config.features == 140 and loaded.config.classes == 2
    assert loaded.metrics["test_accuracy"] >= 0.9

    assert cli.main(["evaluate", "run/ckpt.pt", "--data", "shd:shd", "--json"]) == 0
    evaluated = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert evaluated["accuracy"] == loaded.metrics["test_accuracy"]

    assert cli.main(["to-nir", "run/ckpt.pt"]) == 0
    assert "shd:shd: pytorch float64 against reference float64" in capsys.readouterr().out

    arguments = ["run/ckpt.nir", "--input", "shd:shd"]
    assert cli.main(["run", *arguments, "--trace", "trace.npz", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["accuracy"] == loaded.metrics["test_accuracy"]
    assert sum(int(s.sum()) for s in Trace.load("trace.npz").spikes.values()) == result["spikes"] > 0

    assert cli.main(["compare", *arguments, "--samples", "2", "--json"]) == 0
    parity = json.loads(capsys.readouterr().out)
    assert parity["mismatched"] == 0 and parity["spikes"] > 0 and parity["latency_steps"] > 0

    assert cli.main(["report", *arguments, "--checkpoint", "run/ckpt.pt", "--out", "report"]) == 0
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["accuracy"] is not None
    assert {row["name"] for row in report["layers"]} >= {"embed.conv", "blocks.0.attention.product", "head"}
    assert (tmp_path / "report" / "report.html").read_text().startswith("<!doctype html>")
