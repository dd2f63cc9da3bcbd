"""One base for all errors, and text from elsewhere that cannot move a terminal's cursor."""

import ast
from pathlib import Path

import pytest

from neurotarget.errors import CheckFailed, NeurotargetError, UserError, nearest, printable

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain µ ± – \u202f1", "plain µ ± – \u202f1"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("two\nlines\tand\r", r"two\nlines\tand\r"),
        ("a\x9b2J", r"a\x9b2J"),
        ("right\u202eleft", r"right\u202eleft"),
        (b"caf\xe9".decode("utf-8", "surrogateescape"), r"caf\xe9"),
        ("\ud800", r"\ud800"),
        ("\u2028", r"\u2028"),
    ],
)
def test_controls_are_shown_and_not_obeyed(text, shown):
    assert printable(text) == shown


def test_exit_codes():
    assert (UserError.exit_code, CheckFailed.exit_code) == (2, 1)
    assert not issubclass(CheckFailed, UserError)


def test_nearest():
    assert nearest("epoch", ["epochs", "batch"]) == " (did you mean epochs?)"
    assert nearest("xyz", ["epochs", "batch"]) == ""


def classes():
    """(class, names of its bases) of every error class in the packages."""
    for package in ("neurotarget", "model", "sim", "conversion", "hardware"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef):
                    bases = {ast.unparse(base).rpartition(".")[2] for base in node.bases}
                    yield node.name, bases


def test_every_error_class_derives_from_the_one_base():
    known = {NeurotargetError.__name__}
    found = [(name, bases) for name, bases in classes() if name not in known]
    builtins = {"Exception", "ValueError", "RuntimeError", "ImportError", "OSError", "KeyError", "TypeError"}
    left = [(name, bases) for name, bases in found if bases & builtins or any(base.endswith("Error") for base in bases)]
    assert len(left) > 15
    while reached := {name for name, bases in left if bases & known} - known:
        known |= reached
    assert not {name for name, _ in left} - known


def test_no_command_lists_error_classes():
    """What a command does not know it need not name: Command does."""
    for package in ("model", "sim", "conversion", "hardware", "benchmarks"):
        for path in sorted((ROOT / package).glob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ExceptHandler) and node.type is not None:
                    caught = ast.unparse(node.type)
                    assert "KeyboardInterrupt" not in caught and "NeurotargetError" not in caught, f"{path}: {caught}"
