"""`python -m hardware.place`: what it prints, and wrong input."""

import json
from pathlib import Path

import matplotlib.image
import nir
import numpy as np
import pytest
from neurotarget.hardware.place import main

from tests.hardware.networks import lif, nir_graph


@pytest.fixture
def model(tmp_path: Path) -> Path:
    nodes = {"fc": nir.Linear(weight=np.ones((30, 8))), "n": lif(30, 0.5), "g": nir.Linear(weight=np.ones((4, 30)))}
    nir.write(
        tmp_path / "net.nir", nir_graph((8,), nodes, (4,), [("input", "fc"), ("fc", "n"), ("n", "g"), ("g", "output")])
    )
    return tmp_path / "net.nir"


def test_the_command(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "chip.png"
    assert main([str(model), "--chip", "loihi1", "--picture", str(picture)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("Fits Loihi 1: 1 of 128 cores")
    assert matplotlib.image.imread(picture)[..., :3].std() > 0.02
    np.savez(tmp_path / "in.npz", input=3 * np.ones((2, 5, 8)))
    assert main([str(model), "--chip", "loihi1", "--json", "--input", str(tmp_path / "in.npz")]) == 1
    result = json.loads(capsys.readouterr().out)
    assert [finding["rule"] for finding in result["findings"]] == ["graded input"]
    assert main([str(model), "--chip", "loihi2", "--input", str(tmp_path / "in.npz")]) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--chip", "loihi9"], "no such chip"),
        (["--chip", "loihi1", "--weight-bits", "7"], "--weight-bits 7"),
        (["--chip", "loihi1", "--steps", "0"], "0 steps"),
        (["--chip", "loihi1", "--input", "none.npz"], "none.npz: no such file"),
    ],
)
def test_wrong_input_is_one_sentence(
    model: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    assert main([str(model), *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and words in error and error.count("\n") == 1
