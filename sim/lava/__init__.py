"""Lava back end: everything that imports lava runs in a child process.

`run` is the door. The child imports this package too, with nothing but numpy and Lava installed, so `run` and what it
needs (the graph, NIR) are imported when they are asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sim.lava.parent import run

__all__ = ["LavaError", "run"]


class LavaError(RuntimeError):
    """Lava cannot run this network, or its child process did not finish: one sentence that says why."""


def __getattr__(name: str) -> Any:
    if name == "run":
        from sim.lava.parent import run

        return run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
