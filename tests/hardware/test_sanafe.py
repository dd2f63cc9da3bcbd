"""A placed network in SANA-FE: spikes equal to the reference's, energy equal to counts times its prices."""

from __future__ import annotations

import gzip
import importlib.util
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from neurotarget.hardware.sanafe import SanafeError, parent, plan, simulation
from neurotarget.hardware.sanafe.plan import LONGEST_DELAY, make_plan
from neurotarget.hardware.sanafe.simulation import ChipSimulation, simulate
from neurotarget.hardware.verdict.questions import simulated_row
from neurotarget.sim.graph import Graph, load
from neurotarget.sim.inputs import open_input
from neurotarget.sim.schedule import schedule

from tests import third_parties
from tests.hardware.networks import DT, chain, lif, nir_graph, run, temporal, wire
from tests.hardware.placed import LOIHI1, placed

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("sanafe") is None, reason="SANA-FE is not installed (extra 'dev' or 'sanafe')"
)
DATA = Path(__file__).parents[1] / "data"
# SANA-FE 2.2.9, examples/loihi.yaml, in pJ.
SYNAPSE, ACCESS, UPDATE, SPIKE, MESSAGE, EAST_WEST, NORTH_SOUTH = 35.5, 51.2, 21.6, 69.3, 111.0, 3.0, 4.2
PICO = 1e-12


def spikes(samples: int, steps: int, channels: int, rate: float = 0.4, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random((samples, steps, channels)) < rate).astype(np.uint8)


def weights(outputs: int, inputs: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.2, 0.6, (outputs, inputs))


def equal(graph: Graph, frames: np.ndarray, lengths: list[int] | None = None) -> ChipSimulation:
    """The simulation of a run, whose computed populations all fire and are equal."""
    found = simulate(graph, run(graph, frames, lengths), len(frames))
    assert found.outcome == "equal", found.first_divergence
    for population in found.populations:
        assert population.part != "computed" or population.spikes, population
    return found


def parts(found: ChipSimulation) -> dict[str, str]:
    return {population.name: population.part for population in found.populations}


# ---- spikes ----------------------------------------------------------------------------------------------------------


def hand_chain() -> Graph:
    """One channel, weight 0.75, a LIF that halves, weight 2, a LIF that halves; both fire above 1."""
    first, second = nir.Linear(weight=np.array([[0.75]])), nir.Linear(weight=np.array([[2.0]]))
    return chain((1,), {"up": first, "a": lif(1), "again": second, "b": lif(1)}, (1,))


def test_a_chain_fires_when_the_hand_says_so() -> None:
    # v of a: .75, 1.125 fires, .75, .375, .9375, 1.21875 fires. b gets 2 and fires with it, a step later on the chip.
    graph = hand_chain()
    frames = np.array([1, 1, 1, 0, 1, 1, 0], np.uint8).reshape(1, -1, 1)
    trace = run(graph, frames)
    assert trace.spikes["a"].ravel().tolist() == [0, 1, 0, 0, 0, 1, 0]
    made = make_plan(graph, schedule(graph, 7), placed(graph, steps=7), trace)
    (found,) = parent.run(made.content, made.synapses)["samples"]
    assert found["spikes"]["a"] == [[2, 6], [0, 0]]
    assert found["spikes"]["b"] == [[3, 7], [0, 0]]
    assert found["spikes"]["input"] == [[0, 1, 2, 4, 5], [0] * 5]
    result = equal(graph, frames)
    assert (result.spikes, result.differing, result.steps, result.required) == (4, 0, 9, False)
    assert result.complete and simulated_row(result).standing == "favourable"


def test_a_potential_that_meets_the_threshold_fires_where_the_file_says_so() -> None:
    """SANA-FE keeps a threshold in single precision; the number below 1 that says `>=` must not become 1."""
    graphs = {}
    for rule, threshold in ((">", 1.0), (">=", float(np.nextafter(1.0, -np.inf)))):
        raw = nir_graph(
            (1,), {"up": nir.Linear(weight=np.eye(1)), "a": lif(1, threshold)}, (1,), [("input", "up"), ("up", "a")]
        )
        raw.edges.append(("a", "output"))
        raw.metadata["rule"] = rule
        graphs[rule] = equal(load(raw), np.array([1, 0, 1, 1], np.uint8).reshape(1, -1, 1))
    # v: 1, then .5 and 1.25 under `>`; under `>=` each 1 fires.
    assert (graphs[">"].spikes, graphs[">="].spikes) == (1, 3)


def test_a_spike_that_is_not_ours_is_found() -> None:
    graph = hand_chain()
    trace = run(graph, np.array([1, 1, 1, 0, 1, 1, 0], np.uint8).reshape(1, -1, 1))
    trace.spikes["b"][0, 3, 0] = 1
    found = simulate(graph, trace, 1)
    assert (found.outcome, found.differing) == ("differs", 1)
    assert found.first_divergence == "layer b, step 3, neuron 0 (sample 0): 1 in ours, 0 in SANA-FE"
    assert found.holds and simulated_row(found).standing == "open"  # in floating point it is a measurement
    whole = replace(found, required=True)
    assert not whole.holds and simulated_row(whole).standing == "unfavourable"
    assert "1 places differ beside 5 spikes" in found.sentences[0]


def test_nothing_that_fires_is_not_tested() -> None:
    graph = hand_chain()
    found = simulate(graph, run(graph, np.zeros((2, 5, 1))), 2)
    assert found.outcome == "not tested"
    assert "not tested: none of 2 computed populations fires" in found.sentences[0]


def test_biases_windows_and_numbers_on_the_input() -> None:
    up = nir.Affine(weight=weights(9, 4, 1), bias=np.linspace(-0.3, 0.6, 9))
    graph = chain((4,), {"up": up, "a": lif(9), "on": nir.Linear(weight=weights(5, 9, 2)), "b": lif(5)}, (5,))
    frames = np.random.default_rng(3).integers(0, 4, (3, 30, 4)).astype(np.float64)
    found = equal(graph, frames, [30, 7, 19])
    assert found.steps == pytest.approx((30 + 7 + 19) / 3 + 2)


def test_an_input_of_real_numbers_drives_what_reads_it() -> None:
    graph = chain((4,), {"up": nir.Linear(weight=weights(9, 4, 1)), "a": lif(9)}, (9,))
    found = simulate(graph, run(graph, np.random.default_rng(0).random((1, 9, 4))), 1)
    assert parts(found) == {"input": "input", "a": "driven"}
    assert [p.reason for p in found.populations] == ["", "the input carries real numbers"]
    assert found.outcome == "not tested"


@pytest.mark.parametrize("look_ahead", [0, 3])
def test_taps_delays_and_a_loop(look_ahead: int) -> None:
    """Taps over more steps than SANA-FE's dendrite holds, a path that waits, and a neuron that feeds itself."""
    kernel = np.random.default_rng(5).normal(0.1, 0.5, (6, 4, 2 * LONGEST_DELAY))
    nodes, edges, taps = temporal("conv", "input", kernel, np.linspace(-0.2, 0.4, 6), look_ahead)
    nodes |= {"a": lif(6), "late": nir.Delay(delay=np.full(6, 9 * DT)), "on": nir.Linear(weight=weights(6, 6, 6))}
    nodes |= {"b": lif(6), "back": nir.Linear(weight=weights(6, 6, 7))}
    edges += [*[(tap, "a") for tap in taps], ("a", "late"), ("late", "on"), ("on", "b"), ("b", "back"), ("back", "b")]
    graph = wire((4,), nodes, (6,), [*edges, ("b", "output")])
    found = equal(graph, spikes(2, 40, 4), [40, 23])
    assert found.input_messages > 0


@pytest.mark.parametrize("reset", ["zero", "subtract_at_once"])
def test_neurons_without_a_leak_and_both_resets(reset: str) -> None:
    ones = np.ones(5)
    neuron = nir.IF(r=1e3 * ones, v_threshold=np.linspace(0.5, 2, 5), v_reset=0 * ones, metadata={"reset": reset})
    graph = chain((3,), {"up": nir.Linear(weight=weights(5, 3, 8)), "a": neuron}, (5,))
    equal(graph, spikes(2, 50, 3))


def test_a_late_reset_is_driven_with_its_reason() -> None:
    ones = np.ones(2)
    neuron = nir.IF(r=1e3 * ones, v_threshold=ones, v_reset=0 * ones, metadata={"reset": "subtract"})
    graph = chain((3,), {"up": nir.Linear(weight=weights(2, 3, 8)), "a": neuron}, (2,))
    (_, population) = simulate(graph, run(graph, spikes(1, 20, 3)), 1).populations
    assert (population.part, population.reason) == ("driven", "its reset takes the threshold off a step late")


def test_convolutions_and_a_pool_over_space() -> None:
    def neuron(shape: tuple[int, ...]) -> nir.IF:
        return nir.IF(r=1e3 * np.ones(shape), v_threshold=np.ones(shape), v_reset=np.zeros(shape))

    rng = np.random.default_rng(9)
    both: dict[str, Any] = {"stride": 1, "padding": 1, "dilation": 1}
    first = nir.Conv2d((6, 6), rng.normal(0.2, 0.5, (3, 2, 3, 3)), groups=1, bias=np.array([0.1, -0.2, 0.3]), **both)
    second = nir.Conv2d((3, 3), rng.normal(0.2, 0.5, (2, 3, 3, 3)), groups=1, bias=np.zeros(2), **both)
    two = np.array([2, 2])
    pool = nir.SumPool2d(kernel_size=two, stride=two, padding=np.array([0, 0]))
    nodes = {"one": first, "a": neuron((3, 6, 6)), "pool": pool, "two": second, "b": neuron((2, 3, 3))}
    frames = spikes(2, 12, 2 * 36).reshape(2, 12, 2, 6, 6)
    equal(chain((2, 6, 6), nodes, (2, 3, 3)), frames)


def test_a_file_of_neurons_with_time_constants_as_others_write_it(tmp_path: Path) -> None:
    """Plain NIR, without our metadata: two LIF neurons in a row, weights that make them fire."""
    one = np.ones(1)
    neuron = nir.LIF(tau=0.0016 * one, r=one, v_leak=0 * one, v_threshold=0.1 * one)
    nodes = {"linear1": nir.Linear(weight=8 * np.eye(1)), "lif1": neuron}
    nodes |= {"linear2": nir.Linear(weight=4 * np.eye(1)), "lif2": neuron}
    graph = nir_graph((1,), nodes, (1,), list(zip(["input", *nodes], [*nodes, "output"], strict=True)))
    graph.metadata = {}
    nir.write(tmp_path / "two.nir", graph)
    equal(load(tmp_path / "two.nir"), spikes(3, 60, 1))


def test_a_file_that_snntorch_wrote(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        snntorch = pytest.importorskip("snntorch", reason="snnTorch is not installed (extra 'dev')")
        export = pytest.importorskip("snntorch.export_nir").export_to_nir
        torch.manual_seed(0)
        layers = [
            layer
            for inputs, outputs, beta in ((6, 20, 0.9), (20, 5, 0.8))
            for layer in (
                torch.nn.Linear(inputs, outputs),
                snntorch.Leaky(
                    beta=torch.full((outputs,), beta),
                    threshold=torch.ones(outputs),
                    init_hidden=True,
                    reset_mechanism="zero",
                ),
            )
        ]
        nir.write(tmp_path / "snntorch.nir", export(torch.nn.Sequential(*layers), torch.zeros(6)))
    found = equal(load(tmp_path / "snntorch.nir"), spikes(3, 100, 6, 0.5))
    assert parts(found) == {"input": "input", "1": "computed", "3": "computed"}


def test_what_is_too_much_is_left_out_and_what_reads_it_is_driven(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = {"up": nir.Linear(weight=weights(9, 4, 1)), "a": lif(9), "on": nir.Linear(weight=weights(8, 9, 2))}
    nodes |= {"b": lif(8), "last": nir.Linear(weight=weights(1, 8, 3)), "c": lif(1)}
    graph = chain((4,), nodes, (1,))
    trace = run(graph, spikes(1, 20, 4))
    monkeypatch.setattr(plan, "LARGEST_SYNAPSES", 9 * 4)
    found = simulate(graph, trace, 1)
    assert parts(found) == {"input": "input", "a": "computed", "b": "left out", "c": "left out"}
    assert found.populations[2].reason == "the first 36 synapses are handed over"
    assert found.sentences[0].endswith("left out: b, c") and not found.complete
    assert found.synapses == 36


def test_what_lies_beyond_the_cores_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three populations of a core each and one core for the input, on a chip of three."""
    one_to_one = nir.Linear(weight=np.eye(700) * 1.5)
    nodes = {"up": nir.Linear(weight=weights(700, 8, 1)), "a": lif(700), "on": one_to_one, "b": lif(700)}
    graph = chain((8,), {**nodes, "again": one_to_one, "c": lif(700)}, (700,))
    trace = run(graph, spikes(1, 12, 8))
    small = replace(LOIHI1, limits={**LOIHI1.limits, "cores": replace(LOIHI1.limits["cores"], value=3)})
    monkeypatch.setattr(simulation, "load_chip", lambda _: small)
    found = simulate(graph, trace, 1)
    assert parts(found) == {"input": "input", "a": "computed", "b": "computed", "c": "left out"}
    assert found.populations[3].reason == "it lies beyond the 2 cores that its inputs leave"
    assert found.outcome == "equal"
    monkeypatch.setattr(plan, "INPUTS_PER_CORE", 2)
    with pytest.raises(SanafeError, match="the input takes 4 of 3 cores, 2 neurons each"):
        simulate(graph, trace, 1)


def test_a_population_that_never_fires_is_named() -> None:
    nodes = {"up": nir.Linear(weight=np.ones((2, 2))), "a": lif(2), "on": nir.Linear(weight=np.eye(2) / 8), "b": lif(2)}
    graph = chain((2,), nodes, (2,))
    found = simulate(graph, run(graph, np.ones((1, 9, 2), np.uint8)), 1)
    assert found.outcome == "equal"
    assert found.sentences[0].endswith("in 1 samples; not tested in b, which never fire")


@pytest.mark.parametrize(("file", "required"), [("model.nir", False), ("model.q.nir", True)])
def test_a_trained_network_with_gates_and_attention(file: str, required: bool, tmp_path: Path) -> None:
    """SpikeSCR in floating point and in integers: what SANA-FE has is computed, the rest driven, with the reason."""
    (tmp_path / file).write_bytes(gzip.decompress((DATA / f"{file}.gz").read_bytes()))
    graph = load(tmp_path / file)
    data = open_input(str(DATA / "input.npz"), graph, samples=2)
    trace = run(graph, data.frames, data.lengths.tolist())
    found = simulate(graph, trace, 2)
    assert (found.outcome, found.differing, found.required) == ("equal", 0, required)
    assert found.spikes > 0
    row = simulated_row(found)
    assert (row.kind, row.standing) == ("simulated", "open")  # the driven ones were not computed
    reasons = {p.name.rpartition(".")[2]: p.reason for p in found.populations if p.part == "driven"}
    assert reasons["product_lif"].endswith(("SANA-FE has no gate", "SANA-FE has no attention"))
    assert reasons["key_lif"].endswith("SANA-FE has no rotary")


# ---- energy and time -------------------------------------------------------------------------------------------------


def energies(content: Mapping[str, Any]) -> dict[str, Any]:
    (found,) = parent.run(content, 10)["samples"]
    return dict(found)


def group(name: str, core: tuple[int, int], threshold: float) -> dict[str, Any]:
    one: dict[str, Any] = {"decay": [0.5], "bias": [0.0], "threshold": [threshold], "reset": [0.0], "initial": [0.0]}
    place = {"name": name, "neurons": 1, "unit": "loihi_lif", "cores": [[0, 1, *core]]}
    return place | one | {"reset_mode": "hard", "start": None}


def test_energy_is_counts_times_prices() -> None:
    """Three neurons in a row on three tiles. All is counted by hand: the last one gets 1 and never fires."""
    source = {"name": "in", "neurons": 1, "unit": "loihi_inputs", "cores": [[0, 1, 0, 0]]}
    row = [group("a", (0, 1), 0.5), group("b", (6, 2), 1.5), group("c", (31, 3), 9.0)]
    links = [
        {"source": start, "target": end, "delay": 0, "rows": [0], "columns": [0], "weights": [weight]}
        for start, end, weight in (("in", "a", 1.0), ("a", "b", 1.0), ("b", "c", 1.0))
    ]
    sample = {"window": 8, "steps": 8, "played": {"in": {"steps": [0, 1, 2, 3], "neurons": [0] * 4}}}
    found = energies({"groups": [source, *row], "links": links, "samples": [sample]})
    # a fires at 1 .. 4. v of b: 1, 1.5, 1.75 fires at 4, 1 at 5. v of c is 1 at 5, and halves.
    assert found["spikes"] == {
        "in": [[0, 1, 2, 3], [0] * 4],
        "a": [[1, 2, 3, 4], [0] * 4],
        "b": [[4], [0]],
        "c": [[], []],
    }
    assert found["synaptic_operations"] == found["messages"] == 4 + 4 + 1
    assert found["input_messages"] == 4
    # Tile 6 is the third of the second column, tile 31 the last of the eighth.
    assert (found["east_west_hops"], found["north_south_hops"]) == (4 * 1 + 6, 4 * 2 + 1)
    # Updated where something arrives or v is not 0: a at 1 .. 4, b at 2 .. 7, c at 5 .. 7.
    updates = 4 + 6 + 3
    energy = found["energy_j"]
    assert energy["synapse"] == pytest.approx(PICO * SYNAPSE * 9, rel=1e-12)
    assert energy["soma"] == pytest.approx(PICO * (3 * 8 * ACCESS + updates * UPDATE + 5 * SPIKE), rel=1e-12)
    network = 9 * MESSAGE + 10 * EAST_WEST + 9 * NORTH_SOUTH
    assert energy["network"] == pytest.approx(PICO * network, rel=1e-12)
    assert energy["total"] == pytest.approx(sum(energy[part] for part in ("synapse", "soma", "network")), rel=1e-12)


def test_figures_of_a_report_follow_from_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = hand_chain()
    trace = run(graph, np.ones((2, 6, 1), np.uint8))
    raw: list[dict[str, Any]] = []
    original = parent.run

    def recorded(content: Mapping[str, Any], synapses: int) -> dict[str, Any]:
        raw.append(original(content, synapses))
        return raw[0]

    monkeypatch.setattr(parent, "run", recorded)
    found = simulate(graph, trace, 2)
    first, second = raw[0]["samples"]
    steps = first["step_s"] + second["step_s"]
    assert len(steps) == 16
    assert found.latency_us == pytest.approx(1e6 * sum(steps) / 2)
    assert found.time_per_step_us == pytest.approx(1e6 * sum(steps) / 16)
    assert found.longest_step_us == pytest.approx(1e6 * max(steps))
    assert found.energy_uj == pytest.approx(1e6 * (first["energy_j"]["total"] + second["energy_j"]["total"]) / 2)
    assert found.energy_uj == pytest.approx(sum(part.simulated_uj for part in found.energy_parts))
    assert found.energy_delay_uj_ms == pytest.approx(found.energy_uj * found.latency_us / 1000)
    # The price list on the same run: 6 inputs and 3 spikes of a are operations.
    synapses, neurons, messages = found.energy_parts
    assert synapses.list_uj == pytest.approx(1e-6 * SYNAPSE * (6 + 3))
    assert (neurons.simulated_events, neurons.list_events) == (2 * 8, 2 * 6)
    assert messages.simulated_events == 6 + 3


# ---- networks of every kind ------------------------------------------------------------------------------------------

# Rows of docs/third_parties.md in which SANA-FE computes no population, or that no chip can stream.
NOT_COMPUTED = ("CubaLIF", "recurrent CubaLIF", "I", "LI", "CubaLI", "AvgPool2d")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in third_parties.NETWORKS if name != "two populations in a loop"])
def test_small_networks_of_every_kind(name: str) -> None:
    made = third_parties.build(name)
    graph, frames = load(made), third_parties.frames_for(made)[:2]
    found = simulate(graph, run(graph, frames), 2)
    expected = "not tested" if name.partition(",")[0] in NOT_COMPUTED else "equal"
    assert (found.outcome, found.first_divergence) == (expected, None)
