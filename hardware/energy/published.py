"""Figures that others published, for a column of their own: they are context and are never mixed with ours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from neurotarget.hardware.energy.prices import GRADES

from neurotarget import tables
from neurotarget.tables import number, text

SHIPPED = Path(__file__).with_name("published.toml")


@dataclass(frozen=True)
class PublishedFigure:
    """A figure of others, never mixed with ours.

    Attributes:
        what: was measured or estimated.
        value, unit: as published.
        boundary: what the publication's number covers.
        source: where it is published.
        grade: how the figure reached us.
    """

    what: str
    value: int | float = number()
    unit: str = text()
    boundary: str = text()
    source: str = text()
    grade: str = text(one_of=GRADES)


def load_published() -> list[PublishedFigure]:
    """The figures that ship with the package.

    Raises:
        TableError: a figure in the file lacks a key, has an unknown one, or a value of another kind.
    """
    entries = tables.parse(SHIPPED.read_text(encoding="utf-8"))["figure"]
    return [tables.fill(PublishedFigure, entry, f"{SHIPPED}: figure {place}") for place, entry in enumerate(entries, 1)]
