"""docs/report.md lists what a report holds; its tables are made from the dataclasses."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from neurotarget.hardware.page.contents import Report
from neurotarget.hardware.page.documentation import attributes, main, renewed, report_tables

DOCUMENT = Path(__file__).parents[2] / "docs/report.md"


def test_the_tables_are_those_of_the_dataclasses() -> None:
    text = DOCUMENT.read_text()
    assert renewed(text) == text, "run python -m hardware.page.documentation docs/report.md"
    for field in dataclasses.fields(Report):
        assert f"| `{field.name}` |" in text


def test_a_changed_table_is_made_anew(tmp_path: Path) -> None:
    text = DOCUMENT.read_text()
    (tmp_path / "report.md").write_text(text.replace("| `format` | integer | 1 |", "| `format` | integer | 2 |"))
    assert (tmp_path / "report.md").read_text() != text
    assert main([str(tmp_path / "report.md")]) == 0
    assert (tmp_path / "report.md").read_text() == text


def test_every_class_that_a_report_reaches_has_a_table_once() -> None:
    headings = [line.rpartition(" ")[2] for line in report_tables().splitlines() if line.startswith("### ")]
    assert len(headings) == len(set(headings))
    assert {"Report", "Layer", "EnergyFigure", "Fit", "NotPlaced", "CoreLoad", "Measured", "Unmeasured"} <= set(
        headings
    )


def test_a_text_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="no text between"):
        renewed("# The report")


def test_a_field_without_words_is_refused() -> None:
    @dataclasses.dataclass(frozen=True)
    class Half:
        """A class.

        Attributes:
            first: is said.
        """

        first: int
        second: int

    with pytest.raises(ValueError, match=r"Half documents \['first'\], and has \['first', 'second'\]"):
        attributes(Half)
