"""NIR files as graphs that are known to run: `load` opens one."""

from neurotarget.sim.graph.load import Graph, load
from neurotarget.sim.graph.node import GraphError, Node

__all__ = ["Graph", "GraphError", "Node", "load"]
