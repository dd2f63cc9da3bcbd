"""Files that others published with the NIR paper, from a folder beside this checkout or NEUROTARGET_NIR_FILES.

They belong to others and are not part of the project; where the folder is missing, these tests are skipped.
"""

import os
import shutil
from pathlib import Path

import h5py
import nir
import numpy as np
import pytest
from neurotarget.conversion.quantize import quantize
from neurotarget.sim import lava, reference
from neurotarget.sim.graph import load
from neurotarget.sim.parity import compare, compare_states

from neurotarget import cli

BESIDE = Path(__file__).parents[3] / "shared" / "data" / "nir"
FOLDER = Path(os.environ.get("NEUROTARGET_NIR_FILES", BESIDE))
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="NEUROTARGET_NIR_FILES names no folder of published files")

SAMPLES = 24


def braille():
    frames = (np.random.default_rng(0).random((SAMPLES, 40, 12)) < 0.3).astype(float)
    return nir.read(FOLDER / "braille_noDelay_noBias_subtract.nir"), frames


def two_lif():
    """Half of the steps silent, half with currents up to 400, of which 100 fires the first neuron at once."""
    random = np.random.default_rng(0)
    frames = np.where(random.random((SAMPLES, 60, 1)) < 0.5, random.uniform(0, 400, (SAMPLES, 60, 1)), 0.0)
    return nir.read(FOLDER / "two_lif_neurons.nir"), frames


def two_lif_stronger():
    """The same with the second weight times 100, for in the published file the second neuron cannot fire (below)."""
    network, frames = two_lif()
    network.nodes["linear2"].weight = 100 * network.nodes["linear2"].weight
    return network, frames


@pytest.mark.slow
@pytest.mark.parametrize(("made", "silent"), [(braille, set()), (two_lif, {"lif2"}), (two_lif_stronger, set())])
def test_reference_and_lava_agree_in_float_and_in_integers(made, silent):
    network, frames = made()
    graph = load(network)
    integers = load(quantize(graph, frames)[0])
    parity = compare(graph, reference.run(graph, frames), lava.run(graph, frames))
    assert parity.holds and not parity.mismatched and parity.output_difference == 0
    neurons = [node.name for node in integers.spiking]
    ours = reference.run(integers, frames)
    theirs, states = lava.run_with_states(integers, frames, nodes=neurons)
    whole = compare(integers, ours, theirs)
    whole = compare_states(whole, integers, reference.states(integers, frames, None, neurons), states)
    assert whole.holds and whole.exact and not whole.mismatched and whole.states > 0 and not whole.states_mismatched
    assert {name for name, spikes in ours.spikes.items() if not spikes.any()} == silent


def test_the_second_neuron_of_two_lif_cannot_fire():
    """v moves towards r w s, which is 1 at most, and the threshold is 20: no input and no dt makes it fire."""
    network = nir.read(FOLDER / "two_lif_neurons.nir")
    neuron, weight = network.nodes["lif2"], network.nodes["linear2"].weight
    assert neuron.v_leak == 0 and neuron.r * weight == 1 and neuron.v_threshold == 20
    spikes = reference.run(load(network), np.full((1, 5000, 1), 1e6)).spikes
    assert spikes["lif1"].sum() == 5000 and not spikes["lif2"].any()


def test_a_neuron_that_edges_call_by_another_name_is_found(tmp_path, capsys):
    """The first LIF layer is lif1.lif, as the files' authors say and the edges do; among the nodes it is lif1.lif1."""
    path = FOLDER / "braille_noDelay_bias_zero_subgraph.nir"
    np.savez(tmp_path / "x.npz", input=np.ones((1, 3, 12)))
    assert cli.main(["run", str(path), "--input", str(tmp_path / "x.npz")]) == 0
    error = capsys.readouterr().err
    assert "no edge names node lif1.lif1, and no node is called lif1.lif" in error
    assert "does not say v_reset of lif1.lif, lif2" in error and "type check" not in error
    graph = load(path)
    assert {node.name: node.neurons for node in graph.spiking} == {"lif1.lif": 38, "lif2": 7}
    assert graph.recurrent_edges == {("lif1.lin", "lif1.lif")}
    shutil.copy(path, tmp_path / "mended.nir")
    with h5py.File(tmp_path / "mended.nir", "r+") as file:
        file.move("node/nodes/lif1/nodes/lif1", "node/nodes/lif1/nodes/lif")
    frames = (np.random.default_rng(0).random((4, 40, 12)) < 0.3).astype(float)
    ours, mended = (reference.run(load(file), frames).spikes for file in (path, tmp_path / "mended.nir"))
    assert ours["lif1.lif"].any() and all(np.array_equal(ours[name], mended[name]) for name in mended)


def test_the_file_named_subtract_runs_with_a_hard_reset_and_says_so():
    graph = load(FOLDER / "braille_noDelay_noBias_subtract.nir")
    assert graph.notes and "does not say v_reset of lif1.lif, lif2" in graph.notes[0]
    assert all(not node.parameters["v_reset"].any() for node in graph.spiking)
