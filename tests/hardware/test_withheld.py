"""No verdict on the energy of a network that never fires or guesses, and no headline greener than its rows."""

from __future__ import annotations

import html
import itertools
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from neurotarget.hardware.counts.summary import sum_up
from neurotarget.hardware.energy.claims import Claim, Side
from neurotarget.hardware.energy.figure import EnergyFigure, SpikingEnergy, energy_figure
from neurotarget.hardware.energy.judgement import HOLDS, UNDECIDED, PricedRun, judge
from neurotarget.hardware.energy.verdict import LESS, MORE, UNKNOWN, WITHHELD, verdicts
from neurotarget.hardware.energy.withheld import at_chance, silent
from neurotarget.hardware.meters.measurement import Unmeasured
from neurotarget.hardware.report import main
from neurotarget.sim import lava, reference
from neurotarget.sim.graph import Graph
from neurotarget.sim.observed import observe
from neurotarget.sim.trace import Trace

from tests.hardware.counted import DENSE, LIF, TABLES
from tests.hardware.networks import lif, nir_graph

NO_METER = Unmeasured(False, (), (), "no GPU")
QUIET = replace(LIF, spikes=0, messages=0)

# ---- why ---------------------------------------------------------------------------------------------------------


def answered(labels: list[int], answers: list[int], classes: int) -> Trace:
    """A run of one step whose outputs are largest at the answers."""
    output = np.eye(classes)[answers][:, None]
    return Trace({}, output, output, np.ones(len(labels), np.int64), np.array(labels), {"readout": "sum"})


def binomial(right: int, samples: int, chance: float) -> float:
    """P(at least so many right), written out."""
    return sum(math.comb(samples, k) * chance**k * (1 - chance) ** (samples - k) for k in range(right, samples + 1))


@pytest.mark.parametrize(
    ("labels", "answers", "classes", "chance", "above"),
    [
        ([0, 1] * 4, [0, 1] * 4, 2, 0.5, True),  # 1/256
        ([0, 1] * 3, [0, 1] * 3, 2, 0.5, False),  # 1/64: all right, too few to tell
        ([0, 1] * 4, [0, 1] * 3 + [0, 0], 2, 0.5, False),  # 9/256
        ([0, 1, 2, 3] * 5, [0] * 20, 4, 0.25, False),  # one answer for all
        ([0] * 18 + [1, 1], [0] * 20, 2, 0.9, False),  # the same, 90 % right
        ([1] * 30, [1] * 30, 10, 1.0, False),  # a constant would be right too
        (list(range(10)), list(range(10)), 20, 0.1, True),
        ([0, 1, 2], [0, 1, 2], 3, 1 / 3, False),  # 1/27
        ([0] * 10 + [1] * 10, [1] * 10 + [0] * 10, 2, 0.5, False),  # none right
    ],
)
def test_accuracy_is_held_against_one_answer_for_all(
    labels: list[int], answers: list[int], classes: int, chance: float, above: bool
) -> None:
    right = sum(a == b for a, b in zip(labels, answers, strict=True))
    probability = binomial(right, len(labels), chance)
    assert (probability < 0.01) == above
    reason = at_chance(observe(answered(labels, answers, classes)))
    if above:
        assert reason is None
    else:
        assert reason is not None
        assert f"{right} of {len(labels)} samples right are not above chance" in reason
        assert f"would reach {chance:.3g} (binomial test, p = {probability:.2g}, level 0.01" in reason


def test_without_labels_or_with_outputs_that_are_no_vector_nothing_is_said_of_accuracy() -> None:
    trace = answered([0, 1], [1, 0], 2)
    assert at_chance(observe(trace)) is not None
    assert at_chance(observe(replace(trace, labels=None))) is None
    assert at_chance(observe(replace(trace, output=np.zeros((2, 1, 3, 3))))) is None


def test_a_network_is_silent_where_something_could_fire_and_nothing_does() -> None:
    assert silent(sum_up([DENSE, LIF])) is None
    assert silent(sum_up([DENSE])) is None  # nothing that could fire
    assert silent(sum_up([DENSE, QUIET])) == "the network never fires"


# ---- the verdict ----------------------------------------------------------------------------------------------------


def row(snn: float | None, ann: float | None, boundary: str, group: str = "") -> EnergyFigure:
    spiking = None if snn is None else SpikingEnergy(snn, 0.0, 0.0, snn)
    return energy_figure(replace(TABLES["45nm-fp32"], group=group), boundary, spiking, ann, 0.2)


def test_there_is_no_verdict_where_it_is_withheld() -> None:
    rows = [row(1, 5, "operations"), row(1, 3, "memory"), row(1, None, "operations", "Loihi 1")]
    rows.append(row(None, 9, "operations", "GPU floor"))
    assert [verdict.answer for verdict in verdicts(rows, NO_METER)] == [LESS, LESS, LESS, UNKNOWN]
    found = verdicts(rows, NO_METER, "the network never fires")
    assert [verdict.answer for verdict in found] == [WITHHELD] * 3 + [UNKNOWN]
    for verdict in found[:3]:
        assert (verdict.low, verdict.high, verdict.tables) == (None, None, 0)
        assert verdict.sentence.endswith(": no verdict, because the network never fires.")
    assert found[3] == verdicts(rows, NO_METER)[3]  # what was measured was measured


energy = st.none() | st.just(0.0) | st.floats(1e-3, 1e3)
ROWS = st.lists(
    st.builds(
        row, energy, energy, st.sampled_from(["operations", "memory"]), st.sampled_from(["", "Loihi 1", "GPU floor"])
    ),
    max_size=6,
)


@given(ROWS)
def test_a_headline_is_never_greener_than_the_rows_under_it(rows: list[EnergyFigure]) -> None:
    for boundary, verdict in zip(("operations", "memory"), verdicts(rows, NO_METER), strict=False):
        pairs = [(r.snn_uj, r.ann_uj) for r in rows if r.boundary == boundary and None not in (r.snn_uj, r.ann_uj)]
        check(verdict.answer, verdict.low, verdict.high, [(snn or 0.0, ann or 0.0) for snn, ann in pairs])
    machines = verdicts(rows, NO_METER)[2]
    chips = [r.snn_uj for r in rows if r.boundary == "operations" and r.group == "Loihi 1" and r.snn_uj is not None]
    gpus = [r.ann_uj for r in rows if r.boundary == "operations" and r.group == "GPU floor" and r.ann_uj is not None]
    check(machines.answer, machines.low, machines.high, [(chip, gpu) for chip in chips for gpu in gpus])


def check(answer: str, low: float | None, high: float | None, pairs: list[tuple[float, float]]) -> None:
    """`less` only where the spiking network takes less in every pair (spiking, dense), `more` only where in none."""
    if answer == LESS:
        assert pairs and all(snn < ann for snn, ann in pairs)
    if answer == MORE:
        assert pairs and all(snn > ann for snn, ann in pairs)
    if answer == UNKNOWN:
        assert (low, high) == (None, None) and (not pairs or any(0 in pair for pair in pairs))
    else:
        assert low == pytest.approx(min(ann / snn for snn, ann in pairs))
        assert high == pytest.approx(max(ann / snn for snn, ann in pairs))


# ---- claims ---------------------------------------------------------------------------------------------------------


def priced(layer: Any) -> PricedRun:
    return PricedRun(sum_up([DENSE, layer]), (row(2, 10, "operations"),), None, NO_METER)


def claim(subject: str, against: str | None) -> Claim:
    other = None if against is None else Side(network=against, model=Path("m"), input="in")
    unit = "uJ" if other is None else "ratio"
    return Claim("c", "operations", "at most", 20.0, "a test", subject=Side(network=subject), against=other, unit=unit)


@pytest.mark.parametrize(
    ("subject", "against", "layers", "side"),
    [
        ("spiking", "dense", (LIF, LIF), None),
        ("spiking", "dense", (QUIET, LIF), "subject"),
        ("spiking", "spiking", (LIF, QUIET), "against"),
        ("spiking", None, (QUIET, LIF), "subject"),
        ("dense", None, (QUIET, LIF), None),  # what the dense network takes follows no spike
        ("spiking", "dense", (LIF, QUIET), None),
    ],
)
def test_a_claim_on_a_spiking_network_that_never_fires_is_undecided(
    subject: str, against: str | None, layers: tuple[Any, Any], side: str | None
) -> None:
    result = judge(claim(subject, against), lambda asked: priced(layers[0 if asked.model is None else 1]))
    if side is None:
        assert (result.answer, result.reason) == (HOLDS, "")
    else:
        assert (result.answer, result.rows, result.low) == (UNDECIDED, (), None)
        assert result.reason == f"the network never fires on the side {side!r}, so that what it takes says nothing"


# ---- the report -----------------------------------------------------------------------------------------------------


@pytest.fixture
def reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """A report on a network of four inputs, two layers of such thresholds and four outputs, Lava replaced by ours."""

    def streamed(graph: Graph, frames: np.ndarray, lengths: np.ndarray, **_: Any) -> Trace:
        trace = reference.run(graph, frames, lengths)
        return replace(trace, header={**trace.header, "backend": "lava"})

    monkeypatch.setattr(lava, "run", streamed)

    def call(first: float, second: float, labels: list[int] | None = None) -> tuple[int, list[str], dict[str, Any]]:
        rng = np.random.default_rng(0)
        nodes = {"a": nir.Linear(4 * np.eye(4)), "first": lif(4, first), "b": nir.Linear(4 * np.eye(4))}
        names = ["input", *nodes, "second", "output"]
        edges = list(itertools.pairwise(names))
        nir.write(tmp_path / "net.nir", nir_graph((4,), nodes | {"second": lif(4, second)}, (4,), edges))
        frames = rng.poisson(0.1, (20, 10, 4)) + np.eye(4)[np.arange(20) % 4][:, None]  # class n is loudest at input n
        np.savez(tmp_path / "in.npz", input=frames, **({} if labels is None else {"label": np.array(labels)}))
        code = main([str(tmp_path / "net.nir"), "--input", str(tmp_path / "in.npz"), "--out", str(tmp_path / "r")])
        lines = capsys.readouterr().out.splitlines()
        return code, lines, json.loads((tmp_path / "r/report.json").read_text())

    return call


def pages(folder: Path) -> tuple[str, str]:
    return html.unescape((folder / "r/report.html").read_text()), (folder / "r/model_card.md").read_text()


def test_a_report_on_a_silent_network_says_so_first_and_gives_no_verdict(reported: Any, tmp_path: Path) -> None:
    code, lines, content = reported(1e9, 1.0)
    assert code == 1  # parity was required, and tested nothing
    said = lines.index("nothing fired in 20 samples, 200 steps of 0.001 s")
    assert lines[said + 1] == "never fire: first, second" and lines[-1] == content["verdict"]["headline"]
    assert content["activity"] == {"silent": True, "never_fire": ["first", "second"], "always_fire": []}
    (check,) = content["parity"]
    assert (check["outcome"], check["holds"], check["untested"]) == ("not tested", False, "nothing fired")
    assert content["withheld"] == "the network never fires"
    assert [verdict["answer"] for verdict in content["verdicts"]] == ["withheld"] * 3 + ["unknown"]
    page, card = pages(tmp_path)
    for text in (page, card):
        assert text.index("Nothing fired in 20 samples, 200 steps of 0.001 s") < text.lower().index("verdict")
        assert "less energy" not in text and "latency" in text.lower()
    assert "0 of 1 hold" in page and "1 not tested, because nothing fired" in page
    assert 'class="card good"' not in page and page.count("No verdict") >= 3
    assert 'class="tag good"' not in page[page.index('id="energy"') : page.index('id="layers"')]
    assert "not tested: nothing fired" in card and "equal," not in card


def test_a_report_names_a_layer_that_never_fires(reported: Any, tmp_path: Path) -> None:
    code, lines, content = reported(-1.0, 1e9)
    assert code == 0 and content["withheld"] is None
    said = lines.index("never fire: second")
    assert lines[said + 1] == "fire at every step, in every neuron: first"
    assert content["activity"] == {"silent": False, "never_fire": ["second"], "always_fire": ["first"]}
    assert (content["parity"][0]["outcome"], content["parity"][0]["never_fire"]) == ("holds", ["second"])
    for text in pages(tmp_path):
        assert "Spiking layers that never fire: second." in text
        assert "Spiking layers that fire at every step, in every neuron: first." in text


def test_a_report_at_chance_gives_no_verdict_and_one_above_does(reported: Any, tmp_path: Path) -> None:
    shifted = [(n + 1) % 4 for n in range(20)]
    code, _, content = reported(1.0, 1.0, shifted)
    assert code == 0 and content["accuracy"] < 0.25
    assert content["withheld"].endswith(
        "one answer for all would reach 0.25 (binomial test, p = 1, level 0.01; more samples may tell)"
    )
    assert [verdict["answer"] for verdict in content["verdicts"]] == ["withheld"] * 3 + ["unknown"]
    for text in pages(tmp_path):
        assert "no verdict, because" in text and "less energy" not in text
    code, _, content = reported(1.0, 1.0, [n % 4 for n in range(20)])
    assert code == 0 and content["accuracy"] > 0.9 and content["withheld"] is None
    assert [verdict["answer"] for verdict in content["verdicts"]][:2] == ["less", "less"]
    assert "does not fit Loihi 1" in content["verdicts"][2]["sentence"]  # the input has payloads: another reason


def test_latency_is_in_milliseconds_too(reported: Any, tmp_path: Path) -> None:
    _, _, content = reported(1.0, 1.0)
    assert (content["latency_steps"], content["latency_ms"]) == (2, 2.0)
    page, card = pages(tmp_path)
    assert "2 steps (2\u00a0ms)" in page and "| Latency as a stream | 2 steps (2 ms) |" in card
