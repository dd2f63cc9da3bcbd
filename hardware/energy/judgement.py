"""Whether energy claims hold: an answer by price table and boundary.

A claim is judged under every price table that it admits, because a claim that holds under one table and fails under the
next says more about the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from neurotarget.hardware.counts.summary import Totals
from neurotarget.hardware.energy.claims import Claim, Side
from neurotarget.hardware.energy.figure import EnergyFigure
from neurotarget.hardware.energy.sensitivity import NO_PARTS, PriceParts, Range, ratio_interval
from neurotarget.hardware.energy.withheld import silent
from neurotarget.hardware.meters.measurement import Measured, Unmeasured
from neurotarget.hardware.meters.windows import quotient

from neurotarget.figures import percent, rounded

HOLDS, FAILS, UNDECIDED, NOISE = "holds", "fails", "undecided", "within noise"
MEASURED = "measured"
DEVIATIONS = 2  # on either side of what was measured: a figure moves so far from window to window


@dataclass(frozen=True)
class PricedRun:
    """What one model on one input did and took: all that a claim or a comparison needs to know of it."""

    totals: Totals
    energy: tuple[EnergyFigure, ...]
    accuracy: float | None
    measured: Measured | Unmeasured
    parts: PriceParts = NO_PARTS


@dataclass(frozen=True)
class ClaimRow:
    """A claim under one price table; under `measured`, for one batch size, total or dynamic.

    Attributes:
        table, title: of the price table, or what was measured.
        subject_uj, against_uj: energies of both sides; `against_uj` is `null` in a claim on one.
        precision, node: of the prices, of both sides where they differ; empty where they are not said.
        value: what was found, in the claim's unit; `null` where the ratio of a measurement is not defined, because an
            energy above idle is not above zero.
        spread: its standard deviation between the windows of a measurement; `null` for estimates.
        value_low, value_high: 95 % of 10,000 draws of all prices of both sides, each from its range, lie between them,
            as in `uncertainty`; `null` for measurements.
        answer: `holds`, `fails` or `within noise`: the claim's bound lies within two deviations of what was measured,
            or the draw cannot be told from the idle one.
        fixed, scaling: parts of the value that do not and that do grow with the spike rate.
        break_even_spike_rate, break_even_steps: where the answer flips; `null` where it cannot.
        kind: `estimated` or `measured`.
        grade: of the prices.
        reservation: why a price does not apply: the network does not fit the chip; `null` where nothing is known
            against it.
    """

    table: str
    title: str
    subject_uj: float
    against_uj: float | None
    precision: str
    node: str
    value: float | None
    spread: float | None
    value_low: float | None
    value_high: float | None
    answer: str
    fixed: float
    scaling: float
    break_even_spike_rate: float | None
    break_even_steps: float | None
    kind: str
    grade: str
    reservation: str | None


@dataclass(frozen=True)
class JudgedClaim:
    """A claim and its answer.

    Attributes:
        name, boundary, relation: as the claim's file states them.
        value, unit: what is claimed; the unit is `ratio` or `uJ` (microjoule per inference).
        tolerance: a share of the value.
        statement: what is claimed of which networks, in one sentence.
        lowest, highest: of the figures that bear it out; `null` where there is no such bound.
        mixes: in what the sides differ by intention: `precision`, `node`.
        source: who claims it.
        answer: `holds`, `fails`, `undecided` or `within noise`.
        reason: of the last two; otherwise empty.
        low, high: what was found, over the rows; `null` without a row.
        spike_rate, steps: of its subject: spikes per neuron and step; steps per sample.
        rows: one per price table or measurement.
    """

    name: str
    boundary: str
    relation: str
    value: float
    unit: str
    tolerance: float
    statement: str
    lowest: float | None
    highest: float | None
    mixes: tuple[str, ...]
    source: str
    answer: str
    reason: str
    low: float | None
    high: float | None
    spike_rate: float | None
    steps: float
    rows: tuple[ClaimRow, ...]


def judge(claim: Claim, run_of: Callable[[Side], PricedRun]) -> JudgedClaim:
    """Judges a claim; one on a spiking network that never fires is undecided.

    Args:
        run_of: runs and prices a side's model on its input.
    """
    subject = run_of(claim.subject)
    against = None if claim.against is None else run_of(claim.against)
    why = _silent(claim, subject, against)
    rows = [] if why else _rows(claim, subject, against)
    values = [row.value for row in rows if row.value is not None]
    answer, reason = _overall(claim, {row.answer for row in rows})
    reserved = next((row.reservation for row in rows if row.reservation), None)
    if answer == HOLDS and reserved:
        answer, reason = UNDECIDED, f"it holds by prices that do not apply: {reserved}"
    if why:
        reason = why
    elif not rows:
        reason = "no price table of this boundary that it admits gives both sides an energy above zero"
        if claim.boundary == MEASURED:
            reason = _unmeasured(claim, subject, against)
    return JudgedClaim(
        name=claim.name,
        boundary=claim.boundary,
        relation=claim.relation,
        value=claim.value,
        unit="uJ" if claim.against is None else "ratio",
        tolerance=claim.tolerance,
        statement=_statement(claim),
        lowest=_finite(claim.band[0]),
        highest=_finite(claim.band[1]),
        mixes=claim.mixes,
        source=claim.source,
        answer=answer,
        reason=reason,
        low=min(values, default=None),
        high=max(values, default=None),
        spike_rate=subject.totals.spike_rate,
        steps=subject.totals.steps_per_sample,
        rows=tuple(rows),
    )


def _overall(claim: Claim, answers: set[str]) -> tuple[str, str]:
    """The answer of all rows, and its reason: it is never better than the least favourable row."""
    if not answers or {HOLDS, FAILS} <= answers:
        under = "measurements" if claim.boundary == MEASURED else "price tables"
        return UNDECIDED, f"it holds under some {under} and fails under others"
    if NOISE in answers:
        return NOISE, "what was measured spreads over the claimed value, or cannot be told from the idle draw"
    return answers.pop(), ""


def _silent(claim: Claim, subject: PricedRun, against: PricedRun | None) -> str | None:
    """Why energies of the claim say nothing: a spiking side of it never fires."""
    for name, side, run in (("subject", claim.subject, subject), ("against", claim.against, against)):
        if side is not None and run is not None and side.network == "spiking" and (why := silent(run.totals)):
            return f"{why} on the side {name!r}, so that what it takes says nothing"
    return None


def _unmeasured(claim: Claim, subject: PricedRun, against: PricedRun | None) -> str:
    if any(side is not None and side.network == "dense" for side in (claim.subject, claim.against)):
        return "a dense network is not measured: what PyTorch runs is the spiking one"
    if isinstance(subject.measured, Unmeasured):
        return f"nothing was measured: {subject.measured.reason}"
    assert against is not None and isinstance(against.measured, Unmeasured)
    return f"one side was not measured: {against.measured.reason}"


@dataclass(frozen=True)
class _Energy:
    """What one side takes under one price table or measurement, in microjoule; of it, `fixed_uj` whatever the rate."""

    table: str
    title: str
    value_uj: float
    fixed_uj: float
    kind: str
    grade: str
    precision: str = ""
    node: str = ""
    std_uj: float | None = None
    reservation: str | None = None
    parts_uj: Mapping[tuple[str, str], float] = field(default_factory=dict)  # by table and price
    ranges: Mapping[tuple[str, str], Range] = field(default_factory=dict)


def _rows(claim: Claim, subject: PricedRun, against: PricedRun | None) -> list[ClaimRow]:
    """One row per price table; of different tables for both sides, one row per pair."""
    first = _energies(claim.subject, claim.boundary, subject)
    if claim.against is None or against is None:
        return [_row(claim, subject, one, None, one.table, False) for one in first]
    second = _energies(claim.against, claim.boundary, against)
    same_run = claim.against.model == claim.subject.model and claim.against.input == claim.subject.input
    apart = bool(claim.subject.tables and claim.against.tables and claim.subject.tables != claim.against.tables)
    return [
        _row(claim, subject, one, other, f"{one.table} / {other.table}" if apart else one.table, same_run)
        for one in first
        for other in second
        if apart or one.table == other.table
    ]


def _energies(side: Side, boundary: str, run: PricedRun) -> list[_Energy]:
    """The energies of a side under one boundary: what tables that it admits say, above zero; all that was measured."""
    if boundary == MEASURED:
        return _measurements(side, run.measured)
    found = [
        _Energy(
            row.table,
            row.title,
            (row.snn_uj if side.network == "spiking" else row.ann_uj) or 0.0,
            row.snn_neurons_uj or 0.0,
            row.kind,
            row.grade,
            row.precision,
            row.node,
            reservation=row.reservation if side.network == "spiking" else None,
            parts_uj={
                (row.table, price): uj[side.network == "dense"] for price, uj in run.parts.uj.get(row.table, {}).items()
            },
            ranges={(row.table, price): found for price, found in run.parts.ranges.get(row.table, {}).items()},
        )
        for row in run.energy
        if row.boundary == boundary and (not side.tables or row.table in side.tables)
    ]
    return [energy for energy in found if energy.value_uj > 0]


def _measurements(side: Side, measured: Measured | Unmeasured) -> list[_Energy]:
    """What the meter read, as price tables are: a claim must bear alone and in batches, with the idle draw and less it.

    Nothing of it is known to follow the spike rate: PyTorch multiplies zeros too.
    """
    if isinstance(measured, Unmeasured) or side.network == "dense":
        return []
    return [
        _Energy(f"{words}, {part}", f"{measured.device}, {words}, {part}", uj, uj, MEASURED, MEASURED, std_uj=std_uj)
        for words, batch in (("batch of 1", measured.batch_1), ("best batch", measured.best_batch))
        for part, uj, std_uj in (
            ("total", batch.total_uj, batch.total_uj_std),
            ("dynamic", batch.dynamic_uj, batch.dynamic_uj_std),
        )
        if uj is not None
    ]


def _row(claim: Claim, run: PricedRun, energy: _Energy, other: _Energy | None, label: str, same_run: bool) -> ClaimRow:
    """The claim under one table, and where it flips: the spike rate and the number of steps of the subject.

    Energy of the spiking network is `fixed + scaling * rate / present rate`; with steps all of it grows in proportion,
    at an unchanged rate. Both sides of one run grow alike, so that steps flip nothing there. What was measured is not
    known to grow in either way.
    """
    value, spread = _quotient(energy, other)
    low, high = _interval(energy, other)
    against_uj = 1.0 if other is None else other.value_uj
    spike_rate, steps = run.totals.spike_rate, run.totals.steps_per_sample
    fixed = scaling = 0.0
    flips_at_rate = flips_at_steps = None
    if claim.subject.network == "spiking" and value is not None:
        fixed = energy.fixed_uj / against_uj
        scaling = value - fixed
        if scaling > 0 and spike_rate:
            flips_at_rate = max(claim.value - fixed, 0.0) / scaling * spike_rate
    if not same_run and steps and energy.kind != MEASURED:
        flips_at_steps = steps * claim.value * against_uj / energy.value_uj
    return ClaimRow(
        table=label,
        title=energy.title,
        subject_uj=energy.value_uj,
        against_uj=None if other is None else other.value_uj,
        precision=_both(energy, other, "precision"),
        node=_both(energy, other, "node"),
        value=value,
        spread=spread,
        value_low=low,
        value_high=high,
        answer=_answer(claim, value, spread),
        fixed=fixed,
        scaling=scaling,
        break_even_spike_rate=flips_at_rate,
        break_even_steps=flips_at_steps,
        kind=energy.kind,
        grade=energy.grade,
        reservation=energy.reservation or (None if other is None else other.reservation),
    )


def _both(energy: _Energy, other: _Energy | None, name: str) -> str:
    """What both sides have, once where it is the same."""
    values = [getattr(one, name) for one in (energy, other) if one is not None]
    return " / ".join(dict.fromkeys(value or "not said" for value in values)) if any(values) else ""


def _finite(bound: float) -> float | None:
    return bound if math.isfinite(bound) else None


def _statement(claim: Claim) -> str:
    """The claim in one sentence, without the words of its file."""
    unit = "" if claim.against else " µJ per inference"
    wide = f" ± {percent(claim.tolerance)}" if claim.tolerance else ""
    sentence = f"{_side(claim.subject)} takes {claim.relation} {rounded(claim.value)}{wide}{unit}"
    return sentence + (f" times what {_side(claim.against)} takes" if claim.against else "")


def _side(side: Side) -> str:
    which = "this report" if side.model is None else f"{side.model} on {side.input}"
    words = "the spiking network" if side.network == "spiking" else "the same network computed densely"
    return f"{words} of {which}" + (f" by {', '.join(side.tables)}" if side.tables else "")


def _quotient(energy: _Energy, other: _Energy | None) -> tuple[float | None, float | None]:
    """What was found and its standard deviation."""
    if other is None:
        return energy.value_uj, energy.std_uj
    if energy.value_uj <= 0 or other.value_uj <= 0:
        return None, None
    value, spread = quotient(energy.value_uj, energy.std_uj, other.value_uj, other.std_uj)
    return value, None if energy.std_uj is None or other.std_uj is None else spread


def _interval(energy: _Energy, other: _Energy | None) -> tuple[float, float] | tuple[None, None]:
    """The value with all prices moved; a price of one table that both sides pay moves once for both."""
    if not energy.parts_uj:  # it was measured
        return None, None
    if other is None:
        unit = ("", "")
        return ratio_interval(energy.parts_uj, {unit: 1.0}, {**energy.ranges, unit: (1.0, 1.0, "")})
    return ratio_interval(energy.parts_uj, other.parts_uj, {**other.ranges, **energy.ranges})


def _answer(claim: Claim, value: float | None, spread: float | None) -> str:
    """Whether all that may have been found, none of it or a part of it bears the claim out."""
    if value is None or value <= 0:  # an estimate is above zero
        return NOISE
    reach = DEVIATIONS * (spread or 0.0)
    low, high = claim.band
    if low <= value - reach and value + reach <= high:
        return HOLDS
    return FAILS if value + reach < low or value - reach > high else NOISE
