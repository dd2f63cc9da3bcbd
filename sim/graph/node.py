"""One node of an executable graph."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from neurotarget.errors import UserError


class GraphError(UserError):
    """A NIR file that cannot be run: the message names the node, what was found and what is supported."""


@dataclass(frozen=True, eq=False)
class Node:
    """One operation.

    Attributes:
        name: path of the layer, as in PyTorch's `named_modules()` when we wrote the file.
        kind: a name of `kinds.KINDS`.
        sources: nodes whose outputs are summed at the input.
        roles: for gate and attention, the sources of each named input; `sources` is then their concatenation.
        parameters: arrays are float64; neuron parameters are broadcast to `output_shape`.
        layer: of which layer it is a part, where the file says so.
        reset: of a neuron that resets, one of `RESETS`; empty until `load` has settled it.
    """

    name: str
    kind: str
    sources: tuple[str, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    roles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    input_shape: tuple[int, ...] = ()
    output_shape: tuple[int, ...] = ()
    layer: str = ""
    reset: str = ""

    @property
    def neurons(self) -> int:
        return math.prod(self.output_shape)

    @property
    def subtracts(self) -> bool:
        """Whether a spike takes the threshold off the potential, at once or a step later, and nothing else of it."""
        return self.reset.startswith("subtract")
