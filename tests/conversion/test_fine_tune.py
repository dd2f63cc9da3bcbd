"""Fine-tuning in integers: the forward pass against the simulator, gradients through rounding, the command."""

import csv
import itertools
import json

import nir
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from neurotarget.conversion import fine_tune, quantize
from neurotarget.conversion.fixed import rounding
from neurotarget.conversion.to_nir import to_nir
from neurotarget.conversion.tuning.integer_network import IntegerNetwork, _nearest_bias, _nearest_weight
from neurotarget.model import train
from neurotarget.model.training import loop
from neurotarget.sim import reference, run
from neurotarget.sim.graph import load
from neurotarget.sim.graph.node import GraphError
from neurotarget.sim.inputs import open_input
from neurotarget.sim.reference import integer

from neurotarget.data import Split
from tests import third_parties
from tests import torch_networks as networks
from tests.recordings import write_words

LENGTHS = np.array([40, 31, 40, 25, 38, 40])


def frames_of(shape, seed=0):
    return np.random.default_rng(seed).poisson(0.8, (6, 40, *shape)).astype(np.float64)


def spikescr(**changes):
    return lambda: to_nir(networks.tiny(**changes), (12,))


def spikingjelly(build):
    return lambda: to_nir(*build(5))  # a seed with which every layer spikes


def chain(*layers, features=6):
    """A NIR graph of layers in a row; each of four neurons but the input."""
    nodes = {f"{i}": layer for i, layer in enumerate(layers)}
    names = ["input", *nodes, "output"]
    ends = {
        "input": nir.Input(input_type={"input": np.array([features])}),
        "output": nir.Output(output_type={"output": np.array([4])}),
    }
    return nir.NIRGraph(nodes=nodes | ends, edges=list(itertools.pairwise(names)), metadata={"dt": 1e-4})


def linear(features, seed):
    return nir.Linear(weight=np.random.default_rng(seed).normal(0.3, 1.0, (4, features)))


def four(**values):
    return {key: np.full(4, value) for key, value in values.items()}


def current_based():
    """CubaLIF, a delay, LIF with a leak towards a value, CubaLI as the output."""
    times = {"tau_syn": 3e-4, "tau_mem": 4e-4, "r": 1.0, "v_leak": 0.0, "w_in": 1.0}
    return chain(
        linear(6, 0),
        nir.CubaLIF(**four(**times, v_threshold=0.4, v_reset=0.0)),
        nir.Delay(delay=np.array([0.0, 1e-4, 3e-4, 1e-4])),
        linear(4, 1),
        nir.LIF(**four(tau=5e-4, r=2.0, v_leak=0.1, v_threshold=0.5, v_reset=0.0)),
        linear(4, 2),
        nir.CubaLI(**four(**times)),
    )


def other_resets():
    """Late and early subtraction, a start below 0, and a reset to another potential than 0."""
    lif = four(tau=4e-4, r=4.0, v_leak=0.0, v_threshold=1.0)
    return chain(
        linear(6, 0),
        nir.LIF(**lif, v_reset=np.zeros(4), metadata={"reset": "subtract"}),
        linear(4, 1),
        nir.LIF(**lif, v_reset=np.zeros(4), metadata={"reset": "subtract_at_once", "v_initial": -0.5}),
        linear(4, 2),
        nir.LIF(**lif, v_reset=np.full(4, -0.5)),
    )


NETWORKS = {
    "other resets": other_resets,
    "spikescr": spikescr(),
    "causal": spikescr(causal=True),
    "two blocks": spikescr(blocks=2, tau=3.0),
    "sdsa": spikescr(attention="sdsa"),
    "dense": spikingjelly(networks.dense),
    "conv2d": spikingjelly(networks.convolutional),
    "conv1d": spikingjelly(networks.one_dimensional),
    "current-based": current_based,
    "two inputs": lambda: third_parties.build("two inputs"),
}


def quantised(path, graph, frames, lengths=LENGTHS):
    """The integer graph of a NIR graph, opened from its file."""
    nir.write(path, quantize.quantize(load(graph), frames, lengths)[0])
    return load(path)


def shaken(network, size=0.01, seed=0):
    """Moves every trained number, as training would."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for real in network.real:
            real += size * torch.randn_like(real)
    return network


# ---- forward ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_the_file_written_runs_in_the_simulator_as_the_network_does(tmp_path, name):
    graph = NETWORKS[name]()
    shape = load(graph).input.output_shape
    whole = quantised(tmp_path / "q.nir", graph, frames_of(shape))
    network = IntegerNetwork(whole, alpha=5.0)
    for changed in (False, True):
        if changed:
            shaken(network, size=0.05 if name == "two inputs" else 0.01)  # few weights: a larger step
            split = Split(frames_of(shape), np.zeros(6, np.int64), LENGTHS, [""] * 6)
            fine_tune.write_checked(network, tmp_path / "tuned.q.nir", split)
        file = load(tmp_path / ("tuned.q.nir" if changed else "q.nir"))
        spikes = {}
        output = network(torch.from_numpy(frames_of(shape, seed=7)), torch.from_numpy(LENGTHS), spikes)
        trace = reference.run(file, frames_of(shape, seed=7), LENGTHS)
        assert list(trace.spikes) == list(spikes)
        for layer, found in trace.spikes.items():
            assert found.any() and not found.all(), layer
            np.testing.assert_array_equal(spikes[layer].detach().numpy(), found, err_msg=layer)
        np.testing.assert_array_equal(output.detach().numpy(), trace.output)
    before = IntegerNetwork(whole, alpha=5.0).integers()
    assert sum(int((value != before[key]).sum()) for key, value in network.integers().items()) > 20


def test_sums_beyond_single_precision_are_exact(tmp_path):
    """Odd sums above 2^24, which float32 does not hold."""
    weight = np.random.default_rng(0).integers(254, 256, (4, 900)).astype(float)
    graph = chain(nir.Linear(weight=weight), features=900)  # at an output no state asks for coarser weights
    whole = quantised(tmp_path / "q.nir", graph, np.ones((1, 3, 900)), np.array([3]))
    frames = np.full((1, 3, 900), 127.0)
    total = frames[0, 0] @ whole.nodes["0"].parameters["weight"].T
    assert (total > 2**24).all() and (total % 2 == 1).any()
    found = IntegerNetwork(whole, 5.0)(torch.from_numpy(frames), torch.tensor([3]))
    np.testing.assert_array_equal(found.detach().numpy(), reference.run(whole, frames).output)


@settings(deadline=None)
@given(st.lists(st.integers(-127, 127), min_size=2, max_size=20), st.integers(0, 2**32 - 1))
def test_weights_stay_what_lava_keeps_in_any_part_of_the_matrix(values, seed):
    before = rounding.round_weights(2.0 * np.array(values)).weight
    moved = torch.from_numpy(before + np.random.default_rng(seed).normal(0, 60, before.shape))
    after = _nearest_weight(before)(moved).numpy().astype(np.int64)
    for part in (after, after[:1], after[after <= 0], after[after >= 0]):
        np.testing.assert_array_equal(integer.lava_weights(part), part)
    step, low, high = (
        (2, -254, 254) if before.min() < 0 < before.max() else (1, *sorted((0, 255 * np.sign(before.sum()))))
    )
    if before.any():
        np.testing.assert_allclose(after, np.clip(moved.numpy(), low, high), atol=step / 2)


def test_biases_are_mantissa_and_exponent():
    assert _nearest_bias(torch.tensor([5.4, -4095.2, 8193.0, 1e7])).tolist() == [5, -4095, 8192, 4095 << 7]


def test_neurons_without_a_bias_get_none(tmp_path):
    network = IntegerNetwork(quantised(tmp_path / "q.nir", spikescr()(), frames_of((12,))), 5.0)
    trained = {(one.node, one.key) for one in network.trained}
    assert ("embed.lif", "bias") in trained and ("blocks.0.attention.query_lif", "bias") not in trained


# ---- gradients -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exponent", [3, -2])
def test_the_gradient_of_a_weight_passes_rounding_and_shift(tmp_path, exponent):
    """The output of Linear -> LI is linear in the weights but for rounding: closed form."""
    graph = chain(linear(6, 0), nir.LI(**four(tau=2e-4, r=2.0, v_leak=0.0)))
    whole = quantised(tmp_path / "q.nir", graph, frames_of((6,)))
    whole.fixed["0"]["weight_exp"] = exponent
    network = shaken(IntegerNetwork(whole, 5.0))
    frames = np.random.default_rng(3).integers(0, 9, (2, 5, 6)).astype(np.float64)
    network(torch.from_numpy(frames), torch.tensor([5, 5])).sum().backward()
    x = np.rint(frames / whole.fixed["input"]["scale"])
    reach = np.array([sum(0.5**s for s in range(5 - t)) for t in range(5)])  # of step t, in all later potentials
    expected = 256 * 2.0**exponent * 64 * whole.fixed["output"]["scale"] * np.einsum("bti,t->i", x, reach)
    np.testing.assert_allclose(network.real[0].grad.numpy(), np.tile(expected, (4, 1)), rtol=1e-5)


# ---- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Words to learn, a quantised network that has not learnt them, and configurations."""
    path = tmp_path_factory.mktemp("fine-tuning")
    write_words(path / "words" / "shd_train.h5", 1, [1] * 32 + [2] * 12)
    write_words(path / "words" / "shd_test.h5", 2, [3] * 12)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEUROTARGET_CACHE", str(path / "cache"))
        spec = f"shd:{path / 'words'}?steps=50"
        (path / "tune.toml").write_text(
            f'[data]\nspec = "{spec}"\n[model]\npreset = "tiny"\n[training]\nepochs = 4\nbatch = 8\n'
            "learning_rate = 0.01\nwarmup_epochs = 0\n[augmentation]\ntime_mask = 0.1\n"
        )
        nir.write(path / "float.nir", to_nir(networks.tiny(features=140), (140,)))
        nir.write(path / "narrow.nir", to_nir(networks.tiny(), (12,)))
        data = open_input(spec, load(path / "float.nir"), "train")
        quantize.quantize_file(path / "float.nir", path / "q.nir", data)
        nir.write(path / "narrow.q.nir", quantize.quantize(load(path / "narrow.nir"), frames_of((12,)))[0])
        yield path


def tune(folder, out, *options, source="q.nir", command=fine_tune.main):
    arguments = [str(folder / "tune.toml"), "--out", str(out), "--quantized", str(folder / source), *options]
    return command(arguments)


def test_a_run_learns_and_its_figures_are_those_of_the_file(folder, tmp_path, capsys):
    out = tmp_path / "run"
    assert tune(folder, out, "--json") == 0
    metrics = json.loads(capsys.readouterr().out)
    assert sorted(file.name for file in out.iterdir()) == ["curves.png", "metrics.csv", "metrics.json", "model.q.nir"]
    saved = json.loads((out / "metrics.json").read_text())
    assert {key: saved[key] for key in metrics} == metrics and saved["quantized"] == str(folder / "q.nir")
    with (out / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2, 3, 4]
    assert float(rows[-1]["train_loss"]) < 0.7 * float(rows[0]["train_loss"])
    assert metrics["validation_accuracy"] == max(float(row["validation_accuracy"]) for row in rows)
    assert metrics["validation_accuracy"] > metrics["calibrated_validation_accuracy"]
    for split in ("validation", "test"):
        for model, key in ((out / "model.q.nir", split), (folder / "q.nir", f"calibrated_{split}")):
            assert run.main([str(model), "--input", saved["data"], "--split", split, "--json"]) == 0
            assert json.loads(capsys.readouterr().out)["accuracy"] == metrics[f"{key}_accuracy"]


def test_a_run_is_not_replaced_without_being_asked(folder, tmp_path, capsys):
    (tmp_path / "model.q.nir").write_bytes((folder / "q.nir").read_bytes())
    assert tune(folder, tmp_path, "--set", "training.epochs=1") == 2
    assert "model.q.nir: is there already; replace it by --force" in capsys.readouterr().err
    assert tune(folder, tmp_path, "--set", "training.epochs=1", "--force", command=train.main) == 0
    assert (tmp_path / "metrics.json").exists()


def test_without_a_better_epoch_the_file_stays_what_it_was(folder, tmp_path, capsys):
    assert tune(folder, tmp_path / "run", "--set", "training.learning_rate=1e-12", "--set", "training.epochs=1") == 0
    assert "epoch 0" in capsys.readouterr().out
    one, two = (nir.read(path) for path in (folder / "q.nir", tmp_path / "run" / "model.q.nir"))
    assert list(one.nodes) == list(two.nodes) and sorted(one.edges) == sorted(two.edges)
    for name in one.nodes:
        for key, value in vars(one.nodes[name]).items():
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(getattr(two.nodes[name], key), value, err_msg=f"{name}.{key}")
    for name, keys in one.metadata["fixed"].items():
        for key, value in keys.items():
            np.testing.assert_array_equal(two.metadata["fixed"][name][key], value, err_msg=f"{name}.{key}")


def test_a_file_that_runs_otherwise_is_not_written(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(IntegerNetwork, "as_graph", lambda network: network.graph)
    assert tune(folder, tmp_path / "run") == 2  # as it came it is written, trained it is not
    assert "embed.lif: the simulator runs the file otherwise than it was trained" in capsys.readouterr().err
    kept = load(tmp_path / "run" / "model.q.nir").nodes["embed.conv"].parameters["weight"]
    np.testing.assert_array_equal(kept, load(folder / "q.nir").nodes["embed.conv"].parameters["weight"])
    assert not list((tmp_path / "run").glob("*.unchecked"))


def test_a_loss_that_is_not_finite_is_an_error(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(loop.F, "cross_entropy", lambda scores, labels: (scores * float("nan")).sum())
    assert tune(folder, tmp_path / "run") == 2
    error = capsys.readouterr().err
    assert "epoch 1, batch 1: the loss is nan; model.q.nir is the best epoch before; lower training.learn" in error


@pytest.mark.parametrize(
    ("source", "options", "reason"),
    [
        ("float.nir", [], "float.nir: not quantised; fine-tuning needs the file that conversion.quantize writes"),
        ("missing.nir", [], "missing.nir: no such file"),
        ("narrow.q.nir", [], "takes (12,) features and gives (4,) outputs"),
        ("q.nir", ["--resume"], "--resume does not go with --quantized"),
        ("q.nir", ["--tensorboard"], "--tensorboard does not go with --quantized"),
        ("q.nir", ["--set", "data.spec=shd:nowhere"], "nowhere"),
        ("q.nir", ["--set", "training.epochs=0"], "at least 1"),
        ("q.nir", ["--set", "training.average=equal"], "average equal: an average of integers is none"),
    ],
)
def test_wrong_input_ends_with_one_sentence_and_nothing_written(folder, tmp_path, capsys, source, options, reason):
    assert tune(folder, tmp_path / "run", *options, source=source, command=train.main) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1 and error[0].startswith("error: ") and reason in error[0]
    assert not (tmp_path / "run").exists()


def test_its_own_source_is_not_replaced(folder, tmp_path, capsys):
    (tmp_path / "model.q.nir").write_bytes((folder / "q.nir").read_bytes())
    assert (
        train.main([str(folder / "tune.toml"), "--out", str(tmp_path), "--quantized", f"{tmp_path}/model.q.nir"]) == 2
    )
    assert "would replace the one it starts from" in capsys.readouterr().err


def test_a_loop_is_refused_by_name(tmp_path):
    graph = chain(linear(6, 0), nir.LIF(**four(tau=2e-4, r=2.0, v_leak=0.0, v_threshold=1.0, v_reset=0.0)))
    graph.nodes["back"] = nir.Linear(weight=np.full((4, 4), 0.1))
    graph.edges += [("1", "back"), ("back", "1")]
    whole = quantised(tmp_path / "q.nir", graph, frames_of((6,)))
    with pytest.raises(GraphError, match=r"it is in a loop \((1 -> back|back -> 1)\); loops cannot be fine-tuned"):
        IntegerNetwork(whole, 5.0)
