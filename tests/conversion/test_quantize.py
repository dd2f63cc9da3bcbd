"""Quantisation: networks of every kind, the file that results, and what is refused."""

import dataclasses
import json

import nir
import numpy as np
import pytest
from neurotarget.conversion import quantize
from neurotarget.conversion.fixed import calibrate, candidates, emit_fixed
from neurotarget.conversion.fixed.grading import grading
from neurotarget.conversion.fixed.units import groups
from neurotarget.conversion.to_nir import to_nir
from neurotarget.sim import reference
from neurotarget.sim.graph import dialect, load
from neurotarget.sim.graph.node import GraphError, Node
from neurotarget.sim.reference import integer

from tests import torch_networks as networks


def float_file(path, build=networks.tiny, **changes):
    network, shape = (build(**changes), (12,)) if build is networks.tiny else build(0)
    nir.write(path, to_nir(network, shape))
    return shape


def frames_of(shape, samples=6, steps=40, seed=0):
    return np.random.default_rng(seed).poisson(0.5, (samples, steps, *shape)).astype(np.float64)


def quantised(tmp_path, frames, lengths=None):
    """Float graph, integer graph opened from its file, and what was chosen."""
    graph = load(tmp_path / "model.nir")
    network, choices, _ = quantize.quantize(graph, frames, lengths)
    nir.write(tmp_path / "model.q.nir", network)
    return graph, load(tmp_path / "model.q.nir"), choices


# ---- networks --------------------------------------------------------------------------------------------------------


def test_a_convolution_is_correlated_over_its_taps_inside_the_window(tmp_path):
    float_file(tmp_path / "model.nir")
    graph, frames, lengths = load(tmp_path / "model.nir"), frames_of((12,), 2, 9), np.array([9, 6])
    calibration = calibrate.Calibration(graph, reference.run(graph, frames, lengths))
    found = candidates.correlation(graph.nodes["embed.conv"], calibration.replay)
    expected = np.zeros((36, 36))
    for sample, length in enumerate(lengths):
        padded = np.pad(frames[sample, :length], [(1, 1), (0, 0)])
        for step in range(length):
            row = padded[step : step + 3].reshape(-1)
            expected += np.outer(row, row)
    off_diagonal = ~np.eye(36, dtype=bool)
    np.testing.assert_allclose(found[off_diagonal], expected[off_diagonal])
    damping = np.diag(found) - np.diag(expected)
    np.testing.assert_allclose(damping, candidates.DAMPING * np.mean(np.diag(expected)))


@pytest.mark.parametrize("changes", [{}, {"causal": True}, {"blocks": 2}, {"tau": 3.0, "threshold": 0.8}])
def test_spikescr_layer_by_layer(tmp_path, changes):
    float_file(tmp_path / "model.nir", **changes)
    lengths = np.array([40, 31, 40, 25, 38, 40])
    graph, whole, choices = quantised(tmp_path, frames_of((12,)), lengths)
    assert [node.name for node in whole.spiking] == [node.name for node in graph.spiking]
    for choice in choices:
        places = sum(lengths.sum() * graph.nodes[name].neurons for name in choice.group.neurons)
        assert choice.mismatched <= 0.01 * places, choice.group.name
        assert 4 * choice.peak_u < 2**23 or "rotary" in choice.group.synapses[0]
    before = reference.run(graph, frames_of((12,)), lengths)
    after = reference.run(whole, frames_of((12,)), lengths)
    assert after.header["wrapped_u"] == after.header["clipped_v"] == []
    places = sum(before.spikes[name].size for name in before.spikes)
    assert sum(int((before.spikes[n] != after.spikes[n]).sum()) for n in before.spikes) < 0.1 * places
    scale = np.abs(before.output).max()
    assert np.sqrt(np.mean((before.output - after.output) ** 2)) < 0.25 * scale


@pytest.mark.parametrize("build", [networks.dense, networks.convolutional, networks.one_dimensional])
def test_a_tool_that_ignores_the_metadata_computes_the_same_but_for_the_decays(tmp_path, build):
    shape = float_file(tmp_path / "model.nir", build)
    _, whole, choices = quantised(tmp_path, frames_of(shape))
    assert all(choice.mismatched < 100 for choice in choices)
    after = reference.run(whole, frames_of(shape))
    stock = reference.run(dataclasses.replace(whole, arithmetic="float", fixed={}), frames_of(shape))
    spikes = sum(int(s.sum()) for s in after.spikes.values())
    assert spikes > 500
    assert sum(int((stock.spikes[n] != after.spikes[n]).sum()) for n in after.spikes) <= 0.001 * spikes


def lif_file(path, weight, bias=None, **changes):
    size = len(weight)
    p = {"tau": 2e-4, "r": 1.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0} | changes
    p = {key: np.broadcast_to(np.asarray(value, float), size) for key, value in p.items()}
    weight = np.asarray(weight, float)
    graph = nir.NIRGraph(
        nodes={
            "input": nir.Input(input_type={"input": np.array([weight.shape[1]])}),
            "fc": nir.Linear(weight=weight)
            if bias is None
            else nir.Affine(weight=weight, bias=np.asarray(bias, float)),
            "lif": nir.LIF(**p),
            "output": nir.Output(output_type={"output": np.array([size])}),
        },
        edges=[("input", "fc"), ("fc", "lif"), ("lif", "output")],
        metadata={"dt": 1e-4},
    )
    nir.write(path, graph)


def test_integers_of_one_layer_by_hand(tmp_path):
    # alpha = 0.5, gain 0.5: the threshold is 2.0 of current. A step is 1.27 / 254 = 0.005 before the shift.
    lif_file(tmp_path / "model.nir", [[1.27, -0.6], [0.4, 0.01]], bias=[0.1, -0.05])
    _, whole, (choice,) = quantised(tmp_path, np.ones((1, 4, 2)))
    step = 0.005 * choice.clip_ratio
    assert choice.scale == pytest.approx(step / 2 ** choice.exponents["fc"])
    expected = 2 * np.rint(np.array([[1.27, -0.6], [0.4, 0.01]]) / step / 2)
    np.testing.assert_array_equal(whole.nodes["fc"].parameters["weight"], np.clip(expected, -254, 254))
    keys = whole.fixed["lif"]
    assert (keys["du"], keys["dv"]) == (4095, 2048)
    assert keys["vth"] == pytest.approx(2.0 / choice.scale, abs=1)
    bias = integer.lava_bias(np.asarray(keys["bias_mant"]), np.asarray(keys["bias_exp"]))
    np.testing.assert_allclose(bias * choice.scale / 64, [0.1, -0.05], atol=choice.scale)
    assert whole.nodes["fc"].parameters["bias"] is None and whole.rule == ">"


def test_neurons_that_differ_hand_the_difference_to_their_weights(tmp_path):
    weight = np.array([[0.8, -0.3], [0.8, -0.3], [1.6, -0.6]])
    frames = np.random.default_rng(0).normal(1.0, 1.0, (4, 50, 2))
    lif_file(tmp_path / "model.nir", weight, v_threshold=[0.3, 0.3, 0.6])
    graph, whole, _ = quantised(tmp_path, frames)
    spikes = reference.run(whole, frames).spikes["lif"]
    assert spikes.any()
    np.testing.assert_array_equal(spikes[..., 0], spikes[..., 2])
    disagreement = np.mean(spikes != reference.run(graph, frames).spikes["lif"])
    assert disagreement < 0.03


def test_a_leak_towards_another_value_becomes_a_bias(tmp_path):
    lif_file(tmp_path / "model.nir", [[0.5]], v_leak=1.5, tau=1e-3)
    graph, whole, _ = quantised(tmp_path, np.zeros((1, 60, 1)))
    spikes = reference.run(whole, np.zeros((1, 60, 1))).spikes["lif"]
    expected = reference.run(graph, np.zeros((1, 60, 1))).spikes["lif"]
    assert expected.sum() >= 3 and abs(int(spikes.sum()) - int(expected.sum())) <= 1


def residual(path):
    """lif1 feeds lif2 directly and through a Linear; a LI reads the sum and is the output."""
    ones = np.ones(3)
    lif = {"tau": 2e-4 * ones, "r": ones, "v_leak": 0 * ones, "v_threshold": 0.7 * ones, "v_reset": 0 * ones}
    random = np.random.default_rng(1)
    li = {key: lif[key] for key in ("tau", "r", "v_leak")}
    graph = nir.NIRGraph(
        nodes={
            "input": nir.Input(input_type={"input": np.array([3])}),
            "fc1": nir.Linear(weight=random.normal(0.5, 1, (3, 3))),
            "lif1": nir.LIF(**lif),
            "fc2": nir.Linear(weight=random.normal(0, 1, (3, 3))),
            "lif2": nir.LIF(**lif),
            "fc3": nir.Linear(weight=random.normal(0, 1, (3, 3))),
            "li": nir.LI(**li),
            "output": nir.Output(output_type={"output": np.array([3])}),
        },
        edges=[
            ("input", "fc1"),
            ("fc1", "lif1"),
            ("lif1", "fc2"),
            ("fc2", "lif2"),
            ("lif1", "lif2"),
            ("lif2", "fc3"),
            ("fc3", "li"),
            ("li", "output"),
        ],
        metadata={"dt": 1e-4},
    )
    nir.write(path, graph)


def test_spikes_that_meet_currents_get_a_synapse_and_a_potential_is_an_output(tmp_path):
    residual(tmp_path / "model.nir")
    frames = np.random.default_rng(2).normal(1, 1, (4, 50, 3))
    graph, whole, _ = quantised(tmp_path, frames)
    assert whole.nodes["lif1.to.lif2"].kind == "scale"
    before, after = reference.run(graph, frames), reference.run(whole, frames)
    assert np.mean(before.spikes["lif2"] != after.spikes["lif2"]) < 0.05
    same = (before.spikes["lif2"] == after.spikes["lif2"]).all(axis=(1, 2))
    scale = np.abs(before.output).max()
    assert np.median(np.abs(before.output - after.output)) < 0.02 * scale
    assert same.shape == (4,)


def test_groups_share_a_unit_where_values_are_summed(tmp_path):
    float_file(tmp_path / "model.nir")
    found = {group.name: group.synapses for group in groups(load(tmp_path / "model.nir"))}
    assert found["embed.lif"] == ("embed.conv",)
    assert found["blocks.0.convolution.product_lif"] == ("blocks.0.convolution.value",)
    assert found["blocks.0.attention.product_lif"] == ("blocks.0.attention.product",)
    assert found["output"] == ("head",)


# ---- the file --------------------------------------------------------------------------------------------------------


def test_stock_nir_opens_the_file_and_writes_it_unchanged(tmp_path):
    float_file(tmp_path / "model.nir")
    quantised(tmp_path, frames_of((12,)))
    once = nir.read(tmp_path / "model.q.nir", type_check=True)
    nir.write(tmp_path / "again.nir", once)
    twice = nir.read(tmp_path / "again.nir", type_check=True)
    assert once.metadata["arithmetic"] == "lava-fixed" and once.metadata["rule"] == ">"
    assert sorted(map(tuple, once.edges)) == sorted(map(tuple, twice.edges))
    for name, keys in once.metadata["fixed"].items():
        for key, value in keys.items():
            np.testing.assert_array_equal(value, twice.metadata["fixed"][name][key], err_msg=f"{name}.{key}")
    for name, node in once.nodes.items():
        for key in ("weight", "bias", "scale"):
            if (value := getattr(node, key, None)) is not None:
                np.testing.assert_array_equal(value, np.rint(value), err_msg=f"{name}.{key}")
                np.testing.assert_array_equal(value, getattr(twice.nodes[name], key))


def test_a_run_from_the_file_is_a_function_of_the_file_alone(tmp_path):
    float_file(tmp_path / "model.nir")
    _, whole, _ = quantised(tmp_path, frames_of((12,)))
    frames = frames_of((12,), seed=5)
    a = reference.run(whole, frames)
    b = reference.run(whole, frames[3:4], precision="float32")
    for name in a.spikes:
        np.testing.assert_array_equal(a.spikes[name][3:4], b.spikes[name])
    np.testing.assert_array_equal(a.output[3:4], b.output)


def test_graded_input_is_chosen_by_its_error():
    mask = np.ones((1, 2000), bool)
    assert grading(np.full((1, 2000, 1), 127), mask)["scale"] == 1.0
    assert grading(np.full((1, 2000, 1), 254.0), mask)["scale"] == 2.0
    normal = np.random.default_rng(0).normal(0, 1, (1, 2000, 4))
    scale = grading(normal, mask)["scale"]
    assert 0.02 < scale <= np.abs(normal).max() / 127


# ---- command line ----------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path):
    float_file(tmp_path / "model.nir")
    np.savez(
        tmp_path / "x.npz", input=frames_of((12,)), label=np.arange(6) % 4, length=np.array([40, 31, 40, 25, 38, 40])
    )
    return str(tmp_path / "model.nir"), str(tmp_path / "x.npz")


def test_command_writes_beside_the_model_and_reports(files, tmp_path, capsys):
    assert quantize.main([files[0], "--calibrate", files[1], "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["file"] == str(tmp_path / "model.q.nir") and load(result["file"]).quantised
    assert result["samples"] == 6 and result["steps"] == 214 and len(result["accuracy"]) == 2
    first = result["first_divergence"]
    assert first is None or {"layer", "step", "neuron", "sample", "values"} == set(first)
    assert {row["layer"] for row in result["layers"]} >= {"embed.lif", "output", "blocks.0.attention.key_lif"}
    for row in result["layers"]:
        assert row["clipped"] + row["zeroed"] <= row["weights"] and row["scale"] > 0
        assert row["headroom_u_bits"] is None or row["headroom_u_bits"] > 0
    assert sum(row["mismatched"] for row in result["layers"]) == result["mismatched"]
    assert quantize.main([files[0], "--calibrate", files[1], "-o", str(tmp_path / "b.nir")]) == 0
    text = capsys.readouterr().out
    assert "embed.lif" in text and "accuracy" in text and "written" in text
    assert (tmp_path / "b.nir").read_bytes() and not list(tmp_path.glob("*.unchecked"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("missing model", "no such file"),
        ("missing input", "no such file"),
        ("quantised already", "already quantised"),
        ("wrong features", "the network of"),
        ("no steps", "holds no sample or no step"),
        ("NaN input", "finite"),
        ("NaN weights", "NaN or infinite"),
        ("same file", "would replace the float one"),
        ("no samples", "at least 1"),
        ("unknown spec", "nonsense"),
        ("no folder", "no-such-folder"),
    ],
)
def test_wrong_input_ends_with_one_sentence(files, tmp_path, capsys, change, reason):
    model, data = files
    options = []
    if change == "missing model":
        model = str(tmp_path / "none.nir")
    elif change == "missing input":
        data = str(tmp_path / "none.npz")
    elif change == "quantised already":
        assert quantize.main([model, "--calibrate", data]) == 0
        model = str(tmp_path / "model.q.nir")
    elif change in ("wrong features", "no steps", "NaN input"):
        shape = {"wrong features": (2, 5, 7), "no steps": (2, 0, 12)}.get(change, (2, 5, 12))
        np.savez(data, input=np.full(shape, np.nan if change == "NaN input" else 0.0))
    elif change == "NaN weights":
        graph = nir.read(model)
        graph.nodes["head"].weight[0, 0] = np.nan
        nir.write(model, graph)
    elif change == "same file":
        options = ["-o", model]
    elif change == "no samples":
        options = ["--samples", "0"]
    elif change == "unknown spec":
        data = "nonsense:x"
    elif change == "no folder":
        options = ["-o", str(tmp_path / "no-such-folder" / "q.nir")]
    capsys.readouterr()
    assert quantize.main([model, "--calibrate", data, *options]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and reason in error


def test_what_lava_cannot_be_is_refused_by_name(tmp_path):
    for changes, reason in (
        ({"v_reset": 1.5}, "threshold at or below its reset"),
        ({"tau": 1e-4}, "forgets all in one step"),
        ({"tau": [2e-4, 4e-4]}, "differ in time constant"),
        ({"v_threshold": 0.0}, "threshold at or below its reset"),
        ({"r": -1.0}, "must be positive"),
    ):
        lif_file(tmp_path / "model.nir", np.ones((2, 2)), **changes)
        with pytest.raises(GraphError, match=f"node lif.*{reason}"):
            quantised(tmp_path, np.ones((1, 3, 2)))


def test_states_that_do_not_fit_are_an_error_that_names_the_layer(files, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(calibrate, "COARSEST", 4)
    monkeypatch.setattr(calibrate, "SPARE_V", 2**14)
    assert quantize.main([files[0], "--calibrate", files[1]]) == 1
    assert "layer embed.lif: its values do not fit 24-bit states" in capsys.readouterr().err
    assert not (tmp_path / "model.q.nir").exists()


def test_a_finished_network_that_wraps_around_is_not_written(files, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(calibrate.Calibration, "_reach", lambda *_: 0.0)
    monkeypatch.setattr(candidates, "FINEST", {"rotary": 17, "attention": 10})
    assert quantize.main([files[0], "--calibrate", files[1]]) == 1
    assert "u wraps around in" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.q.nir*"))


def test_rules_and_readout_survive(files, tmp_path):
    assert quantize.main([files[0], "--calibrate", files[1]]) == 0
    whole = load(tmp_path / "model.q.nir")
    assert whole.readout == dialect.READOUT_SOFTMAX_SUM and whole.rule == dialect.RULE_EXCEEDS
    assert whole.dt == load(files[0]).dt


def test_a_leaky_neuron_without_leak_is_refused_by_name():
    node = Node("soma", "lif", ("input",), output_shape=(2,))
    fixed = {"dv": 0, "du": 4095, "bias_mant": np.zeros(2, np.int64), "bias_exp": 0}
    with pytest.raises(GraphError, match=r"node soma \(lif\): dv = 0 is no leak"):
        emit_fixed._neuron(node, fixed, 0, 1e-4)
