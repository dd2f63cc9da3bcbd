"""The report from a NIR file and an .npz to the page in a browser."""

from __future__ import annotations

import csv
import html
import itertools
import json
import re
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from neurotarget.hardware.energy.prices import SHIPPED
from neurotarget.hardware.meters.measurement import measure
from neurotarget.hardware.report import main
from neurotarget.sim.trace import Trace

from neurotarget.figures import rounded
from tests.hardware.metered import Machine
from tests.hardware.networks import lif, nir_graph, temporal

KEYS = {
    "verdict",
    "model",
    "input",
    "accuracy",
    "latency_steps",
    "parity",
    "layers",
    "totals",
    "energy",
    "memory_layers",
    "networks",
    "twin",
    "placement",
    "claims",
    "counters",
    "measured",
    "environment",
}
ACCESS_TABLES = ["lemaire2022-joined", "lemaire2022-joined-32bit", "lemaire2022-line"]
PARITY_KEYS = {"sides", "samples", "steps", "spikes", "mismatched", "near_threshold", "first_divergence"}
LAYER_KEYS = {"name", "kind", "neurons", "fan_in", "fan_out", "events", "payload_sum", "acs", "macs", "dense_macs"}
LAYER_KEYS |= {"neuron_updates", "spikes", "spike_rate"}
ENERGY_KEYS = {"table", "boundary", "snn_uj", "ann_uj", "ratio", "kind", "source"}
CLAIMS = """[[claim]]
name = "Takes less than half"
boundary = "operations"
relation = "at most"
value = 0.5
unit = "ratio"
source = "a test"
subject = { tables = ["45nm-fp32"] }
against = { network = "dense", tables = ["45nm-fp32"] }

[[claim]]
name = "Half the steps"
boundary = "operations"
relation = "at most"
value = 0.9
unit = "ratio"
source = "a test"
subject = { tables = ["45nm-fp32", "45nm-fp16"] }
against = { model = "MODEL", input = "longer.npz", tables = ["45nm-fp32", "45nm-fp16"] }

[[claim]]
name = "Takes less than 0.45 with memory"
boundary = "memory"
relation = "at most"
value = 0.45
unit = "ratio"
source = "a test"
against = { network = "dense" }

[[claim]]
name = "Takes 1 uJ on a chip"
boundary = "measured"
relation = "at most"
value = 1
unit = "uJ"
source = "a test"
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A small network with a convolution over time and a residual connection, and its input.

    Without labels: it would answer at chance, where there is no verdict (test_withheld.py).
    """
    folder = tmp_path_factory.mktemp("network")
    rng = np.random.default_rng(0)
    nodes, edges, taps = temporal("embed", "input", rng.normal(size=(16, 8, 3)), rng.normal(size=16) / 10, 1)
    nodes |= {
        "first": lif(16, 0.9),
        "hidden": nir.Linear(weight=rng.normal(size=(16, 16)) / 2),
        "second": lif(16, 0.9),
        "head": nir.Linear(weight=rng.normal(size=(4, 16))),
    }
    edges += [*[(tap, "first") for tap in taps], ("first", "hidden"), ("hidden", "second")]
    edges += [("first", "head"), ("second", "head"), ("head", "output")]
    nir.write(folder / "net.nir", nir_graph((8,), nodes, (4,), edges))
    frames = rng.poisson(0.4, size=(6, 12, 8)).astype(np.uint8)
    np.savez(folder / "in.npz", input=frames, length=rng.integers(6, 13, 6))
    return folder / "net.nir", folder / "in.npz"


@pytest.fixture(scope="module")
def report(files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out") / "report"
    model, data = files
    (folder.parent / "claims.toml").write_text(CLAIMS.replace("MODEL", str(model)))
    frames = np.random.default_rng(1).poisson(0.4, size=(2, 24, 8))
    np.savez(folder.parent / "longer.npz", input=frames)
    arguments = [str(model), "--input", str(data), "--out", str(folder), "--lava-samples", "0"]
    arguments += ["--beside", f"{model}={folder.parent / 'longer.npz'}", "--beside", str(model)]
    assert main([*arguments, "--claims", str(folder.parent / "claims.toml")]) == 0
    return folder


def read(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return content


def test_report_json_holds_what_is_documented(report: Path) -> None:
    content = read(report)
    assert set(content) >= KEYS
    # The same file in one simulator: a measurement of precision, and no parity.
    assert content["parity"] == [] and set(content["precision"]) >= PARITY_KEYS
    assert content["precision"]["sides"] == "reference float32 against reference float64"
    assert all(set(row) >= LAYER_KEYS for row in content["layers"]) and len(content["layers"]) == 5
    assert all(set(row) >= ENERGY_KEYS for row in content["energy"])
    assert {row["boundary"] for row in content["energy"]} == {"operations", "memory"}
    assert all(row["source"] and row["kind"] == "estimated" for row in content["energy"])
    assert (content["accuracy"], content["accuracy_note"]) == (None, "the input has no labels")
    assert content["latency_steps"] == 4  # 1 + 1 for the convolution that looks ahead, 1 a further synapse
    assert content["measured"]["available"] is False and content["measured"]["reason"]
    assert content["parity_unavailable"][-1]["reason"] == "left out by --lava-samples 0"


def test_counts_are_means_over_the_samples(report: Path, files: tuple[Path, Path]) -> None:
    content = read(report)
    layers = {row["name"]: row for row in content["layers"]}
    with np.load(files[1]) as data:
        inside = np.arange(12) < data["length"][:, None]
        events = np.count_nonzero(data["input"] * inside[..., None])
    assert layers["embed"]["events"] == pytest.approx(events / 6)
    assert layers["embed"]["payload"] == "integer" and layers["embed"]["acs"] == 0
    assert layers["hidden"]["acs"] == pytest.approx(16 * layers["first"]["spikes"])
    assert content["totals"]["spikes"] == pytest.approx(layers["first"]["spikes"] + layers["second"]["spikes"])
    assert content["totals"]["neurons"] == 32


def test_nothing_half_written_is_left(report: Path) -> None:
    expected = ["energies.csv", "layers.csv", "model_card.md", "report.html", "report.json"]
    assert sorted(path.name for path in report.iterdir()) == expected


def test_the_layers_as_csv_and_the_model_card(report: Path) -> None:
    content = read(report)
    with (report / "layers.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["name"] for row in rows] == [layer["name"] for layer in content["layers"]]
    assert float(rows[2]["synops"]) == content["layers"][2]["synops"] and rows[0]["spikes"] == ""
    card = (report / "model_card.md").read_text()
    assert card.startswith("# Model card: ") and content["model"]["sha256"] in card
    for words in ("## Claims", "Takes less than half", "**holds**", "Loihi 2: Fits", "not checked", "not measurements"):
        assert words in card


def test_layers_add_up_to_the_energy_with_memory(report: Path) -> None:
    content = read(report)
    figures = [row for row in content["energy"] if row["boundary"] == "memory"]
    assert [figure["table"] for figure in figures] == ACCESS_TABLES
    with (report / "layers.csv").open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    for figure in figures:
        mine = [layer for layer in content["memory_layers"] if layer["table"] == figure["table"]]
        assert sum(layer["total_uj"] for layer in mine) == pytest.approx(figure["snn_uj"])
        assert [layer["name"] for layer in mine] == [layer["name"] for layer in content["layers"]]
        assert [float(line[f"{figure['table']}_uj"]) for line in lines] == [layer["total_uj"] for layer in mine]


def test_every_price_of_an_access_is_everywhere(report: Path) -> None:
    content = read(report)
    figures = [row for row in content["energy"] if row["boundary"] == "memory"]
    ratios = [figure["ratio"] for figure in figures]
    verdict = content["verdicts"][1]
    assert (verdict["low"], verdict["high"], verdict["tables"]) == (min(ratios), max(ratios), 3)
    low, high = (rounded(bound(ratios)) for bound in (min, max))
    claim = content["claims"][2]
    assert claim["answer"] == "undecided" and [row["table"] for row in claim["rows"]] == ACCESS_TABLES
    assert [1 / row["value"] for row in claim["rows"]] == pytest.approx(ratios)
    page = html.unescape((report / "report.html").read_text()).replace("\u00a0", " ")
    card = (report / "model_card.md").read_text()
    for text in (page, card):
        assert f"takes {low} to {high} times less energy (3 prices of an access)" in text
        for figure in figures:
            assert figure["title"] in text and figure["source"] in text
    for figure in figures:
        words = f"{rounded(figure['snn_uj'])} µJ per inference (estimated, price {figure['grade']})"
        assert f"{figure['title']}: {words}." in page
        assert f"{rounded(figure['snn_uj'])} µJ spiking, {rounded(figure['ann_uj'])} µJ dense (estimated, price" in card
    spread = [rounded(bound(figure["snn_uj"] for figure in figures)) for bound in (min, max)]
    assert f"{spread[0]} to {spread[1]}</td>" in page  # beside other networks
    for network in content["networks"]:
        assert [row["table"] for row in network["energy"] if row["boundary"] == "memory"] == ACCESS_TABLES


def test_a_price_of_an_access_of_ones_own(files: tuple[Path, Path], tmp_path: Path) -> None:
    shipped = (SHIPPED / "lemaire2022-line.toml").read_text()
    shipped = re.sub(r"access_pj = .*", "access_pj = [[0, 5.0], [8192, 5.0]]", shipped)
    (tmp_path / "blocks.toml").write_text(shipped.replace("access by one line", "access to blocks"))
    options = ["--lava-samples", "0", "--out", str(tmp_path / "r"), "--prices", str(tmp_path / "blocks.toml")]
    assert main([str(files[0]), "--input", str(files[1]), *options]) == 0
    content = read(tmp_path / "r")
    assert [row["table"] for row in content["energy"] if row["boundary"] == "memory"] == [*ACCESS_TABLES, "blocks"]
    assert "(4 prices of an access)" in content["verdicts"][1]["sentence"]


@pytest.mark.parametrize("nodes", [{}, {"only": lif(8)}], ids=["nothing", "neurons alone"])
def test_a_network_without_a_synapse_has_a_report(
    nodes: dict[str, nir.NIRNode], files: tuple[Path, Path], tmp_path: Path
) -> None:
    names = ["input", *nodes, "output"]
    nir.write(tmp_path / "bare.nir", nir_graph((8,), nodes, (8,), list(itertools.pairwise(names))))
    arguments = [str(tmp_path / "bare.nir"), "--input", str(files[1]), "--out", str(tmp_path / "r")]
    assert main([*arguments, "--lava-samples", "0", "--beside", str(tmp_path / "bare.nir")]) == 0
    content = read(tmp_path / "r")
    # An input of payloads does not fit Loihi 1, so that it is not held against a GPU.
    assert [verdict["answer"] for verdict in content["verdicts"]] == ["unknown", "unknown", "withheld", "unknown"]
    assert {row["ratio"] for row in content["energy"]} == {None}


def test_a_network_too_large_for_single_precision_has_a_report(files: tuple[Path, Path], tmp_path: Path) -> None:
    nodes = {"wide": nir.Linear(weight=np.full((4, 8), 1e39)), "only": lif(4)}
    names = ["input", *nodes, "output"]
    nir.write(tmp_path / "wide.nir", nir_graph((8,), nodes, (4,), list(itertools.pairwise(names))))
    arguments = [str(tmp_path / "wide.nir"), "--input", str(files[1]), "--out", str(tmp_path / "r")]
    assert main([*arguments, "--lava-samples", "0"]) == 0
    entry = read(tmp_path / "r")["precision"]
    assert entry["sides"] == "reference float32 against reference float64"
    assert "node wide (affine): its parameters overflow float32" in entry["reason"]


def test_two_models_are_compared(report: Path) -> None:
    claim = read(report)["claims"][1]
    assert claim["answer"] == "holds" and len(claim["rows"]) == 2
    assert claim["low"] < 0.6  # at most 12 steps against 24
    for row in claim["rows"]:
        assert row["break_even_steps"] == pytest.approx(claim["steps"] * 0.9 / row["value"])


def test_other_networks_stand_beside(report: Path, files: tuple[Path, Path]) -> None:
    content = read(report)
    own, longer, again = content["networks"]
    assert own == again and own["model"] == str(files[0]) and own["input"] == str(files[1])
    assert own["synops"] == content["totals"]["synops"] and own["accuracy"] == content["accuracy"]
    assert longer["accuracy"] is None and longer["steps_per_sample"] == 24
    assert longer["dense_macs"] == 24 * (8 * 16 * 3 + 16 * 16 + 16 * 4) - 2 * 8 * 16  # the ends of the convolution
    first, second = ({row["table"]: row["snn_uj"] for row in network["energy"]} for network in (own, longer))
    for row in content["claims"][1]["rows"]:  # judged from runs of its own
        assert row["value"] == pytest.approx(first[row["table"]] / second[row["table"]])


def test_beside_nothing_is_wrong_usage(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(files[0]), "--input", str(files[1]), "--out", "never", "--beside", "=synth"]) == 2
    assert "MODEL.nir=INPUT is expected" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "none.nir"}, "none.nir: no such file"),
        ({"--input": "none.npz"}, "none.npz: no such file"),
        ({"--input": "nonsense"}, "nonsense"),
        ({"--prices": "none.toml"}, "none.toml: no such file"),
        ({"--claims": "none.toml"}, "none.toml: no such file"),
        ({"--checkpoint": "none.pt"}, "none.pt: no such file"),
        ({"--samples": "0"}, "--samples 0"),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_code_2(
    files: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    options = {"--input": str(files[1]), "--out": "out", "--lava-samples": "0"} | change
    model = options.pop("model", str(files[0]))
    assert main([model, *(part for pair in options.items() for part in pair)]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(errors) == 1 and errors[0].startswith("error: ") and words in errors[0]
    assert not (tmp_path / "out").exists()


def test_interrupted_writes_nothing(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("neurotarget.hardware.energy.runs.folded", stopped)
    assert main([str(files[0]), "--input", str(files[1]), "--out", str(tmp_path / "out")]) == 130
    assert "interrupted" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_claims_on_measured_energy_are_judged_and_shown(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under a simulated meter: 1.2 J an inference alone, of which 0.2 J is idle draw; the other side takes a third."""
    machines = {None: Machine(), tmp_path / "other.pt": Machine(joules_a_batch=0.2)}

    def metered(checkpoint: Path | None, frames: np.ndarray, lengths: np.ndarray, estimate: Any) -> Any:
        machine = machines[checkpoint]
        return measure(
            "ckpt.pt", frames, lengths, estimate, {"simulated": machine.sensor}, machine.bench, machine.timing
        )

    monkeypatch.setattr("neurotarget.hardware.energy.runs.measure", metered)
    text = f"""
    [[claim]]
    name = "One against the other"
    boundary = "measured"
    relation = "at least"
    value = 2.5
    unit = "ratio"
    source = "a test"
    against = {{ model = "{files[0]}", input = "{files[1]}", checkpoint = "other.pt" }}
    """
    (tmp_path / "claims.toml").write_text(text)
    arguments = [str(files[0]), "--input", str(files[1]), "--out", str(tmp_path / "r"), "--lava-samples", "0"]
    assert main([*arguments, "--claims", str(tmp_path / "claims.toml")]) == 2
    assert f"{tmp_path / 'other.pt'}: no such file" in capsys.readouterr().err and not (tmp_path / "r").exists()
    (tmp_path / "other.pt").touch()
    assert main([*arguments, "--claims", str(tmp_path / "claims.toml")]) == 0
    (claim,) = read(tmp_path / "r")["claims"]
    assert claim["answer"] == "holds"
    assert [row["value"] for row in claim["rows"]] == pytest.approx([3.0, 5.0, 3.0, 5.0])
    page = (tmp_path / "r" / "report.html").read_text()
    assert "batch of 1, dynamic" in page and "One against the other" in page


def test_comparing_counters_needs_a_checkpoint(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(files[0]), "--input", str(files[1]), "--out", "never", "--compare-counters"]) == 2
    assert "give --checkpoint or --network too" in capsys.readouterr().err


def test_a_failed_parity_check_is_exit_code_1(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from dataclasses import replace

    from neurotarget.sim import lava, reference
    from neurotarget.sim.graph import Graph

    def wrong(graph: Graph, frames: np.ndarray, lengths: np.ndarray, **_: Any) -> Trace:
        trace = reference.run(graph, frames, lengths)
        spikes = {**trace.spikes, "second": 1 - trace.spikes["second"]}
        return replace(trace, spikes=spikes, header={**trace.header, "backend": "lava"})

    monkeypatch.setattr(lava, "run", wrong, raising=False)
    arguments = [str(files[0]), "--input", str(files[1]), "--out", str(tmp_path / "r"), "--lava-samples", "2", "--json"]
    assert main(arguments) == 1
    printed = json.loads(capsys.readouterr().out)
    assert printed["parity"][-1]["first_divergence"].startswith("sample 0, node second, step 0")
    assert "NOT equal" in (tmp_path / "r" / "report.html").read_text()


def test_lava_that_cannot_run_is_said(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from neurotarget.sim import lava

    def missing(*_: Any, **__: Any) -> None:
        raise lava.LavaError("Lava is not installed; see requirements-lava.txt")

    monkeypatch.setattr(lava, "run", missing, raising=False)
    assert main([str(files[0]), "--input", str(files[1]), "--out", str(tmp_path / "r")]) == 0
    assert "Lava is not installed" in read(tmp_path / "r")["parity_unavailable"][-1]["reason"]
    assert "Lava is not installed" in (tmp_path / "r" / "report.html").read_text()
