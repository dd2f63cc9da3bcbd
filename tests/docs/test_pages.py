"""The pages of the docs site: what is made from the code is complete, every page is in the navigation, lines are short.

`make docs` builds the site and fails at a broken link.
"""

import tomllib

from neurotarget.hardware.chips.limits import load_chip, shipped
from neurotarget.hardware.energy.prices import SHIPPED
from neurotarget.hardware.page.text import GLOSSARY
from neurotarget.sim.graph import dialect
from neurotarget.sim.resets import RESETS

import neurotarget
from docs.generate import api, commands, tables
from docs.generate.__main__ import MADE, OUTSIDE, generate, relinked
from neurotarget.cli import VERBS, command
from tests.docs.documented import ROOT, sources

LONGEST = 120  # characters of a line; a row of a table cannot be broken


def test_lines_are_short():
    long = {}
    for path in sources():
        lines = path.read_text(encoding="utf-8").splitlines()
        found = [n for n, line in enumerate(lines, 1) if len(line) > LONGEST and not line.lstrip().startswith("|")]
        if found:
            long[path.relative_to(ROOT).as_posix()] = found
    assert not long


def test_commands_has_the_help_of_every_verb():
    page = commands.page()
    for verb in VERBS:
        assert f"\n## {verb}\n" in page and f"usage: python -m {command(verb).door} " in page
    assert page.count("--json ") >= len(VERBS)


def test_every_key_and_word_of_our_files_is_described():
    """A rewrite of the pages once dropped the resets."""
    described = "".join((ROOT / "docs" / name).read_text("utf-8") for name in ("nir_extensions.md", "fixed_point.md"))
    keys = {value for name, value in vars(dialect).items() if name.startswith("KEY_")}
    assert len(keys) > 10 and not {key for key in keys if f"`{key}`" not in described}
    semantics = (ROOT / "docs" / "semantics.md").read_text("utf-8")
    assert "\n## Reset\n" in semantics and all(f"| `{word}` |" in semantics for word in RESETS)


def test_api_has_every_public_name_with_its_words():
    page = api.page()
    for name in neurotarget.PUBLIC:
        part = page.split(f"\n## {name}\n")[1].split("\n## ")[0]
        assert len(part.split()) > 10, f"{name} says nothing"
    assert "**Arguments**" in page and "- `chip`: `loihi1`, `loihi2`, or the path" in page


def test_examples_of_the_api_are_code():
    page = api.page()
    assert "\n>>> " in page and page.count("\n>>> ") == sum(
        block.count("\n>>> ") for block in page.split("```") if block.startswith("pycon\n")
    )
    assert "**Warns**" in page and "Warns:" not in page


def test_prices_and_chips_have_every_figure():
    prices, chips = tables.prices(), tables.chips()
    for path in SHIPPED.glob("*.toml"):
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        row = next(line for line in prices.splitlines() if line.startswith(f"| `{path.stem}` |"))
        cells = {cell.strip() for cell in row.split("|")}
        assert cells >= {f"{price:g}" for price in table["prices_pj"].values()}
        assert table["source"].split('"')[0] in prices
        assert all(f"{energy:g} at {size:g} bytes" in prices for size, energy in table.get("access_pj", ()))
    for name in shipped():
        for key, limit in load_chip(name).limits.items():
            assert f"| `{key}` | {limit.value} | {limit.unit} | {limit.grade} |" in chips


def test_every_word_of_the_report_is_explained():
    page = tables.report_words()
    assert len(GLOSSARY) > 50 and all(f"| {word} | {meaning} |" in page for word, meaning in GLOSSARY.items())


def navigation(entries):
    for entry in entries:
        for target in entry.values():
            yield from [target] if isinstance(target, str) else navigation(target)


def test_every_page_is_in_the_navigation_once(tmp_path):
    generate(tmp_path / "pages")
    pages = {path.relative_to(tmp_path / "pages").as_posix() for path in (tmp_path / "pages").rglob("*.md")}
    named = list(navigation(tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]))
    assert sorted(named) == sorted(pages) and set(MADE) | set(OUTSIDE.values()) < pages


def test_links_from_readme_lead_to_pages_of_the_site():
    text = "[a](docs/data.md#cache) ![b](docs/report.png) [c](CHANGELOG.md) [d](tests/conftest.py) [e](#data)"
    assert relinked(text, ROOT / "README.md") == "[a](data.md#cache) ![b](report.png) [c](changelog.md) d [e](#data)"
    text = "[a](../data.md) [b](../../Makefile) [c](../../examples/README.md) [d](../reference/api.md)"
    there = "[a](../data.md) b [c](../examples.md) [d](../reference/api.md)"
    assert relinked(text, ROOT / "docs/guide/x.md") == there
    assert relinked("[a](own_network.py) [b](../README.md#data)", ROOT / "examples/README.md") == "a [b](index.md#data)"


def test_nothing_is_loaded_from_elsewhere():
    theme = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["theme"]
    assert theme["font"] is False
