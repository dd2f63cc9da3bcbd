"""What calibration chooses between, what it has chosen, and why it cannot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from neurotarget.conversion.fixed import rounding
from neurotarget.conversion.fixed.units import Group
from neurotarget.sim.graph.node import Node

from neurotarget.errors import CheckFailed


class WrapAround(CheckFailed):
    """A layer whose states do not fit 24 bits: the message names it."""


@dataclass(eq=False)
class Integers:
    """The network under construction.

    Attributes:
        nodes: nodes whose parameters are integers.
        fixed: what the file's metadata will say, by node.
        unit: float value of one integer step, by node.
        choices: how each group came out.
    """

    nodes: dict[str, Node] = field(default_factory=dict)
    fixed: dict[str, dict[str, Any]] = field(default_factory=dict)
    unit: dict[str, float] = field(default_factory=dict)
    choices: list[Choice] = field(default_factory=list)


@dataclass(frozen=True)
class Choice:
    """What was chosen for one group, with its own spike disagreement given the float network's inputs."""

    group: Group
    scale: float
    weight_exp: int
    clip_ratio: float
    weights: int
    clipped: int
    zeroed: int
    peak_u: int
    peak_v: int
    mismatched: int
    error: float


@dataclass(frozen=True)
class Candidate:
    """Integers of one group, not yet judged."""

    scale: float
    weight_exp: int
    clip_ratio: float
    nodes: Mapping[str, Node]
    fixed: Mapping[str, dict[str, Any]]
    rounded: tuple[rounding.Rounded, ...]
    fits: bool
