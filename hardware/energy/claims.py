"""Energy claims and whether they hold: `claims.toml` in, an answer by price table and boundary out.

A claim is a ratio of two energies, or one energy, under one boundary. It is judged under every price table that it
admits, because a claim that holds under one table and fails under the next says more about the table. The file is
documented in docs/report.md; unknown keys are errors.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurotarget import kinds, tables
from neurotarget.errors import UserError
from neurotarget.tables import number, text

HOLDS, FAILS, UNDECIDED = "holds", "fails", "undecided"
BOUNDARIES = ("operations", "memory", "measured")
RELATIONS = ("at most", "at least", "about")
NETWORKS = ("spiking", "dense")


class ClaimError(UserError):
    """A claims file that cannot be used: the message names the file, the claim and the key."""


@dataclass(frozen=True)
class Side:
    """One energy of a claim.

    Attributes:
        network: `spiking`, or `dense`: the network of the same shape that does not spike.
        model, input: NIR file and data; None for those of the report.
        samples: of the input, None for as many as the report takes.
        tables: price tables; empty: every one.
        checkpoint: of the model, to measure its inference in PyTorch; the report's own is measured anyway.
    """

    network: str = text("spiking", one_of=NETWORKS)
    model: Path | None = None
    input: str | None = None
    samples: int | None = number(None, at_least=1)
    tables: tuple[str, ...] = ()
    checkpoint: Path | None = None


@dataclass(frozen=True)
class Claim:
    """One claim.

    Attributes:
        boundary: one of `BOUNDARIES`.
        relation: how the value is meant; `about` allows `tolerance`, a share of the value.
        value: of subject over against, or in microjoule an inference where `against` is None.
        source: who says so.
        unit: `uJ` without `against`, else `ratio`.
    """

    name: str
    boundary: str = text(one_of=BOUNDARIES)
    relation: str = text(one_of=RELATIONS)
    value: float = number(above=0)
    source: str = text()
    tolerance: float = number(0.0, at_least=0)
    subject: Side = Side()
    against: Side | None = None
    unit: str = ""

    def holds(self, found: float) -> bool:
        """Whether a figure bears the claim out."""
        slack = (self.tolerance + 1e-12) * self.value  # the last bit of a quotient decides nothing
        if self.relation == "at most":
            return found <= self.value + slack
        if self.relation == "at least":
            return found >= self.value - slack
        return abs(found - self.value) <= slack


def load_claims(path: str | Path) -> list[Claim]:
    """Reads a claims file; paths in it are relative to its folder.

    Raises:
        ClaimError: the file is missing or damaged, a key is unknown or missing, or a value cannot be.
    """
    path = Path(path)
    read = tables.read(path, kinds.CLAIMS, ClaimError)
    if unknown := sorted(set(read) - {"claim"}):
        raise ClaimError(f"{path}: unknown key {unknown[0]!r}; claims are tables [[claim]]")
    entries = read.get("claim")
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise ClaimError(f"{path}: no claim; each is a table [[claim]]")
    return [_claim(path, f"{path}: claim {number}", entry) for number, entry in enumerate(entries, 1)]


def _claim(path: Path, where: str, entry: Mapping[str, Any]) -> Claim:
    claim = tables.fill(Claim, {"subject": {}, **entry}, where, ClaimError)
    if claim.relation == "about" and not claim.tolerance:
        raise ClaimError(f"{where}: 'about' needs a tolerance, a share of the value")
    unit = "uJ" if claim.against is None else "ratio"
    if claim.unit != unit:
        word = "without" if claim.against is None else "with"
        raise ClaimError(f"{where}: unit {claim.unit!r}; {unit!r} is meant {word} 'against'")
    for name, side in (("subject", claim.subject), ("against", claim.against)):
        if side is not None:
            _check_side(f"{where}: {name}", side)
            if side.tables and claim.boundary == "measured":
                raise ClaimError(f"{where}: tables with boundary 'measured', where nothing is priced; leave them out")
            if side.checkpoint and claim.boundary != "measured":
                raise ClaimError(
                    f"{where}: checkpoint is for boundary 'measured', not {claim.boundary!r}; leave it out"
                )
    against = None if claim.against is None else _beside(path, claim.against)
    return dataclasses.replace(claim, subject=_beside(path, claim.subject), against=against)


def _check_side(where: str, side: Side) -> None:
    if (side.model is None) != (side.input is None):
        raise ClaimError(f"{where}: model and input belong together; give both or neither")
    for name in ("checkpoint", "samples"):
        if getattr(side, name) is not None and side.model is None:
            raise ClaimError(f"{where}: {name} goes with a model; that of the report is its --{name}")


def _beside(path: Path, side: Side) -> Side:
    """The side with its files looked for beside the claims file."""
    data = side.input
    return dataclasses.replace(
        side,
        model=None if side.model is None else path.parent / side.model,
        checkpoint=None if side.checkpoint is None else path.parent / side.checkpoint,
        input=str(path.parent / data) if data is not None and data.endswith(".npz") else data,
    )


# ---- judging ---------------------------------------------------------------------------------------------------------

Run = Mapping[str, Any]  # `energy`, `measured`, `spike_rate` and `steps` of one model on one input


def check_tables(claims: Sequence[Claim], names: Sequence[str]) -> None:
    """Refuses claims on price tables that do not exist, before anything has run.

    Args:
        names: of the price tables that exist.

    Raises:
        ClaimError: a claim names another.
    """
    for claim in claims:
        for side in (claim.subject, claim.against):
            for name in () if side is None else side.tables:
                if name not in names:
                    raise ClaimError(f"claim {claim.name!r}: no price table {name!r}; there are {', '.join(names)}")


def judge(claims: Sequence[Claim], run_of: Callable[[Side], Run]) -> list[dict[str, Any]]:
    """Judges claims.

    Args:
        run_of: energies of a side's model on its input.
    """
    return [_judged(claim, run_of) for claim in claims]


def _judged(claim: Claim, run_of: Callable[[Side], Run]) -> dict[str, Any]:
    subject = run_of(claim.subject)
    against = None if claim.against is None else run_of(claim.against)
    rows = _rows(claim, subject, against)
    values = [row["value"] for row in rows]
    answers = {row["answer"] for row in rows}
    reason = ""
    if not rows:
        reason = "no price table of this boundary that it admits gives both sides an energy above zero"
        if claim.boundary == "measured":
            reason = _unmeasured(claim, subject, against)
    elif len(answers) > 1:
        under = "measurements" if claim.boundary == "measured" else "price tables"
        reason = f"it holds under some {under} and fails under others"
    return {
        "name": claim.name,
        "boundary": claim.boundary,
        "relation": claim.relation,
        "value": claim.value,
        "unit": "uJ" if claim.against is None else "ratio",
        "tolerance": claim.tolerance,
        "source": claim.source,
        "answer": answers.pop() if len(answers) == 1 else UNDECIDED,
        "reason": reason,
        "low": min(values, default=None),
        "high": max(values, default=None),
        "spike_rate": subject["spike_rate"],
        "steps": subject["steps"],
        "rows": rows,
    }


def _unmeasured(claim: Claim, subject: Run, against: Run | None) -> str:
    if any(side is not None and side.network == "dense" for side in (claim.subject, claim.against)):
        return "a dense network is not measured: what PyTorch runs is the spiking one"
    if not subject["measured"]["available"]:
        return f"nothing was measured: {subject['measured']['reason']}"
    if against is not None and not against["measured"]["available"]:
        return f"one side was not measured: {against['measured']['reason']}"
    return "the draw cannot be told from the idle one"


def _rows(claim: Claim, subject: Run, against: Run | None) -> list[dict[str, Any]]:
    """One row a price table; of different tables for both sides, one row a pair."""
    first = _figures(claim.subject, claim.boundary, subject)
    if claim.against is None or against is None:
        return [_row(claim, subject, one, 1.0, one["table"], False) for one in first]
    second = _figures(claim.against, claim.boundary, against)
    same_run = claim.against.model == claim.subject.model and claim.against.input == claim.subject.input
    apart = bool(claim.subject.tables and claim.against.tables and claim.subject.tables != claim.against.tables)
    rows = []
    for one in first:
        for other in second:
            if apart or one["table"] == other["table"]:
                label = f"{one['table']} / {other['table']}" if apart else one["table"]
                rows.append(_row(claim, subject, one, _energy(claim.against, other), label, same_run))
    return rows


def _figures(side: Side, boundary: str, run: Run) -> list[Mapping[str, Any]]:
    return [
        row
        for row in (_measurements(run["measured"]) if boundary == "measured" else run["energy"])
        if row["boundary"] == boundary and (not side.tables or row["table"] in side.tables) and _energy(side, row) > 0
    ]


def _measurements(measured: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What the meter read, as price tables are: a claim must bear alone and in batches, with the idle draw and less it.

    Nothing of it is known to follow the spike rate: PyTorch multiplies zeros too.
    """
    if not measured["available"]:
        return []
    return [
        {
            "table": f"{words}, {part}",
            "title": f"{measured['device']}, {words}, {part}",
            "boundary": "measured",
            "snn_uj": measured[key][f"{part}_uj"],
            "ann_uj": None,
            "snn_neurons_uj": measured[key][f"{part}_uj"],
            "kind": "measured",
            "grade": "measured",
        }
        for key, words in (("batch_1", "batch of 1"), ("best_batch", "best batch"))
        for part in ("total", "dynamic")
    ]


def _energy(side: Side, row: Mapping[str, Any]) -> float:
    return float(row["snn_uj" if side.network == "spiking" else "ann_uj"] or 0.0)


def _row(claim: Claim, run: Run, figure: Mapping[str, Any], unit: float, label: str, same_run: bool) -> dict[str, Any]:
    """The claim under one table, and where it flips: the spike rate and the number of steps of the subject.

    Energy of the spiking network is `fixed + scaling * rate / present rate`; with steps all of it grows in proportion,
    at an unchanged rate. Both sides of one run grow alike, so that steps flip nothing there. What was measured is not
    known to grow in either way.
    """
    energy = _energy(claim.subject, figure)
    value, target = energy / unit, claim.value * unit
    fixed = scaling = 0.0
    rate = steps = None
    if claim.subject.network == "spiking":
        fixed = (figure["snn_neurons_uj"] or 0.0) / unit
        scaling = value - fixed
        if scaling > 0 and run["spike_rate"]:
            rate = max(claim.value - fixed, 0.0) / scaling * run["spike_rate"]
    if not same_run and run["steps"] and figure["boundary"] != "measured":
        steps = run["steps"] * target / energy
    return {
        "table": label,
        "title": figure["title"],
        "value": value,
        "answer": HOLDS if claim.holds(value) else FAILS,
        "fixed": fixed,
        "scaling": scaling,
        "break_even_spike_rate": rate,
        "break_even_steps": steps,
        "kind": figure["kind"],
        "grade": figure["grade"],
    }
