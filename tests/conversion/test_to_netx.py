"""NetX: what is written runs in lava-dl and gives our spikes, also after a fit to NetX."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import h5py
import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from neurotarget.conversion import quantize, to_netx
from neurotarget.conversion.netx.fit import fit
from neurotarget.conversion.netx.layers import to_layers
from neurotarget.conversion.netx.weights import netx_weights
from neurotarget.conversion.to_nir import to_nir
from neurotarget.sim import reference
from neurotarget.sim.graph import load
from neurotarget.sim.lava.child import group, segments

from tests import torch_networks as networks
from tests.conversion.chains import Chain, biases, loop, taps

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 600


CASES = {
    "loop": lambda: loop(
        Chain((6,)).dense(12).lif().dense(10).lif(vth=90), 2.0 * np.random.default_rng(4).integers(-40, 41, (10, 10))
    ),
    "lif": lambda: Chain((6,)).dense(12).lif().dense(10).lif(vth=90).dense(7).lif(vth=60).graph(),
    "current": lambda: Chain((6,)).dense(12).lif(du=1500).dense(10).lif(du=900, dv=0 + 1).dense(7).lif(du=0).graph(),
    "axonal delays": lambda: (
        Chain((6,)).delay(3).dense(12).lif().delay(62).dense(10).lif(vth=90).delay(5).dense(7).lif(vth=60).graph()
    ),
    "delays on both sides": lambda: Chain((6,)).dense(12).lif(du=1500).delay(9).dense(10).delay(4).lif(vth=90).graph(),
    "learned delays": lambda: taps(Chain((6,)).dense(8).lif()),
    "exponent": lambda: Chain((6,)).dense(12, 2, low=-30, high=31).lif(vth=300).dense(10, 1).lif(vth=300).graph(),
    "one sign": lambda: (
        Chain((6,)).dense(12, low=2).lif(vth=500).dense(8, low=-60, high=0).lif(vth=60, bias=40).graph()
    ),
    "bias": lambda: Chain((6,)).dense(12).lif(bias=biases(12)).dense(10).lif(bias=biases(10)).dense(7).lif().graph(),
    "images": lambda: (
        Chain((2, 7, 6))
        .conv(4, stride=2)
        .lif()
        .conv(6, groups=2)
        .lif(vth=150, du=2000)
        .flatten()
        .dense(9)
        .lif()
        .graph()
    ),
    "one dimension": lambda: (
        Chain((3, 12)).conv(4).lif(bias=5).conv(5, dilation=2).lif().flatten().dense(6).lif().graph()
    ),
    "scale": lambda: (
        Chain((6,))
        .dense(12)
        .lif()
        .add(nir.Scale(2.0 * np.arange(-50, 70, 10)), weight_exp=0, scale=1.0)
        .lif(vth=30)
        .graph()
    ),
}


def trained():
    """A SpikingJelly network that was quantised, then fitted to NetX."""
    network, shape = networks.dense(3)
    frames = np.random.default_rng(0).poisson(0.5, (6, 40, *shape)).astype(np.float64)
    return fit(load(quantize.quantize(load(to_nir(network, shape)), frames)[0]))


CASES["fitted"] = trained
STREAMED = {
    "fitted",
    "bias",
    "one dimension",
    "one sign",
}  # a bias acts before the first input arrives, unless NetX resets
STEPS = {"axonal delays": 90}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Case -> (integer simulator, NetX): spikes [runs, steps, *shape]. All NetX runs share one child."""
    pytest.importorskip("lava.lib.dl", reason="lava-dl is not installed")
    folder, ours = tmp_path_factory.mktemp("netx"), {}
    for case, build in CASES.items():
        nir.write(folder / f"{case}.q.nir", build())
        assert to_netx.main([str(folder / f"{case}.q.nir")]) == 0
        graph = load(folder / f"{case}.q.nir")
        random = np.random.default_rng(1)
        shape = (2, STEPS.get(case, 40), *graph.input.output_shape)
        frames = random.poisson(0.6, shape) - random.poisson(0.2, shape)
        ours[case] = reference.run(graph, frames.astype(np.float64)).spikes[graph.spiking[-1].name]
        given = frames[:, :, :, None] if len(shape) == 4 else frames
        np.save(folder / f"{case}.in.npy", given)
        (folder / f"{case}.json").write_text(json.dumps({"reset": case in STREAMED}))
    token = segments.new_token()
    program = [sys.executable, "-m", "tests.conversion.netx_run", str(folder), token]
    log = folder / "log.txt"
    with log.open("wb") as stream:
        child = subprocess.Popen(program, cwd=ROOT, stdout=stream, stderr=stream, start_new_session=True)
        try:
            code = child.wait(DEADLINE_SECONDS)
        finally:
            group.end(child.pid)
            child.wait()
            segments.remove(token)
    assert code == 0, log.read_text()[-3000:]
    return {case: (spikes, np.load(folder / f"{case}.out.npy")) for case, spikes in ours.items()}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_netx_gives_the_spikes_of_the_integer_simulator(runs, case):
    ours, theirs = runs[case]
    share = ours.mean()
    print(f"{case}: {ours.size} places, {int(ours.sum())} spikes")
    assert 0.02 < share < 0.9, share
    np.testing.assert_array_equal(theirs.reshape(ours.shape), ours)


# ---- weights ---------------------------------------------------------------------------------------------------------


def lava_file(*parts):
    """A module of Lava from its file: importing the package would import torch."""
    found = importlib.util.find_spec("lava")
    places = [Path(place, *parts) for place in (found.submodule_search_locations if found else [])]
    if not any(place.exists() for place in places):
        pytest.skip("lava-dl is not installed")
    spec = importlib.util.spec_from_file_location(f"lava_{parts[-1][:-3]}", next(p for p in places if p.exists()))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def lava_functions():
    return lava_file("lib", "dl", "netx", "utils.py"), lava_file("utils", "weightutils.py")


matrices = st.tuples(
    st.integers(-256, 255), st.integers(-256, 255), st.sampled_from([1, 2, 4, 64]), st.integers(0, 2**32 - 1)
)


@settings(deadline=None, max_examples=300)
@given(matrices)
def test_weights_are_those_that_netx_and_dense_keep(lava_functions, drawn):
    netx, utils = lava_functions
    low, high, multiple, seed = min(drawn[:2]), max(drawn[:2]), drawn[2], drawn[3]
    weight = np.random.default_rng(seed).integers(low, high + 1, (3, 4)) // multiple * multiple
    (ours,) = netx_weights(weight)
    if ours is None:
        return
    with np.errstate(divide="ignore"):
        moved, bits, exponent, _ = netx.optimize_weight_bits(weight)
    mode = utils.determine_sign_mode(moved)
    kept = utils.truncate_weights(utils.clip_weights(moved, mode, num_bits=8), mode, bits)
    np.testing.assert_array_equal(kept >> -exponent, ours)
    random = np.random.default_rng(seed + 1).integers(-128, 128, 4)
    if np.array_equal(ours, weight):
        np.testing.assert_array_equal((kept @ random) >> -exponent, weight @ random)


@settings(deadline=None)
@given(matrices)
def test_even_weights_of_mixed_signs_are_kept(drawn):
    weight = np.random.default_rng(drawn[3]).integers(-127, 128, (3, 4)) * 2
    if weight.min() < 0 < weight.max():
        np.testing.assert_array_equal(netx_weights(weight)[0], weight)


# ---- fitted to NetX --------------------------------------------------------------------------------------------------


def test_what_quantisation_writes_needs_a_fit_that_changes_little(tmp_path, capsys):
    network, shape = networks.dense(3)
    frames = np.random.default_rng(0).poisson(0.5, (6, 40, *shape)).astype(np.float64)
    whole = quantize.quantize(load(to_nir(network, shape)), frames)[0]
    model, fitted = tmp_path / "model.q.nir", tmp_path / "model.netx.q.nir"
    nir.write(model, whole)
    assert to_netx.main([str(model)]) == 2
    assert "--fit" in capsys.readouterr().err
    assert to_netx.main([str(model), "--fit", str(fitted)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.net", "model.netx.q.nir", "model.q.nir"]
    before, after = (reference.run(load(path), frames).spikes for path in (model, fitted))
    different = {name: float(np.mean(before[name] != after[name])) for name in before}
    print(different, {name: float(np.mean(before[name])) for name in before})
    assert max(different.values()) < 0.05
    assert to_netx.main([str(model), "--fit", str(model)]) == 2


@pytest.mark.parametrize("exponent", [3, -3])
def test_a_fit_divides_current_threshold_and_bias(exponent):
    chain, ones = Chain((6,)).dense(6, exponent).delay(2), np.ones(6)
    keys = {"bias_mant": np.full(6, 800), "bias_exp": np.full(6, 5), "scale": 1.0}
    # Nothing decays, so nothing is lost.
    chain.add(nir.IF(r=ones, v_threshold=(2000 << 6) * ones, v_reset=0 * ones), du=4095, dv=0, vth=2000, **keys)
    before, after = load(chain.graph()), load(fit(load(chain.graph())))
    assert after.fixed["linear1"]["weight_exp"] == 0
    assert after.fixed["if3"]["vth"] == 2000 / 2.0**exponent
    np.testing.assert_array_equal(after.fixed["if3"]["bias_mant"], 400 / 2.0**exponent)
    if exponent > 0:
        frames = np.random.default_rng(0).poisson(3.0, (2, 60, 6)).astype(float)
        ours, theirs = (reference.run(graph, frames).spikes["if3"] for graph in (before, after))
        assert ours.any()
        np.testing.assert_array_equal(ours, theirs)
    (layer,) = to_layers(after).layers
    assert layer.delay is not None and layer.bias is not None


def test_a_fit_of_what_fits_changes_nothing():
    for case in ("lif", "exponent", "bias", "images", "loop", "delays on both sides", "learned delays", "scale"):
        graph = load(CASES[case]())
        fitted = load(fit(graph))
        frames = np.random.default_rng(0).poisson(0.5, (2, 30, *graph.input.output_shape)).astype(float)
        ours, theirs = (reference.run(g, frames).spikes for g in (graph, fitted))
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name])


# ---- the file --------------------------------------------------------------------------------------------------------


def test_the_file_holds_what_netx_reads(tmp_path, capsys):
    nir.write(tmp_path / "model.q.nir", Chain((6,), scale=0.5).delay(4).dense(5).lif(du=1500, bias=3).graph())
    assert to_netx.main([str(tmp_path / "model.q.nir"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["file"] == str(tmp_path / "model.net") and found["layers"][0]["longest_delay"] == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.net", "model.q.nir"]
    with h5py.File(tmp_path / "model.net") as file:
        assert file.attrs["input_scale"] == 0.5 and file.attrs["input_message_bits"] == 8
        assert file["layer/0/type"][()] == b"input" and file["layer/1/neuron/iDecay"][()] == 1501
        assert file["layer/1/bias"][:].tolist() == [3] * 5 and file["layer/1/delay"].shape == (5, 6)
    assert to_netx.main([str(tmp_path / "model.q.nir"), "-o", str(tmp_path / "model.q.nir")]) == 2
    assert "would replace the model" in capsys.readouterr().err
    assert to_netx.main([str(tmp_path / "none.q.nir")]) == 2
    assert "no such file" in capsys.readouterr().err
