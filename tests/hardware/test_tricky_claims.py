"""Claims that would mislead: what is refused, what is within noise, and what stays undecided.

Energies are those of a layer and its neurons counted by hand, by the shipped tables, or readings of a meter.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from neurotarget.hardware.counts.summary import sum_up
from neurotarget.hardware.energy.claims import ClaimError, check_tables, load_claims
from neurotarget.hardware.energy.judgement import FAILS, HOLDS, NOISE, UNDECIDED, JudgedClaim, PricedRun, judge
from neurotarget.hardware.energy.memory import energies
from neurotarget.hardware.energy.prices import load_tables
from neurotarget.hardware.energy.sensitivity import moved_prices, price_parts
from neurotarget.hardware.meters.measurement import Unmeasured

from tests.hardware.counted import DENSE, LIF, TABLES
from tests.hardware.metered import reading, readings

TOTALS = sum_up([DENSE, LIF])
ALL = list(TABLES.values())
COUNTED = PricedRun(
    TOTALS,
    tuple(energies([DENSE, LIF], ALL)),
    None,
    Unmeasured(False, (), (), "no meter"),
    price_parts([DENSE, LIF], ALL),
)


def claim(boundary: str, relation: str, value: float, subject: str, against: str = "", more: str = "") -> str:
    unit = "ratio" if against else "uJ"
    sides = f"subject = {{ {subject} }}\n" + (f"against = {{ {against} }}\n" if against else "")
    return (
        f'[[claim]]\nname = "tricky"\nboundary = "{boundary}"\nrelation = "{relation}"\nvalue = {value}\n{more}\n'
        f'unit = "{unit}"\nsource = "a test"\n{sides}'
    )


def answered(tmp_path: Path, text: str, *runs: PricedRun) -> JudgedClaim:
    """The subject's run is the first, that of a side with a model the second."""
    (tmp_path / "claims.toml").write_text(text)
    (loaded,) = load_claims(tmp_path / "claims.toml")
    check_tables([loaded], load_tables())
    return judge(loaded, lambda side: (runs or (COUNTED,))[0 if side.model is None else 1])


def metered(total: tuple[float, float], dynamic: tuple[float, float]) -> PricedRun:
    """A run of which a meter read these energies and deviations, alone and in batches alike."""
    one = reading(1, total, dynamic)
    return replace(COUNTED, measured=readings(one, one))


OTHER = 'model = "other.nir", input = "synth", checkpoint = "other.pt"'
ALONE = 'network = "spiking"'


def against_dense(subject: str, against: str, more: str = "") -> str:
    return claim(
        "operations", "at most", 0.5, f'tables = ["{subject}"]', f'network = "dense", tables = ["{against}"]', more
    )


@pytest.mark.parametrize(
    ("subject", "against", "words"),
    [
        # 1: INT8 spiking against FP32 dense: 0.03 pJ against 4.6 pJ would hold whatever the network does.
        ("45nm-int8", "45nm-fp32", r"45nm-int8 \(INT8\) and 45nm-fp32 \(FP32\) differ in precision"),
        # 2: a price whose precision is not said against one of 32 bits.
        ("22nm-accumulate", "45nm-fp32", r"22nm-accumulate \(not said\) and 45nm-fp32 \(FP32\) differ in precision"),
    ],
)
def test_unlike_precisions_are_refused(tmp_path: Path, subject: str, against: str, words: str) -> None:
    with pytest.raises(ClaimError, match=words) as caught:
        answered(tmp_path, against_dense(subject, against))
    assert "mixes = " in str(caught.value)


def test_unlike_nodes_are_refused(tmp_path: Path) -> None:
    """3: a chip of 14 nm against arithmetic of 45 nm, though the claim says that precisions differ."""
    text = against_dense("loihi1-davies2018", "45nm-int8", 'mixes = ["precision"]')
    with pytest.raises(ClaimError, match=r"loihi1-davies2018 \(14 nm\) and 45nm-int8 \(45 nm\) differ in node"):
        answered(tmp_path, text)


def test_what_the_claim_says_is_judged_and_stands_in_the_answer(tmp_path: Path) -> None:
    """4: the same two, said."""
    result = answered(tmp_path, against_dense("45nm-int8", "45nm-fp32", 'mixes = ["precision"]'))
    assert result.answer == HOLDS and result.mixes == ("precision",)
    assert answered(tmp_path, against_dense("45nm-fp32", "45nm-fp32")).mixes == ()


def test_a_wide_tolerance_is_refused(tmp_path: Path) -> None:
    """5: "about half", give or take half."""
    text = claim("operations", "about", 0.5, ALONE, 'network = "dense"', "tolerance = 0.5")
    with pytest.raises(ClaimError, match=r"tolerance = 0.5; a number of at least 0 and at most 0.25"):
        answered(tmp_path, text)


def test_tables_on_one_side_are_refused(tmp_path: Path) -> None:
    """6: the subject's favourite price, and silence about the other."""
    text = claim("operations", "at most", 0.5, 'tables = ["45nm-int8"]', 'network = "dense"')
    with pytest.raises(ClaimError, match="tables of subject only; name those of against too"):
        answered(tmp_path, text)


@pytest.mark.parametrize(
    ("mine", "other", "answer"),
    [
        ((90.0, 10.0), (100.0, 1.0), NOISE),  # 0.90 ± 0.10
        ((50.0, 10.0), (100.0, 1.0), HOLDS),  # 0.50 ± 0.10
        ((150.0, 10.0), (100.0, 1.0), FAILS),  # 1.50 ± 0.10
        ((110.0, 2.0), (100.0, 20.0), NOISE),  # the other side's spread counts too: 1.10 ± 0.22
    ],
)
def test_a_difference_within_the_spread_is_noise(
    tmp_path: Path, mine: tuple[float, float], other: tuple[float, float], answer: str
) -> None:
    """7: ten per cent less, measured with ten per cent of spread."""
    result = answered(
        tmp_path, claim("measured", "at most", 1.0, ALONE, OTHER), metered(mine, mine), metered(other, other)
    )
    assert result.answer == answer and bool(result.reason) == (answer == NOISE)
    by_hand = mine[0] / other[0] * ((mine[1] / mine[0]) ** 2 + (other[1] / other[0]) ** 2) ** 0.5
    assert [row.spread for row in result.rows] == pytest.approx([by_hand] * 4)


def test_about_needs_the_whole_spread_in_its_band(tmp_path: Path) -> None:
    """8: the mean is what is claimed, and the windows go from none to twice of it."""
    text = claim("measured", "about", 100, ALONE, more="tolerance = 0.1")
    assert answered(tmp_path, text, metered((100, 50), (100, 50))).answer == NOISE
    assert answered(tmp_path, text, metered((100, 1), (100, 1))).answer == HOLDS
    assert answered(tmp_path, text, metered((150, 1), (150, 1))).answer == FAILS


def test_a_negative_energy_above_idle_is_shown_and_decides_nothing(tmp_path: Path) -> None:
    """9: the draw at work is below the idle one, and -3 uJ is less than anything."""
    text = claim("measured", "at most", 500, ALONE)
    result = answered(tmp_path, text, metered((400, 1), (-3, 1)))
    assert [(row.value, row.answer) for row in result.rows] == [(400, HOLDS), (-3, NOISE)] * 2
    assert result.answer == NOISE and "idle draw" in result.reason
    text = claim("measured", "at most", 1.0, ALONE, OTHER)
    result = answered(tmp_path, text, metered((400, 1), (-3, 1)), metered((1000, 1), (900, 1)))
    assert [row.value for row in result.rows] == [0.4, None] * 2 and result.answer == NOISE
    assert (result.low, result.high) == (0.4, 0.4)


def test_a_claim_that_one_table_bears_out_and_the_next_does_not_is_undecided(tmp_path: Path) -> None:
    """10: with memory, where the price of an access decides; and one row within noise hides no failure."""
    text = claim("memory", "at most", 0.1, ALONE, 'network = "dense"')
    result = answered(tmp_path, text)
    assert result.answer == UNDECIDED and {row.answer for row in result.rows} == {HOLDS, FAILS}
    mixed = claim("measured", "at most", 100, ALONE)
    assert answered(tmp_path, mixed, metered((500, 1), (99, 10))).answer == NOISE  # fails in total
    assert answered(tmp_path, mixed, metered((500, 1), (50, 1))).answer == UNDECIDED


def test_a_figure_has_the_interval_that_its_prices_give(tmp_path: Path) -> None:
    """Spiking over dense is the inverse of what `uncertainty` says; an energy alone moves as its price."""
    both = answered(tmp_path, against_dense("45nm-fp32", "45nm-fp32"))
    (row,) = both.rows
    low, high, _ = moved_prices(COUNTED.parts.uj["45nm-fp32"], COUNTED.parts.ranges["45nm-fp32"])
    assert row.value is not None and row.value_low is not None and row.value_high is not None
    assert row.value_low < row.value < row.value_high
    assert (row.value_low, row.value_high) == pytest.approx((1 / high, 1 / low), rel=0.02)
    (alone,) = answered(tmp_path, claim("operations", "at most", 9, 'tables = ["45nm-fp32"]')).rows
    assert (alone.value_low, alone.value_high) == pytest.approx(
        (0.525 * alone.subject_uj, 1.475 * alone.subject_uj), rel=0.02
    )


def test_a_measurement_has_no_interval_of_prices(tmp_path: Path) -> None:
    found = answered(tmp_path, claim("measured", "at most", 9e9, ALONE), metered((5, 0.1), (3, 0.1)))
    assert found.rows and {(row.value_low, row.value_high) for row in found.rows} == {(None, None)}
