"""The verdict: what answers each question, and that no sentence is greener than the rows under it."""

from __future__ import annotations

import html
import itertools
import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from neurotarget.conversion import quantize
from neurotarget.hardware.chips.fit import NotPlaced, fit
from neurotarget.hardware.chips.limits import load_chip
from neurotarget.hardware.energy import twin
from neurotarget.hardware.energy.figure import EnergyFigure, SpikingEnergy, energy_figure
from neurotarget.hardware.energy.trained_twin import TrainedTwin, TwinFigure
from neurotarget.hardware.energy.verdict import verdicts
from neurotarget.hardware.meters.measurement import Unmeasured
from neurotarget.hardware.report import main
from neurotarget.hardware.verdict import questions
from neurotarget.hardware.verdict.integers import InIntegers, IntegerForm, integer_form, load_integers, quantised_beside
from neurotarget.hardware.verdict.parity import ParityCheck, ParityUnavailable
from neurotarget.hardware.verdict.rows import FAVOURABLE, OPEN, STANDINGS, UNFAVOURABLE, VerdictRow, conclude
from neurotarget.sim import reference
from neurotarget.sim.graph import load
from neurotarget.sim.graph.node import GraphError
from neurotarget.sim.observed import observe

from tests.hardware.counted import DENSE, LIF, TABLES
from tests.hardware.metered import reading, readings
from tests.hardware.networks import lif, nir_graph

ONE = reading(1, (9.0, 1.0), (7.0, 1.0))
METERED = readings(ONE, ONE)
NO_METER = Unmeasured(False, (), (), "no GPU")
TWIN = twin.compare([DENSE, LIF])


# ---- one row each ----------------------------------------------------------------------------------------------------


def parity(sides: str, outcome: str, required: bool = True) -> ParityCheck:
    wrong = 0 if outcome != "differs" else 3
    return ParityCheck(
        sides=sides,
        samples=2,
        steps=10,
        spikes=0 if outcome == "not tested" else 7,
        mismatched=wrong,
        near_threshold=0,
        output_difference=0.0,
        first_divergence="sample 0" if wrong else None,
        exact=False,
        untested="nothing fired" if outcome == "not tested" else None,
        silent=outcome == "not tested",
        never_fire=(),
        always_fire=(),
        states=0,
        states_mismatched=0,
        first_state=None,
        outcome=outcome,
        holds=outcome == "holds",
        required=required,
    )


TORCH, LAVA = "pytorch float64 against reference float64", "reference float64 against lava float64"


@pytest.mark.parametrize(
    ("checks", "standing"),
    [
        ([], OPEN),
        ([parity(TORCH, "holds")], FAVOURABLE),
        ([parity(TORCH, "not tested")], OPEN),
        ([parity(TORCH, "differs")], UNFAVOURABLE),
        ([parity(LAVA, "holds")], OPEN),  # two simulators of one file
        ([parity(TORCH, "holds"), parity(LAVA, "differs")], UNFAVOURABLE),
        ([parity(TORCH, "holds"), parity("pytorch float32 against it", "differs", False)], FAVOURABLE),
        ([parity(TORCH, "holds", False)], OPEN),
    ],
)
def test_the_same_spikes_in_float(checks: list[ParityCheck], standing: str) -> None:
    row = questions.float_row(checks, [ParityUnavailable("pytorch against reference", "no checkpoint")])
    assert row.standing == standing and row.figure


@pytest.mark.parametrize(
    ("before", "after", "equal", "standing"),
    [
        (0.9, 0.9, 0.7, FAVOURABLE),
        (0.9, 0.885, 1.0, FAVOURABLE),
        (0.9, 0.87, 0.99, UNFAVOURABLE),
        (None, None, 0.96, FAVOURABLE),
        (None, None, 0.94, UNFAVOURABLE),
    ],
)
def test_the_same_class_in_integers(before: float | None, after: float | None, equal: float, standing: str) -> None:
    row = questions.integers_row(IntegerForm("m.q.nir", 50, before, after, equal, ()), "")
    assert row.standing == standing and row.kind == "simulated"
    assert f"{100 * equal:.3g} % of 50 answers equal" in row.figure
    missing = questions.integers_row(None, "no quantised file")
    assert (missing.standing, missing.kind, missing.figure) == (OPEN, "unknown", "no quantised file")


def test_a_chip_that_it_does_not_fit_is_not_favourable() -> None:
    yes, no = NotPlaced("A", True, "fits"), NotPlaced("B", False, "too large")
    assert questions.chip_row([yes]).standing == FAVOURABLE
    mixed = questions.chip_row([yes, no])
    assert (mixed.standing, mixed.answer) == (OPEN, "it fits A, not B") and "too large" in mixed.figure
    assert questions.chip_row([no]).standing == UNFAVOURABLE
    assert questions.chip_row([]).standing == OPEN


@pytest.mark.parametrize(
    ("once", "dampfhoffer", "standing"),
    [(0.236, "competes", UNFAVOURABLE), (3.0, "loses", UNFAVOURABLE), (3.0, "competes", OPEN), (None, None, OPEN)],
)
def test_a_twin_that_nobody_trained_is_never_favourable(
    once: float | None, dampfhoffer: str | None, standing: str
) -> None:
    twins = tuple(replace(one, total_ratio=once) for one in TWIN.twins)
    row = questions.twin_row(replace(TWIN, twins=twins, dampfhoffer=dampfhoffer), (), 0.9, None)
    assert row.standing == standing
    assert questions.twin_row(replace(TWIN, twins=twins), (), 0.9, "it guesses").standing == OPEN
    assert ("0.236" in row.answer) == (once == 0.236)


def form(accuracy: float | None, *ratios: tuple[float, float]) -> TrainedTwin:
    """A trained twin in 32 bits, with a pair of ratios twin / spiking for each price: all products, zeros skipped."""
    table = TABLES["45nm-fp32"]
    energies = tuple(
        TwinFigure(
            table.name,
            "",
            "",
            "operations",
            "FP32",
            ratio,
            skipping,
            1.0,
            ratio,
            skipping,
            None,
            None,
            None,
            None,
            "estimated",
            "",
            table.grade,
        )
        for ratio, skipping in ratios
    )
    return TrainedTwin("fp32", "t.pt", 32, 32, accuracy, 9, 9, 9.0, 9.0, 0.0, 0.0, energies, None, None, ())


@pytest.mark.parametrize(
    ("trained", "accuracy", "standing", "words"),
    [
        ([form(0.9, (3, 2), (5, 4))], 0.9, FAVOURABLE, "takes 2 to 4 times its energy"),
        ([form(0.9, (0.5, 0.4))], 0.9, UNFAVOURABLE, "takes 0.4 of its energy"),
        ([form(0.9, (3, 0.5), (4, 3))], 0.9, OPEN, "by the price"),  # zeros skipped it is cheaper under one
        ([form(0.88, (3, 2))], 0.9, OPEN, "no form of the trained twin reaches its accuracy"),
        ([form(0.88, (0.5, 0.4)), form(0.9, (3, 2))], 0.9, FAVOURABLE, "takes 2 times"),  # the worse twin is no rival
        ([form(0.9, (3, 2)), form(0.95, (0.5, 0.4))], 0.9, OPEN, "takes 0.4 to 2 times"),
        ([form(0.92, (3, 2))], 0.9, OPEN, "is more accurate: train narrower ones"),
        ([form(0.92, (3, 2)), form(0.905, (3, 2))], 0.9, FAVOURABLE, "takes 2 times"),
        ([form(0.92, (0.5, 0.4))], 0.9, UNFAVOURABLE, "takes 0.4 of its energy"),
        ([form(None, (3, 2))], None, OPEN, "accuracy is not known"),
        ([form(0.9)], 0.9, OPEN, "no price"),
    ],
)
def test_a_trained_twin_of_equal_accuracy_decides(
    trained: list[TrainedTwin], accuracy: float | None, standing: str, words: str
) -> None:
    row = questions.twin_row(TWIN, trained, accuracy, None)
    assert row.standing == standing and words in row.answer
    assert questions.twin_row(TWIN, trained, accuracy, "it guesses").standing == OPEN


def test_what_was_measured_alone_is_open() -> None:
    assert [questions.measured_row(one).standing for one in (METERED, NO_METER)] == [OPEN, OPEN]
    assert questions.measured_row(METERED).kind == "measured"
    twin = readings(reading(1, (3.0, 0.0), (2.0, 0.0)), reading(8, (1.0, 0.0), (0.5, 0.0)))
    beside = questions.measured_row(METERED, twin)
    assert beside.standing == OPEN and beside.answer == (
        "in PyTorch it takes 3 ± 0.333 times the energy of its twin alone, 9 ± 1 in batches, and on a chip it was not "
        "measured"
    )


# ---- the sentence over them ------------------------------------------------------------------------------------------


def priced(snn: float | None, ann: float | None, boundary: str) -> EnergyFigure:
    spiking = None if snn is None else SpikingEnergy(snn, 0.0, 0.0, snn)
    return energy_figure(TABLES["45nm-fp32"], boundary, spiking, ann, 0.2)


ENERGY = st.none() | st.just(0.0) | st.floats(1e-3, 1e3)
FIGURES = st.lists(st.builds(priced, ENERGY, ENERGY, st.sampled_from(["operations", "memory"])), max_size=5)
OUTCOMES = st.sampled_from(["holds", "differs", "not tested"])
CHECKS = st.lists(st.builds(parity, st.sampled_from([TORCH, LAVA]), OUTCOMES, st.booleans()), max_size=3)
SHARE = st.none() | st.floats(0, 1)
INTEGERS = st.none() | st.builds(IntegerForm, st.just("m.q.nir"), st.just(10), SHARE, SHARE, st.floats(0, 1))
PLACED = st.lists(st.builds(NotPlaced, st.sampled_from("AB"), st.booleans(), st.just("why")), max_size=2)
RATIO = st.none() | st.floats(0.01, 100)
PAIR = st.tuples(st.floats(0.1, 10), st.floats(0.1, 10))
TRAINED = st.lists(st.builds(lambda share, pairs: form(share, *pairs), SHARE, st.lists(PAIR, max_size=2)), max_size=2)
WITHHELD = st.none() | st.just("the network never fires")


@given(CHECKS, INTEGERS, PLACED, RATIO, TRAINED, SHARE, FIGURES, st.sampled_from([METERED, NO_METER]), WITHHELD)
def test_no_headline_is_greener_than_its_rows(
    checks: list[ParityCheck],
    integers: IntegerForm | None,
    placement: list[NotPlaced],
    ratio: float | None,
    trained: list[TrainedTwin],
    accuracy: float | None,
    figures: list[EnergyFigure],
    measured: Any,
    withheld: str | None,
) -> None:
    """Over random reports. What makes a row favourable is said here a second time, in the facts' own words."""
    twins = replace(TWIN, twins=tuple(replace(one, total_ratio=ratio) for one in TWIN.twins))
    rows = [
        questions.float_row(checks, []),
        questions.integers_row(integers, "none"),
        questions.chip_row(placement),
        questions.twin_row(twins, trained, accuracy, withheld),
        questions.dense_row(verdicts(figures, measured, withheld), withheld),
        questions.measured_row(measured),
    ]
    found = conclude(rows)
    by_name = {row.name: row.standing for row in rows}
    assert list(by_name) == ["float", "integers", "chip", "twin", "dense", "measured"]
    if by_name["float"] == FAVOURABLE:
        required = [check for check in checks if check.required]
        assert all(check.holds for check in required) and any(check.sides == TORCH for check in required)
    if by_name["chip"] == FAVOURABLE:
        assert placement and all(one.fits for one in placement)
    pairs = [(f.snn_uj, f.ann_uj) for f in figures if None not in (f.snn_uj, f.ann_uj)]
    if by_name["dense"] == FAVOURABLE:
        assert not withheld and {f.boundary for f in figures} == {"operations", "memory"}
        assert all(snn is not None and ann is not None and snn < ann for snn, ann in pairs)
    if by_name["twin"] == FAVOURABLE:
        assert trained and accuracy is not None and not withheld
        rivals = [one for one in trained if one.accuracy is not None and one.accuracy >= accuracy - 0.01]
        assert rivals and all(min(row.twin_uj, row.skipping_uj) > 1 for one in rivals for row in one.energies)
    assert by_name["measured"] != FAVOURABLE
    greenness = [STANDINGS.index(standing) for standing in by_name.values()]
    assert STANDINGS.index(found.standing) == max(greenness) > 0
    assert found.headline.startswith("A saving is not shown: " if max(greenness) == 1 else "No saving is shown: ")


@given(st.lists(st.sampled_from(STANDINGS), max_size=6))
def test_a_saving_is_said_only_where_every_row_is_favourable(standings: list[str]) -> None:
    rows = [VerdictRow("n", "q?", f"answer {i}", "", "counted", standing) for i, standing in enumerate(standings)]
    found = conclude(rows)
    said = found.headline.startswith("A saving is shown")
    assert said == (bool(standings) and set(standings) == {FAVOURABLE})
    assert found.headline.startswith("No saving is shown") == (UNFAVOURABLE in standings)
    for row in rows:  # what decides stands in the sentence
        if row.standing == found.standing and found.standing != OPEN:
            assert row.answer in found.headline
    assert found.headline.count(".") == 1


# ---- on files --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("network")
    rng = np.random.default_rng(0)
    nodes: dict[str, nir.NIRNode] = {
        "fc": nir.Linear(weight=rng.normal(size=(12, 6))),
        "hidden": lif(12, 0.9),
        "head": nir.Linear(weight=rng.normal(size=(3, 12))),
        "last": lif(3, 0.5),
    }
    names = ["input", *nodes, "output"]
    nir.write(folder / "net.nir", nir_graph((6,), nodes, (3,), list(itertools.pairwise(names))))
    other = {"fc": nir.Linear(weight=np.ones((3, 6))), "last": lif(3, 0.5)}
    nir.write(folder / "other.nir", nir_graph((6,), other, (3,), list(itertools.pairwise(["input", *other, "output"]))))
    np.savez(folder / "in.npz", input=rng.integers(0, 2, (8, 15, 6)), label=rng.integers(0, 3, 8))
    assert quantize.main([str(folder / "net.nir"), "--calibrate", str(folder / "in.npz"), "--accept"]) == 0
    return folder


def test_the_quantised_file_answers_on_the_same_samples(files: Path) -> None:
    """Against two runs whose answers are read off here by hand: the largest sum of spikes."""
    graph, integers = load(files / "net.nir"), load(files / "net.q.nir")
    with np.load(files / "in.npz") as data:
        frames, labels = data["input"], data["label"]
    assert quantised_beside(files / "net.nir") == files / "net.q.nir"
    assert load_integers(graph, files / "net.q.nir").quantised
    runs = [reference.run(one, frames, None, labels) for one in (graph, integers)]
    found = integer_form(files / "net.q.nir", observe(runs[0]), InIntegers(reference.Again(integers))(runs[0]))
    answers = [reference.run(one, frames).spikes["last"].sum(1).argmax(-1) for one in (graph, integers)]
    assert found.equal == np.mean(answers[0] == answers[1])
    assert (found.accuracy_float, found.accuracy) == tuple(np.mean(one == labels) for one in answers)
    assert (found.samples, found.file) == (8, str(files / "net.q.nir"))
    for layer in found.layers:
        ours, theirs = (run.spikes[layer.name] != 0 for run in runs)
        assert (layer.spikes_float, layer.spikes, layer.places) == (ours.sum(), theirs.sum(), ours.size)
        assert layer.differing == (ours ^ theirs).sum() and layer.share == layer.differing / ours.size
    assert [layer.name for layer in found.layers] == [node.name for node in graph.spiking]


def test_what_two_parts_of_a_run_differ_in_adds_up(files: Path) -> None:
    """Spikes of which three are changed, in two samples: the files themselves spike alike."""
    graph, integers = load(files / "net.nir"), load(files / "net.q.nir")
    with np.load(files / "in.npz") as data:
        run = reference.run(graph, data["input"], None, data["label"])
    last = run.spikes["last"].copy()
    for place in ((0, 0, 0), (0, 3, 1), (7, 2, 0)):
        last[place] = 1 - last[place]
    run = replace(run, spikes={**run.spikes, "last": last})
    fold = InIntegers(reference.Again(integers))
    parts = fold(run.rows(slice(3))) + fold(run.rows(slice(3, 8)))
    whole, again = (integer_form(files / "net.q.nir", observe(run), one) for one in (fold(run), parts))
    assert whole == again
    assert {layer.name: layer.differing for layer in whole.layers} == {"hidden": 0, "last": 3}


def test_another_network_or_one_in_float_is_no_quantised_file(files: Path) -> None:
    graph, other = load(files / "net.nir"), load(files / "other.nir")
    with pytest.raises(GraphError, match="its numbers are in float"):
        load_integers(graph, files / "net.nir")
    with pytest.raises(GraphError, match="its spiking layers differ"):
        load_integers(other, files / "net.q.nir")


def report(files: Path, tmp_path: Path, model: str, *more: str) -> Any:
    arguments = [str(files / model), "--input", str(files / "in.npz"), "--out", str(tmp_path / "r")]
    code = main([*arguments, "--lava-samples", "0", *more])
    return json.loads((tmp_path / "r" / "report.json").read_text()) if code == 0 else code


def test_a_quantised_file_beside_is_found_and_one_that_is_given_must_fit(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = report(files, tmp_path, "net.nir")["verdict"]["rows"][1]
    assert row["kind"] == "simulated" and "net.q.nir" in row["figure"]
    row = report(files, tmp_path, "other.nir")["verdict"]["rows"][1]
    assert (row["standing"], row["kind"]) == (OPEN, "unknown") and "--quantized" in row["figure"]
    row = report(files, tmp_path, "net.q.nir")["verdict"]["rows"][1]
    assert row["standing"] == OPEN and "is in integers itself" in row["figure"]
    assert report(files, tmp_path, "other.nir", "--quantized", str(files / "net.q.nir")) == 2
    assert "its spiking layers differ" in capsys.readouterr().err


def test_what_is_placed_is_the_quantised_file_with_its_own_spikes(files: Path, tmp_path: Path) -> None:
    with np.load(files / "in.npz") as data:
        frames = data["input"]
    for model, placed in (("net.nir", "net.q.nir"), ("other.nir", "other.nir")):
        made, graph = report(files, tmp_path, model), load(files / placed)
        run = observe(reference.run(graph, frames))
        expected = [asdict(fit(graph, load_chip(chip), run=run)) for chip in ("loihi1", "loihi2")]
        assert made["placement"] == json.loads(json.dumps(expected))
        row = next(row for row in made["verdict"]["rows"] if row["name"] == "chip")
        assert row["figure"].endswith(f"Placed: {files / placed}.")


def test_the_sentence_stands_first_on_page_and_card_and_last_on_the_terminal(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verdict = report(files, tmp_path, "net.nir")["verdict"]
    headline, tone = verdict["headline"], {OPEN: "mixed", UNFAVOURABLE: "bad"}[verdict["standing"]]
    page = html.unescape((tmp_path / "r" / "report.html").read_text())
    assert re.findall(r'class="card (\w*)">(?:<h3>.*</h3>\s*)?<p class="answer">([^<]+)</p>', page)[0] == (
        tone,
        headline,
    )
    assert 'class="card good"' not in page[: page.index('id="dense"')]
    assert headline in (tmp_path / "r" / "model_card.md").read_text().replace("\\", "")
    assert capsys.readouterr().out.splitlines()[-1] == headline
