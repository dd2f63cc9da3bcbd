"""Lava back end: everything that imports lava runs in a child process.

`run` and `run_with_states` are the doors. The child imports this package too, with nothing but numpy and Lava
installed, so they and what they need (the graph, NIR) are imported when they are asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neurotarget.errors import UserError

if TYPE_CHECKING:
    from neurotarget.sim.lava.parent import run, run_with_states

__all__ = ["BUILDS", "FUSED", "PLAIN", "LavaError", "run", "run_with_states"]

BUILDS = PLAIN, FUSED = "plain", "fused"  # a Process a node, or one that hosts the models of all


class LavaError(UserError):
    """Lava cannot run this network, or its child process did not finish: one sentence that says why."""


def __getattr__(name: str) -> Any:
    if name in ("run", "run_with_states"):
        from neurotarget.sim.lava import parent

        return getattr(parent, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
