"""How real-valued input becomes integers of 8 bits with sign."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from neurotarget.sim.graph.node import GraphError

INPUT_BITS = 8
CLIP_PERCENTILES = (100.0, 99.99, 99.9, 99.5, 99.0)


def grading(frames: np.ndarray, mask: np.ndarray) -> dict[str, Any]:
    """Scale and limits of the input: as it is where it fits, else by the scale of least error.

    Args:
        frames: [samples, steps, *features].
        mask: [samples, steps], true inside the windows.
    """
    low, high = -(1 << (INPUT_BITS - 1)), (1 << (INPUT_BITS - 1)) - 1
    inside = frames[mask].astype(np.float64)
    if not np.isfinite(inside).all():
        raise GraphError("the calibration input holds NaN or infinite values")
    limits = {"minimum": low, "maximum": high}
    if np.array_equal(inside, np.rint(inside)) and inside.min(initial=0) >= low and inside.max(initial=0) <= high:
        return {"scale": 1.0, **limits}

    def error(scale: float) -> float:
        return float(np.mean((np.clip(np.rint(inside / scale), low, high) * scale - inside) ** 2))

    return {"scale": min(_scales(inside, high), key=error), **limits}


def _scales(inside: np.ndarray, high: int) -> Iterator[float]:
    magnitude = np.abs(inside)
    for percentile in CLIP_PERCENTILES:
        if scale := float(np.percentile(magnitude, percentile)) / high:
            yield scale
