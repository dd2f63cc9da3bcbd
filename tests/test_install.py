"""What `pip install` puts on a machine: the wheel in an environment of its own, and the editable checkout.

Both are used from a folder with the user's own model.py, sim.py, conversion.py and hardware.py, which must stay the
user's and break nothing. The environments see this one's libraries but not its installation of neurotarget.
"""

import gzip
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow

ROOT, DATA = Path(__file__).parents[1], Path(__file__).parent / "data"
FOLDERS = {
    "neurotarget": "neurotarget",
    **{name: f"neurotarget/{name}" for name in ("model", "conversion", "sim", "hardware")},
}
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
OFFLINE = ("--no-deps", "--no-index", "--no-build-isolation")


def call(*command, cwd):
    """A command's output; it has to succeed."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The packages and what their wheel is made of: a build leaves its traces here, not in the checkout."""
    source = tmp_path_factory.mktemp("source")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    return source


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    target = tmp_path_factory.mktemp("wheel")
    call(*PIP, "wheel", *OFFLINE, "--wheel-dir", target, source, cwd=target)
    (wheel,) = target.iterdir()
    return wheel


def environment(folder, *installed):
    """A new environment with this one's libraries, and neurotarget installed as told; gives its folder of programs."""
    call(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    paths = {"base": str(folder), "platbase": str(folder)}
    own = Path(sysconfig.get_path("purelib", scheme="venv", vars=paths))
    # A path file's own path files are not read: the checkout that is installed here stays out.
    (own / "libraries.pth").write_text("\n".join({sysconfig.get_path(kind) for kind in ("purelib", "platlib")}) + "\n")
    call(*PIP, "--python", folder / "bin" / "python", "install", *OFFLINE, *installed, cwd=folder)
    return folder / "bin"


@pytest.fixture(scope="module")
def by_wheel(wheel, tmp_path_factory):
    return environment(tmp_path_factory.mktemp("by_wheel") / "environment", wheel)


@pytest.fixture(scope="module")
def by_checkout(source, wheel, tmp_path_factory):  # after the wheel: it leaves its metadata in the source
    return environment(tmp_path_factory.mktemp("by_checkout") / "environment", "--editable", source)


@pytest.fixture
def users_folder(tmp_path):
    """Golden inputs beside modules of the user's own."""
    folder = tmp_path / "user"
    folder.mkdir()
    for name in ("model", "conversion", "sim", "hardware"):
        (folder / f"{name}.py").write_text(f"raise RuntimeError('the user\\'s own {name}.py')\n")
    for name in ("ckpt.pt", "input.npz"):
        shutil.copy(DATA / name, folder)
    (folder / "golden.nir").write_bytes(gzip.decompress((DATA / "model.nir.gz").read_bytes()))
    return folder


def test_the_wheel_holds_every_file_of_the_packages_under_one_name(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    dist_info = {name for name in names if name.split("/")[0].endswith(".dist-info")}
    expected = set()
    for folder, inside in FOLDERS.items():
        files = [path.relative_to(ROOT / folder) for path in (ROOT / folder).rglob("*") if path.is_file()]
        expected |= {f"{inside}/{file.as_posix()}" for file in files if "__pycache__" not in file.parts}
    assert names - dist_info == expected
    assert any(name.endswith(".toml") for name in expected)
    record = zipfile.ZipFile(wheel).read(next(name for name in dist_info if name.endswith("/RECORD"))).decode()
    top = {line.split("/")[0] for line in record.splitlines()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"neurotarget"}


HELP = """
import sys
from neurotarget.cli import VERBS, main
import neurotarget

assert neurotarget.__path__ == [sys.argv[1]], neurotarget.__path__
assert len(VERBS) >= 11
for verb in VERBS:
    print(verb, flush=True)
    try:
        main([verb, "--help"])
    except SystemExit as end:
        assert not end.code
    else:
        raise AssertionError(f"{verb} --help came back")
"""


def test_every_verb_of_the_wheel_gives_its_help(by_wheel, users_folder):
    (package,) = by_wheel.parent.glob("lib/*/site-packages/neurotarget")
    said = call(by_wheel / "python", "-W", "error", "-c", HELP, package, cwd=users_folder)
    assert said.count("usage: ") >= 11 and said.count("example: ") >= 11
    assert "neurotarget VERB" in call(by_wheel / "neurotarget", "--help", cwd=users_folder)


def test_type_checkers_see_the_api_of_the_wheel(by_wheel, users_folder):
    """py.typed and the stub: of three lines of a caller's, the wrong one is found."""
    lines = [
        "import neurotarget",
        "graph: neurotarget.Graph = neurotarget.load('a.nir')",
        "neurotarget.load('a.nir', 'ms')",
    ]
    (users_folder / "user.py").write_text("\n".join(lines) + "\n")
    command = [sys.executable, "-m", "mypy", "--python-executable", by_wheel / "python", "--ignore-missing-imports"]
    environment = {**os.environ, "MYPY_CACHE_DIR": str(users_folder / "cache")}
    done = subprocess.run([*command, "user.py"], cwd=users_folder, env=environment, capture_output=True, text=True)
    assert done.stdout.startswith('user.py:3: error: Argument 2 to "load"') and "Found 1 error" in done.stdout


def test_the_wheel_exports_runs_and_reports(by_wheel, users_folder):
    program = by_wheel / "neurotarget"
    assert "model.nir: written" in call(program, "to-nir", "ckpt.pt", "-o", "model.nir", cwd=users_folder)
    call(program, "run", "model.nir", "--input", "input.npz", "--trace", "trace.npz", cwd=users_folder)
    with np.load(users_folder / "trace.npz") as found, np.load(DATA / "trace.npz") as golden:
        spikes = {name for name in golden.files if name.startswith("spikes/")}
        assert spikes and all(np.array_equal(found[name], golden[name]) for name in spikes)
    arguments = ["model.nir", "--input", "input.npz", "--samples", "1", "--lava-samples", "0", "--out", "report"]
    call(program, "report", *arguments, cwd=users_folder)  # with price tables and limits of chips that ship
    assert {"report.html", "report.json"} <= {path.name for path in (users_folder / "report").iterdir()}


def test_the_lava_child_runs_from_the_wheel(by_wheel, users_folder, monkeypatch):
    """Through an interpreter that writes down how it was called."""
    python = users_folder / "python"
    python.write_text(f'#!/bin/sh\necho "$@" >called.txt\nexec {by_wheel / "python"} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setenv("NEUROTARGET_LAVA_PYTHON", str(python))
    compare = ["golden.nir", "--input", "input.npz", "--backends", "reference,lava", "--samples", "1"]
    call(by_wheel / "neurotarget", "compare", *compare, cwd=users_folder)
    assert str(by_wheel.parent) in (users_folder / "called.txt").read_text()


def test_an_editable_checkout_works_beside_foreign_modules_too(by_checkout, source, users_folder):
    where = "import neurotarget.sim.run as run; print(run.__file__)"
    assert call(by_checkout / "python", "-c", where, cwd=users_folder).strip() == str(source / "sim" / "run.py")
    call(by_checkout / "neurotarget", "to-nir", "ckpt.pt", "-o", "model.nir", cwd=users_folder)
    said = call(
        by_checkout / "python", "-m", "neurotarget.sim.run", "model.nir", "--input", "input.npz", cwd=users_folder
    )
    assert "6 samples" in said


def test_in_the_checkout_commands_go_by_their_bare_names(tmp_path):
    shutil.copy(DATA / "ckpt.pt", tmp_path)
    python = (sys.executable, "-W", "error")
    call(*python, "-m", "conversion.to_nir", tmp_path / "ckpt.pt", cwd=ROOT)
    said = call(*python, "-m", "sim.run", tmp_path / "ckpt.nir", "--input", DATA / "input.npz", cwd=ROOT)
    assert "6 samples" in said
