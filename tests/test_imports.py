"""What a command imports before it is needed: `--help` comes at once, and needs no PyTorch."""

import subprocess
import sys
from pathlib import Path

import pytest

from neurotarget.cli import VERBS, command

ROOT = Path(__file__).parents[1]
SLOW = ("torch", "spikingjelly", "matplotlib", "numba", "scipy", "h5py", "nir", "jinja2", "soundfile", "rich")

HELP = f"""
import runpy, sys
sys.argv = [sys.argv[2], "--help"]
try:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
except SystemExit as end:
    assert not end.code
else:
    raise AssertionError("came back")
print(*sorted({{name.partition(".")[0] for name in sys.modules}} & set({SLOW})))
"""


def imported_for_help(door):
    """Which of the slow packages `python -m DOOR --help` has imported when it ends."""
    done = subprocess.run(
        [sys.executable, "-c", HELP, "-m", door], cwd=ROOT, capture_output=True, text=True, check=True
    )
    *said, last = done.stdout.splitlines()
    assert said[0].startswith("usage: ") and any(line.startswith("example: ") for line in said)
    return last.split()


@pytest.mark.parametrize("verb", VERBS)
def test_help_imports_nothing_that_takes_long(verb):
    assert imported_for_help(f"neurotarget.{command(verb).door}") == []


def test_the_test_sees_what_is_imported():
    """Of a door that does import it, were it not for the command that ends before."""
    code = "import sys, neurotarget.sim.run; print('numba' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
