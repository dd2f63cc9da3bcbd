"""NIR files as graphs that are known to run: `load` opens one.

Its names are imported when they are asked for: commands need the words of dialect.py for `--help`, and no more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neurotarget.sim.graph.load import Graph, load
    from neurotarget.sim.graph.node import GraphError, Node

__all__ = ["Graph", "GraphError", "Node", "load"]


def __getattr__(name: str) -> Any:
    if name in ("Graph", "load"):
        from neurotarget.sim.graph.load import Graph, load

        return {"Graph": Graph, "load": load}[name]
    if name in ("GraphError", "Node"):
        from neurotarget.sim.graph import node

        return getattr(node, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
