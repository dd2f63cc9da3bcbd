"""A chip's price for a network that does not fit it is marked, decides nothing, and what is left out is said."""

from __future__ import annotations

import html
import itertools
import json
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from neurotarget.hardware.chips.fit import NotPlaced
from neurotarget.hardware.energy.memory import energies
from neurotarget.hardware.energy.reserved import reservations, reserve
from neurotarget.hardware.energy.verdict import WITHHELD, verdicts
from neurotarget.hardware.energy.whole_chip import whole_chips
from neurotarget.hardware.meters.measurement import Unmeasured
from neurotarget.hardware.report import main

from tests.hardware.counted import DENSE, LIF, TABLES
from tests.hardware.networks import lif, nir_graph

NO_METER = Unmeasured(False, (), (), "no GPU")
WHY = {"Loihi 1": "the network cannot be placed on Loihi 1: it looks ahead"}


def test_only_what_does_not_fit_has_a_reservation() -> None:
    placement = [NotPlaced("Loihi 1", False, "it looks ahead")]
    assert reservations(placement) == WHY
    figures = energies([DENSE, LIF], list(TABLES.values()))
    marked = reserve(figures, WHY)
    assert {row.group for row in marked if row.reservation} == {"Loihi 1"}
    assert {row.group for row in marked if not row.reservation} == {row.group for row in figures} - {"Loihi 1"}
    assert reserve(figures, {}) == tuple(figures)


def test_a_chip_that_cannot_run_it_is_not_held_against_a_gpu() -> None:
    figures = energies([DENSE, LIF], list(TABLES.values()))
    assert verdicts(figures, NO_METER)[2].answer != WITHHELD
    machines = verdicts(reserve(figures, WHY), NO_METER)[2]
    assert (machines.answer, machines.low, machines.high) == (WITHHELD, None, None)
    assert machines.sentence == f"Chip against GPU: no verdict, because {WHY['Loihi 1']}."
    (row,) = whole_chips([DENSE, LIF], list(TABLES.values()), WHY)
    assert row.reservation == WHY["Loihi 1"] and row.sentence.endswith(f"for comparison only: {WHY['Loihi 1']}.")


CLAIM = """[[claim]]
name = "Little on Loihi"
boundary = "operations"
relation = "at most"
value = 1000.0
unit = "uJ"
source = "a test"
subject = { tables = [TABLE] }
"""


@pytest.mark.parametrize(("payload", "table", "answer"), [(1, "loihi1-davies2018", "holds"),
    (2, "loihi1-davies2018", "undecided"), (2, "45nm-fp32", "holds")])  # fmt: skip
def test_a_claim_on_such_a_price_does_not_hold(payload: int, table: str, answer: str, tmp_path: Path) -> None:
    """Loihi 1 takes unit spikes: an input of 2 does not fit it."""
    nodes: dict[str, nir.NIRNode] = {"fc": nir.Linear(weight=np.ones((4, 8))), "last": lif(4)}
    names = ["input", *nodes, "output"]
    nir.write(tmp_path / "net.nir", nir_graph((8,), nodes, (4,), list(itertools.pairwise(names))))
    np.savez(tmp_path / "in.npz", input=payload * np.ones((1, 6, 8), np.uint8))
    (tmp_path / "claims.toml").write_text(CLAIM.replace("TABLE", f'"{table}"'))
    arguments = [str(tmp_path / "net.nir"), "--input", str(tmp_path / "in.npz"), "--out", str(tmp_path / "r")]
    assert main([*arguments, "--lava-samples", "0", "--claims", str(tmp_path / "claims.toml")]) == 0
    content: dict[str, Any] = json.loads((tmp_path / "r" / "report.json").read_text())
    (claim,) = content["claims"]
    assert claim["answer"] == answer and [row["answer"] for row in claim["rows"]] == ["holds"]
    fits = content["placement"][0]["fits"]
    assert fits == (payload == 1)
    marked = {row["table"] for row in content["energy"] if row["reservation"]}
    assert marked == (set() if fits else {"loihi1-davies2018", "loihi1-sanafe", "keras-spiking-loihi"})
    page = html.unescape((tmp_path / "r" / "report.html").read_text())
    assert ("that of a chip which cannot run it" in page) != fits
    if answer == "undecided":
        assert "holds by prices that do not apply: the network does not fit Loihi 1" in claim["reason"]
        assert claim["rows"][0]["reservation"] and claim["reason"][1:] in page


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    nodes: dict[str, nir.NIRNode] = {"fc": nir.Linear(weight=np.ones((4, 8))), "last": lif(4)}
    names = ["input", *nodes, "output"]
    nir.write(tmp_path / "net.nir", nir_graph((8,), nodes, (4,), list(itertools.pairwise(names))))
    np.savez(tmp_path / "in.npz", input=np.ones((2, 10, 8), np.uint8), length=[10, 5])
    arguments = [str(tmp_path / "net.nir"), "--input", str(tmp_path / "in.npz"), "--out", str(tmp_path / "r")]
    assert main([*arguments, "--lava-samples", "0"]) == 0
    content = json.loads((tmp_path / "r" / "report.json").read_text())
    rows = {row["what"]: row for row in content["verdict"]["left_out"]}
    assert list(rows) == ["front end", "static power", "host", "input and output", "weights off the chip"]
    assert "not a data SPEC" in rows["front end"]["figure"] and content["front_end"] is None
    # 0.029 W, as published, over 7.5 steps of 1 ms
    assert "0.029 W: 218 µJ over the 0.0075 s" in rows["static power"]["figure"]
    # 15 steps in 2 samples, 8 values each in and 4 out
    assert rows["input and output"]["figure"].startswith("60 input values enter and 30 output values leave")
    # 32 bytes: 4 words of 64 bits at 1.3 to 2.6 nJ
    assert "0.0312 KB" in rows["weights off the chip"]["figure"]
    assert "0.0052 to 0.0104 µJ" in rows["weights off the chip"]["figure"]
    assert {row["kind"] for row in rows.values()} == {"unknown", "estimated", "counted"}
