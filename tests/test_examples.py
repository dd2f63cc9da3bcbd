"""The examples run as they stand, in a folder of their own, and say what they are there to say."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
LARGEST_BYTES = 200_000  # of a notebook with its outputs

SAID = {  # script -> lines that it prints, in part
    "third_party_file": ["per sample: 11468 synaptic operations"],
    "quantise_and_place": ["places differ in integers", "Fits Loihi 2: 1 of 120 cores"],
    "compare_recorded_spikes": ["identical: recorded.npz against reference float64", " 0 mismatched"],
    "check_a_claim": ["dense network, operations: holds", "dense network, memory: undecided"],
    "own_network": ["its spikes are those of the network in PyTorch", "in 8 bits it answers as in float"],
}
NOTEBOOKS = sorted(path.name for path in EXAMPLES.glob("*.ipynb"))


def run(folder, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg", "NUMBA_DISABLE_JIT": "0"}
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("name", SAID)
def test_a_script_runs(name, tmp_path):
    said = run(tmp_path, EXAMPLES / f"{name}.py")
    assert not [words for words in SAID[name] if words not in said]


def cells(name):
    return [cell for cell in json.loads((EXAMPLES / name).read_text())["cells"] if cell["cell_type"] == "code"]


@pytest.mark.slow  # one runs Lava, one trains
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_and_prints_what_it_was_committed_with(name, tmp_path):
    """Each cell's printed lines, but for the words of pictures."""
    code, expected = [], []
    for number, cell in enumerate(cells(name)):
        code += [f"print('cell {number}', flush=True)", "".join(cell["source"])]
        streams = [output["text"] for output in cell["outputs"] if output.get("name") == "stdout"]
        expected += [f"cell {number}", *"".join(map("".join, streams)).splitlines()]
    (tmp_path / "notebook.py").write_text("\n".join(code))
    assert run(tmp_path, "notebook.py").splitlines() == expected


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_small_and_was_executed_in_order(name):
    assert (EXAMPLES / name).stat().st_size < LARGEST_BYTES
    assert [cell["execution_count"] for cell in cells(name)] == list(range(1, len(cells(name)) + 1))
    assert not [
        o for cell in cells(name) for o in cell["outputs"] if o["output_type"] == "error" or o.get("name") == "stderr"
    ]


def test_all_examples_are_named_where_they_are_listed():
    listed = (EXAMPLES / "README.md").read_text()
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*SAID, "networks"} and len(NOTEBOOKS) == 2
    assert all(f"({name})" in listed for name in [*(f"{name}.py" for name in SAID), *NOTEBOOKS])
