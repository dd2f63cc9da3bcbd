"""Price tables: what one operation costs, by whom, under which conditions, and how good the evidence is.

A table is a TOML file. Those in `prices/` ship with the package; a user adds a file of the same form. An unknown key is
an error and so is a table without a source or a grade: a price of unknown origin is not a price. A table that prices an
access to memory is one of the boundary "memory", every other one of the boundary "operations". What hardware.measure
wrote about a device gives tables too.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurotarget.hardware.meters import device_file
from neurotarget.hardware.meters.windows import Measurement

from neurotarget import kinds, tables
from neurotarget.errors import UserError
from neurotarget.tables import table, text

SHIPPED = Path(__file__).parent / "prices"
MEASURED = Path(__file__).parents[2] / "docs" / "measured"  # of a checkout
MEASURED_GPU, GPU_FLOOR = "GPU, measured", "GPU floor"
GRADES = ("measured", "simulated", "derived", "second-hand")
PRICES = ("ac", "mac", "dense_mac", "synaptic_operation", "neuron_update", "inactive_update", "spike", "message")
LARGEST_BYTES = 1e18  # of a memory: beyond it two sizes a byte apart are one number
PJ_PER_UJ = 1e6
LARGEST_PJ = 1e12  # a joule: no operation takes more, and what is above is a slip of the unit


class PriceError(UserError):
    """A price table that cannot be used: the message names the file, the key and what is expected."""


@dataclass(frozen=True)
class PriceTable:
    """One table; `docs/energy.md` documents the file.

    Attributes:
        name: the file's name without its ending.
        group: tables of one group price the same kind of machine.
        prices_pj: operation -> energy in pJ, a subset of `PRICES`.
        checked: what the numbers were compared with, empty when with nothing.
        precision: of the arithmetic, such as `FP32`; empty where it is not said.
        integer_payload: how an integer payload is priced: as a MAC, as that many unit spikes, or as one operation on
            hardware that sends graded spikes.
        access_pj: energy of one 32-bit access in pJ by the size of the memory in bytes, points from 0 bytes up; between
            them it is linear and beyond the last the last slope goes on. Empty in a table without memory.
    """

    name: str
    title: str
    group: str
    node: str
    conditions: str
    source: str
    grade: str = text(one_of=GRADES)
    prices_pj: Mapping[str, float] = table(keys=PRICES, above=0, at_most=LARGEST_PJ)
    checked: str = ""
    precision: str = ""
    integer_payload: str = text("mac", one_of=("mac", "unary", "graded"))
    access_pj: tuple[tuple[float, float], ...] = ()

    @property
    def prices_memory(self) -> bool:
        return bool(self.access_pj)

    @property
    def prices_spiking(self) -> bool:
        return "ac" in self.prices_pj or "synaptic_operation" in self.prices_pj

    @property
    def prices_dense(self) -> bool:
        return "dense_mac" in self.prices_pj


def load_table(path: str | Path) -> PriceTable:
    """Reads one table.

    Raises:
        PriceError: the file is missing or damaged, a key is unknown or missing, or a price is not a number above 0.
    """
    path = Path(path)
    read = tables.read(path, kinds.PRICES, PriceError)
    access = _checked_access(path, read.pop("access_pj")) if "access_pj" in read else ()
    found = tables.fill(PriceTable, read, str(path), PriceError, name=path.stem, access_pj=access)
    prices = found.prices_pj
    if not prices:
        raise PriceError(f"{path}: no prices; give some of {', '.join(PRICES)} under [prices_pj]")
    if "mac" in prices and "ac" not in prices:
        raise PriceError(f"{path}: a price for mac needs one for ac; price a network that is not spiking by dense_mac")
    if "inactive_update" in prices and "neuron_update" not in prices:
        raise PriceError(f"{path}: a price for inactive_update needs one for neuron_update")
    if access and set(prices) != {"ac", "mac"}:
        raise PriceError(f"{path}: a table with access_pj prices ac and mac, both and nothing else, for both networks")
    if access and found.integer_payload != "mac":
        raise PriceError(
            f"{path}: integer_payload {found.integer_payload!r} with access_pj; with memory a payload is a MAC, leave "
            "it out"
        )
    return found


def _checked_access(path: Path, raw: Any) -> tuple[tuple[float, float], ...]:
    what = "access_pj is a list of [bytes of memory, pJ per access], from 0 up, a byte or more apart, that never falls"
    if not isinstance(raw, list) or len(raw) < 2:
        raise PriceError(f"{path}: {what}; at least two points are needed")
    for point in raw:
        if not isinstance(point, list) or len(point) != 2:
            raise PriceError(f"{path}: {what}, not {tables.shown(point)}")
        for value in point:
            if type(value) not in (int, float) or not 0 <= value < LARGEST_BYTES:
                raise PriceError(f"{path}: {what}, not {tables.shown(point)}")
        if point[1] > LARGEST_PJ:
            raise PriceError(f"{path}: access_pj {point!r}; an access costs at most {LARGEST_PJ:g} pJ")
    points = tuple((float(size), float(energy)) for size, energy in raw)
    for (size, energy), (next_size, next_energy) in itertools.pairwise(points):
        if next_size < size + 1 or next_energy < energy:
            raise PriceError(f"{path}: {what}, not {[next_size, next_energy]} after {[size, energy]}")
    if points[0][0] or not points[-1][1]:
        raise PriceError(f"{path}: {what}, and costs something in the end")
    return points


def measured_tables(path: str | Path) -> list[PriceTable]:
    """The price of a multiplication on a device that was measured, alone and in batches; none without energies.

    Of the network that does not spike, or else of the spiking one, which PyTorch multiplies densely; of the faithful
    setting that takes least: energy per inference above idle over multiplications per inference.

    Raises:
        DeviceFileError, PriceError: the file is missing, damaged, or holds what cannot be.
    """
    found = device_file.load(path)
    rival = next((network for network in found.networks if not network.spiking), next(iter(found.networks), None))
    rows = [row for row in found.rows if rival and row.network == rival.name and row.faithful]
    result = []
    for words, ending, of in (
        ("batch 1", "batch-1", lambda row: row.batch_1),
        ("saturated", "saturated", lambda row: row.best_batch),
    ):
        known = [(row, of(row)) for row in rows if of(row) and (of(row).dynamic_uj or 0) > 0]
        if not known or rival is None:
            continue
        row, least = min(known, key=lambda pair: pair[1].dynamic_uj)
        price_pj = least.dynamic_uj * PJ_PER_UJ / rival.macs
        if price_pj > LARGEST_PJ:
            raise PriceError(
                f"{path}: {rival.name}: {price_pj:.3g} pJ per multiplication; at most {LARGEST_PJ:g} is one"
            )
        result.append(
            PriceTable(
                name=f"measured-{found.slug}-{ending}",
                title=f"{found.device}, measured, {words}",
                group=MEASURED_GPU if found.device_class == device_file.GPU else "processor, measured",
                node="as measured",
                precision=row.precision,
                conditions=_conditions(rival, row, least),
                source=f"hardware.measure on {found.device}, {found.date}: {found.meter} ({Path(path).name})",
                grade="measured",
                prices_pj={"dense_mac": price_pj},
            )
        )
    return result


def _conditions(rival: device_file.MeasuredNetwork, row: device_file.MeasuredRow, least: Measurement) -> str:
    return (
        f"{rival.name}, {rival.macs:.3g} multiplications per inference, {row.way}, batches of {least.batch}: "
        f"{least.total_uj:.3g} uJ per inference, of which {least.dynamic_uj:.3g} above idle are priced. It holds for "
        "networks of this size: at batch 1 starting kernels costs more than computing."
    )


def with_measured(extra: Iterable[str | Path] = ()) -> list[Path]:
    """The user's tables, after what was measured on devices and lies in the checkout's docs/measured."""
    given = [Path(path) for path in extra]
    known = {path.resolve() for path in given}
    return [*(path for path in sorted(MEASURED.glob("*.json")) if path.resolve() not in known), *given]


def load_tables(extra: Iterable[str | Path] = ()) -> list[PriceTable]:
    """The tables that ship with the package, by group, and then the user's; a `.json` is what hardware.measure wrote.

    Raises:
        PriceError: a table is not valid, or two have the same name or title.
        DeviceFileError: a measured device's file is not.
    """
    shipped = [load_table(path) for path in SHIPPED.glob("*.toml")]
    shipped.sort(key=lambda table: (ORDER.index(table.group), table.name))
    found = shipped
    for path in map(Path, extra):
        found += measured_tables(path) if path.suffix == ".json" else [load_table(path)]
    names, titles = [table.name for table in found], [table.title for table in found]
    for name, title in zip(names, titles, strict=True):
        if names.count(name) > 1:
            raise PriceError(f"two price tables are called {name!r}; rename one file")
        if titles.count(title) > 1:
            raise PriceError(
                f"two price tables have the title {title!r}; change it in one, so that a report tells which"
            )
    return found


ORDER = (
    "arithmetic",
    "Loihi 1",
    "SpiNNaker",
    "other chips, marginal",
    "conventional processor, dense",
    GPU_FLOOR,
    "memory included",
)
