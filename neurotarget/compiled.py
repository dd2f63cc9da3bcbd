"""Loops as machine code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`numba.njit(parallel=True)`; what it compiles is kept for the next process, where there is a place for it."""
    return _kept(function, parallel=True)


def compiled_alone(function: Callable[..., Any]) -> Callable[..., Any]:
    """As `compiled`, for one thread: for loops so short that threads would take longer to meet than to work."""
    return _kept(function, parallel=False)


def _kept(function: Callable[..., Any], parallel: bool) -> Callable[..., Any]:
    try:
        return numba.njit(parallel=parallel, cache=True, nogil=True)(function)
    except RuntimeError:  # neither the installed package nor the user's cache can be written to
        return numba.njit(parallel=parallel, nogil=True)(function)
