"""The network between PyTorch and NIR: a flat list of layers with their wiring, in double precision.

network.py fills it by the rules of layers and neurons, fold.py rewrites it, emit.py writes it as NIR.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from neurotarget.errors import UserError


class UnsupportedModule(UserError):
    """A layer that cannot be converted: the message names it, what was found, what is supported and what to do."""


class WrongAxes(UnsupportedModule):
    """Frames were handed over in a way that the network does not take: steps, samples and features are mixed up."""


@dataclasses.dataclass(frozen=True, eq=False)
class Layer:
    """One layer.

    Attributes:
        name: path of the module in `named_modules()`.
        kind: a key of `emit.NODES`; or `batch_norm`, `part`, `temporal_conv`: fold.py or emit.py make others of them.
        sources: layers whose outputs are summed at the input; by role for gate and attention.
        parameters: arrays are float64.
        shape: of the output, without samples and steps.
    """

    name: str
    kind: str
    sources: tuple[str, ...]
    shape: tuple[int, ...]
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    roles: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def changed(self, **parameters: Any) -> Layer:
        return dataclasses.replace(self, parameters={**self.parameters, **parameters})


class Draft:
    """Layers by name, in the order in which they were added."""

    def __init__(self) -> None:
        self.layers: dict[str, Layer] = {}
        self.potentials: Mapping[str, str] = {}  # neurons of which the output is a state, not spikes: its name
        self.notes: list[str] = []  # sentences for the user
        self.roles: Mapping[str, tuple[str, ...]] = {}  # of the layer that is drafted now: what feeds each role

    def add(self, layer: Layer) -> tuple[str, ...]:
        """Adds a layer and gives what its readers name as their source."""
        self.layers[layer.name] = layer
        return (layer.name,)

    def shape(self, sources: tuple[str, ...]) -> tuple[int, ...]:
        return self.layers[sources[0]].shape

    def readers(self, name: str) -> list[Layer]:
        return [layer for layer in self.layers.values() if name in layer.sources]

    def bypass(self, name: str) -> None:
        """Removes a layer of one input: its readers read its source."""
        (source,) = self.layers.pop(name).sources
        for reader in self.readers(name):
            sources = tuple(source if s == name else s for s in reader.sources)
            roles = {role: source if s == name else s for role, s in reader.roles.items()}
            self.layers[reader.name] = dataclasses.replace(reader, sources=sources, roles=roles)

    def rename_source(self, old: str, new: tuple[str, ...]) -> None:
        """What read `old` reads `new`."""
        for reader in self.readers(old):
            sources = tuple(dict.fromkeys(n for s in reader.sources for n in (new if s == old else (s,))))
            self.layers[reader.name] = dataclasses.replace(reader, sources=sources)

    def replace_before(self, name: str, new: Layer) -> None:
        """Puts `new`, wired as it is, in front of a layer in the order."""
        ordered: dict[str, Layer] = {}
        for layer in self.layers.values():
            if layer.name == name:
                ordered[new.name] = new
            ordered[layer.name] = layer
        self.layers = ordered

    def insert_before(self, name: str, new: Layer) -> None:
        """Puts `new` between a layer and its sources."""
        inserted: dict[str, Layer] = {}
        for layer in self.layers.values():
            if layer.name == name:
                inserted[new.name] = dataclasses.replace(new, sources=layer.sources)
                layer = dataclasses.replace(layer, sources=(new.name,))
            inserted[layer.name] = layer
        self.layers = inserted


def array(tensor: Any) -> np.ndarray:
    """A tensor as float64."""
    return np.asarray(tensor.detach().cpu().double().numpy())
