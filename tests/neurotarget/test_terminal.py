"""Colours on a terminal only, the same words everywhere, and columns that stand below each other."""

import io
import re

import pytest

from neurotarget.terminal import aligned, results, shown

TEXT = "layer 3: identical, 12 spikes\nwritten: a.nir"
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def on_terminal(monkeypatch):
    """`shown`, with standard output a terminal."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")

    def call(text, holds):
        with monkeypatch.context() as during:  # in here: between fixture and test pytest puts its own in its place
            during.setattr("sys.stdout", Terminal())
            return shown(text, holds)

    return call


def test_elsewhere_a_result_is_plain(monkeypatch):
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert shown(TEXT, True) == TEXT


def test_on_a_terminal_words_stay_and_the_last_line_says_how_it_went(on_terminal):
    good, bad = on_terminal(TEXT, True), on_terminal(TEXT, False)
    assert ESCAPES.sub("", good) == ESCAPES.sub("", bad) == TEXT
    assert "\x1b[32midentical\x1b[0m" in good and "\x1b[36m12\x1b[0m" in good
    assert good.endswith("\x1b[1;32mwritten: a.nir\x1b[0m") and bad.endswith("\x1b[1;31mwritten: a.nir\x1b[0m")


@pytest.mark.parametrize(
    ("line", "colour"),
    [("Fits Loihi 2", 32), ("a.nir: written", 32), ("3 of 6 questions are open", 33), ("No saving is shown: x", 31)],
)
def test_the_last_line_is_never_greener_than_its_words(on_terminal, line, colour):
    assert on_terminal(f"identical\n{line}", True).endswith(f"\x1b[1;{colour}m{line}\x1b[0m")
    assert on_terminal(f"identical\n{line}", False).endswith(f"\x1b[1;31m{line}\x1b[0m")


def test_results_are_a_table_what_it_does_not_hold_and_a_verdict_last():
    rows = [("layer", "energy, uJ"), ("a", "0.25"), ("longer", "10")]
    assert results(rows, ["b: silent"], "written").split("\n") == [
        "layer   energy, uJ", "a             0.25", "longer          10", "b: silent", "written",
    ]  # fmt: skip
    assert results(rows[:1], [], "nothing to show") == "nothing to show"


def test_long_lines_and_brackets_are_left_alone(on_terminal):
    text = f"{'word ' * 60}[bold]x[/bold]\nend"
    assert ESCAPES.sub("", on_terminal(text, True)) == text


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_without_colours(on_terminal, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", on_terminal(TEXT, True))


def test_aligned():
    rows = [("layer", "rate", "where"), ("a", "0.25", "core 1"), ("longer", "10", "core")]
    assert aligned(rows, last_is_text=True) == ["layer   rate  where", "a       0.25  core 1", "longer    10  core"]
    assert aligned([("a", "b"), ("10", "2")], texts=0) == [" a  b", "10  2"]
