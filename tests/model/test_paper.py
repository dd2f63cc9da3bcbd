"""The paper's three chains on tiny folders in the layouts of the real data, and without any data."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from neurotarget.model import distill
from neurotarget.model.training import stages
from neurotarget.model.training.settings import SettingsError

from tests.recordings import noise, write_wav, write_words

ROOT = Path(__file__).parents[2]
STEPS = {"shd": [100, 40], "ssc": [500, 200, 100, 40], "gsc": [400, 200, 100, 40]}
SMALL = ["training.epochs=1", "training.batch=8", "training.warmup_epochs=0", "model.width=16", "model.heads=2"]


def write_folder(name, folder):
    if name == "gsc":
        for word in ("no", "yes"):
            for speaker in range(12):
                samples = noise(speaker, 16000) // 4 + (word == "yes") * np.arange(16000) % 900
                write_wav(folder / word / f"{speaker:08x}_nohash_0.wav", samples, 16000)
        return
    write_words(folder / f"{name}_train.h5", 1, [1] * 8 + [2] * 8)
    write_words(folder / f"{name}_test.h5", 2, [3] * 8)
    if name == "ssc":
        write_words(folder / "ssc_valid.h5", 3, [2] * 8)


@pytest.mark.parametrize("name", STEPS)
def test_a_dry_run_of_each_chain(name, tmp_path, monkeypatch, capsys):
    write_folder(name, tmp_path / "data")
    monkeypatch.setenv(f"NEUROTARGET_{name.upper()}", str(tmp_path / "data"))
    monkeypatch.setenv("NEUROTARGET_CACHE", str(tmp_path / "cache"))
    later = [f"stage.{number}.epochs=1" for number in range(2, len(STEPS[name]) + 1)]
    options = [text for change in [*SMALL, *later, "model.hidden=16"] for text in ("--set", change)]
    command = [str(ROOT / f"configs/ptcd_{name}.toml"), "--out", str(tmp_path / "run"), "--resume", *options]
    assert distill.main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = json.loads((tmp_path / "run" / "metrics.json").read_text())["stages"]
    assert [row["steps_per_second"] for row in rows] == STEPS[name]
    published = {row["steps_per_second"]: row["published"]["accuracy"] for row in rows if "published" in row}
    assert list(published) == [100, 40]
    for row, line in zip(rows, lines[1:], strict=False):
        accuracy = published.get(row["steps_per_second"])
        shown = "–" if accuracy is None else f"{accuracy:.4f}"
        steps, _, test, beside, *_ = line.split()
        assert (steps, test, beside) == (str(row["steps_per_second"]), f"{row['test_accuracy']:.4f}", shown)
    source, last = lines[1 + len(rows) :]
    assert source == f"published: {rows[-1]['published']['source']}" and "arXiv 2412.12858" in source
    assert last.startswith(f"{rows[-1]['checkpoint']}: written; ")


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("folder", [None, "nowhere", "empty"])
def test_without_the_data_one_sentence_says_what_is_lacking_and_where_it_is(
    name, folder, tmp_path, monkeypatch, capsys
):
    variable = f"NEUROTARGET_{name.upper()}"
    monkeypatch.delenv(variable, raising=False)
    (tmp_path / "empty").mkdir()
    if folder:
        monkeypatch.setenv(variable, str(tmp_path / folder))
    assert distill.main([str(ROOT / f"configs/ptcd_{name}.toml"), "--out", str(tmp_path / "run"), "--resume"]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: ") and said.err.count("\n") == 1 and not said.out
    assert (str(tmp_path / folder) if folder else f"{variable} is not set") in said.err
    assert ("download.tensorflow.org" if name == "gsc" else "zenkelab.org/datasets") in said.err
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
@pytest.mark.parametrize("name", STEPS)
def test_make_runs_the_chain(name):
    shown = subprocess.run(["make", "--dry-run", f"paper-{name}"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"-m model.distill configs/ptcd_{name}.toml --out runs/ptcd_{name} --resume" in shown.stdout


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", r"\[published\]: no source"),
        ("[published]\nsource = 'a'\nwhere = 'b'\n", r"\[published\]: unknown key 'where'"),
    ],
)
def test_a_published_figure_has_a_source(chain_file, tmp_path, lines, message):
    path = tmp_path / "chain.toml"
    path.write_text(chain_file.read_text().replace("[[stage]]", f"{lines}[[stage]]", 1) + "published_accuracy = 0.9\n")
    with pytest.raises(SettingsError, match=message):
        stages.read(path)
