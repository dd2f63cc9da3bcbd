"""The recipes of docs/design are followed as they stand: a neuron, a chip, a price, a data set."""

import re

import nir
import numpy as np
import pytest
from neurotarget.conversion.export.draft import UnsupportedModule
from neurotarget.conversion.export.neurons import NEURONS
from neurotarget.hardware.chips import limits
from neurotarget.hardware.energy.operations import operations_energy
from neurotarget.hardware.energy.prices import load_table

import neurotarget
from neurotarget.data import spec
from neurotarget.data.base import SPLITS
from neurotarget.errors import CheckFailed
from tests.docs.documented import ROOT


def blocks(recipe, language):
    """The code of a language in a recipe, block by block, without its indentation."""
    text = (ROOT / "docs/design" / recipe).read_text(encoding="utf-8")
    found = re.findall(rf"^( *)```{language}[^\n]*\n(.*?)^ *```$", text, flags=re.MULTILINE | re.DOTALL)
    return ["\n".join(line.removeprefix(indent) for line in code.splitlines()) + "\n" for indent, code in found]


def small():
    """4 inputs -> 3 leaky neurons."""
    ports = {"input": nir.Input({"input": np.array([4])}), "output": nir.Output({"output": np.array([3])})}
    values = {"tau": 2e-4, "r": 1.0, "v_leak": 0.0, "v_threshold": 0.5, "v_reset": 0.0}
    nodes = {
        "weights": nir.Linear(np.full((3, 4), 0.4)),
        "lif": nir.LIF(**{k: np.full(3, v) for k, v in values.items()}),
    }
    edges = [("input", "weights"), ("weights", "lif"), ("lif", "output")]
    return neurotarget.load(nir.NIRGraph(nodes={**ports, **nodes}, edges=edges, metadata={"dt": 1e-4}))


def test_a_price(tmp_path):
    (table,) = blocks("add_a_price.md", "toml")
    (tmp_path / "mychip.toml").write_text(table)
    price = load_table(tmp_path / "mychip.toml")
    graph = small()
    frames = np.ones((2, 20, *graph.input.output_shape))
    counts = neurotarget.count(graph, neurotarget.run(graph, frames))
    figure = operations_energy(counts, price)
    events = sum(layer.synops for layer in counts) * 1.7 + sum(layer.neuron_updates for layer in counts) * 5.0
    assert figure.snn_uj == pytest.approx(events / 2 * 1e-6) and figure.snn_uj > 0


def test_a_chip(tmp_path):
    (changes,) = blocks("add_a_chip.md", "toml")
    shipped = (limits.SHIPPED / "loihi2.toml").read_text()
    head, cores = changes.split("[limits.cores]\n")
    rest = shipped[shipped.index("[limits.compartments]") :]
    (tmp_path / "half_loihi2.toml").write_text(f"{head}[limits.cores]\n{cores}\n{rest}")
    whole, half = limits.load_chip("loihi2"), limits.load_chip(str(tmp_path / "half_loihi2.toml"))
    assert half.limit("cores") == whole.limit("cores") / 2 == 60
    assert neurotarget.place(small(), str(tmp_path / "half_loihi2.toml")).fits


def test_a_neuron(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = dict(NEURONS)
    names = {"__name__": __name__}
    the_neuron, the_rule, the_proof = blocks("add_a_neuron.md", "python")
    try:
        exec(the_neuron, names)
        with pytest.raises(UnsupportedModule, match="BetaLIF is a neuron of spikingjelly that cannot be converted"):
            exec(the_proof, names)
        exec(the_rule, names)
        exec(the_proof, names)
        assert [node.kind for node in names["graph"].spiking] == ["lif"]
        spikes = neurotarget.run("beta.nir", names["frames"]).spikes
        assert all(fired.sum() > 100 for fired in spikes.values())
        exec(the_rule.replace("1 / (1 - module.beta)", "3.0"), names)  # a wrong equation does not get through
        with pytest.raises(CheckFailed, match="first divergence"):
            exec(the_proof, names)
    finally:
        NEURONS.clear()
        NEURONS.update(before)


def test_a_data_set(monkeypatch):
    monkeypatch.setitem(spec.OPTIONS, "tones", ("samples", "steps"))
    names = {}
    exec(blocks("add_a_data_set.md", "python")[0], names)
    given = spec.Spec("tones?samples=12", "tones", None, {"samples": "12"})
    dataset = names["open_tones"](given)
    assert dataset.features == 8 and dataset.step_seconds == 0.01 and set(dataset.splits) == set(SPLITS)
    for split in dataset.splits.values():
        assert split.frames.shape == (12, 100, 8) and len(split.keys) == 12
        for label in range(3):  # what tells the classes apart
            own = split.frames[split.labels == label].mean((0, 1))
            assert own[3 * label : 3 * label + 2].min() > 0.3 > own[np.arange(8) // 3 != label].max()
    slower = names["open_tones"](spec.Spec("tones", "tones", None, {"samples": "12", "steps": "40"}))
    assert slower.split("test").keys == dataset.split("test").keys


def test_the_recipes_name_what_is_there():
    """Paths, functions and tables that the design pages name."""
    for page in (ROOT / "docs/design").glob("*.md"):
        for name in re.findall(r"`((?:\w+/)+[\w.]*\w/?)`", page.read_text(encoding="utf-8")):
            if not name.startswith(("runs/", "neurotarget/data/tones")):
                assert (ROOT / name).exists() or list(ROOT.glob(f"*/{name}")), f"{page.name}: {name}"
