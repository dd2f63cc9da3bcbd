"""Ratios under prices that move: against energies priced anew, closed forms, and samples counted one by one."""

from __future__ import annotations

import statistics
from dataclasses import replace

import nir
import numpy as np
import pytest
from neurotarget.hardware.counts.layers import count
from neurotarget.hardware.counts.summary import sum_up
from neurotarget.hardware.counts.tallies import Counting
from neurotarget.hardware.energy.memory import energies
from neurotarget.hardware.energy.sensitivity import (
    ASSUMED,
    PUBLISHED,
    counts_of,
    moved_prices,
    price_range,
    ratio_interval,
    shares,
    uncertainties,
)
from neurotarget.sim import reference

from tests.hardware.counted import DENSE, JOINED, JOINED_32, LIF, LINE, TABLES
from tests.hardware.networks import chain, lif

COUNTS = [DENSE, LIF]
ALL = list(TABLES.values())
PARTS = {table.name: shares(COUNTS, table) for table in ALL}


@pytest.mark.parametrize("table", ALL, ids=list(TABLES))
def test_the_shares_of_the_prices_are_the_whole_energy(table) -> None:
    (figure,) = energies(COUNTS, [table])
    assert sum(snn for snn, _ in PARTS[table.name].values()) == pytest.approx(figure.snn_uj or 0)
    assert sum(ann for _, ann in PARTS[table.name].values()) == pytest.approx(figure.ann_uj or 0)


def test_shares_by_hand() -> None:
    """Two samples: 400 additions, 10,000 dense MACs; Davies has 30 active of 100 updates and 40 messages."""
    assert PARTS["45nm-fp32"] == {"ac": (pytest.approx(200 * 0.9e-6), 0), "mac": (0, pytest.approx(5000 * 4.6e-6))}
    loihi = {name: snn for name, (snn, _) in PARTS["loihi1-davies2018"].items()}
    assert loihi == pytest.approx(
        {
            "synaptic_operation": 200 * 23.6e-6,
            "neuron_update": 15 * 81e-6,
            "inactive_update": 35 * 52e-6,
            "message": 20 * 1.7e-6,
        }
    )


def test_ranges_are_those_of_tables_of_the_same_thing() -> None:
    davies = TABLES["loihi1-davies2018"]
    assert price_range("synaptic_operation", davies, ALL, PARTS) == (1.0, pytest.approx(35.5 / 23.6), PUBLISHED)
    assert price_range("neuron_update", davies, ALL, PARTS) == (pytest.approx(72.8 / 81), 1.0, PUBLISHED)
    assert price_range("ac", TABLES["45nm-fp32"], ALL, PARTS) == (0.5, 1.5, ASSUMED)  # FP16 and INT8 are other things
    low, high, kind = price_range("access", JOINED, ALL, PARTS)
    own, half, line = (sum(PARTS[table.name]["access"]) for table in (JOINED, JOINED_32, LINE))
    assert half == pytest.approx(own / 2) and kind == PUBLISHED
    assert (low, high) == pytest.approx((min(half, line) / own, max(own, line) / own))


def test_one_price_alone_is_the_ratio_priced_anew() -> None:
    table = TABLES["45nm-fp32"]
    ranges = {name: price_range(name, table, ALL, PARTS) for name in PARTS[table.name]}
    low, high, moved = moved_prices(PARTS[table.name], ranges)
    for one in moved:
        anew = []
        for factor in (one.low, one.high):
            names = ("mac", "dense_mac") if one.price == "mac" else (one.price,)
            prices = {key: price * (factor if key in names else 1) for key, price in table.prices_pj.items()}
            anew += [figure.ratio for figure in energies(COUNTS, [replace(table, prices_pj=prices)])]
        assert (one.ratio_low, one.ratio_high) == pytest.approx((min(anew), max(anew)))
    (figure,) = energies(COUNTS, [table])
    assert figure.ratio is not None and low < figure.ratio < high
    assert moved_prices(PARTS[table.name], ranges)[:2] == (low, high)  # the same draws every time


def test_all_prices_together_against_the_exact_distribution() -> None:
    """The quotient of two independent uniforms of 0.5 to 1.5: its 2.5 % point q has P = (1.5 q - 0.5)^2 / (2 q)."""
    low, high, _ = moved_prices({"a": (1.0, 0.0), "b": (0.0, 1.0)}, dict.fromkeys("ab", (0.5, 1.5, ASSUMED)))
    assert (1.5 * low - 0.5) ** 2 / (2 * low) == pytest.approx(0.025, abs=0.004)
    assert high == pytest.approx(1 / low, rel=0.05)  # the inverse has the same distribution


def test_a_price_that_both_sides_pay_moves_once_and_others_each_alone() -> None:
    ranges = {"same": (0.5, 1.5, ASSUMED), "mine": (0.5, 1.5, ASSUMED), "theirs": (1.0, 1.0, PUBLISHED)}
    assert ratio_interval({"same": 6.0}, {"same": 2.0}, ranges) == pytest.approx((3, 3))
    assert ratio_interval({"mine": 6.0}, {"theirs": 2.0}, ranges) == pytest.approx((3 * 0.525, 3 * 1.475), rel=0.02)
    low, high = ratio_interval({"mine": 1.0}, {"same": 1.0}, ranges)
    assert (1.5 * low - 0.5) ** 2 / (2 * low) == pytest.approx(0.025, abs=0.004) and high > 1 / low * 0.95


def test_prices_that_move_both_alike_change_no_ratio() -> None:
    low, high, (moved,) = moved_prices({"access": (2.0, 6.0)}, {"access": (0.5, 3.0, PUBLISHED)})
    assert (low, high, moved.ratio_low, moved.ratio_high) == pytest.approx((3, 3, 3, 3))


def test_samples_add_up_and_spread() -> None:
    rng = np.random.default_rng(0)
    nodes: dict[str, nir.NIRNode] = {"fc": nir.Linear(weight=rng.normal(size=(6, 5))), "last": lif(6)}
    graph = chain((5,), nodes, (6,))
    frames = rng.integers(0, 3, (4, 8, 5))
    frames[0] = frames[0] > 0  # one sample of spikes: alone it would be additions
    trace = reference.run(graph, frames)
    counts = count(graph, trace)
    each = [counts_of(Counting(graph), trace, i, counts) for i in range(4)]
    assert counts[0].acs == 0 and each[0][0].acs == 0 < each[0][0].macs
    for key in ("acs", "macs", "spikes", "synops", "active_updates"):
        alone = sum(getattr(layer, key) or 0 for layers in each for layer in layers)
        assert alone == sum(getattr(layer, key) or 0 for layer in counts)
    by_table = {row.table: row for row in uncertainties(graph, trace, counts, ALL)}
    macs = [sum_up(layers).macs * 4.6e-6 for layers in each]
    row = by_table["45nm-fp32"]
    assert row.snn_uj_std == pytest.approx(statistics.stdev(macs)) and row.ann_uj_std == 0
    assert (row.ratio_low, row.ratio_high) == pytest.approx((row.ratio, row.ratio))  # one price, of both
    assert by_table["loihi1-davies2018"].ratio is None and by_table["loihi1-davies2018"].prices == ()
    (alone,) = uncertainties(graph, trace.rows([1]), count(graph, trace.rows([1])), [TABLES["45nm-fp32"]])
    assert alone.snn_uj_std is None
