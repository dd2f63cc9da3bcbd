"""README's program on one's own network runs as it stands, from `import torch` to a report."""

import json
import runpy
from pathlib import Path

import pytest

import neurotarget

README = Path(__file__).parents[1] / "README.md"


def program() -> str:
    section = README.read_text(encoding="utf-8").split("## Your own network\n")[1].split("\n## ")[0]
    (found,) = section.split("```python\n")[1:]
    return found.split("```")[0]


def test_ones_own_network_from_import_torch_to_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = program().splitlines()
    assert len(lines) < 30 and "import torch" in lines
    (tmp_path / "own.py").write_text(program())
    monkeypatch.chdir(tmp_path)
    runpy.run_path("own.py", run_name="__main__")
    graph, integers = neurotarget.load("network.nir"), neurotarget.load("network.q.nir")
    assert not graph.quantised and integers.quantised
    assert [node.name for node in graph.spiking] == [node.name for node in integers.spiking] == ["one", "two"]
    report = json.loads(Path("report/report.json").read_text())
    required = [check for check in report["parity"] if check["required"]]
    assert {check["sides"] for check in required} >= {
        "pytorch float64 against reference float64", "reference float64 against lava float64"
    }  # fmt: skip
    assert all(check["holds"] and check["spikes"] > 1000 for check in required)
    assert Path("report/report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert "pytorch float64 against reference float64 equal, " in capsys.readouterr().out
