"""SANA-FE's process: a missing one, one that dies, hangs or cannot be run; and the command that asks for it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import signal
import stat
import threading
import time
from pathlib import Path

import nir
import numpy as np
import pytest
from neurotarget.hardware import report
from neurotarget.hardware.sanafe import SanafeError, parent
from neurotarget.sim.lava.child import group

from tests.hardware.networks import lif, nir_graph

PRESENT = importlib.util.find_spec("sanafe") is not None


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A program in the place of the Python that has SANA-FE."""
    program = folder / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv(parent.INTERPRETER, str(program))


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 3", parent.REMEDY),
        ("echo an axon fell off; exit 7", "SANA-FE ended with exit code 7; its log ends with: an axon fell off"),
        ("kill -ABRT $$", "SANA-FE was killed by SIGABRT; its log ends with: nothing"),
    ],
)
def test_an_end_before_the_result_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    stand_in(tmp_path, monkeypatch, script)
    with pytest.raises(SanafeError) as failed:
        parent.run({"groups": [], "links": [], "samples": []}, 0)
    assert str(failed.value) == said


def test_what_hangs_is_ended_with_all_that_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch, f"sleep 600 & echo $$ > {tmp_path}/pid; wait")
    monkeypatch.setattr(parent, "VERSION_SECONDS", 2.0)
    with pytest.raises(SanafeError, match="did not finish within 2 s and was ended"):
        parent.version()
    leader = int((tmp_path / "pid").read_text())
    assert not group.alive(leader)


def test_an_interruption_ends_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = tmp_path / "pid"
    stand_in(tmp_path, monkeypatch, f"echo $$ > {said}; sleep 600")

    def interrupt() -> None:
        while not (said.is_file() and said.read_text().strip()):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        parent.version()
    assert not group.alive(int(said.read_text()))


def test_an_interpreter_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(parent.INTERPRETER, "/no/python")
    with pytest.raises(SanafeError, match=r"NEUROTARGET_SANAFE_PYTHON is '/no/python', which is not a program"):
        parent.version()


def model(folder: Path) -> list[str]:
    nodes: dict[str, nir.NIRNode] = {"up": nir.Linear(weight=np.full((3, 2), 0.8)), "a": lif(3)}
    nir.write(folder / "model.nir", nir_graph((2,), nodes, (3,), [("input", "up"), ("up", "a"), ("a", "output")]))
    np.savez(folder / "in.npz", input=np.ones((2, 6, 2), np.uint8))
    out = ["--input", str(folder / "in.npz"), "--out", str(folder / "report"), "--lava-samples", "0"]
    return [str(folder / "model.nir"), *out, "--chip-simulator", "sanafe"]


def test_a_report_that_lacks_the_simulator_says_so_before_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(tmp_path, monkeypatch, "exit 3")
    assert report.main(model(tmp_path)) == 2
    assert parent.REMEDY in capsys.readouterr().err
    assert not (tmp_path / "report").exists()


def test_no_samples_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main([*model(tmp_path), "--chip-samples", "0"]) == 2
    assert "--chip-samples 0: at least 1 is needed" in capsys.readouterr().err


@pytest.mark.skipif(not PRESENT, reason="SANA-FE is not installed (extra 'dev' or 'sanafe')")
def test_a_report_with_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main([*model(tmp_path), "--chip-samples", "1"]) == 0
    assert "SANA-FE 2.2.9: spikes: equal, " in capsys.readouterr().out
    found = json.loads((tmp_path / "report/report.json").read_text())["chip_simulation"]
    assert (found["samples"], found["outcome"], found["kind"]) == (1, "equal", "simulated")
    assert found["energy_uj"] > 0 and found["latency_us"] > 0
    page = (tmp_path / "report/report.html").read_text()
    assert "On a simulated chip" in page and "Energy per inference" in page


@pytest.mark.skipif(not PRESENT, reason="SANA-FE is not installed (extra 'dev' or 'sanafe')")
def test_the_version_is_the_one_that_is_installed() -> None:
    assert parent.version() == importlib.metadata.version("sanafe")


def test_only_the_child_imports_it() -> None:
    """SANA-FE is GPL-3.0: no process of ours loads it."""
    root = Path(report.__file__).parent
    importing = [path.name for path in root.rglob("*.py") if "import sanafe\n" in path.read_text()]
    assert importing == ["child.py"]
    assert os.path.samefile(parent.CHILD, root / "sanafe/child.py")
