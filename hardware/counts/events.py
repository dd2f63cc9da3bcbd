"""Events and their payloads: what arrives at a layer, and what it costs to take it in.

An event is a non-zero input at one step. Its payload is the number that it carries: 1 or -1 for a spike, a small
integer where spikes of several sources meet (a residual stream), a real number from log-mel input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

PAYLOADS = ("none", "spike", "integer", "real")


def payload_kind(values: np.ndarray) -> str:
    """`none` (no event), `spike` (all in -1, 0, 1), `integer` or `real`."""
    if values.dtype.kind not in "bui":
        if not np.any(values):
            return "none"
        if not np.array_equal(values, np.rint(values)):
            return "real"
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    if low == high == 0:
        return "none"
    return "spike" if low >= -1 and high <= 1 else "integer"


def widest(*kinds: str) -> str:
    return max(kinds, key=PAYLOADS.index)


@dataclass(frozen=True)
class Tally:
    """Synaptic operations under the three ways to price an integer payload.

    Attributes:
        payload: see `PAYLOADS`.
        operations: every event times its fan-out, whatever it carries.
        unit: of these, the operations of events that carry 1 or -1.
        unary: |payload| times fan-out: what n unit spikes instead of one event of n would cost. Zero when payloads are
            real, for which it is not defined.
    """

    payload: str = "none"
    operations: int = 0
    unit: int = 0
    unary: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            widest(self.payload, other.payload),
            self.operations + other.operations,
            self.unit + other.unit,
            self.unary + other.unary,
        )


def magnitudes(values: np.ndarray, payload: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Occupancy, unit occupancy and |payload| of values, all of the values' shape; exact in float64 or as bool."""
    if payload in ("none", "spike"):
        occupied = values != 0
        return occupied, occupied, occupied
    size = np.abs(values.astype(np.float64))
    # A real payload has no unary form; its sum would not be an integer.
    return size != 0, size == 1, size if payload == "integer" else np.zeros_like(size)


def exact(total: Any) -> int:
    """A sum of integers held in a float64 scalar, as an int.

    Raises:
        OverflowError: beyond 2^53 float64 skips integers.
    """
    if abs(total) >= 2**53:
        raise OverflowError(f"count {total:g} is beyond the exact integers of float64; count fewer samples at a time")
    return int(total)


def each(function: Callable[[np.ndarray], int], parts: Iterable[np.ndarray]) -> list[int]:
    """The function of each array, once where they are the same array: of spikes all three magnitudes are one."""
    done: dict[int, int] = {}
    result = []
    for part in parts:
        if id(part) not in done:
            done[id(part)] = function(part)
        result.append(done[id(part)])
    return result
