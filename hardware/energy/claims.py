"""Energy claims and whether they hold: `claims.toml` in, an answer by price table and boundary out.

A claim is a ratio of two energies, or one energy, under one boundary. It is judged under every price table that it
admits, because a claim that holds under one table and fails under the next says more about the table. The file is
documented in docs/report.md; unknown keys are errors.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurotarget.errors import UserError

HOLDS, FAILS, UNDECIDED = "holds", "fails", "undecided"
BOUNDARIES = ("operations", "memory", "measured")
RELATIONS = ("at most", "at least", "about")
NETWORKS = ("spiking", "dense")
TEXTS = ("name", "boundary", "relation", "source")
CLAIM_KEYS = {*TEXTS, "value", "unit", "tolerance", "subject", "against"}
SIDE_KEYS = {"network", "model", "input", "samples", "tables", "checkpoint"}


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

    network: str
    model: Path | None
    input: str | None
    samples: int | None
    tables: tuple[str, ...]
    checkpoint: Path | None = None


@dataclass(frozen=True)
class Claim:
    """One claim.

    Attributes:
        boundary: one of `BOUNDARIES`.
        relation: how the value is meant; `about` allows `tolerance`, a share of the value.
        value: of subject over against, or in microjoule an inference where `against` is None.
        source: who says so.
    """

    name: str
    boundary: str
    relation: str
    value: float
    tolerance: float
    source: str
    subject: Side
    against: Side | None

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
    try:
        with path.open("rb") as stream:
            raw = tomllib.load(stream)
    except FileNotFoundError:
        raise ClaimError(f"{path}: no such file") from None
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ClaimError(f"{path}: not a claims file: {error}") from error
    if unknown := sorted(set(raw) - {"claim"}):
        raise ClaimError(f"{path}: unknown key {unknown[0]!r}; claims are tables [[claim]]")
    entries = raw.get("claim")
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise ClaimError(f"{path}: no claim; each is a table [[claim]]")
    return [_claim(path, number, entry) for number, entry in enumerate(entries, 1)]


def _claim(path: Path, number: int, entry: Mapping[str, Any]) -> Claim:
    where = f"{path}: claim {number}"
    if unknown := sorted(set(entry) - CLAIM_KEYS):
        raise ClaimError(f"{where}: unknown key {unknown[0]!r}; known are {', '.join(sorted(CLAIM_KEYS))}")
    for key in TEXTS:
        if not isinstance(entry.get(key), str) or not entry[key].strip():
            raise ClaimError(f"{where}: no {key}")
    for key, words in (("boundary", BOUNDARIES), ("relation", RELATIONS)):
        if entry[key] not in words:
            raise ClaimError(f"{where}: {key} {entry[key]!r}; expected one of {', '.join(words)}")
    value, tolerance = _positive(where, "value", entry.get("value")), entry.get("tolerance", 0.0)
    if tolerance:
        tolerance = _positive(where, "tolerance", tolerance)
    if entry["relation"] == "about" and not tolerance:
        raise ClaimError(f"{where}: 'about' needs a tolerance, a share of the value")
    against = None if "against" not in entry else _side(path, f"{where}: against", entry["against"])
    unit = "uJ" if against is None else "ratio"
    if entry.get("unit") != unit:
        word = "without" if against is None else "with"
        raise ClaimError(f"{where}: unit {entry.get('unit')!r}; {unit!r} is meant {word} 'against'")
    subject = _side(path, f"{where}: subject", entry.get("subject", {}))
    for side in (subject, against):
        if side is not None and side.tables and entry["boundary"] == "measured":
            raise ClaimError(f"{where}: tables with boundary 'measured', where nothing is priced; leave them out")
        if side is not None and side.checkpoint and entry["boundary"] != "measured":
            raise ClaimError(f"{where}: checkpoint is for boundary 'measured', not {entry['boundary']!r}; leave it out")
    return Claim(
        entry["name"], entry["boundary"], entry["relation"], value, tolerance, entry["source"], subject, against
    )


def _positive(where: str, key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise ClaimError(f"{where}: {key} = {value!r}; a number above 0 is expected")
    return float(value)


def _side(path: Path, where: str, entry: Any) -> Side:
    if not isinstance(entry, dict):
        raise ClaimError(f"{where} must be a table")
    if unknown := sorted(set(entry) - SIDE_KEYS):
        raise ClaimError(f"{where}: unknown key {unknown[0]!r}; known are {', '.join(sorted(SIDE_KEYS))}")
    network = entry.get("network", "spiking")
    if network not in NETWORKS:
        raise ClaimError(f"{where}: network {network!r}; expected one of {', '.join(NETWORKS)}")
    model, data, samples, tables = (entry.get(key) for key in ("model", "input", "samples", "tables"))
    checkpoint = entry.get("checkpoint")
    if (model is None) != (data is None):
        raise ClaimError(f"{where}: model and input belong together; give both or neither")
    if any(text is not None and not isinstance(text, str) for text in (model, data, checkpoint)):
        raise ClaimError(f"{where}: model, input and checkpoint are texts")
    if checkpoint is not None and model is None:
        raise ClaimError(f"{where}: checkpoint goes with a model; that of the report is its --checkpoint")
    if samples is not None and (isinstance(samples, bool) or not isinstance(samples, int) or samples < 1):
        raise ClaimError(f"{where}: samples = {samples!r}; a whole number of at least 1 is expected")
    if samples is not None and model is None:
        raise ClaimError(f"{where}: samples goes with a model; those of the report are its --samples")
    if tables is not None and (not isinstance(tables, list) or not all(isinstance(name, str) for name in tables)):
        raise ClaimError(f"{where}: tables must be a list of names")
    beside = None if data is None or not data.endswith(".npz") else str(path.parent / data)
    files = (None if text is None else path.parent / text for text in (model, checkpoint))
    model, checkpoint = files
    return Side(network, model, beside or data, samples, tuple(tables or ()), checkpoint)


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
