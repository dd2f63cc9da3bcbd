"""Rows of a verdict and the sentence over them, which is never greener than the least favourable row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

FAVOURABLE, OPEN, UNFAVOURABLE = "favourable", "open", "unfavourable"
STANDINGS = (FAVOURABLE, OPEN, UNFAVOURABLE)  # each less favourable than the one before
MEASURED, COUNTED, SIMULATED, ESTIMATED, UNKNOWN = "measured", "counted", "simulated", "estimated", "unknown"


@dataclass(frozen=True)
class VerdictRow:
    """One question of the verdict.

    Attributes:
        name: `float`, `integers`, `chip`, `simulated` where a chip simulator ran, `twin`, `dense` or `measured`.
        question: in words.
        answer: in a clause.
        figure: what the answer rests on; empty where there is none.
        kind: how sure the figure is: `measured`, `counted`, `simulated` or `estimated`; `unknown` without one.
        standing: `favourable` to the spiking network, `open`, or `unfavourable`.
    """

    name: str
    question: str
    answer: str
    figure: str
    kind: str
    standing: str


@dataclass(frozen=True)
class LeftOut:
    """Something that an inference also takes and that no energy of the report holds.

    Attributes:
        what: is left out.
        figure: how much it is, as far as that is known.
        kind: `counted`, `estimated` or `unknown`.
    """

    what: str
    figure: str
    kind: str


@dataclass(frozen=True)
class Conclusion:
    """The verdict: one sentence over the answers to its questions.

    Attributes:
        headline: the sentence.
        standing: of the least favourable row, so that the sentence is never greener than it.
        rows: the questions, in order.
        left_out: of all energies of the report.
    """

    headline: str
    standing: str
    rows: tuple[VerdictRow, ...]
    left_out: tuple[LeftOut, ...]


def least_favourable(standings: Sequence[str]) -> str:
    """The standing furthest from favourable; open where there is none."""
    return max(standings, key=STANDINGS.index, default=OPEN)


def conclude(rows: Sequence[VerdictRow], left_out: Sequence[LeftOut] = ()) -> Conclusion:
    """The verdict over rows.

    A saving is shown only where every row is favourable. One that is not decides the sentence, which then says what it
    answers.
    """
    standing = least_favourable([row.standing for row in rows])
    deciding = [row.answer for row in rows if row.standing == standing]
    if standing == UNFAVOURABLE:
        headline = f"No saving is shown: {'; '.join(deciding)}."
    elif standing == OPEN:
        are, which = ("is", "") if len(deciding) == 1 else ("are", "the first ")
        why = f", {which}because {deciding[0]}" if deciding else ""
        headline = f"A saving is not shown: {len(deciding)} of {len(rows)} questions {are} open{why}."
    else:
        headline = f"A saving is shown, and no row speaks against it: {'; '.join(deciding)}."
    return Conclusion(headline, standing, tuple(rows), tuple(left_out))
