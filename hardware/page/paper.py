"""A report for a paper: tables in LaTeX, the sources of its prices in BibTeX, energies as CSV, and the usual line."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import re
from collections.abc import Sequence

from neurotarget.hardware.energy.figure import EnergyFigure
from neurotarget.hardware.page.contents import Report

from neurotarget.figures import NONE, THIN_SPACE, interval, prefixed, rounded

USUAL = "45nm-fp32"
ESCAPES = {mark: f"\\{mark}" for mark in "&%$#_{}"} | {
    "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "µ": "\\textmu{}",
    THIN_SPACE: "\\,", NONE: "--", "<": "\\textless{}", ">": "\\textgreater{}",
}  # fmt: skip


def usual_line(report: Report) -> str:
    """ACs, MACs and millijoule at 45 nm: what most papers state of a spiking network, and no more than arithmetic."""
    totals = report.totals
    energy = next((row.snn_uj for row in report.energy if row.table == USUAL and row.snn_uj is not None), None)
    millijoule = NONE if energy is None else f"{rounded(energy / 1000)} mJ"
    counts = f"{prefixed(totals.acs).strip()} ACs, {prefixed(totals.macs).strip()} MACs"
    return f"{counts}, {millijoule} per inference at 45 nm, FP32, arithmetic alone"


def energies_csv(report: Report) -> str:
    """A line per price table, columns as in `report.json`, with the interval of the ratio and the deviations."""
    stream = io.StringIO()
    columns = [field.name for field in dataclasses.fields(EnergyFigure)]
    more = ["ratio_low", "ratio_high", "snn_uj_std", "ann_uj_std"]
    writer = csv.DictWriter(stream, fieldnames=[*columns, *more])
    writer.writeheader()
    for row, sure in zip(report.energy, report.uncertainty, strict=True):
        writer.writerow(dataclasses.asdict(row) | {key: getattr(sure, key) for key in more})
    return stream.getvalue()


def escaped(text: str) -> str:
    """Text that LaTeX prints as it stands."""
    return "".join(ESCAPES.get(mark, mark) for mark in text)


def latex(report: Report) -> str:
    """Two tables, layers and energies by price table, with a citation of every source; needs the package booktabs."""
    keys = cite_keys(report.energy)
    layers = [
        [escaped(layer.name), escaped(layer.kind),
         *map(rounded, (layer.neurons, layer.acs, layer.macs, layer.dense_macs, layer.spike_rate))]
        for layer in report.layers
    ]  # fmt: skip
    energies = [
        [f"{escaped(row.title)}~\\cite{{{keys[row.source]}}}", row.boundary, rounded(row.snn_uj), rounded(row.ann_uj),
         rounded(row.ratio), "--" if sure.ratio_low is None or sure.ratio_high is None
         else interval((sure.ratio_low, sure.ratio_high))]
        for row, sure in zip(report.energy, report.uncertainty, strict=True)
    ]  # fmt: skip
    usual = escaped(usual_line(report))
    return "\n".join(
        [
            f"% {report.verdict.headline}".replace("\n", " "),
            f"% {usual_line(report)}",
            *_table(
                "llrrrrr", ["Layer", "Kind", "Neurons", "ACs", "MACs", "Dense MACs", "Spike rate"], layers,
                f"Operations per inference by layer, counted: {usual}.", "tab:layers",
            ),
            *_table(
                "llrrrr",
                ["Prices", "Boundary", "Spiking (\\textmu J)", "Dense (\\textmu J)", "Dense / spiking", "Prices moved"],
                energies,
                "Energy per inference, estimated; the last column holds 95\\,\\% of draws of all prices within their "
                "published ranges.",
                "tab:energy",
            ),
            "",
        ]
    )  # fmt: skip


def _table(columns: str, head: Sequence[str], rows: Sequence[Sequence[str]], caption: str, label: str) -> list[str]:
    lines = [" & ".join(_cell(value) for value in row) + " \\\\" for row in rows]
    return [
        "\\begin{table}", "\\centering", f"\\caption{{{caption}}}", f"\\label{{{label}}}",
        f"\\begin{{tabular}}{{{columns}}}", "\\toprule", " & ".join(head) + " \\\\", "\\midrule", *lines,
        "\\bottomrule", "\\end{tabular}", "\\end{table}",
    ]  # fmt: skip


def _cell(value: str) -> str:
    return value.replace(THIN_SPACE, "\\,").replace(NONE, "--")


def cite_keys(figures: Sequence[EnergyFigure]) -> dict[str, str]:
    """Source -> key: the first price table that names it."""
    keys: dict[str, str] = {}
    for row in figures:
        keys.setdefault(row.source, re.sub(r"[^A-Za-z0-9-]", "-", row.table))
    return keys


def bibtex(report: Report) -> str:
    """An entry per source that the report rests on, with its text as it is there: prices, published figures, claims."""
    keys = cite_keys(report.energy)
    for source in (
        report.twin.source,
        *(row.source for row in report.published),
        *(claim.source for claim in report.claims),
    ):
        keys.setdefault(source, _new_key(source, set(keys.values())))
    return "\n".join(_entry(key, source) for source, key in keys.items())


def _new_key(source: str, taken: set[str]) -> str:
    """`Wang-2412.12858`: a name and the paper's number or year; a number behind it where that is taken."""
    name = re.search(r"[A-Za-z]{3,}", source)
    when = re.search(r"\d{4}\.\d{5}", source) or re.search(r"\b(?:19|20)\d\d\b", source)
    key = "-".join(found.group() for found in (name, when) if found) or "source"
    numbered = (f"{key}-{number}" for number in itertools.count(2))
    return next(one for one in itertools.chain([key], numbered) if one not in taken)


def _entry(key: str, source: str) -> str:
    title = re.search(r'"([^"]+)"', source)
    year = re.search(r"\b(?:19|20)\d\d\b(?!\.\d)", source)  # and no number of arXiv's
    fields = [f"  title = {{{{{escaped(title.group(1) if title else source)}}}}}"]
    if title and source[: title.start()].strip(" ,"):
        fields.append(f"  author = {{{_authors(source[: title.start()])}}}")
    if year:
        fields.append(f"  year = {{{year.group()}}}")
    fields.append(f"  note = {{{escaped(source)}}}")
    return f"@misc{{{key},\n" + ",\n".join(fields) + "\n}\n"


def _authors(text: str) -> str:
    """`M. Davies et al.,` as BibTeX joins names."""
    names = text.replace("et al.", ", others").split(",")
    return " and ".join(escaped(name.strip()) for name in names if name.strip())
