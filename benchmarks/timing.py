"""How two functions are timed side by side."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from tqdm import tqdm

REST_SECONDS = 0.02


def alternate(repeats: int, first: Callable[[], object], second: Callable[[], object]) -> tuple[float, float]:
    """Median seconds of two functions that take turns, after one unmeasured call of each.

    Each starts after a rest: threads of OpenMP, torch's among them, spin for some milliseconds after their last work,
    and whoever comes next would share a core with them.
    """
    seconds: tuple[list[float], list[float]] = ([], [])
    for function in (first, second):
        function()
    for _ in tqdm(range(repeats), desc="alternating", disable=None):
        for function, list_ in zip((first, second), seconds, strict=True):
            time.sleep(REST_SECONDS)
            started = time.perf_counter()
            function()
            list_.append(time.perf_counter() - started)
    return statistics.median(seconds[0]), statistics.median(seconds[1])
