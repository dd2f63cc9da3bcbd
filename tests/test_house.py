"""The house: which package imports which, no circles between rooms, two names for one module, nothing left behind.

Doors are the files directly in a package, rooms its sub-packages, the ground is `neurotarget/`. Every import counts,
also one inside a function or under TYPE_CHECKING.
"""

import ast
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GROUND = "neurotarget"
BELOW = {
    GROUND: set(),
    "model": {GROUND},
    "sim": {GROUND},
    "conversion": {GROUND, "model", "sim"},
    "hardware": {GROUND, "model", "sim", "conversion"},
}
LONGEST = 400  # lines


def full_name(path):
    """`neurotarget.model.spikescr` of model/spikescr.py; of an `__init__.py` the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(parts if parts[0] == GROUND else (GROUND, *parts))


SOURCES = {full_name(path): path for package in BELOW for path in sorted((ROOT / package).rglob("*.py"))}


def imported(name, source=None):
    """The modules of the house that a module imports, and what it imports by a bare name."""
    path = SOURCES[name]
    parents = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text() if source is None else source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = parents[: len(parents) + 1 - node.level] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            whole = {f"{base}.{alias.name}" for alias in node.names}
            modules = whole & set(SOURCES)
            found |= modules | ({base} if modules != whole else set())
    return {module for module in found if module.split(".")[0] in BELOW}


def package(name):
    """The package that a module belongs to; the ground is neurotarget without the four."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in BELOW else GROUND


def unit(name):
    """A room is one unit with all that is in it, as is each door."""
    parts = name.split(".")
    inside = 3 if package(name) != GROUND else 2
    return ".".join(parts[:inside]).removeprefix(f"{GROUND}." if inside == 3 else "")


def wrong_arrows(name, modules):
    mine = package(name)
    for module in modules:
        if module.split(".")[0] != GROUND:
            yield f"{unit(name)} imports {module} by its bare name"
        elif package(module) not in BELOW[mine] | {mine}:
            yield f"{unit(name)} imports {unit(module)}"


def circles(arrows):
    """The sets of units from each of which every other one of the set is reached."""

    def reached(start):
        found, left = set(), [start]
        while left:
            new = arrows.get(left.pop(), set()) - found
            found |= new
            left += new
        return found

    reach = {start: reached(start) for start in arrows}
    rings = {frozenset(end for end in ends if start in reach.get(end, ())) for start, ends in reach.items()}
    return {" <-> ".join(sorted(ring)) for ring in rings if ring}


def violations():
    arrows = {}
    for name in SOURCES:
        modules = imported(name)
        yield from wrong_arrows(name, modules)
        arrows.setdefault(unit(name), set()).update(unit(module) for module in modules if unit(module) != unit(name))
    yield from (f"circle: {circle}" for circle in circles(arrows))
    for path in (*SOURCES.values(), *(ROOT / "benchmarks").rglob("*.py"), *(ROOT / "tests").rglob("*.py")):
        if len(path.read_text().splitlines()) > LONGEST:
            yield f"{path.relative_to(ROOT).as_posix()} is longer than {LONGEST} lines"


def test_imports_go_down_without_circles_and_files_are_short():
    assert not set(violations())


@pytest.mark.parametrize(
    ("name", "source", "wrong"),
    [
        ("model.train", "def f():\n    from neurotarget.sim import graph", "model.train imports sim.graph"),
        ("sim.run", "from ..model import spikescr", "sim.run imports model.spikescr"),
        ("conversion.to_nir", "import sim.run", "conversion.to_nir imports sim.run by its bare name"),
        ("hardware.report", "from neurotarget import conversion\nfrom neurotarget.sim import run", None),
        ("cli", "if TYPE_CHECKING:\n    import neurotarget.sim.run", "neurotarget.cli imports sim.run"),
    ],
)
def test_a_wrong_arrow_is_found_wherever_it_stands(name, source, wrong):
    modules = imported(f"{GROUND}.{name}", source)
    assert list(wrong_arrows(f"{GROUND}.{name}", modules)) == ([] if wrong is None else [wrong])


def test_circles_are_found():
    arrows = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": {"d"}, "f": {"a"}}
    assert circles(arrows) == {"a <-> b <-> c", "d <-> e"}
    assert not circles({"a": {"b", "c"}, "b": {"c"}})


# ---- the tests' own house --------------------------------------------------------------------------------------------

TESTS = ROOT / "tests"


def borrowed(source, folder):
    """What a test file in `folder` imports from tests against the rule: of its own folder or one above, no test_*, no
    conftest. So a module that several tests need stands in the closest folder that holds them all."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").split(".")[0] == "tests"):
            modules = [node.module] if node.module and node.module != "tests" else [a.name for a in node.names]
            for module in modules:
                parts = module.removeprefix("tests.").split(".")
                above = TESTS.joinpath(*parts[:-1])
                if node.level or parts[-1].startswith(("test_", "conftest")) or not folder.is_relative_to(above):
                    yield module


def test_no_test_imports_another_or_a_neighbours_helpers():
    wrong = {path.name: found for path in TESTS.rglob("*.py") if (found := [*borrowed(path.read_text(), path.parent)])}
    assert not wrong


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ("from tests import torch_networks", []),
        ("from tests.sim.networks import chain", []),
        ("from tests.sim.lava.compare import assert_equal", ["tests.sim.lava.compare"]),
        ("def f():\n    from tests.hardware.networks import lif", ["tests.hardware.networks"]),
        ("from tests.sim.test_graph import lif", ["tests.sim.test_graph"]),
        ("from tests.conftest import settings", ["tests.conftest"]),
        ("from .networks import chain", ["networks"]),
    ],
)
def test_a_borrowed_helper_is_found(source, wrong):
    assert list(borrowed(source, TESTS / "sim")) == wrong


# ---- the wheel -------------------------------------------------------------------------------------------------------


def test_the_wheel_lacks_no_package_and_no_file():
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packages = {name for name, path in SOURCES.items() if path.name == "__init__.py"}
    assert sorted(tool["packages"]) == sorted(packages)
    for folder in BELOW:
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts:
                owner = next(parent for parent in path.parents if (parent / "__init__.py").exists())
                inside = path.relative_to(owner).as_posix()
                patterns = tool["package-data"].get(full_name(owner / "__init__.py"), [])
                assert any(fnmatch(inside, pattern) for pattern in patterns), f"{path} is not in package-data"


# ---- two names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["", f"{GROUND}."])
def test_in_a_checkout_the_bare_name_is_the_same_module(first):
    modules = ("model.spikescr", "model.networks.delays", "sim.graph.node", "hardware.place")
    lines = [f"import {first}{module}" for module in modules]
    lines += ["import sys", *(f"import {module}, {GROUND}.{module}" for module in modules)]
    lines += [f"assert sys.modules['{module}'] is sys.modules['{GROUND}.{module}']" for module in modules]
    lines += [f"assert {module} is {GROUND}.{module}" for module in modules]
    subprocess.run([sys.executable, "-W", "error", "-c", "\n".join(lines)], cwd=ROOT, check=True)


def test_a_foreign_module_in_the_working_folder_breaks_nothing(tmp_path):
    for name in ("model", "sim", "conversion", "hardware"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('the user\\'s own')\n")
    command = [sys.executable, "-m", "neurotarget.sim.run", "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "example: " in done.stdout and not done.stderr
