"""The report's page: what it is made of, and that it needs nothing else. In a browser: test_page_in_browser.py."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import itertools
import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import matplotlib.image
import numpy as np
import pytest
from neurotarget.hardware.chips.fit import Fit
from neurotarget.hardware.counts.summary import Layer
from neurotarget.hardware.energy.break_even import Curve
from neurotarget.hardware.energy.memory import MemoryLayer
from neurotarget.hardware.page import bars, plots
from neurotarget.hardware.page.card import render_card
from neurotarget.hardware.page.contents import Report
from neurotarget.hardware.page.limits import fullest
from neurotarget.hardware.page.origin import Made
from neurotarget.hardware.page.raster import MOST_COLUMNS, MOST_ROWS, strips
from neurotarget.hardware.page.render import SECTIONS, TEMPLATES, render_page, script_hash
from neurotarget.hardware.page.text import GLOSSARY, anchor, breakable, explained, grouped, linked, unbroken
from neurotarget.hardware.report import main
from neurotarget.hardware.verdict.words import words_of
from neurotarget.sim.trace import Trace

from tests.hardware.pages import built, write_images

MADE = Made("python -m hardware.report net.nir --input in.npz --out r", "2026-01-02 03:04 UTC")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_images(folder)
    return folder


@pytest.fixture(scope="module")
def made(images: Path) -> tuple[Report, Trace]:
    return built(images)


@pytest.fixture(scope="module")
def page(made: tuple[Report, Trace]) -> str:
    return render_page(*made, MADE)


# ---- one file --------------------------------------------------------------------------------------------------------


def test_it_needs_nothing_from_elsewhere(page: str) -> None:
    assert not re.search(r"""\s(?:src|srcset|data|action)\s*=\s*["'](?!data:)""", page)
    assert not re.search(r"@import|<link|<iframe|<object|url\((?!data:|#)", page)
    # What is linked to is never loaded: places on the page, and publications.
    assert {link.partition(":")[0] for link in re.findall(r'href="([^"#]+)', page)} == {"https"}
    assert len(page.encode()) < 2_000_000


def test_only_its_own_script_may_run(page: str) -> None:
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', page)
    assert digest == script_hash(script)
    assert policy.startswith("default-src 'none'") and policy.endswith(f"script-src 'sha256-{digest}'")
    assert not re.search(r"<[^>]+\son\w+\s*=", page)


def test_every_place_that_is_linked_to_is_there_once(page: str) -> None:
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)
    contents = re.findall(r'<li><a href="#(\w+)">', page[page.index("<nav") : page.index("</nav>")])
    assert contents == re.findall(r'<section id="(\w+)">', page)
    assert contents == [name for name in SECTIONS if name in contents] and contents[0] == "verdict"


def test_it_says_how_it_was_made(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "r"
    arguments = [str(images / "net.nir"), "--input", str(images / "in.npz"), "--out", str(out), "--lava-samples", "0"]
    assert main(arguments) == 0
    page = html.unescape((out / "report.html").read_text())
    place = page[page.index('id="environment"') :]
    assert f"python -m hardware.report {' '.join(arguments)}</code>" in place
    assert re.search(r"20\d\d-\d\d-\d\d \d\d:\d\d UTC\. Python 3", place) and "numpy" in place
    assert hashlib.sha256((images / "net.nir").read_bytes()).hexdigest() in place


def test_hostile_names_are_text(made: tuple[Report, Trace]) -> None:
    report, _ = made
    script, image = "<script>alert(1)</script>", "<img src=x onerror=alert(1)>"
    first, *others = report.placement
    assert isinstance(first, Fit)
    hostile = replace(
        report,
        layers=(replace(report.layers[0], name=script), *report.layers[1:]),
        model=replace(report.model, file=image),
        claims=(replace(report.claims[0], name=script, source=image, reason=script),),
        placement=(replace(first, cores=(replace(first.cores[0], populations=(script,)),)), *others),
        energy=(replace(report.energy[0], source=f'https://x.org/"onclick={script}', title=script), *report.energy[1:]),
    )
    trace = Trace({"<b>$x_1": np.ones((1, 3, 2), np.uint8)}, np.zeros((1, 3, 1)), np.zeros((1, 3, 1)), np.array([3]))
    page = render_page(hostile, trace, Made(script, image))
    assert script not in page and "<img" not in page and "<b>" not in page and "&lt;script&gt;" in page
    assert not re.search(r"<[^>]+\son\w+\s*=", page.replace("&#34;", ""))
    assert "<script>" not in render_card(hostile)


# ---- words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "axes", "sample", "steps"),
    [
        ("synth?steps=50", 3, "utterance", "steps"),
        ("shd:folder", 3, "utterance", "steps"),
        ("nmnist:folder", 3, "image", "frames"),
        ("dvsgesture:folder?size=32", 5, "gesture", "frames"),
        ("in.npz", 5, "image", "frames"),
        ("in.npz", 3, "sample", "steps"),
    ],
)
def test_words_are_those_of_the_data(spec: str, axes: int, sample: str, steps: str) -> None:
    found = words_of(spec, axes)
    assert (found.sample, found.steps) == (sample, steps)
    assert found.a_sample in (f"a {sample}", f"an {sample}")


def test_no_word_of_speech_stands_over_images(made: tuple[Report, Trace], page: str) -> None:
    text = page + render_card(made[0]) + repr(replace(made[0], published=()))
    assert not re.search("utterance|spoken", text, re.I) and "3 images, 24 frames" in page
    assert "First image" in page and "per image, counted" in page and "once an image" in page


def test_terms_lead_to_the_glossary() -> None:
    term = "Dense / spiking"
    assert explained(term) == f'<a class="term" href="#{anchor(term)}" title="{GLOSSARY[term]}">{term}</a>'
    assert f'title="{GLOSSARY["Accesses"]}">Accesses µJ</a>' in explained("Accesses µJ")
    assert explained("<b>") == "&lt;b&gt;"
    assert len({anchor(word) for word in GLOSSARY}) == len(GLOSSARY)


def test_every_term_of_the_glossary_is_used() -> None:
    text = "".join(path.read_text() for path in TEMPLATES.glob("*.j2"))
    unused = [term for term in GLOSSARY if not re.search(rf'"{re.escape(term)}( µJ| ms)?"', text)]
    assert unused == []


def test_figures_are_grouped_and_keep_their_unit() -> None:
    assert grouped("3728946 of 9220, 1e-12345 and 12345.6") == "3\u202f728\u202f946 of 9220, 1e-12345 and 12345.6"
    assert unbroken("94 %, 3 µJ, 5 msec, 7 x") == "94\u00a0%, 3\u00a0µJ, 5 msec, 7 x"


def test_a_name_breaks_behind_its_dots() -> None:
    assert breakable("blocks.0.<b>") == "blocks.<wbr>0.<wbr>&lt;b&gt;"


def test_sources_are_links() -> None:
    found = linked("A <b>, arXiv 2409.08290, and github.com/nengo/keras-spiking), PMC8934428")
    assert found == (
        'A &lt;b&gt;, <a href="https://arxiv.org/abs/2409.08290">arXiv 2409.08290</a>, and '
        '<a href="https://github.com/nengo/keras-spiking">github.com/nengo/keras-spiking</a>), '
        '<a href="https://pmc.ncbi.nlm.nih.gov/articles/PMC8934428/">PMC8934428</a>'
    )
    assert linked("https://a.org/x_1") == '<a href="https://a.org/x_1">https://a.org/x_1</a>'
    assert linked("M. Horowitz, ISSCC 2014") == "M. Horowitz, ISSCC 2014"


def test_one_sentence_can_be_quoted(made: tuple[Report, Trace], page: str) -> None:
    (quoted,) = re.findall("<blockquote>(.*?)</blockquote>", html.unescape(page))
    report = replace(made[0], accuracy=0.875)
    headline = report.verdict.headline
    assert quoted.startswith("net.nir (164 neurons) makes ") and quoted.endswith(f"over 3 images; n{headline[1:]}")
    (quoted,) = re.findall("<blockquote>(.*?)</blockquote>", html.unescape(render_page(report, made[1], MADE)))
    assert "and gets 87.5\u00a0% of 3 right; " in quoted


def test_a_silent_layer_is_marked_and_the_limit_that_binds_is_named(made: tuple[Report, Trace], page: str) -> None:
    assert re.search(r'<code>dead</code> <span class="tag mixed">silent</span>', page)
    loihi2 = made[0].placement[1]
    assert isinstance(loihi2, Fit) and loihi2.fits
    rows = fullest(loihi2)
    assert [row.share for row in rows] == sorted((row.share for row in rows), reverse=True)
    by_name = {row.name: row for row in rows}
    shares = [core.shares["memory_bits"] for core in loihi2.cores]
    assert by_name["memory bits"].share == max(shares)
    assert by_name["memory bits"].mean == pytest.approx(np.mean(shares))
    assert (by_name["cores"].used, by_name["cores"].value) == (loihi2.cores_needed, 120)
    assert f"What binds first: {rows[0].name}" in page


# ---- pictures --------------------------------------------------------------------------------------------------------


def test_plots_are_drawn_once_in_the_colours_of_the_style_sheet(page: str) -> None:
    found = re.findall(r'role="img" aria-label="([^"]+)">(<svg.*?</svg>)', page, re.S)
    # the claim over the spike rate, where the answer flips, two chips
    assert len(found) == 4
    for alt, svg in found:
        assert alt and len(list(ElementTree.fromstring(svg).iter("path"))) > 5
        assert "<style" not in svg and "var(--ink)" in svg and "$" not in svg
        colours = set(re.findall(r"(?:fill|stroke): (?!none|var)([^;\"]+)", svg))
        assert colours <= {"#000000"}, alt  # of what is empty
    (light,) = re.findall(r":root \{(.*?)\}", (TEMPLATES / "style.css").read_text(), re.S)[:1]
    for name, colour in vars(plots.INKS).items():
        assert f"--{name}: {colour};" in light


def test_values_of_curves_are_read_where_they_are_drawn() -> None:
    """A claim's curve in closed form, at places that are those of the path in the SVG."""
    curve = Curve("one", "memory", fixed=0.25, scaling=0.5)
    found = plots.break_even([curve], 0.1)
    read = json.loads(found.reading)
    assert (read["title"], read["at"][0], read["at"][read["now"]]) == ("mean spike rate", 0.00316, 0.1)
    ((name, values),) = read["curves"]
    assert name == "one" and values == pytest.approx([0.25 + 5 * at for at in read["at"]], rel=6e-3)
    paths = [path.get("d", "") for path in ElementTree.fromstring(found.svg).iter("path")]
    (drawn,) = (path for path in paths if path.count("L") == len(values) - 1)
    places = [float(x) for x, _ in re.findall(r"[ML] ([\d.]+) ([\d.]+)", drawn)]
    assert places == pytest.approx(read["places"], abs=0.02)
    heights = [float(y) for _, y in re.findall(r"[ML] ([\d.]+) ([\d.]+)", drawn)]
    assert read["top"] < min(heights) and max(heights) < read["bottom"]


def test_a_waterfall_ends_at_the_whole() -> None:
    layers = [MemoryLayer("t", str(i), 1.0 * i, 0.5, 2.0, 0.25, 2.75 + i) for i in range(3)]
    nothing = MemoryLayer("t", "none", 0.0, 0.0, 0.0, 0.0, 0.0)
    falls = list(bars.waterfall([*layers, nothing], most_uj=22.5))
    assert [fall.share for fall in falls] == pytest.approx([2.75 / 11.25, 3.75 / 11.25, 4.75 / 11.25])
    flat = [bar for fall in falls for bar in fall.bars]
    for one, after in itertools.pairwise(flat):
        assert after.left == pytest.approx(one.left + one.width)
    assert flat[0].left == 0 and flat[-1].left + flat[-1].width == pytest.approx(50)
    assert [bar.text for bar in falls[1].bars] == [
        "accesses: 2 µJ", "neuron updates: 0.5 µJ", "operations and addresses: 1.25 µJ"
    ]  # fmt: skip


def test_places_on_a_logarithmic_axis() -> None:
    axis = bars.Decades.around([None, 0.0, 0.5, 30.0])
    assert (axis.first, axis.last, axis.ends) == (-1, 2, "0.1 to 100")
    assert [axis.at(value) for value in (0.1, 1.0, 100.0)] == pytest.approx([0, 100 / 3, 100])
    assert bars.Decades.around([]).count == bars.Decades.around([10.0]).count == 1


def test_operations_over_the_dense_layer(made: tuple[Report, Trace]) -> None:
    layer: Layer = replace(made[0].layers[0], acs=30.0, macs=20.0, dense_macs=200.0)
    dense, acs, macs = bars.operations(layer, most=400.0)
    assert (dense.width, acs.left, acs.width, macs.left, macs.width) == (50, 0, 7.5, 7.5, 5)


def pixels(uri: str) -> np.ndarray:
    found: np.ndarray = matplotlib.image.imread(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    return found


def test_a_strip_has_every_spike() -> None:
    rng = np.random.default_rng(0)
    spikes = (rng.random((2, 9, 4, 3)) < 0.3).astype(np.uint8)
    trace: Any = SimpleNamespace(lengths=np.array([7, 9]), spikes={"a": spikes})
    (strip,) = strips(trace)
    assert (strip.name, strip.neurons, strip.spikes) == ("a", 12, spikes[0, :7].sum())
    np.testing.assert_array_equal(pixels(strip.uri)[..., 3] == 1, spikes[0, :7].reshape(7, 12).T != 0)


def test_a_strip_of_many_neurons_shades_and_loses_no_spike() -> None:
    spikes = np.zeros((1, 2 * MOST_COLUMNS, 3 * MOST_ROWS), np.uint8)
    spikes[0, 5, 7] = 1
    spikes[0, -2:, -3:] = 1
    (strip,) = strips(SimpleNamespace(lengths=np.array([2 * MOST_COLUMNS]), spikes={"a": spikes}))  # type: ignore[arg-type]
    alpha = pixels(strip.uri)[..., 3]
    assert alpha.shape == (MOST_ROWS, MOST_COLUMNS) and np.count_nonzero(alpha) == 2
    assert alpha[-1, -1] == 1 and 0.25 < alpha[2, 2] < 0.5


# ---- colours ---------------------------------------------------------------------------------------------------------


def luminance(colour: str) -> float:
    """Relative luminance of `#rrggbb` (WCAG 2.1)."""
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def themes() -> dict[str, dict[str, str]]:
    blocks = re.findall(r":root \{(.*?)\}", (TEMPLATES / "style.css").read_text(), re.S)
    found = [dict(re.findall(r"--([\w-]+): (#\w{6})", re.sub(r"#(\w)(\w)(\w)\b", r"#\1\1\2\2\3\3", b))) for b in blocks]
    light, dark, paper = found
    return {"light": light, "dark": light | dark, "paper": light | paper}


@pytest.mark.parametrize("theme", ["light", "dark", "paper"])
def test_text_can_be_read_and_marks_be_seen(theme: str) -> None:
    """WCAG 2.1 AA: 4.5 for text, 3 for what is drawn. The page's tones on their own washes, and all on the paper."""
    colours = themes()[theme]
    texts = [(ink, ground) for ink in ("ink", "faint", "link") for ground in ("paper", "wash")]
    texts += [(tone, ground) for tone in ("good", "bad", "mixed") for ground in ("paper", f"{tone}-wash")]
    texts += [("ink", f"{tone}-wash") for tone in ("good", "bad", "mixed")]
    texts += [("faint", f"{tone}-wash") for tone in ("good", "bad", "mixed")] + [("paper", "ink")]
    too_faint = {pair: contrast(*(colours[name] for name in pair)) for pair in texts}
    assert {pair: found for pair, found in too_faint.items() if found < 4.5} == {}
    for mark in ("spiking", "dense"):
        assert contrast(colours[mark], colours["paper"]) >= 3
    assert contrast("#000000", "#ffffff") == pytest.approx(21) and contrast("#777777", "#ffffff") < 4.5
