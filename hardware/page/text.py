"""Text of the page: terms that explain themselves, sources that lead somewhere, one sentence to quote."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from markupsafe import Markup, escape
from neurotarget.hardware.page.contents import Report
from neurotarget.hardware.verdict.words import Words

from neurotarget.figures import percent, prefixed, rounded

GLOSSARY: dict[str, str] = tomllib.loads(Path(__file__).with_name("templates").joinpath("glossary.toml").read_text())
NO_BREAK = "\u00a0"
UNITS = (" µJ", " ms", " (%)")
# What names a publication in a source, and where it is found.
ADDRESSES = (
    (r"https?://[^\s,;()]+", "{}"),
    (r"arXiv (\d{4}\.\d{4,5})", "https://arxiv.org/abs/{}"),
    (r"(?<![\w/.])(github\.com/[\w.-]+/[\w.-]+)", "https://{}"),
    (r"\b(PMC\d+)", "https://pmc.ncbi.nlm.nih.gov/articles/{}/"),
    (r"\bdoi:? ?(10\.\d{4,}/[^\s,;]+)", "https://doi.org/{}"),
)
NAMED = re.compile("|".join(f"(?:{pattern})" for pattern, _ in ADDRESSES))


def anchor(term: str) -> str:
    """The id of a term in the glossary."""
    return "word-" + re.sub(r"[^a-z0-9]+", "-", term.lower()).strip("-")


def explained(words: str) -> Markup:
    """Words as a link into the glossary that shows the meaning when pointed at or focused; as text if none is known."""
    term = next((words.removesuffix(unit) for unit in ("", *UNITS) if words.removesuffix(unit) in GLOSSARY), None)
    if term is None:
        return escape(words)
    link = Markup('<a class="term" href="#{}" title="{}">{}</a>')
    return link.format(anchor(term), GLOSSARY[term], words)


def breakable(name: str) -> Markup:
    """A layer's name that may go on in the next line behind each dot."""
    return Markup(".<wbr>").join(name.split("."))


def grouped(clause: str) -> str:
    """A clause with its whole numbers of five digits and more in groups of three."""
    return re.sub(r"(?<![\w.-])\d{5,}(?![\w.]*\w)", lambda found: rounded(float(found[0])), clause)


def unbroken(page: str) -> str:
    """HTML in which no line ends between a figure and its unit."""
    return re.sub(r"(?<=\d) (?=(?:%|µJ|mJ|ms|×|nm)(?!\w))", NO_BREAK, page)


def linked(source: str) -> Markup:
    """A source with each address, arXiv number or repository in it as a link."""
    pieces, end = [], 0
    for found in NAMED.finditer(source):
        address = next(
            form.format(match[match.lastindex or 0])
            for pattern, form in ADDRESSES
            if (match := re.fullmatch(pattern, found[0]))
        )
        pieces += [escape(source[end : found.start()]), Markup('<a href="{}">{}</a>').format(address, found[0])]
        end = found.end()
    return Markup("").join([*pieces, escape(source[end:])])


def quote(report: Report, words: Words) -> str:
    """The report in one sentence that can stand alone: what ran on what, what it did, and the verdict."""
    totals, samples = report.totals, report.input.samples
    name = f"{Path(report.model.file).name} ({rounded(totals.neurons)} neurons)"
    work = f"makes {prefixed(totals.synops)} synaptic operations per {words.sample}"
    if totals.spike_rate is not None:
        work += f" at a spike rate of {percent(totals.spike_rate)}"
    if report.accuracy is None:
        did = f"{work}, over {samples} {words.samples}"
    else:
        did = f"{work} and gets {100 * report.accuracy:.1f} % of {samples} right"
    headline = report.verdict.headline
    return f"{name} {did}; {headline[:1].lower()}{headline[1:]}".replace(" %", f"{NO_BREAK}%")
