"""How a figure is written for people: digits, ranges, spreads, shares, prefixes. Units stand behind, after a space."""

from __future__ import annotations

from collections.abc import Iterable

NONE = "–"
THIN_SPACE = "\u202f"  # narrow and without a line break: between groups of thousands
PREFIXES = ((1e9, " G"), (1e6, " M"), (1e3, " k"))


def rounded(value: float | None) -> str:
    """Three significant digits; whole from 100 up, a power of ten below 0.001; a dash for None."""
    if value is None:
        return NONE
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}".replace(",", THIN_SPACE)
    if abs(value) < 0.001:
        return f"{value:.2e}"
    return f"{value:.3g}"


def interval(values: Iterable[float | None]) -> str:
    """`lowest to highest`; one figure where both are written alike, a dash where there is none."""
    known = [value for value in values if value is not None]
    if not known:
        return NONE
    low, high = rounded(min(known)), rounded(max(known))
    return low if low == high else f"{low} to {high}"


def percent(share: float | None) -> str:
    """A share in per cent, three significant digits; a dash for None."""
    return NONE if share is None else f"{100 * share:.3g} %"


def plus_minus(value: float, deviation: float | None, digits: int, factor: float = 1.0) -> str:
    """`value ± deviation`, both times the factor, with so many digits; the value alone where there is no deviation."""
    return f"{factor * value:.{digits}f}" + ("" if deviation is None else f" ± {factor * deviation:.{digits}f}")


def prefixed(value: float) -> str:
    """A count with the prefix of its unit: `1.2 M`."""
    for size, prefix in PREFIXES:
        if abs(value) >= size:
            return f"{value / size:.3g}{prefix}"
    return f"{value:.3g}"
