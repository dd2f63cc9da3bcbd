"""What a report gives a paper: LaTeX whose braces close and whose citations exist, CSV, and the usual line."""

from __future__ import annotations

import csv
import itertools
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from neurotarget.hardware.page.paper import escaped, latex
from neurotarget.hardware.report import build, main

from tests.hardware.networks import lif, nir_graph

CLAIMS = """[[claim]]
name = "less"
boundary = "operations"
relation = "at most"
value = 0.5
unit = "ratio"
source = "A. Wang, \\"It takes 1.99 % of all\\", 2021"
subject = { network = "spiking" }
against = { network = "dense" }
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("network")
    rng = np.random.default_rng(0)
    nodes: dict[str, nir.NIRNode] = {"fc_1": nir.Linear(weight=rng.normal(size=(4, 8))), "last": lif(4)}
    names = ["input", *nodes, "output"]
    nir.write(folder / "net.nir", nir_graph((8,), nodes, (4,), list(itertools.pairwise(names))))
    np.savez(folder / "in.npz", input=rng.integers(0, 2, (3, 10, 8)))
    arguments = [str(folder / "net.nir"), "--input", str(folder / "in.npz"), "--out", str(folder / "r")]
    (folder / "claims.toml").write_text(CLAIMS)
    more = ["--lava-samples", "0", "--latex", "--claims", str(folder / "claims.toml")]
    assert main([*arguments, *more]) == 0
    return folder / "r"


def content_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return content


def closes(text: str) -> bool:
    depth = 0
    for mark in re.sub(r"\\[{}]", "", text):
        depth += {"{": 1, "}": -1}.get(mark, 0)
        if depth < 0:
            return False
    return depth == 0


def test_latex_closes_and_cites_what_the_bibliography_has(folder: Path) -> None:
    tex, bib = (folder / "report.tex").read_text(), (folder / "report.bib").read_text()
    assert closes(tex) and closes(bib)
    entries = re.findall(r"^@misc\{([^,]+),$", bib, re.M)
    content = content_of(folder)
    priced = {row["source"] for row in content["energy"]}
    others = {content["twin"]["source"], *(row["source"] for row in (*content["published"], *content["claims"]))}
    assert len(entries) == len(set(entries)) == len(priced | others)
    cited = set(re.findall(r"\\cite\{([^}]+)\}", tex))
    assert len(cited) == len(priced) and cited < set(entries)
    assert {"Wang-2412.12858", "Blouw-1812.01739", "Wang-2021"} <= set(entries) - cited
    assert tex.count("\\begin{table}") == tex.count("\\end{table}") == 2
    body = [line for line in tex.splitlines() if line.endswith("\\\\")]
    assert len(body) == 2 + len(content["layers"]) + len(content["energy"])
    assert {line.count(" & ") for line in body} == {5, 6}  # six and seven columns
    assert "fc\\_1 & affine & 4 & " in tex and tex.isascii()


def test_a_kind_of_two_words_is_text_too(folder: Path) -> None:
    files = [str(folder.parent / "net.nir"), "--input", str(folder.parent / "in.npz"), "--out", "never"]
    report, _ = build(main.parser().parse_args([*files, "--lava-samples", "0"]))
    tex = latex(replace(report, layers=(replace(report.layers[0], kind="temporal_conv"),)))
    assert "fc\\_1 & temporal\\_conv & " in tex


def test_an_entry_has_the_author_and_year_of_its_source(folder: Path) -> None:
    bib = (folder / "report.bib").read_text()
    horowitz = bib[bib.index("@misc{45nm-fp") :].partition("\n}")[0]
    assert "author = {M. Horowitz}" in horowitz and "year = {2014}" in horowitz
    assert "title = {{Computing's energy problem (and what we can do about it)}}" in horowitz
    assert "author = {M. Davies and others}" in bib
    wang = bib[bib.index("@misc{Wang-2021") :].partition("\n}")[0]
    assert "title = {{It takes 1.99 \\% of all}}" in wang and "author = {A. Wang}" in wang and "year = {2021}" in wang
    assert "year" not in bib[bib.index("@misc{arXiv-2406") :].partition("\n}")[0]  # 2406 is no year


def test_energies_as_csv(folder: Path) -> None:
    content = content_of(folder)
    with (folder / "energies.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["table"] for row in rows] == [row["table"] for row in content["energy"]]
    for row, figure, sure in zip(rows, content["energy"], content["uncertainty"], strict=True):
        for key, value in (figure | {"ratio_low": sure["ratio_low"]}).items():
            assert row[key] == ("" if value is None else str(value))


def test_the_usual_line_is_the_counts_at_45_nm(folder: Path) -> None:
    totals = content_of(folder)["totals"]
    millijoule = (totals["acs"] * 0.9 + totals["macs"] * 4.6) / 1e9
    page = (folder / "report.html").read_text()
    line = re.search(r"most papers state: ([\d.]+) ACs, (\d+) MACs, (\S+)\smJ per inference at 45\snm, FP32", page)
    assert line is not None
    assert float(line[1]) == pytest.approx(totals["acs"], rel=0.005) and line[2] == "0"
    assert float(line[3]) == pytest.approx(millijoule, rel=0.005)


def test_marks_of_latex_are_text() -> None:
    assert escaped("50 % of $x_1$ {a} \\b") == "50 \\% of \\$x\\_1\\$ \\{a\\} \\textbackslash{}b"
