"""Claims: the file, the judgement, and where it flips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from neurotarget.hardware.counts.summary import sum_up
from neurotarget.hardware.energy.claims import ClaimError, Side, check_tables, load_claims
from neurotarget.hardware.energy.figure import EnergyFigure, SpikingEnergy, energy_figure
from neurotarget.hardware.energy.judgement import FAILS, HOLDS, NOISE, UNDECIDED, JudgedClaim, PricedRun, judge
from neurotarget.hardware.energy.memory import energies
from neurotarget.hardware.energy.prices import load_tables
from neurotarget.hardware.meters.measurement import Measured, Unmeasured

from tests.hardware.counted import DENSE, JOINED, LIF, LINE
from tests.hardware.metered import reading, readings

CONFIGS = Path(__file__).parents[2] / "configs"
GOOD = """[[claim]]
name = "less"
boundary = "operations"
relation = "at most"
value = 0.5
unit = "ratio"
source = "a test"
subject = { network = "spiking" }
against = { network = "dense" }
"""


def row(table: str, snn: float | None, ann: float | None, neurons: float = 0.0) -> EnergyFigure:
    spiking = None if snn is None else SpikingEnergy(snn - neurons, neurons, 0.0, snn)
    priced = replace(load_tables()[0], name=table, title=table)
    return energy_figure(priced, "operations", spiking, ann, 0.1)


def run(*rows: EnergyFigure, steps: float = 100, measured: Measured | None = None) -> PricedRun:
    totals = replace(sum_up([DENSE, LIF]), spike_rate=0.1, steps_per_sample=steps)
    return PricedRun(totals, rows, None, measured or Unmeasured(False, (), (), "no CUDA device"))


def judged(tmp_path: Path, text: str, *runs: PricedRun, names: tuple[str, ...] = ("a", "b")) -> JudgedClaim:
    """The first claim of a text; the subject's run is the first, that of a side with a model the second."""
    path = tmp_path / "claims.toml"
    path.write_text(text)

    def run_of(side: Side) -> PricedRun:
        return runs[0] if side.model is None else runs[1]

    claims = load_claims(path)
    check_tables(claims, [replace(load_tables()[0], name=name, precision="FP32") for name in names])
    return judge(claims[0], run_of)


def test_a_claim_holds_fails_or_depends_on_the_table(tmp_path: Path) -> None:
    result = judged(tmp_path, GOOD, run(row("a", 2, 10), row("b", 4, 10)))
    assert (result.answer, result.low, result.high) == (HOLDS, 0.2, 0.4)
    result = judged(tmp_path, GOOD, run(row("a", 6, 10), row("b", 9, 10)))
    assert (result.answer, result.low, result.high) == (FAILS, 0.6, 0.9)
    result = judged(tmp_path, GOOD, run(row("a", 4, 10), row("b", 9, 10)))
    assert result.answer == UNDECIDED and "some price tables" in result.reason
    assert [entry.answer for entry in result.rows] == [HOLDS, FAILS]


@pytest.mark.parametrize(
    ("value", "answer", "answers"),
    [(0.2, HOLDS, [HOLDS, HOLDS]), (0.1, UNDECIDED, [HOLDS, FAILS]), (0.03, FAILS, [FAILS, FAILS])],
)
def test_with_memory_a_claim_holds_when_it_does_under_every_price_of_an_access(
    tmp_path: Path, value: float, answer: str, answers: list[str]
) -> None:
    """The layer and the neurons whose energies test_energy.py works out by hand: 0.039 and 0.116 of the dense ones."""
    figures = energies([DENSE, LIF], [JOINED, LINE])
    text = GOOD.replace('"operations"', '"memory"').replace("0.5", str(value))
    result = judged(tmp_path, text, run(*figures), names=(JOINED.name, LINE.name))
    assert (result.answer, [row.answer for row in result.rows]) == (answer, answers)
    assert [row.table for row in result.rows] == [JOINED.name, LINE.name]
    assert (round(result.low, 3), round(result.high, 3)) == (0.039, 0.116)
    assert bool(result.reason) == (answer == UNDECIDED)
    prices = ((10 * 10 / 2048, 1010 * 10 / 2048), (13.203488, 13.552288))  # of a potential and of a bias
    for row, figure, (access, weights) in zip(result.rows, figures, prices, strict=True):
        neurons_pj = 100 * 3.2 + 20 * 0.1 + 200 * access + 100 * (0.1 + weights)  # of two samples
        assert row.fixed == pytest.approx(neurons_pj / 2 * 1e-6 / figure.ann_uj)
        at = row.break_even_spike_rate
        if at:  # where the flip is said to be, the claim's value is met; without neurons to cover it, nowhere
            assert row.fixed + row.scaling * at / 0.1 == pytest.approx(value)
        else:
            assert row.fixed >= value


@pytest.mark.parametrize(("snn", "answer"), [(5.0, HOLDS), (5.01, FAILS)])
def test_the_value_itself_is_claimed(tmp_path: Path, snn: float, answer: str) -> None:
    assert judged(tmp_path, GOOD, run(row("a", snn, 10))).answer == answer


@pytest.mark.parametrize(
    ("relation", "found", "answer"),
    [("at least", 5.0, HOLDS), ("at least", 4.9, FAILS), ("about", 5.5, HOLDS), ("about", 5.51, FAILS)],
)
def test_relations(tmp_path: Path, relation: str, found: float, answer: str) -> None:
    text = GOOD.replace('"at most"', f'"{relation}"')
    text = text.replace("value = 0.5", "value = 0.5\ntolerance = 0.1") if relation == "about" else text
    assert judged(tmp_path, text, run(row("a", found, 10))).answer == answer


def test_where_the_answer_flips(tmp_path: Path) -> None:
    # Ratio 0.4, of which 0.1 does not change with the rate: 0.5 is reached at (0.5 - 0.1) / 0.3 of the rate.
    (entry,) = judged(tmp_path, GOOD, run(row("a", 4, 10, neurons=1))).rows
    assert entry.break_even_spike_rate == pytest.approx(0.1 * 4 / 3)
    assert entry.break_even_steps is None  # both sides grow with the steps alike
    # Neurons alone take more than is claimed: no rate helps.
    (entry,) = judged(tmp_path, GOOD, run(row("a", 7, 10, neurons=6))).rows
    assert entry.break_even_spike_rate == 0 and entry.answer == FAILS


def test_two_models(tmp_path: Path) -> None:
    """PTCD: 14.2 uJ at T = 40 against 31.4 uJ at T = 100."""
    text = GOOD.replace('"at most"', '"about"').replace("0.5", "0.452\ntolerance = 0.05")
    text = text.replace('{ network = "dense" }', '{ model = "m.nir", input = "in.npz" }')
    result = judged(tmp_path, text, run(row("a", 14.2, None), steps=40), run(row("a", 31.4, None), row("b", 1, 2)))
    assert result.answer == HOLDS and result.low == pytest.approx(0.4522, abs=1e-4)
    (entry,) = result.rows  # table b prices one side only
    assert entry.break_even_steps == pytest.approx(40 * 0.452 * 31.4 / 14.2)


def test_tables_of_their_own_for_each_side(tmp_path: Path) -> None:
    text = GOOD.replace('{ network = "spiking" }', '{ tables = ["a"] }')
    text = text.replace('{ network = "dense" }', '{ network = "dense", tables = ["b"] }')
    result = judged(tmp_path, text, run(row("a", 3, None), row("b", None, 10)))
    assert [(entry.table, entry.value) for entry in result.rows] == [("a / b", 0.3)]
    with pytest.raises(ClaimError, match="no price table 'b'; there are a"):
        judged(tmp_path, text, run(row("a", 3, None)), names=("a",))


def test_an_energy_and_what_cannot_be_answered(tmp_path: Path) -> None:
    text = GOOD.replace('against = { network = "dense" }\n', "").replace('"ratio"', '"uJ"').replace("0.5", "5")
    result = judged(tmp_path, text, run(row("a", 4, None)))
    assert (result.answer, result.unit, result.low) == (HOLDS, "uJ", 4)
    assert result.rows[0].break_even_steps == pytest.approx(125)
    result = judged(tmp_path, text, run(row("a", None, 3)))
    assert result.answer == UNDECIDED and "no price table" in result.reason
    result = judged(tmp_path, text.replace('"operations"', '"measured"'), run(row("a", 4, None)))
    assert result.answer == UNDECIDED and "no CUDA device" in result.reason


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("value = 0.5", "", "no value"),
        ("value = 0.5", "value = -1", "a number above 0"),
        ("value = 0.5", "value = true", "a number above 0"),
        ("value = 0.5", "value = inf", "a number above 0"),
        ('source = "a test"', "", "no source"),
        ('"operations"', '"vibes"', "boundary = 'vibes'"),
        ('"at most"', '"around"', "relation = 'around'"),
        ('"at most"', '"about"', "needs a tolerance"),
        ('unit = "ratio"', 'unit = "uJ"', "unit 'uJ'"),
        ('unit = "ratio"', 'unit = "ratio"\nguess = 1', "unknown key 'guess'"),
        ('network = "dense"', 'network = "gpu"', "network = 'gpu'"),
        ('network = "dense"', 'net = "dense"', "unknown key 'net'"),
        ('network = "dense"', 'model = "m.nir"', "model and input belong together"),
        ('network = "dense"', "tables = 3", "tables = 3; a list of texts"),
        ("value = 0.5", "value = 0.5\ntolerance = 0.26", "at most 0.25"),
        ("value = 0.5", 'value = 0.5\nmixes = ["nodes"]', "mixes 'nodes'; precision and node are known"),
        ('network = "dense"', 'tables = ["a"]', "tables of against only; name those of subject too"),
        ('network = "spiking"', 'tables = ["a"]', "tables of subject only; name those of against too"),
        ('network = "dense"', "samples = 0", "samples = 0"),
        ('network = "dense"', "samples = 9", "samples goes with a model"),
        (
            'network = "dense"',
            'model = "m", input = "synth", checkpoint = "c"',
            "checkpoint is for boundary 'measured'",
        ),
        ("[[claim]]", "[[claims]]", "unknown key 'claims'"),
        ("[[claim]]", "[claim]", "no claim"),
        ("[[claim]]", "[[claim", "not a claims file"),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path: Path, old: str, new: str, words: str) -> None:
    path = tmp_path / "claims.toml"
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(ClaimError, match=words) as caught:
        load_claims(path)
    assert str(path) in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ClaimError, match="no such file"):
        load_claims(tmp_path / "none.toml")


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("claims_*.toml")), ids=lambda path: path.stem)
def test_shipped_claims_load(path: Path) -> None:
    assert load_claims(path)


def test_the_papers_claim_agrees_with_its_own_figures() -> None:
    ratio, _, full, less = load_claims(CONFIGS / "claims_spikescr_ssc.toml")
    assert ratio.value == pytest.approx(less.value / full.value, abs=5e-4)
    assert ratio.against is not None and ratio.subject.model != ratio.against.model


def metered(total: float, dynamic: float, best: float, best_dynamic: float) -> PricedRun:
    """A run of which a meter read these microjoule per inference, alone and in the best batch."""
    alone, batched = (
        reading(batch, (whole, 0.0), (above, 0.0))
        for batch, whole, above in ((1, total, dynamic), (8, best, best_dynamic))
    )
    return run(row("a", 2, 10), measured=readings(alone, batched))


MEASURED = GOOD.replace('"operations"', '"measured"').replace('against = { network = "dense" }\n', "")
ALONE = MEASURED.replace('"ratio"', '"uJ"')


@pytest.mark.parametrize(
    ("value", "answer", "reason"),
    [
        (900.0, HOLDS, ""),
        (500.0, UNDECIDED, "it holds under some measurements and fails under others"),
        (30.0, FAILS, ""),
    ],
)
def test_a_measured_energy_is_judged_alone_and_in_batches_with_and_without_idle_draw(
    tmp_path: Path, value: float, answer: str, reason: str
) -> None:
    result = judged(tmp_path, ALONE.replace("0.5", str(value)), metered(800, 400, 80, 40))
    assert (result.answer, result.reason, result.low, result.high) == (answer, reason, 40, 800)
    assert [found.title for found in result.rows] == [
        "GPU, batch of 1, total",
        "GPU, batch of 1, dynamic",
        "GPU, best batch, total",
        "GPU, best batch, dynamic",
    ]
    assert {found.kind for found in result.rows} == {"measured"}
    assert {(found.break_even_spike_rate, found.break_even_steps) for found in result.rows} == {(None, None)}


TWO = MEASURED + 'against = { model = "t100.nir", input = "synth", checkpoint = "t100.pt" }\n'


def test_two_measured_networks_are_compared_like_with_like(tmp_path: Path) -> None:
    result = judged(tmp_path, TWO, metered(400, 100, 40, 20), metered(1000, 400, 100, 50))
    assert [found.value for found in result.rows] == [0.4, 0.25, 0.4, 0.4]
    assert result.answer == HOLDS and {found.break_even_steps for found in result.rows} == {None}
    # Where the idle draw drowns what was spent there is nothing to divide by, and the row says so.
    result = judged(tmp_path, TWO, metered(400, 100, 40, 20), metered(1000, -3, 100, 0))
    assert [(found.value, found.answer) for found in result.rows] == [(0.4, HOLDS), (None, NOISE)] * 2
    assert (result.answer, result.low, result.high) == (NOISE, 0.4, 0.4)


def test_a_measured_claim_says_what_was_not_measured(tmp_path: Path) -> None:
    found = metered(400, 100, 40, 20)
    dense = MEASURED + 'against = { network = "dense" }\n'
    cases = [
        (dense, (found,), "a dense network is not measured: what PyTorch runs is the spiking one"),
        (TWO, (run(row("a", 2, 10)), found), "nothing was measured: no CUDA device"),
        (TWO, (found, run(row("a", 2, 10))), "one side was not measured: no CUDA device"),
    ]
    for text, runs, reason in cases:
        result = judged(tmp_path, text, *runs)
        assert (result.answer, result.reason, result.rows) == (UNDECIDED, reason, ())


def test_a_checkpoint_of_a_side_is_found_beside_the_file_and_goes_with_a_model(tmp_path: Path) -> None:
    path = tmp_path / "claims.toml"
    path.write_text(TWO)
    (claim,) = load_claims(path)
    assert claim.against is not None and claim.against.checkpoint == tmp_path / "t100.pt"
    tables = ALONE.replace('network = "spiking"', 'tables = ["a"]')
    path.write_text(tables)
    with pytest.raises(ClaimError, match="claim 1: tables with boundary 'measured', where nothing is priced"):
        load_claims(path)
    path.write_text(MEASURED + 'against = { checkpoint = "t100.pt" }\n')
    with pytest.raises(ClaimError, match="claim 1: against: checkpoint goes with a model"):
        load_claims(path)
