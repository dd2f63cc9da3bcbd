"""A claim can be checked with one file and the page: what stands on it, and that its own example is a claims file."""

from __future__ import annotations

import html
import itertools
import json
import re
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from neurotarget.hardware.energy.claims import load_claims
from neurotarget.hardware.report import main

from neurotarget.figures import NONE, interval, rounded
from tests.hardware.networks import lif, nir_graph

COMMON = Path(__file__).parents[2] / "configs/claims_common.toml"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("network")
    rng = np.random.default_rng(0)
    nodes: dict[str, nir.NIRNode] = {"fc": nir.Linear(weight=rng.normal(size=(4, 8))), "last": lif(4)}
    names = ["input", *nodes, "output"]
    nir.write(folder / "net.nir", nir_graph((8,), nodes, (4,), list(itertools.pairwise(names))))
    np.savez(folder / "in.npz", input=rng.integers(0, 2, (3, 10, 8)))
    return folder


def reported(files: Path, out: Path, *more: str) -> tuple[dict[str, Any], str]:
    arguments = [str(files / "net.nir"), "--input", str(files / "in.npz"), "--out", str(out), "--lava-samples", "0"]
    assert main([*arguments, *more]) == 0
    return json.loads((out / "report.json").read_text()), html.unescape((out / "report.html").read_text())


def test_the_page_without_claims_shows_a_file_that_is_one(files: Path, tmp_path: Path) -> None:
    _, page = reported(files, tmp_path / "r")
    (example,) = re.findall(r"<pre><code>(.*?)</code></pre>", page, re.S)
    (tmp_path / "claims.toml").write_text(example)
    (claim,) = load_claims(tmp_path / "claims.toml")
    assert (claim.value, claim.boundary, claim.relation) == (0.5, "operations", "at most")
    content, page = reported(files, tmp_path / "r", "--claims", str(tmp_path / "claims.toml"))
    assert content["claims"][0]["answer"] in ("holds", "fails", "undecided") and "<pre>" not in page


def test_a_model_of_a_claims_file_is_looked_for_beside_it(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    side = 'subject = { model = "gone.nir", input = "in.npz" }'
    (tmp_path / "c.toml").write_text(COMMON.read_text().replace('subject = { network = "spiking" }', side, 1))
    arguments = [str(files / "net.nir"), "--input", str(files / "in.npz"), "--out", str(tmp_path / "r")]
    assert main([*arguments, "--claims", str(tmp_path / "c.toml"), "--lava-samples", "0"]) == 2
    said = f"error: {tmp_path / 'gone.nir'}: no such file; a path in a claims file starts from the file's folder"
    assert said in capsys.readouterr().err.splitlines()


def test_the_page_holds_all_that_a_reader_needs(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, page = reported(files, tmp_path / "r", "--claims", str(COMMON))
    printed = capsys.readouterr().out.splitlines()
    for claim in content["claims"]:
        assert f"claim: {claim['name']}: {claim['answer']}{claim['reason'] and ', ' + claim['reason']}" in printed
    section = page[page.index('id="claims"') : page.index('id="dense"')]
    dense = "the same network computed densely of this report"
    assert content["claims"][0]["statement"] == (
        f"the spiking network of this report takes at most 1 times what {dense} takes"
    )
    for claim in content["claims"]:
        for words in (claim["name"], claim["statement"], claim["source"], claim["reason"][1:]):
            assert words in section
        assert claim["lowest"] is None and f"borne out up to {rounded(claim['highest'])}" in section
        for row in claim["rows"]:
            assert row["value"] == pytest.approx(row["subject_uj"] / row["against_uj"])
            for figure in (row["value"], row["subject_uj"], row["against_uj"]):
                assert f"<td>{rounded(figure)}</td>" in section
            assert f"<td>{interval((row['value_low'], row['value_high']))}</td>" in section
    by_table = {row["table"]: row for claim in content["claims"] for row in claim["rows"]}
    assert (by_table["45nm-int8"]["precision"], by_table["45nm-int8"]["node"]) == ("INT8", "45 nm CMOS, 0.9 V")
    mixed = by_table["loihi1-davies2018 / gpu-a100-fp16"]
    assert mixed["precision"] == "not said / FP16" and mixed["node"] == "Intel 14 nm, 0.75 V / as published"
    assert "INT8" in section and "Operations only".lower() in section and "memory included" in section


def test_an_interval_that_is_not_known_is_a_dash() -> None:
    assert interval((None, None)) == NONE and interval((2.0, None, 1.0)) == "1 to 2"


def test_a_tolerance_stands_in_the_statement_and_in_its_band(files: Path, tmp_path: Path) -> None:
    (tmp_path / "claims.toml").write_text(
        '[[claim]]\nname = "n"\nboundary = "operations"\nrelation = "about"\nvalue = 0.4\ntolerance = 0.2\n'
        'unit = "uJ"\nsource = "a test"\n'
    )
    content, page = reported(files, tmp_path / "r", "--claims", str(tmp_path / "claims.toml"))
    (claim,) = content["claims"]
    assert claim["statement"] == "the spiking network of this report takes about 0.4 ± 20 % µJ per inference"
    assert (claim["lowest"], claim["highest"]) == pytest.approx((0.32, 0.48))
    assert "borne out from 0.32 up to 0.48" in page
    assert {row["against_uj"] for row in claim["rows"]} == {None}
