"""Loops as machine code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`numba.njit(parallel=True)`; what it compiles is kept for the next process, where there is a place for it."""
    try:
        return numba.njit(parallel=True, cache=True)(function)
    except RuntimeError:  # neither the installed package nor the user's cache can be written to
        return numba.njit(parallel=True)(function)
