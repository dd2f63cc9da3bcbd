"""How far a ratio moves when prices move within what is published for them, and energies from utterance to utterance.

An energy is linear in its prices, so that its part of one price is the energy with all others at zero. A price has the
range from the lowest to the highest that the tables of the same thing publish for it; where there is one figure alone,
half of it to one and a half, as Z. Yan, Z. Bai, K. Tang, W.-F. Wong (arXiv 2409.08290) vary theirs. What an access to
memory costs moves as one factor for all memories.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from neurotarget.hardware.counts.layers import LayerCount, layer_counts
from neurotarget.hardware.counts.tallies import Counting
from neurotarget.hardware.energy.figure import EnergyFigure
from neurotarget.hardware.energy.memory import energies
from neurotarget.hardware.energy.prices import PriceTable
from neurotarget.sim.graph import Graph
from neurotarget.sim.trace import Trace

PUBLISHED, ASSUMED = "published", "assumed"
ASSUMED_RANGE = (0.5, 1.5)  # of a price with a single published figure
ACCESS = "access"
DRAWS, SEED = 10_000, 0
SAMPLES = 50  # counted one by one for the spread: each takes a pass over the network
INTERVAL = (2.5, 97.5)  # per cent of the draws

Range = tuple[float, float, str]  # lowest and highest factor of a price, and where they come from
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class PriceParts:
    """What each price makes of a run's energies, and how far it may move; by table and price.

    Attributes:
        uj: microjoule per inference of the spiking and of the dense network.
        ranges: of the prices.
    """

    uj: Mapping[str, Mapping[str, tuple[float, float]]]
    ranges: Mapping[str, Mapping[str, Range]]


NO_PARTS = PriceParts({}, {})


@dataclass(frozen=True)
class PriceMoved:
    """One price, moved through its range while the others stay.

    Attributes:
        price: as in the price table, or `access`.
        low, high: of the range, as factors of the price.
        range_kind: `published`: between tables of the same thing; `assumed`: half to one and a half.
        ratio_low, ratio_high: of dense over spiking, at the ends of the range.
    """

    price: str
    low: float
    high: float
    range_kind: str
    ratio_low: float
    ratio_high: float


@dataclass(frozen=True)
class Uncertainty:
    """How sure the energies and the ratio of one price table are.

    Attributes:
        table, title, boundary: of the prices.
        snn_uj_std, ann_uj_std, ratio_std: standard deviation from sample to sample, over the first 50; `null` for one
            sample, and where there is no such energy in each.
        ratio: dense over spiking; `null` where one is missing or zero.
        ratio_low, ratio_high: 95 % of 10,000 draws of all prices at once, each from its range, lie between them.
        prices: each price alone, widest first.
    """

    table: str
    title: str
    boundary: str
    snn_uj_std: float | None
    ann_uj_std: float | None
    ratio_std: float | None
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    prices: tuple[PriceMoved, ...]


def uncertainties(
    graph: Graph, trace: Trace, counts: Sequence[LayerCount], tables: Sequence[PriceTable]
) -> list[Uncertainty]:
    """One per table, of a run and its counts."""
    figures = energies(counts, tables)
    parts = price_parts(counts, tables)
    counting = Counting(graph)  # one for all: each holds the network in double precision
    each = [energies(counts_of(counting, trace, i, counts), tables) for i in range(min(trace.samples, SAMPLES))]
    found = []
    for i, figure in enumerate(figures):
        mine = [rows[i] for rows in each]
        low, high, moved = None, None, list[PriceMoved]()
        if figure.ratio is not None:
            low, high, moved = moved_prices(parts.uj[figure.table], parts.ranges[figure.table])
        found.append(
            Uncertainty(
                table=figure.table,
                title=figure.title,
                boundary=figure.boundary,
                snn_uj_std=_spread(mine, "snn_uj"),
                ann_uj_std=_spread(mine, "ann_uj"),
                ratio_std=_spread(mine, "ratio"),
                ratio=figure.ratio,
                ratio_low=low,
                ratio_high=high,
                prices=tuple(moved),
            )
        )
    return found


def _spread(figures: Sequence[EnergyFigure], key: str) -> float | None:
    values = [getattr(figure, key) for figure in figures]
    return float(np.std(values, ddof=1)) if len(values) > 1 and None not in values else None


def counts_of(counting: Counting, trace: Trace, sample: int, whole: Sequence[LayerCount]) -> list[LayerCount]:
    """One sample's counts; whether a layer adds or multiplies is decided by the whole run, as its hardware would be."""
    found = []
    for layer, all_samples in zip(layer_counts(counting, counting(trace.rows([sample]))), whole, strict=True):
        if not all_samples.acs or not all_samples.macs:
            acs = layer.synops if all_samples.acs else 0
            layer = replace(layer, acs=acs, macs=layer.synops - acs)
        found.append(layer)
    return found


def price_parts(counts: Sequence[LayerCount], tables: Sequence[PriceTable]) -> PriceParts:
    """Of a run's counts under each table."""
    uj = {table.name: shares(counts, table) for table in tables}
    ranges = {
        table.name: {price: price_range(price, table, tables, uj) for price in uj[table.name]} for table in tables
    }
    return PriceParts(uj, ranges)


def shares(counts: Sequence[LayerCount], table: PriceTable) -> dict[str, tuple[float, float]]:
    """What each price makes of both networks' energies, spiking and dense, in microjoule; they add up to all of it."""
    alone = each_price_alone(table)
    rows = energies(counts, list(alone.values()))
    return {price: (row.snn_uj or 0.0, row.ann_uj or 0.0) for price, row in zip(alone, rows, strict=True)}


def each_price_alone(table: PriceTable) -> dict[str, PriceTable]:
    """The table with all other prices at zero, by price.

    `mac` and `dense_mac` are one operation where a table has one figure for both, and are then one price, `mac`.
    """
    prices = dict(table.prices_pj)
    groups: dict[str, tuple[str, ...]] = {name: (name,) for name in prices}
    if "mac" in prices and prices.get("dense_mac") == prices["mac"]:
        groups["mac"] = ("mac", "dense_mac")
        del groups["dense_mac"]
    free = tuple((size, 0.0) for size, _ in table.access_pj)
    tables = {
        price: replace(table, prices_pj={key: prices[key] if key in names else 0.0 for key in prices}, access_pj=free)
        for price, names in groups.items()
    }
    if table.prices_memory:
        tables[ACCESS] = replace(table, prices_pj=dict.fromkeys(prices, 0.0))
    return tables


def price_range(
    name: str, table: PriceTable, tables: Sequence[PriceTable], parts: Mapping[str, Mapping[str, tuple[float, float]]]
) -> Range:
    """Lowest and highest factor of a price, and where they come from.

    Args:
        parts: of every table, for what its accesses take.
    """
    if name == ACCESS:
        own = sum(parts[table.name][ACCESS])
        others = [sum(parts[other.name][ACCESS]) for other in tables if _same_thing(other, table)]
    else:
        own = table.prices_pj[name]
        others = [other.prices_pj[name] for other in tables if _same_thing(other, table) and name in other.prices_pj]
    low, high = (min(others) / own, max(others) / own) if own else (1.0, 1.0)
    return (low, high, PUBLISHED) if low < high else (*ASSUMED_RANGE, ASSUMED)


def _same_thing(one: PriceTable, other: PriceTable) -> bool:
    """Tables of one device or kind of arithmetic: what their titles say before the first comma, in one precision."""
    things = [(table.group, table.title.partition(",")[0], table.precision) for table in (one, other)]
    return things[0] == things[1]


def moved_prices(
    parts: Mapping[str, tuple[float, float]], ranges: Mapping[str, Range]
) -> tuple[float, float, list[PriceMoved]]:
    """The interval of dense over spiking with all prices drawn at once, and each price alone.

    Args:
        parts: price -> microjoule of the spiking and of the dense network.
        ranges: price -> lowest and highest factor, where they come from.
    """
    of_snn, of_ann = ({price: part[side] for price, part in parts.items()} for side in (0, 1))
    low, high = ratio_interval(of_ann, of_snn, ranges)
    amounts = np.array(list(parts.values()))  # [prices, 2]
    moved = []
    for i, name in enumerate(parts):
        alone = np.ones((2, len(parts)))
        alone[:, i] = ranges[name][:2]
        snn, ann = (alone @ amounts).T
        moved.append(PriceMoved(name, *ranges[name], float(min(ann / snn)), float(max(ann / snn))))
    moved.sort(key=lambda one: one.ratio_low / one.ratio_high)
    return low, high, moved


def ratio_interval(
    over: Mapping[Key, float], under: Mapping[Key, float], ranges: Mapping[Key, Range]
) -> tuple[float, float]:
    """Where 95 % of the draws of a ratio of two energies lie; a price that both sides pay is drawn once for both.

    Args:
        over, under: price -> microjoule of each side.
        ranges: of every price.
    """
    prices = list(dict.fromkeys([*under, *over]))
    amounts = np.array([[side.get(price, 0.0) for side in (over, under)] for price in prices])  # [prices, 2]
    low, high = (np.array([ranges[price][end] for price in prices]) for end in (0, 1))
    above, below = (np.random.default_rng(SEED).uniform(low, high, (DRAWS, len(prices))) @ amounts).T
    ends = np.percentile(above / below, INTERVAL)
    return float(ends[0]), float(ends[1])
