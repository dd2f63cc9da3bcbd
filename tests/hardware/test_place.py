"""Placement: what fits a chip, what does not, and by how much."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import nir
import numpy as np
import pytest
from neurotarget.conversion.quantize import quantize
from neurotarget.hardware.chips.fit import fit, largest_payload, payload_bits
from neurotarget.hardware.chips.limits import Chip, Limit, load_chip
from neurotarget.hardware.chips.mesh import tile_of
from neurotarget.hardware.chips.placement import (
    CONFIGURATIONS,
    RESOURCES,
    Core,
    CorePart,
    Placement,
    bounds,
)
from neurotarget.hardware.chips.populations import Network, Population, Projection, Source
from neurotarget.hardware.chips.rules import RULES, check
from neurotarget.hardware.chips.synapses import Format, one_to_one, synapse_matrix
from neurotarget.hardware.counts.fanout import connections
from neurotarget.sim.graph import Graph, dialect, load
from neurotarget.sim.observed import observe
from neurotarget.sim.resets import RESETS

from tests.hardware.networks import chain, lif, run, temporal_graph, wire
from tests.hardware.placed import LOIHI1, placed, spatial

LOIHI2 = load_chip("loihi2")


def rules_of(placement: Placement) -> list[str]:
    return [finding.rule for finding in check(placement)]


def linear(outputs: int, inputs: int) -> nir.Linear:
    return nir.Linear(weight=np.ones((outputs, inputs)))


# ---- every rule: passes at its limit, trips at one more --------------------------------------------------------------


def with_use(key: str, amount: int) -> Placement:
    """One core that takes `amount` of one resource, or has so many settings of one configuration."""
    use = dict.fromkeys(RESOURCES, 0)
    sets: dict[str, frozenset[object]] = dict.fromkeys(CONFIGURATIONS, frozenset())
    if key in use:
        use[key] = amount
    if key in sets:
        sets[key] = frozenset(range(amount))
    stored = amount if key == "synapses" else 0
    if key == "neurons":
        use["compartments"] = amount
    part = CorePart("layer", 0, 1, use, sets, {}, stored)
    cores = amount if key == "cores" else 1
    taps = amount if key == "delay_steps" else 0
    population = Population("layer", "lif", 1)
    link = one_to_one(1)
    population.projections.append(Projection("fc", "layer", link, {"layer": link}, (Source("layer", 0, 0),), taps))
    if key == "programmable_neurons":
        population.neurons, population.programmed = amount, ("attention", "rotary", "reset") if amount else ()
    currents = tuple(f"fc{number}" for number in range(amount)) if key == "current_layers" else ()
    network = Network({"layer": population}, currents, {})
    bits = amount if key == "weight_bits" else 8
    payload = amount if key == "payload_bits" else None
    return Placement(LOIHI1, network, tuple(Core(i, [part]) for i in range(cores)), bits, payload)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_passes_at_its_limit_and_trips_at_one_more(rule: Any) -> None:
    # A small number stands for the limit of each, so that the test holds for any chip.
    low = 0 if rule.limit in ("current_layers", "programmable_neurons") else 5
    limit = Limit(rule.limit, low, "units", "a test", "assumed")
    chip = replace(LOIHI1, limits={rule.limit: limit})

    def findings(amount: int) -> list[Any]:
        found: list[Any] = rule.findings(replace(with_use(rule.limit, amount), chip=chip))
        return found

    assert findings(low) == []
    (finding,) = findings(low + 1)
    assert (finding.rule, finding.used, finding.limit, finding.source) == (rule.name, low + 1, low, "a test")
    assert "1 over" in finding.sentence and rule.remedy in finding.sentence
    chip = replace(LOIHI1, limits={})
    assert findings(low + 1) == []  # a chip without the limit cannot break it


@pytest.mark.parametrize(
    ("chip", "rule"),
    [
        pytest.param(chip, rule, id=f"{chip.name} {rule.name}")
        for chip in (LOIHI1, LOIHI2)
        for rule in RULES
        if rule.limit in chip.limits
    ],
)
def test_a_rule_at_the_chips_own_limit(chip: Chip, rule: Any) -> None:
    limit = chip.limits[rule.limit]
    most = int(limit.value)
    assert rule.findings(replace(with_use(rule.limit, most), chip=chip)) == []
    findings = rule.findings(replace(with_use(rule.limit, most + 1), chip=chip))
    assert {(finding.rule, finding.used, finding.limit, finding.unit) for finding in findings} == {
        (rule.name, most + 1, most, limit.unit)
    }
    assert all(finding.source == limit.source and finding.grade == limit.grade for finding in findings)


def test_rules_have_names_of_their_own() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    # A limit that no rule compares would be a promise that nothing keeps; indices are bounded by the compartments.
    assert {rule.limit for rule in RULES} >= (set(LOIHI1.limits) | set(LOIHI2.limits)) - {"index_bits"}


# ---- networks at the limits of Loihi 1 -------------------------------------------------------------------------------


@pytest.mark.parametrize(("neurons", "cores"), [(1024, 1), (1025, 2)])
def test_compartments(neurons: int, cores: int) -> None:
    graph = chain((neurons,), {"s": nir.Scale(scale=np.ones(neurons)), "n": lif(neurons)}, (neurons,))
    placement = placed(graph)
    assert len(placement.cores) == cores and check(placement) == []
    assert sum(core.use["compartments"] for core in placement.cores) == neurons


@pytest.mark.parametrize(("inputs", "over"), [(4096, 0), (4097, 1)])
def test_input_axons_cannot_be_split_away(inputs: int, over: int) -> None:
    graph = chain((inputs,), {"fc": linear(2, inputs), "n": lif(2)}, (2,))
    found = [finding for finding in check(placed(graph)) if finding.rule == "input axons"]
    assert [finding.used - finding.limit for finding in found] == [1] * over
    assert all("n" in finding.where for finding in found)


@pytest.mark.parametrize(("taps", "trips"), [(63, False), (64, True)])
def test_a_kernel_over_time_reaches_62_steps(taps: int, trips: bool) -> None:
    placement = placed(temporal_graph(np.ones((2, 3, taps)), None, 0))
    found = [finding for finding in check(placement) if finding.rule == "delays"]
    assert bool(found) == trips
    if trips:
        assert "layer conv" in found[0].where and found[0].used == 63


def test_memory_splits_a_layer_over_cores() -> None:
    # 300 inputs, 1000 outputs: 300 * 9024 bits (nengo-loihi's figure for 1000 synapses) of 1048576 a core.
    graph = chain((300,), {"fc": linear(1000, 300), "n": lif(1000)}, (1000,))
    placement = placed(graph)
    assert len(placement.cores) == 3 and check(placement) == []
    assert sum(core.use["input_axons"] for core in placement.cores) == 3 * 300
    assert all(core.use["memory_bits"] <= 2**20 for core in placement.cores)
    assert len(placed(graph, weight_bits=2).cores) == 1


def test_output_axons_split_the_sender() -> None:
    # Each of 600 neurons sends to 8 readers of 1000 neurons, which the memory splits: more axons than a core has.
    nodes: dict[str, nir.NIRNode] = {"s": nir.Scale(scale=np.ones(600)), "n": lif(600)}
    edges = [("input", "s"), ("s", "n")]
    for i in range(8):
        nodes |= {f"fc{i}": linear(10, 600), f"m{i}": lif(10), f"out{i}": linear(1, 10)}
        edges += [("n", f"fc{i}"), (f"fc{i}", f"m{i}"), (f"m{i}", f"out{i}"), (f"out{i}", "output")]
    placement = placed(wire((600,), nodes, (1,), edges))
    parts = [part for part in placement.parts if part.population == "n"]
    assert [part.use["output_axons"] for part in parts] == [2400, 2400]
    assert check(placement) == []


def test_as_nengo_loihi_places_it() -> None:
    """nengo-loihi 1.1.0, LoihiBlock.utilization(), of ensembles a (50), b (130), c (20): a -> b -> c and a -> c."""
    rng = np.random.default_rng(0)
    nodes: dict[str, nir.NIRNode] = {
        "one": nir.Scale(scale=np.ones(50)),
        "a": lif(50),
        "ab": nir.Linear(weight=rng.normal(size=(130, 50))),
        "b": lif(130),
        "bc": nir.Linear(weight=rng.normal(size=(20, 130))),
        "ac": nir.Linear(weight=rng.normal(size=(20, 50))),
        "c": lif(20),
    }
    edges = [("input", "one"), ("one", "a"), ("a", "ab"), ("ab", "b"), ("b", "bc"), ("bc", "c"), ("a", "ac")]
    placement = placed(wire((50,), nodes, (20,), [*edges, ("ac", "c"), ("c", "output")]))
    use = {part.population: part.use for part in placement.parts}
    keys = ("compartments", "input_axons", "output_axons", "memory_bits")
    assert [use["b"][key] for key in keys] == [130, 50, 130, 60800]
    assert [use["c"][key] for key in keys] == [20, 180, 0, 34560]
    assert use["a"]["compartments"] == 50 and use["a"]["output_axons"] == 100


@pytest.mark.parametrize("chip", [LOIHI1, LOIHI2], ids=lambda chip: chip.name)
def test_zero_weights_are_stored_where_that_takes_less_than_indices(chip: Chip) -> None:
    """130 lists of 64 synapses: each 64 * 8 bits (and on Loihi 1 a header, in a word more); an index takes 6 more."""

    def stored(weight: np.ndarray) -> tuple[int, int, list[object]]:
        inputs = weight.shape[1]
        placement = placed(chain((inputs,), {"fc": nir.Linear(weight=weight), "n": lif(64)}, (64,)), chip)
        forms = [form for part in placement.parts for form in part.sets["synapse_formats"]]
        return sum(part.layers["fc"] for part in placement.parts), sum(part.synapses for part in placement.parts), forms

    weight = np.ones((64, 130))
    list_bits = {"loihi1": 576, "loihi2": 512}[chip.name]
    assert stored(weight) == (130 * list_bits, 130 * 64, [Format(8, 0, 0)])
    weight[0, 1:] = 0  # 63 synapses a list take 63 * 14 bits with an index each
    assert stored(weight) == (130 * list_bits, 130 * 64, [Format(8, 0, 0)])
    weight[1:] = 0  # one synapse is left: the other lists are none
    assert stored(weight) == (64, 1, [Format(8, 0, 6)])


# ---- what layers become ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stride", "padding", "groups"), [(1, 0, 1), (2, 1, 1), (1, 2, 2), (3, 1, 2)])
def test_a_matrix_has_the_fan_out_that_the_counter_counts(stride: int, padding: int, groups: int) -> None:
    weight = np.random.default_rng(2).normal(size=(6, 4 // groups, 3, 3))
    options = {"stride": stride, "padding": padding, "dilation": 1, "groups": groups}
    conv = nir.Conv2d(input_shape=None, weight=weight, bias=np.zeros(6), **options)
    rows, columns = ((n + 2 * padding - 3) // stride + 1 for n in (7, 8))
    node = chain((4, 7, 8), {"c": conv}, (6, rows, columns)).nodes["c"]
    matrix = synapse_matrix(node)
    assert matrix.shape == (4 * 7 * 8, 6 * rows * columns)
    assert np.array_equal(np.asarray(matrix.sum(axis=1)).ravel(), connections(node).fan_out.ravel())


def test_a_pool_is_a_map_of_axons() -> None:
    pool = nir.SumPool2d(kernel_size=np.array([2, 2]), stride=np.array([2, 2]), padding=np.array([0, 0]))
    nodes = {"p": pool, "f": nir.Flatten({"input": np.array([1, 2, 2])}, 0, -1), "fc": linear(3, 4), "n": lif(3)}
    placement = placed(chain((1, 4, 4), nodes, (3,)))
    (part,) = placement.parts
    assert part.use["input_axons"] == 16 and part.synapses == 12  # 16 neurons share the lists of 4 sums
    assert check(placement) == []


def test_images_are_split_by_position() -> None:
    # 3 x 3 kernels over 16 x 64: a part of whole columns' worth of channels reaches, and is reached by, its neighbours.
    rng = np.random.default_rng(0)
    options = {"stride": 1, "padding": 1, "dilation": 1, "groups": 1}
    first = nir.Conv2d(input_shape=(16, 64), weight=rng.normal(size=(4, 1, 3, 3)), bias=np.zeros(4), **options)
    second = nir.Conv2d(input_shape=(16, 64), weight=rng.normal(size=(4, 4, 3, 3)), bias=np.zeros(4), **options)
    nodes = {"c": first, "n": spatial((4, 16, 64)), "d": second, "m": spatial((4, 16, 64))}
    graph = chain((1, 16, 64), nodes, (4, 16, 64))
    for chip in (LOIHI1, LOIHI2):
        placement = placed(graph, chip)
        assert check(placement) == []
        parts = [part for part in placement.parts if part.population == "m"]
        # Each part is reached by its own positions and a border of one on each side, not by the whole image.
        assert all(part.use["input_axons"] <= (part.stop - part.start) + 4 * 2 * (64 + 2) for part in parts)
    assert sum(part.synapses for part in parts) == connections(graph.nodes["d"]).synapses  # Loihi 2 stores each


def test_a_layer_that_reads_currents_is_named() -> None:
    placement = placed(chain((3,), {"first": linear(3, 3), "second": linear(3, 3), "n": lif(3)}, (3,)))
    (finding,) = check(placement)
    assert finding.rule == "currents" and finding.where == "layer second" and "folded" in finding.remedy


def residual(steps_late: int, outputs: int = 2) -> Graph:
    """A path of one step beside one that takes `steps_late` more."""
    nodes: dict[str, nir.NIRNode] = {"s": nir.Scale(scale=np.ones(4)), "first": lif(4)}
    weight = np.zeros((4, 4, 1)) + 1
    nodes["slow.ahead"] = dialect.extension("look_ahead", 4, {"steps": steps_late})
    nodes["slow.tap0"] = nir.Linear(weight=weight[..., 0])
    nodes |= {"second": lif(4), "head": linear(outputs, 4)}
    edges = [("input", "s"), ("s", "first"), ("first", "slow.ahead"), ("slow.ahead", "slow.tap0")]
    edges += [("slow.tap0", "second"), ("second", "head"), ("first", "head"), ("head", "output")]
    return wire((4,), nodes, (outputs,), edges)


@pytest.mark.parametrize(("late", "held"), [(61, []), (62, [63]), (124, [63]), (125, [63, 126])])
def test_a_long_residual_path_passes_relays(late: int, held: list[int]) -> None:
    # The path waits late + 1 steps: a synapse holds 62, each relay 62 and its own step.
    placement = placed(residual(late))
    names = [name for name, p in placement.network.populations.items() if p.kind == "relay"]
    assert names == [f"first.wait{steps}" for steps in held]
    assert check(placement) == []
    head = placement.network.populations["output"].projections[0]
    (source,) = [source for source in head.sources if source.population == "first"]
    assert source.held == max(held, default=0) and source.held + source.delay == late + 1 and source.delay <= 62


def test_a_wide_residual_layer_waits_in_relays_and_stores_its_weights_once() -> None:
    placement = placed(residual(20, 200))
    head = placement.network.populations["output"].projections[0]
    assert head.copies == 1 and head.longest_delay == 0
    (relay,) = [p for p in placement.network.populations.values() if p.kind == "relay"]
    assert relay.name == "first.wait21" and relay.projections[0].longest_delay == 20
    (part,) = [part for part in placement.parts if part.population == "output"]
    assert part.synapses == 4 * 200 and part.use["input_axons"] == 8


def attention(causal: bool) -> Graph:
    nodes: dict[str, nir.NIRNode] = {}
    edges = []
    for role in ("q", "k", "v"):
        nodes |= {role: linear(8, 8), f"{role}n": lif(8)}
        edges += [("input", role), (role, f"{role}n")]
    roles = {"query": "qn", "key": "kn", "value": "vn"}
    nodes["a"] = dialect.extension("attention", 8, {**roles, "heads": 2, "scale": 1.0, "causal": causal})
    nodes |= {"n": lif(8), "head": linear(2, 8)}
    edges += [(f"{role}n", "a") for role in ("q", "k", "v")]
    return wire((8,), nodes, (2,), [*edges, ("a", "n"), ("n", "head"), ("head", "output")])


@pytest.mark.parametrize("causal", [True, False])
def test_attention_needs_programmable_neurons_and_a_replay(causal: bool) -> None:
    assert rules_of(placed(attention(causal))) == ["attention"]
    placement = placed(attention(causal), LOIHI2, steps=100)
    assert rules_of(placement) == []
    population = placement.network.populations["n"]
    assert population.state == 2 + 4  # u and v, and a column of the 4 x 4 state
    # Key and query reach their head of 4, the value its own neuron.
    assert sorted(p.matrix.nnz for p in population.projections) == [8, 32, 32]
    relays = [name for name, p in placement.network.populations.items() if p.kind == "relay"]
    assert relays == ([] if causal else ["qn.wait63"])  # 100 steps of waiting


def test_a_gate_takes_two_compartments_on_loihi_1() -> None:
    nodes: dict[str, nir.NIRNode] = {"c": linear(4, 4), "g": linear(4, 4), "gn": lif(4), "n": lif(4)}
    nodes["gate"] = dialect.extension("gate", 4, {"current": "c", "gate": "gn"})
    edges = [("input", "c"), ("input", "g"), ("g", "gn"), ("c", "gate"), ("gn", "gate"), ("gate", "n"), ("n", "output")]
    graph = wire((4,), nodes, (4,), edges)
    for chip, expected in ((LOIHI1, 8), (LOIHI2, 4)):
        placement = placed(graph, chip)
        assert check(placement) == []
        assert [p.use["compartments"] for p in placement.parts if p.population == "n"] == [expected]


@pytest.mark.parametrize("reset", RESETS)
def test_a_reset_by_subtraction_needs_programmable_neurons(reset: str) -> None:
    neurons = lif(4)
    neurons.metadata = {"reset": reset}
    graph = chain((4,), {"w": linear(4, 4), "n": neurons}, (4,))
    assert rules_of(placed(graph)) == ([] if reset == "zero" else ["reset by subtraction"])
    assert rules_of(placed(graph, LOIHI2)) == []


def test_thresholds_and_decays_of_each_neuron_are_counted() -> None:
    neurons = nir.LIF(
        tau=1e-3 * (2 + np.arange(9)),
        r=np.ones(9),
        v_leak=np.zeros(9),
        v_threshold=1.0 + np.arange(9),
        v_reset=np.zeros(9),
    )
    placement = placed(chain((9,), {"s": nir.Scale(scale=np.ones(9)), "n": neurons}, (9,)))
    # Nine thresholds are one too many for a core, so that the layer takes two.
    assert [core.use["threshold_configurations"] for core in placement.cores] == [4, 5]
    assert [core.use["compartment_configurations"] for core in placement.cores] == [4, 5]
    assert rules_of(placement) == []


# ---- mesh and the command --------------------------------------------------------------------------------------------


def test_neighbouring_cores_are_neighbours_on_the_mesh() -> None:
    tiles = [tile_of(LOIHI1, core) for core in range(0, 132, 4)]
    assert tiles[:2] == [(0, 0, 0), (0, 0, 1)] and tiles[7:9] == [(0, 0, 7), (0, 1, 7)] and tiles[32] == (1, 0, 0)
    for first, second in itertools.pairwise(tiles[:32]):
        assert abs(first[1] - second[1]) + abs(first[2] - second[2]) == 1


def test_hops_and_their_energy_by_hand() -> None:
    # 300 neurons that spike in every step, into a layer that the memory splits over several cores and two tiles.
    graph = chain((8,), {"fc": linear(300, 8), "n": lif(300, 0.5), "g": linear(2000, 300), "m": lif(2000)}, (2000,))
    frames = np.ones((1, 4, 8))
    result = fit(graph, LOIHI1, run=observe(run(graph, frames)))
    (sender,) = {core.index for core in result.cores if "n" in core.neurons}
    readers = [core.index for core in result.cores if "m" in core.neurons]
    hops = [abs(tile_of(LOIHI1, r)[2] - tile_of(LOIHI1, sender)[2]) for r in readers]
    spikes = 4 * 300
    assert result.mesh.messages == spikes * len(readers)
    assert result.mesh.east_west_hops == spikes * sum(hops) > 0
    expected = (spikes * len(readers) * 1.7 + spikes * sum(hops) * 3.0) * 1e-6
    assert result.mesh.energy_uj == pytest.approx(expected)
    assert fit(graph, LOIHI2, steps=4).mesh.energy_uj is None


def test_payload_bits() -> None:
    assert [payload_bits(n) for n in (0, 1, 2, 255)] == [1, 1, 2, 8]
    assert payload_bits(None) == 64


@pytest.mark.parametrize(("frames", "bits"), [(np.full((2, 20, 8), 0.37), 8), (np.ones((2, 20, 8)), 1)])
def test_a_quantised_network_takes_what_its_input_is_graded_to(frames: np.ndarray, bits: int) -> None:
    """Real numbers become integers of 8 bits; spikes stay spikes. Both fit where graded spikes have 24 bits."""
    graph = chain((8,), {"fc": linear(6, 8), "n": lif(6, 0.5)}, (6,))
    integers = load(quantize(graph, frames)[0])
    result = fit(integers, LOIHI2, run=observe(run(integers, frames)))
    assert result.fits and payload_bits(largest_payload(integers, None if bits == 8 else 1)) == bits
    float_fits = fit(graph, LOIHI2, run=observe(run(graph, frames))).fits
    assert float_fits == (bits == 1)


def test_bounds_are_even() -> None:
    assert bounds(10, 3) == [0, 3, 6, 10]
