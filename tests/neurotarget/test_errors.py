"""One base for all errors, and text from elsewhere that cannot move a terminal's cursor."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from neurotarget.errors import CORE, CheckFailed, NeurotargetError, UserError, nearest, printable

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


def test_what_every_command_imports_is_what_the_project_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {requirement.partition(">")[0] for requirement in project["dependencies"]} == set(CORE)


@pytest.mark.parametrize(
    "command", ["sim.run x.nir --input y", "hardware.place x.nir --chip loihi1", "model.train x --out y"]
)
def test_a_python_without_the_packages_is_told_which_one_has_them(command):
    """A new user starts the system's python in place of the environment's: -S leaves out all that is installed."""
    run = subprocess.run([sys.executable, "-S", "-m", *command.split()], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 2 and len(run.stderr.splitlines()) == 1, run.stderr
    assert run.stderr.startswith(f"error: {sys.executable} has no ") and "source .venv/bin/activate" in run.stderr
