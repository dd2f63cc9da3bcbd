"""Golden files: from the same inputs today's commands give what is in tests/data, number for number.

`ckpt.pt` and `input.npz` are the inputs: a SpikeSCR of 144 neurons and six samples. From them come, each from the one
before, a NIR file, its quantised form, a trace of both and a report. The first ones were made by the release before the
packages moved under one name. Where a change is meant, `pytest tests/test_golden.py --update-golden` writes the files
that differ anew; what differed stands in the output of the test without the flag, and belongs in the commit's message.
"""

import gzip
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from matplotlib.figure import Figure

from neurotarget import cli

DATA = Path(__file__).parent / "data"
LIMIT_BYTES = 300_000
# Sums over floats depend on the order in which a machine's matrix library adds.
RELATIVE, ABSOLUTE = 1e-12, 1e-12

# file -> the command that makes it in folder `new` from what stands before it
COMMANDS = {
    "model.nir": "to-nir ckpt.pt -o new/model.nir",
    "model.q.nir": "quantize model.nir --calibrate input.npz -o new/model.q.nir",
    "trace.npz": "run model.nir --input input.npz --trace new/trace.npz",
    "trace.q.npz": "run model.q.nir --input input.npz --trace new/trace.q.npz",
    "report.json": "report model.nir --input input.npz --claims claims.toml --beside model.q.nir --lava-samples 0"
    " --out new",
}
# The machine, the clock, a library's version, and rounding in single precision.
OTHERWISE = ("environment", "header.seconds", "version", "precision.output_difference")


# ---- a file as a flat table ------------------------------------------------------------------------------------------


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every number, text and array in nested dictionaries and lists, with its path."""
    if isinstance(value, dict | list) and value:
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from flat(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def of_nir(path: Path) -> dict[str, Any]:
    """Through h5py alone: what is in the file, not what a reader makes of it. Edges are a set, without order."""
    table: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset):
            return
        if name.endswith("edges"):
            table.update({f"{name}: {source.decode()} -> {target.decode()}": True for source, target in item[()]})
        else:
            value = item[()]
            table[name] = value.decode() if isinstance(value, bytes) else value

    with h5py.File(path) as file:
        file.visititems(visit)
    return table


def of_trace(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files if name != "header"}
        return arrays | dict(flat(json.loads(str(file["header"])), "header"))


def of_report(path: Path) -> dict[str, Any]:
    return dict(flat(json.loads(path.read_text())))


READERS: dict[str, Callable[[Path], dict[str, Any]]] = {".nir": of_nir, ".npz": of_trace, ".json": of_report}


def differences(golden: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """One line for each place where two tables differ, floats beyond rounding."""
    lines = []
    for name in sorted({*golden, *found}):
        if any(name == other or name.startswith(f"{other}.") for other in OTHERWISE):
            continue
        if name not in found:
            lines.append(f"{name}: gone; was {golden[name]!r}")
        elif name not in golden:
            lines.append(f"{name}: new; is {found[name]!r}")
        elif difference := _difference(np.asarray(golden[name]), np.asarray(found[name])):
            lines.append(f"{name}: {difference}")
    return lines


def _difference(golden: np.ndarray, found: np.ndarray) -> str | None:
    texts = golden.dtype.kind == found.dtype.kind == "U"  # their dtypes differ by length
    if golden.dtype != found.dtype and not texts:
        return f"{golden.dtype} {golden!r} became {found.dtype} {found!r}"
    if golden.shape != found.shape:
        return f"shape {golden.shape} became {found.shape}"
    if golden.dtype.kind == "f":
        differs = ~np.isclose(found, golden, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True)
    else:
        differs = found != golden
    if not differs.any():
        return None
    first = tuple(int(i) for i in np.argwhere(differs)[0])
    where = f"{int(differs.sum())} of {golden.size} values differ, first at {first}: " if golden.ndim else ""
    return f"{where}{golden[first]} became {found[first]}"


# ---- the files -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The golden files, unpacked, with an empty folder `new`."""
    folder = tmp_path_factory.mktemp("golden")
    (folder / "new").mkdir()
    for path in DATA.iterdir():
        if path.suffix == ".gz":
            (folder / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
        else:
            shutil.copy(path, folder)
    return folder


def keep(made: Path) -> None:
    """Makes a new file the golden one."""
    if made.suffix == ".nir":
        (DATA / f"{made.name}.gz").write_bytes(gzip.compress(made.read_bytes(), mtime=0))
    elif made.suffix == ".json":
        report = {key: value for key, value in json.loads(made.read_text()).items() if key != "environment"}
        (DATA / made.name).write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    else:
        shutil.copy(made, DATA)


@pytest.fixture
def no_pictures(monkeypatch):
    """The page's pictures take longer than all that is compared here."""
    monkeypatch.setattr(Figure, "savefig", lambda self, stream, **_: stream.write(b"<svg>"))


@pytest.mark.parametrize("name", COMMANDS)
def test_todays_commands_give_the_golden_file(name, folder, no_pictures, monkeypatch, request):
    monkeypatch.chdir(folder)
    assert cli.main(COMMANDS[name].split()) == 0
    made, read = folder / "new" / name, READERS[Path(name).suffix]
    lines = differences(read(folder / name), read(made))
    if lines and request.config.getoption("--update-golden"):
        keep(made)
        shutil.copy(made, folder)  # what is made from it
    else:
        assert not lines, f"{name}: {len(lines)} places differ\n" + "\n".join(lines)


def test_golden_files_are_small():
    assert sum(path.stat().st_size for path in DATA.iterdir()) <= LIMIT_BYTES


# ---- the comparison sees each kind of difference ---------------------------------------------------------------------


def changed_nir(folder, change):
    path = shutil.copy(folder / "model.nir", folder / "new" / "changed.nir")
    with h5py.File(path, "r+") as file:
        change(file["node"])
    return differences(of_nir(folder / "model.nir"), of_nir(path))


def test_one_weight_of_a_nir_file_is_seen(folder):
    def change(node):
        node["nodes/head/weight"][1, 2] += 1e-9

    (line,) = changed_nir(folder, change)
    assert line.startswith("node/nodes/head/weight: 1 of 24 values differ, first at (1, 2)")


def test_an_edge_and_a_node_are_seen_and_the_order_of_edges_is_not(folder):
    def swap(node):
        node["edges"][...] = node["edges"][()][::-1]

    def rewire(node):
        edges = node["edges"][()]
        edges[0, 1] = b"head"
        node["edges"][...] = edges
        del node["nodes/head"]

    assert changed_nir(folder, swap) == []
    lines = changed_nir(folder, rewire)
    assert [line.split("; ")[0] for line in lines if "edges" in line] == [
        "node/edges: input -> embed.conv.delay1: gone",
        "node/edges: input -> head: new",
    ]
    assert {line.split(":")[0] for line in lines} >= {"node/nodes/head/type", "node/nodes/head/weight"}


def test_one_spike_one_figure_and_one_key_are_seen():
    spikes = np.zeros((2, 3), np.uint8)
    fired = spikes.copy()
    fired[1, 0] = 1
    assert len(differences({"spikes/a": spikes}, {"spikes/a": fired})) == 1
    assert len(differences({"spikes/a": spikes}, {"spikes/a": spikes.astype(np.int64)})) == 1
    golden = dict(flat({"energy": [{"snn_uj": 0.5, "kind": "estimated", "layers": []}], "format": 1}))
    assert list(golden) == ["energy.0.snn_uj", "energy.0.kind", "energy.0.layers", "format"]
    assert differences(golden, golden | {"energy.0.snn_uj": 0.5 + 1e-14}) == []
    assert len(differences(golden, golden | {"energy.0.snn_uj": 0.5 + 1e-9})) == 1
    assert len(differences(golden, golden | {"energy.0.kind": "measured"})) == 1
    assert len(differences(golden, golden | {"format": 1.0})) == 1
    assert len(differences(golden, golden | {"format": None})) == 1
    renamed = {key.replace("_uj", "_joules"): value for key, value in golden.items()}
    assert differences(golden, renamed) == ["energy.0.snn_joules: new; is 0.5", "energy.0.snn_uj: gone; was 0.5"]
