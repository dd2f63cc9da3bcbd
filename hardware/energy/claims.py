"""Energy claims as `claims.toml` states them; judgement.py says whether they hold.

A claim is a ratio of two energies, or one energy, under one boundary. The file is documented in docs/report.md; unknown
keys are errors.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurotarget.hardware.energy.prices import PriceTable

from neurotarget import kinds, tables
from neurotarget.errors import UserError
from neurotarget.tables import number, text

BOUNDARIES = ("operations", "memory", "measured")
RELATIONS = ("at most", "at least", "about")
NETWORKS = ("spiking", "dense")
MIXED = ("precision", "node")
LARGEST_TOLERANCE = 0.25  # with more of it "about" says nothing


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
        relation: how the value is meant; `about` needs a `tolerance`, a share of the value and at most 0.25.
        value: of subject over against, or in microjoule per inference where `against` is None.
        source: who says so.
        unit: `uJ` without `against`, else `ratio`.
        mixes: `precision`, `node`: in what the tables of both sides may differ.
    """

    name: str
    boundary: str = text(one_of=BOUNDARIES)
    relation: str = text(one_of=RELATIONS)
    value: float = number(above=0)
    source: str = text()
    tolerance: float = number(0.0, at_least=0, at_most=LARGEST_TOLERANCE)
    subject: Side = Side()
    against: Side | None = None
    unit: str = ""
    mixes: tuple[str, ...] = ()

    @property
    def band(self) -> tuple[float, float]:
        """Lowest and highest figure that bear the claim out."""
        slack = (self.tolerance + 1e-12) * self.value  # the last bit of a quotient decides nothing
        low = -math.inf if self.relation == "at most" else self.value - slack
        high = math.inf if self.relation == "at least" else self.value + slack
        return low, high


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
    if unknown := [word for word in claim.mixes if word not in MIXED]:
        raise ClaimError(f"{where}: mixes {tables.shown(unknown[0])}; {' and '.join(MIXED)} are known")
    if claim.against is not None and bool(claim.subject.tables) != bool(claim.against.tables):
        named, silent = ("subject", "against") if claim.subject.tables else ("against", "subject")
        raise ClaimError(f"{where}: tables of {named} only; name those of {silent} too, or none on either side")
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


def check_tables(claims: Sequence[Claim], known: Sequence[PriceTable]) -> None:
    """Refuses, before anything has run, claims on tables that do not exist or whose sides are not alike.

    Args:
        known: the price tables that exist.

    Raises:
        ClaimError: a claim names another, or its sides have tables of another precision or technology node without
            saying so.
    """
    by_name = {table.name: table for table in known}
    for claim in claims:
        sides = [side.tables for side in (claim.subject, claim.against) if side is not None]
        for name in itertools.chain(*sides):
            if name not in by_name:
                raise ClaimError(f"claim {claim.name!r}: no price table {name!r}; there are {', '.join(by_name)}")
        if len(sides) == 2 and sides[0] != sides[1]:
            for first, second in itertools.product(*sides):
                if first != second:
                    _check_alike(claim, by_name[first], by_name[second])


def _check_alike(claim: Claim, first: PriceTable, second: PriceTable) -> None:
    """What is not said is not known to be the same."""
    precisions = (first.precision, second.precision)
    nodes = tuple(_nanometres(table.node) for table in (first, second))
    for word, values in (("precision", precisions), ("node", nodes)):
        if word not in claim.mixes and (not all(values) or values[0] != values[1]):
            said = " and ".join(
                f"{table.name} ({value or 'not said'})" for table, value in zip((first, second), values, strict=True)
            )
            raise ClaimError(
                f"claim {claim.name!r}: {said} differ in {word}; compare tables of one {word}, or say "
                f'mixes = ["{word}"] in the claim'
            )


def _nanometres(node: str) -> str:
    """`45 nm` of `45 nm CMOS, 0.9 V`; empty where there is none."""
    found = re.search(r"\d+ nm", node)
    return found.group() if found else ""
