"""Opens a NIR file from anywhere. A file is hostile until checked: what it declares is weighed before its data is read.

nir's own type check (1.0.8) is wrong for grouped and for non-square convolutions, so a file that it refuses is opened
without it and judged by `sim.graph.load`, which works out every shape itself. The check also adds an Output behind each
node that feeds nothing, which would make another network of the file: it is opened without it then, too.

An early exporter called a recurrent neuron by one name among the nodes and by another in the edges (the published
braille letters: node lif1.lif1, edges to lif1.lif). Where one node has no edges and the edges say one name too many,
they are one.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
from neurotarget.sim.graph.kinds import KINDS, RESETTING
from neurotarget.sim.graph.node import GraphError
from nir.serialization import try_byte_to_str

from neurotarget import kinds
from neurotarget.arrays import LARGEST_BYTES  # HDF5, too, packs terabytes of zeros into kilobytes
from neurotarget.heaps import endless_heap

MOST_OBJECTS = 2**17  # groups, arrays and strings; hard links can make more of them than a file has bytes
MOST_NODES = 2**12  # nir's type inference takes time with their square: a minute for so many
DEEPEST = 64  # groups within groups
PRIMITIVES = frozenset(name for name in nir.ir.__all__ if name not in ("NIRNode", "str2NIRNode", "dict2NIRNode"))
NO_NUMBERS = frozenset({"type", "metadata", "nodes", "edges", "padding"})  # padding may be a word
Members = dict[str, Any]  # of a group: arrays, and the members of groups
WITH_RESET = frozenset(name for kind in RESETTING for name in KINDS[kind].nir)


@dataclass(frozen=True, eq=False)
class NirFile:
    """A NIR graph, and what the file says or leaves out that the graph does not tell.

    Attributes:
        declared: node -> the shape that the file says its input has; of convolutions without the channels.
        notes: sentences for the user, about what was assumed.
        without_reset: neurons without `v_reset`.
    """

    graph: nir.NIRGraph
    declared: Mapping[str, tuple[int, ...]]
    notes: tuple[str, ...]
    without_reset: tuple[str, ...] = ()


def to_bytes(graph: nir.NIRGraph) -> bytes:
    """The NIR file of a graph, to be checked by `read` before it is written."""
    buffer = io.BytesIO()
    nir.write(buffer, graph)
    return buffer.getvalue()


def read(path: Path, content: bytes | None = None) -> NirFile:
    """Opens a NIR file.

    Args:
        content: what the file will hold, where it is not written yet.

    Raises:
        GraphError: it is missing, not HDF5, larger than this machine should unpack, or nothing that nir can open.
    """
    if content is None and not path.is_file():
        raise GraphError(f"{path}: no such file")
    if content is None and (mistake := kinds.mistaken(path, kinds.NIR)):
        raise GraphError(mistake)
    survey = _Survey(path)
    graph, refused, misnamed = None, "", dict[str, str]()
    try:
        with h5py.File(path if content is None else io.BytesIO(content), "r") as file:
            sizes = file.id.get_create_plist().get_sizes()
            if content is None and (fault := endless_heap(path, sizes[1])):
                raise GraphError(f"{path}: {fault}")
            content_of = _values(survey.visit(file, "", 0)["node"])
            try:
                graph = nir.dict2NIRNode(_copied(content_of) | {"type_check": True})  # as nir.read does
            except Exception as error:  # nir raises anything from KeyError to a bare AssertionError
                refused = (
                    f"nir's type check refuses {path} ({_reason(error)}); its shapes were worked out here and are "
                    "consistent"
                )
            if graph is None or _has_more_outputs(graph, content_of):
                misnamed = _name_as_the_edges(content_of)
                graph = nir.dict2NIRNode(_unchecked(content_of))
    except GraphError:
        raise
    except Exception as error:  # h5py raises OSError, RuntimeError, KeyError or ValueError on a damaged file
        raise GraphError(f"{path}: not a NIR file that can be run: {_reason(error)}") from error
    notes = [
        f"{path}: no edge names node {node}, and no node is called {name}, which edges name: taken for one and the same"
        for node, name in misnamed.items()
    ]
    return NirFile(
        graph,
        {misnamed.get(node, node): shape for node, shape in survey.declared.items()},
        tuple(notes or ([refused] if refused else [])),
        tuple(misnamed.get(node, node) for node in survey.without_reset),
    )


def _values(members: Members) -> dict[str, Any]:
    """What nir makes nodes of: the arrays and texts of a group and of those within it."""
    return {
        name: _values(member) if isinstance(member, dict) else try_byte_to_str(member[()])
        for name, member in members.items()
    }


def _copied(graph: Mapping[str, Any]) -> dict[str, Any]:
    """The same arrays in dictionaries of its own: nir changes those that it makes nodes of."""
    return {name: _copied(member) if isinstance(member, dict) else member for name, member in graph.items()}


def _name_as_the_edges(graph: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Gives a node without edges the one name that the edges say and no node has; changes the graph's dictionary.

    Returns:
        Path of such a node -> the path that it has now. Where several nodes or names could be meant, none is renamed.
    """
    nodes, renamed = graph["nodes"], dict[str, str]()
    said = {end.decode() if isinstance(end, bytes) else str(end) for edge in graph["edges"] for end in edge}
    unsaid, unknown = sorted(nodes.keys() - said), sorted(said - nodes.keys())
    if len(unsaid) == len(unknown) == 1 and nodes[unsaid[0]]["type"] != "NIRGraph":
        nodes[unknown[0]] = nodes.pop(unsaid[0])
        renamed[prefix + unsaid[0]] = prefix + unknown[0]
    for name, node in nodes.items():
        if node["type"] == "NIRGraph":
            renamed |= _name_as_the_edges(node, f"{prefix}{name}.")
    return renamed


def _unchecked(graph: Mapping[str, Any]) -> dict[str, Any]:
    """A graph as nir reads it from HDF5, with nir's type check turned off in nested graphs, too."""
    nodes = {name: _unchecked(node) if node["type"] == "NIRGraph" else node for name, node in graph["nodes"].items()}
    return {**graph, "nodes": nodes, "type_check": False}


def _has_more_outputs(graph: nir.NIRGraph, written: Mapping[str, Any]) -> bool:
    """Whether nir added an Output, behind a node that feeds nothing, to those that a graph or a nested one has."""
    kind = {name: node["type"] for name, node in written["nodes"].items()}
    nested = [name for name in kind if kind[name] == "NIRGraph"]
    outputs = sum(kind[name] == "Output" for name in kind)
    return 0 < outputs < len(graph.outputs) or any(
        _has_more_outputs(graph.nodes[name], written["nodes"][name]) for name in nested
    )


def _reason(error: Exception) -> str:
    text = str(error).split("\n")[0]
    return text if text and not isinstance(error, KeyError) else f"{type(error).__name__} {text}".strip()


@dataclass(eq=False)
class _Survey:
    """Walks a file as nir does, but reads no array, and adds up what reading would take."""

    path: Path
    objects: int = 0
    nodes: int = 0
    size: int = 0
    seen: set[int] = field(default_factory=set)
    declared: dict[str, tuple[int, ...]] = field(default_factory=dict)
    without_reset: list[str] = field(default_factory=list)

    def visit(self, group: h5py.Group, node: str, depth: int, is_node: bool = False) -> Members:
        """What one group holds.

        Args:
            node: dotted name of the NIR node that it belongs to.
            is_node: it is that node.
        """
        address = h5py.h5o.get_info(group.id).addr
        if depth > DEEPEST or address in self.seen:
            where = f"...{group.name[-40:]}" if len(group.name) > 40 else group.name
            raise GraphError(
                f"{self.path}: {where} is deeper than {DEEPEST} groups, or stands in two places of the file"
            )
        self.seen.add(address)
        members: Members = {}
        for name in group:
            self._count(1)
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise GraphError(f"{self.path}: {group.name}/{name} is a link to another place; arrays are expected")
            members[name] = group[name]
        if is_node:
            self._check_node(members, node)
        inside = group.name.endswith("/nodes")
        found: Members = {}
        for name, member in members.items():
            if isinstance(member, h5py.Dataset):
                self._weigh(member)
                if name in ("input_shape", "input_type") and member.size <= DEEPEST:
                    self.declared[node] = tuple(int(size) for size in np.atleast_1d(member[()]))
                found[name] = member
            elif isinstance(member, h5py.Group):
                inner = (f"{node}.{name}" if node else name) if inside else node
                found[name] = self.visit(member, inner, depth + 1, inside or member.name == "/node")
        return found

    def _weigh(self, array: h5py.Dataset) -> None:
        if array.is_virtual or array.external:
            raise GraphError(f"{self.path}: {array.name} keeps its values in another file")
        width = max(array.dtype.itemsize, 8)  # numbers become float64
        self.size += max(array.size, int(np.prod(array.chunks or (0,), dtype=float))) * width
        self._check_size(array)
        if array.dtype.hasobject:  # strings: their length stands with the data, and one may be repeated without end
            self._count(array.size)
            for place in np.ndindex(array.shape):
                self.size += len(array[place])
                self._check_size(array)

    def _count(self, more: int) -> None:
        self.objects += more
        if self.objects > MOST_OBJECTS:
            raise GraphError(f"{self.path}: it holds more than {MOST_OBJECTS} groups, arrays and strings")

    def _check_size(self, array: h5py.Dataset) -> None:
        if self.size > LARGEST_BYTES:
            raise GraphError(
                f"{self.path}: unpacked to float64 it takes more than {LARGEST_BYTES} bytes; {array.name} has shape "
                f"{array.shape}"
            )

    def _check_node(self, group: Members, name: str) -> None:
        """A node has a type that NIR knows and arrays of numbers; a graph has nodes and edges."""
        place = f"{self.path}: node {name}" if name else f"{self.path}: the graph"
        self.nodes += 1
        if self.nodes > MOST_NODES:
            raise GraphError(f"{self.path}: it holds more than {MOST_NODES} nodes")
        if not isinstance(group.get("type"), h5py.Dataset):
            raise GraphError(f"{place} has no type; a node's name must not hold a slash")
        kind = group["type"][()]
        kind = kind.decode(errors="replace") if isinstance(kind, bytes) else str(kind)
        if kind not in PRIMITIVES:
            raise GraphError(f"{place} has type {kind!r}, which is none of NIR's: {', '.join(sorted(PRIMITIVES))}")
        if kind == "NIRGraph":
            edges = group.get("edges")
            if not isinstance(group.get("nodes"), h5py.Group) or not isinstance(edges, h5py.Dataset):
                raise GraphError(f"{place} lacks its nodes or edges")
            if edges.size and (edges.shape[1:] != (2,) or edges.dtype.kind not in "OS"):
                raise GraphError(f"{place} has edges of shape {edges.shape}; pairs of names are expected")
        for key, array in group.items():
            numbers = isinstance(array, h5py.Dataset) and array.dtype.kind in "biuf"
            if key not in NO_NUMBERS and not numbers:
                raise GraphError(f"{place}: {key} is no array of real numbers")
        if kind in WITH_RESET and "v_reset" not in group:
            self.without_reset.append(name)
