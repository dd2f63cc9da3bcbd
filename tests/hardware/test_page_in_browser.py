"""The page in a browser: widths, light and dark, paper, keyboard, and the rules of axe."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from neurotarget.hardware.page.origin import Made
from neurotarget.hardware.page.render import render_page
from neurotarget.hardware.verdict.integers import IntegerForm, IntegerLayer

from tests.hardware import browser
from tests.hardware.pages import built, write_images

pytestmark = [browser.needed, pytest.mark.slow]
LAYERS = 36  # as many as the network of `make demo` has


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of a network with many layers of long names, compared in integers."""
    folder = tmp_path_factory.mktemp("large")
    write_images(folder)
    report, trace = built(folder)
    names = [f"blocks.{i}.convolution.gate_output.lif" for i in range(LAYERS)]
    priced = {row.table for row in report.memory_layers}
    spiking = next(layer for layer in report.layers if layer.name == "first")
    memory = {row.table: row for row in report.memory_layers if row.name == "conv"}
    parts = ("operations_uj", "neurons_uj", "accesses_uj", "addressing_uj", "total_uj")
    for table, row in memory.items():  # so that all together take what the energy of the report says, or less
        memory[table] = replace(row, **{part: getattr(row, part) / LAYERS for part in parts})
    rows = tuple(IntegerLayer(name, 100, 30, 29, 3, 0.03) for name in names)
    report = replace(
        report,
        layers=tuple(replace(spiking, name=name, synops=3.0, acs=3.0, dense_macs=9.0) for name in names),
        memory_layers=tuple(replace(memory[table], name=name) for table in priced for name in names),
        integers=IntegerForm("net.q.nir", 3, 0.9, 0.88, 0.95, rows),
    )
    spikes = dict.fromkeys(names[::2], trace.spikes["first"])
    path = folder / "report.html"
    path.write_text(render_page(report, replace(trace, spikes=spikes), Made("python -m hardware.report", "today")))
    return path


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser.opened() as found:
        yield found


def cut(shown: Any) -> list[str]:
    """Sections with a table or plot that is wider than its box."""
    script = "boxes => boxes.filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.closest('section').id)"
    found: list[str] = shown.eval_on_selector_all(".scroll, .plot", script)
    return found


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 820, 1280])
def test_at_every_width(chromium: Any, large: Path, width: int, dark: bool) -> None:
    shown = browser.show(chromium, large, width, dark)
    height = shown.evaluate("document.documentElement.scrollHeight")
    shown.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    # Wide tables scroll inside their own box, the first column stays: the page itself never does.
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    if width == 1280:
        assert height <= 7000 and cut(shown) == []
        side = shown.eval_on_selector("nav", "e => { const r = e.getBoundingClientRect(); return [r.left, r.right]; }")
        assert side[1] < shown.eval_on_selector("main", "e => e.getBoundingClientRect().left")
    else:
        first = shown.locator("#spikes td").first
        before = first.evaluate("e => e.getBoundingClientRect().left")
        shown.eval_on_selector("#spikes .scroll", "e => { e.scrollLeft = 200; }")
        assert first.evaluate("e => e.getBoundingClientRect().left") == before
    expected = "rgb(23, 27, 33)" if dark else "rgb(255, 255, 255)"
    assert shown.eval_on_selector("body", "e => getComputedStyle(e).backgroundColor") == expected
    shown.close()


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_no_violation(chromium: Any, large: Path, dark: bool) -> None:
    from axe_playwright_python.sync_playwright import Axe

    shown = browser.show(chromium, large, 1280, dark)
    shown.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    found = Axe().run(shown).response
    assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == []
    assert any(one["id"] == "color-contrast" for one in found["passes"])
    shown.close()


def test_on_at_most_five_sheets_of_paper(chromium: Any, large: Path) -> None:
    shown = browser.show(chromium, large, 1280)
    sheets = len(re.findall(rb"/Type\s*/Page\b", shown.pdf(format="A4", prefer_css_page_size=True)))
    assert 1 <= sheets <= 5
    shown.close()


def test_a_column_sorts_and_back(chromium: Any, large: Path) -> None:
    shown = browser.show(chromium, large, 1280)
    table = shown.locator("#twin table").first
    head = table.locator("th", has_text="Total")

    def totals() -> list[float]:
        return [float(text) for text in table.locator("tbody td:nth-child(4)").all_inner_texts()]

    unsorted = totals()
    head.get_by_role("button").click()
    assert totals() == sorted(unsorted, reverse=True) and head.get_attribute("aria-sort") == "descending"
    head.get_by_role("button").click()
    assert totals() == sorted(unsorted) and head.get_attribute("aria-sort") == "ascending"
    shown.close()


def test_what_the_keyboard_reaches_explains_itself(chromium: Any, large: Path) -> None:
    shown = browser.show(chromium, large, 1280)
    tip = shown.locator("#tip")
    assert not tip.is_visible()
    shown.locator("#verdict .tiles a.term").first.focus()
    assert tip.is_visible() and tip.inner_text().startswith("Share of the samples that get the right class")
    shown.keyboard.press("Escape")
    assert not tip.is_visible()
    shown.locator("#verdict .tiles a.term").first.click()
    assert shown.evaluate("document.querySelector('#glossary details').open") and shown.url.endswith("#word-accuracy")
    shown.locator("#layers .track i:last-child").first.hover()  # of less than a pixel each, the last lies on top
    assert "µJ" in tip.inner_text()
    shown.close()


def test_curves_are_read_with_pointer_and_arrow_keys(chromium: Any, large: Path) -> None:
    shown = browser.show(chromium, large, 1280)
    shown.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    plot, tip = shown.locator("[data-reading]").first, shown.locator("#tip")
    read = json.loads(plot.get_attribute("data-reading"))

    def first_line() -> str:
        return str(tip.inner_text()).partition("\n")[0]

    plot.focus()
    shown.keyboard.press("ArrowRight")
    assert first_line() == f"{read['title']}: {read['at'][read['now'] + 1]:g}"
    assert len(tip.inner_text().splitlines()) == 1 + len(read["curves"])
    shown.keyboard.press("End")
    assert first_line() == f"{read['title']}: {read['at'][-1]:g}"
    svg, inside = plot.locator("svg"), 8  # the padding of the picture
    box = svg.bounding_box()
    scale = (box["width"] - 2 * inside) / float(svg.get_attribute("viewBox").split()[2])
    shown.mouse.move(box["x"] + inside + scale * read["places"][3], box["y"] + box["height"] / 2)
    assert first_line() == f"{read['title']}: {read['at'][3]:g}"
    shown.mouse.move(0, 0)
    assert not tip.is_visible()
    shown.close()


def test_one_waterfall_is_seen_at_a_time(chromium: Any, large: Path) -> None:
    shown = browser.show(chromium, large, 1280)
    panels, labels = shown.locator("#layers .panel"), shown.locator("#layers .switch > label")
    assert panels.count() == 4
    for index in range(4):
        labels.nth(index).click()
        assert [panels.nth(i).is_visible() for i in range(4)] == list(np.arange(4) == index)
        assert cut(shown) == []
    shown.close()
