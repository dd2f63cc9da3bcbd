"""Energies worked out by hand from counts and prices."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from neurotarget.hardware.counts.summary import mean_layer, sum_up
from neurotarget.hardware.energy.break_even import break_even_curves
from neurotarget.hardware.energy.figure import EnergyFigure, SpikingEnergy, break_even_activity, energy_figure
from neurotarget.hardware.energy.memory import access_pj, by_layer, dense_layer, energies, memory_energy, spiking_layer
from neurotarget.hardware.energy.operations import operations_energy
from neurotarget.hardware.energy.prices import PriceTable
from neurotarget.hardware.energy.verdict import DEPENDS, LESS, MORE, UNKNOWN, verdicts
from neurotarget.hardware.meters.measurement import Unmeasured

from tests.hardware.counted import DENSE, JOINED, JOINED_32, LIF, LINE, TABLES

INTEGER = replace(DENSE, name="res", payload="integer", payload_sum=60, acs=0, macs=400, unary_synops=600)


def test_the_published_estimate() -> None:
    figure = operations_energy([DENSE, LIF], TABLES["45nm-fp32"])
    assert figure.snn_uj == pytest.approx(400 * 0.9 / 2 * 1e-6)
    assert figure.ann_uj == pytest.approx(10_000 * 4.6 / 2 * 1e-6)
    assert figure.ratio == pytest.approx(10_000 * 4.6 / (400 * 0.9))
    assert (figure.kind, figure.boundary, figure.grade) == ("estimated", "operations", "derived")


def test_loihi_prices_neurons_and_messages_and_no_dense_network() -> None:
    figure = operations_energy([DENSE, LIF], TABLES["loihi1-davies2018"])
    assert figure.snn_synapses_uj == pytest.approx(400 * 23.6 / 2 * 1e-6)
    assert figure.snn_neurons_uj == pytest.approx((30 * 81 + 70 * 52) / 2 * 1e-6)
    assert figure.snn_traffic_uj == pytest.approx(40 * 1.7 / 2 * 1e-6)
    assert figure.ann_uj is None and figure.ratio is None
    sanafe = operations_energy([LIF], TABLES["loihi1-sanafe"])
    assert sanafe.snn_neurons_uj == pytest.approx(
        (30 * 72.8 + 70 * 51.2) / 2 * 1e-6
    )  # access always, update where active
    assert sanafe.snn_traffic_uj == pytest.approx((20 * 69.3 + 40 * 111) / 2 * 1e-6)


def test_integer_payloads_are_priced_as_each_machine_takes_them() -> None:
    energy = {name: operations_energy([INTEGER], TABLES[name]).snn_uj for name in TABLES}
    assert energy["45nm-fp32"] == pytest.approx(400 * 4.6 / 2 * 1e-6)  # a MAC an event
    assert energy["loihi1-davies2018"] == pytest.approx(600 * 23.6 / 2 * 1e-6)  # n unit spikes
    assert energy["keras-spiking-spinnaker2"] == pytest.approx(400 * 450 / 2 * 1e-6)  # graded
    real = replace(INTEGER, payload="real", payload_sum=None, unary_synops=None)
    assert operations_energy([real], TABLES["loihi1-davies2018"]).snn_uj == pytest.approx(400 * 23.6 / 2 * 1e-6)


def test_a_gpu_prices_the_dense_network_only() -> None:
    figure = operations_energy([DENSE], TABLES["gpu-a100-fp16"])
    assert figure.snn_uj is None
    assert figure.ann_uj == pytest.approx(10_000 / 2 * 2.5641e-6)


@pytest.mark.parametrize(
    ("words", "joined", "line"),
    [
        (0, 0, 0),  # no memory, no access
        (1, 0.0048828125, 13.2003488),
        (1024, 5, 13.5571712),
        (2048, 10, 13.9143424),
        (5120, 15, 14.985856),
        (8192, 20, 16.0573696),
        (262_144, 100, 104.6358272),
        (2 * 262_144 - 8192, 180, 193.2142848),
    ],
)
def test_an_access_by_the_size_of_its_memory(words: int, joined: float, line: float) -> None:
    assert access_pj(words, JOINED) == pytest.approx(joined)
    assert access_pj(words, JOINED_32) == pytest.approx(joined / 2)
    assert access_pj(words, LINE) == pytest.approx(line)


# Prices by hand of an access to 1000, 1010, 100 and 10 words under each table, in pJ.
BY_HAND = [
    (JOINED, 1000 * 10 / 2048, 1010 * 10 / 2048, 100 * 10 / 2048, 10 * 10 / 2048),
    (LINE, 13.2 + 0.3488, 13.2 + 0.352288, 13.2 + 0.03488, 13.2 + 0.003488),
]


@pytest.mark.parametrize(("table", "queue", "weights", "inputs", "potentials"), BY_HAND)
def test_memory_of_a_spiking_layer_by_hand(
    table: PriceTable, queue: float, weights: float, inputs: float, potentials: float
) -> None:
    energy = spiking_layer(DENSE, table)
    assert energy.operations_pj == pytest.approx(400 * 0.1)
    assert energy.neurons_pj == pytest.approx(100 * (0.1 + weights))  # biases: in every step, however few the events
    assert energy.accesses_pj == pytest.approx(40 * queue + 400 * weights + 2 * 400 * potentials)
    assert energy.addressing_pj == pytest.approx(400 * 0.1)
    neurons = spiking_layer(LIF, table)
    assert neurons.neurons_pj == pytest.approx(100 * 3.2 + 20 * 0.1 + 200 * potentials)
    assert neurons.accesses_pj == pytest.approx(20 * queue)
    assert spiking_layer(replace(LIF, kind="if"), table).neurons_pj == pytest.approx(20 * 0.1 + 200 * potentials)
    wired = spiking_layer(replace(LIF, events=30, synops=30, acs=30), table)  # spikes straight to the neurons
    assert wired.operations_pj == pytest.approx(30 * 0.1) == wired.addressing_pj
    assert wired.accesses_pj == pytest.approx((20 + 30) * queue + 2 * 30 * potentials)
    convolution = spiking_layer(replace(DENSE, kind="conv2d"), table)
    assert convolution.addressing_pj == pytest.approx(400 * 0.1 + 2 * 40 * 3.2)


@pytest.mark.parametrize(("table", "queue", "weights", "inputs", "potentials"), BY_HAND)
def test_what_keeps_nothing_reads_nothing(
    table: PriceTable, queue: float, weights: float, inputs: float, potentials: float
) -> None:
    pool = spiking_layer(replace(DENSE, kind="sum_pool", parameters=0, biases=0), table)
    assert pool.accesses_pj == pytest.approx(40 * queue + 2 * 400 * potentials)  # no weights
    gate = spiking_layer(replace(DENSE, kind="gate", parameters=0, biases=0), table)
    assert gate.accesses_pj == pytest.approx(40 * queue)  # nothing from step to step
    threshold = spiking_layer(replace(LIF, kind="threshold", state=0), table)
    assert threshold.neurons_pj == pytest.approx(20 * 0.1)  # no potentials: a reset alone


@pytest.mark.parametrize(("table", "queue", "weights", "inputs", "outputs"), BY_HAND)
def test_memory_of_a_dense_layer_by_hand(
    table: PriceTable, queue: float, weights: float, inputs: float, outputs: float
) -> None:
    energy = dense_layer(DENSE, table)
    assert energy.operations_pj == pytest.approx(10_000 * 3.2 + 100 * 0.1)
    assert energy.accesses_pj == pytest.approx(100 * 10 * inputs + 10_100 * weights + 10 * 10 * outputs)
    assert energy.addressing_pj == pytest.approx((100 + 10) * 10 * 0.1)
    convolution = dense_layer(replace(DENSE, kind="conv2d"), table)
    assert convolution.accesses_pj == pytest.approx(10_000 * inputs + 10_100 * weights + 100 * outputs)
    assert dense_layer(LIF, table).total_pj == 0


def test_memory_boundary_adds_up() -> None:
    rows = by_layer([DENSE, LIF], list(TABLES.values()))
    assert [(row.table, row.name) for row in rows] == [
        (table.name, name) for table in (JOINED, JOINED_32, LINE) for name in ("fc", "lif")
    ]
    for table in (JOINED, JOINED_32, LINE):
        figure = memory_energy([DENSE, LIF], table)
        parts = (figure.snn_synapses_uj, figure.snn_neurons_uj, figure.snn_traffic_uj)
        assert figure.snn_uj == pytest.approx(sum(part for part in parts if part is not None))
        assert figure.snn_uj == pytest.approx(sum(row.total_uj for row in rows if row.table == table.name))
        assert (figure.table, figure.boundary, figure.grade) == (table.name, "memory", table.grade)


def test_each_table_gives_one_figure_under_its_own_boundary() -> None:
    figures = energies([DENSE, LIF], list(reversed(TABLES.values())))
    assert [figure.table for figure in figures[-3:]] == [LINE.name, JOINED_32.name, JOINED.name]
    assert [figure.boundary for figure in figures] == ["operations"] * (len(TABLES) - 3) + ["memory"] * 3
    assert {figure.table for figure in figures} == set(TABLES)


def test_break_even_is_where_both_take_the_same() -> None:
    table = TABLES["loihi1-davies2018"]
    figure = operations_energy([DENSE, LIF], table)
    synapses, neurons, traffic = figure.snn_synapses_uj, figure.snn_neurons_uj, figure.snn_traffic_uj
    assert synapses is not None and neurons is not None and traffic is not None
    spiking = SpikingEnergy(synapses, neurons, traffic, synapses + neurons + traffic)
    factor = break_even_activity(spiking, 0.02)
    assert factor is not None
    assert factor * (synapses + traffic) + neurons == pytest.approx(0.02)
    assert energy_figure(table, "operations", spiking, 0.02, 0.2).break_even_spike_rate == pytest.approx(0.2 * factor)
    assert energy_figure(table, "operations", spiking, 0.001, 0.2).break_even_spike_rate == 0
    assert operations_energy([DENSE], TABLES["gpu-a100-fp16"]).break_even_activity is None


def test_break_even_curves_meet_this_run() -> None:
    figures = energies([DENSE, LIF], list(TABLES.values()))
    curves = break_even_curves(figures)
    assert [curve.label for curve in curves if curve.boundary == "memory"] == [
        JOINED.title,
        JOINED_32.title,
        LINE.title,
    ]
    both = [figure for figure in figures if figure.ratio]
    assert len(curves) == len(both) + 2
    costly = replace(figures[-1], group="GPU floor", ann_uj=1e9, title="with memory")
    more = break_even_curves([*figures, costly])
    assert [curve.label for curve in more[-2:]] == [curve.label for curve in curves[-2:]]
    for curve, figure in zip(curves, both, strict=False):
        assert figure.ratio is not None
        assert curve.fixed + curve.scaling == pytest.approx(1 / figure.ratio)


def test_rows_are_means_over_the_samples() -> None:
    row = mean_layer(LIF)
    assert (row.neuron_updates, row.spikes, row.spike_rate, row.neurons) == (50, 10, 0.2, 10)
    assert mean_layer(replace(DENSE, payload_sum=None)).payload_sum is None
    totals = sum_up([DENSE, LIF])
    assert (totals.synops, totals.density, totals.spike_rate) == (200, 0.04, 0.2)
    assert (totals.synops_per_synapse, totals.proxy_ops, totals.steps_per_sample) == (0.2, 700, 5)


NO_METER = Unmeasured(False, (), (), "no GPU")


def rows(*ratios: float | None, boundary: str = "operations") -> list[EnergyFigure]:
    """Figures of a spiking network that takes 1 uJ and a dense one that takes so many times as much."""
    spiking = SpikingEnergy(1.0, 0.0, 0.0, 1.0)
    return [energy_figure(TABLES["45nm-fp32"], boundary, spiking, ratio, 0.2) for ratio in ratios]


@pytest.mark.parametrize(
    ("ratios", "answer", "words"),
    [
        ((2.0, 5.0), LESS, "2 to 5 times less"),
        ((0.5, 0.25), MORE, "2 to 4 times more"),
        ((0.5, 5.0, None), DEPENDS, "depends on the table"),
        ((None,), UNKNOWN, "no table prices both"),
        ((3.0,), LESS, "3 times less energy .1 table."),
    ],
)
def test_verdicts(ratios: tuple[float | None, ...], answer: str, words: str) -> None:
    verdict = verdicts(rows(*ratios), NO_METER)[0]
    assert verdict.answer == answer
    assert verdict.sentence.startswith("Counting operations only")
    assert re.search(words, verdict.sentence)


def test_a_network_that_takes_nothing_has_no_ratio() -> None:
    """Silent under tables without neurons, or without a synapse: priced, but not to be divided by."""
    silent = replace(DENSE, events=0, synops=0, acs=0)
    for counts in ([silent], [LIF]):
        figures = energies(counts, [TABLES["45nm-fp32"], JOINED])
        assert figures[0].ratio is None and None not in (figures[0].snn_uj, figures[0].ann_uj)
        found = verdicts(figures, NO_METER)[0]
        assert (found.answer, found.low, found.tables) == (UNKNOWN, None, 1)
        assert "one of the two networks takes nothing" in found.sentence
    assert memory_energy([LIF], JOINED).ratio is None
    assert memory_energy([LIF], JOINED).ann_uj == 0


@pytest.mark.parametrize(
    ("ratios", "answer", "words"),
    [
        ((2.0, 5.0), LESS, "2 to 5 times less energy .2 prices of an access."),
        ((0.5, 5.0), DEPENDS, "depends on the price of an access: the dense network takes 0.5 to 5 times the energy"),
        ((3.0,), LESS, "3 times less energy .1 price of an access."),
    ],
)
def test_verdict_with_memory(ratios: tuple[float, ...], answer: str, words: str) -> None:
    verdict = verdicts(rows(*ratios, boundary="memory"), NO_METER)[1]
    assert (verdict.boundary, verdict.answer, verdict.tables) == ("memory", answer, len(ratios))
    assert re.search(words, verdict.sentence)


def test_chip_against_gpu_spans_all_tables() -> None:
    figures = energies([DENSE, LIF], list(TABLES.values()))
    # A table with memory does not belong, whatever its group: its boundary is another.
    memory = [replace(figures[-1], group=group, snn_uj=1e9, ann_uj=1e9) for group in ("Loihi 1", "GPU floor")]
    verdict = verdicts([*figures, *memory], NO_METER)[2]
    chips = [f.snn_uj for f in figures if f.group == "Loihi 1" and f.snn_uj]
    gpus = [f.ann_uj for f in figures if f.group == "GPU floor" and f.ann_uj]
    assert (verdict.boundary, verdict.tables) == ("machines", len(chips) + len(gpus))
    assert (verdict.low, verdict.high) == (min(gpus) / max(chips), max(gpus) / min(chips))


def test_no_samples_gives_no_energy() -> None:
    figure: EnergyFigure = operations_energy([], TABLES["45nm-fp32"])
    assert figure.snn_uj is None and figure.ann_uj is None
