"""What an installation without the extra `train` can do: everything right of the NIR file, as if torch were not there.

Each command runs in a process in which importing PyTorch or SpikingJelly fails as it does where they are not installed.
"""

import gzip
import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from neurotarget.cli import VERBS

ROOT, DATA = Path(__file__).parents[1], Path(__file__).parent / "data"

WITHOUT_TORCH = """
import json, sys


class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "spikingjelly"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Missing())
from neurotarget.cli import main

codes = {}
for arguments in json.loads(sys.argv[1]):
    codes[arguments[0]] = main(arguments)
print(json.dumps(codes))
"""

WORK = [
    ["run", "model.nir", "--input", "input.npz", "--samples", "2"],
    ["compare", "model.nir", "--against", "trace.npz", "--samples", "2"],
    ["quantize", "model.nir", "--calibrate", "input.npz", "-o", "model.q.nir"],
    ["place", "model.nir", "--chip", "loihi2"],
    ["report", "model.nir", "--input", "input.npz", "--samples", "1", "--lava-samples", "0", "--out", "report"],
    ["validate"],
]
REFUSED = [
    ["train", "demo.toml", "--out", "run"],
    ["distill", "demo.toml", "--out", "run"],
    ["ablation", "demo.toml", "--out", "run"],
    ["evaluate", "ckpt.pt", "--data", "synth"],
    ["to-nir", "--network", "mine:network", "--frames", "input.npz", "-o", "mine.nir"],
    ["fine-tune", "demo.toml", "--quantized", "model.q.nir", "--out", "run"],
    ["measure", "ckpt.pt", "--out", "measured"],
    ["ablation-cost", "run"],
    ["report", "model.nir", "--input", "input.npz", "--out", "report", "--checkpoint", "ckpt.pt"],
]


@pytest.fixture
def without_torch(tmp_path):
    """Runs commands in a folder with a small network and its input; their exit codes by verb, and stderr."""
    for name in ("ckpt.pt", "input.npz", "trace.npz"):
        shutil.copy(DATA / name, tmp_path)
    (tmp_path / "model.nir").write_bytes(gzip.decompress((DATA / "model.nir.gz").read_bytes()))

    def run(commands):
        command = [sys.executable, "-c", WITHOUT_TORCH, json.dumps(commands)]
        environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout.splitlines()[-1]), done.stderr

    return run


def test_what_is_right_of_the_file_works(without_torch, tmp_path):
    codes, _ = without_torch(WORK)
    assert codes == dict.fromkeys(codes, 0) and len(codes) == len(WORK)
    assert (tmp_path / "report" / "report.html").exists() and (tmp_path / "model.q.nir").exists()


def test_what_is_left_of_it_says_what_to_install(without_torch):
    codes, errors = without_torch(REFUSED)
    assert codes == dict.fromkeys(codes, 2)
    lines = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert len(lines) == len(REFUSED)
    assert set(lines) == {
        "error: this needs PyTorch and SpikingJelly, and torch is not installed: pip install 'neurotarget[train]'"
    }


def test_every_verb_is_on_one_side():
    told = {arguments[0] for arguments in (*WORK, *REFUSED)}
    # NetX cannot express this network, and it is not causal: they refuse it for that; the doctor has its own test.
    assert told | {"to-netx", "stream", "doctor"} == set(VERBS)


def test_only_the_extra_brings_torch():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    heavy = {"torch", "spikingjelly"}
    assert not [one for one in project["dependencies"] if one.startswith(tuple(heavy))]
    assert {one.partition(">")[0] for one in project["optional-dependencies"]["train"]} == heavy
