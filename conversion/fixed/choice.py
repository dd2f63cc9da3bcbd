"""What calibration chooses between, what it has chosen, and why it cannot."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from neurotarget.conversion.fixed import rounding
from neurotarget.conversion.fixed.merit import Merit
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
class Setting:
    """One way to write a group in integers.

    Attributes:
        ratio: largest weight kept, as a share of the largest.
        exponent: weight exponent of the synapse with the largest weights, or bits of fraction of a rotary.
        compensate: spread what a weight loses over the others, where the inputs are known to go together.
        nearest: round the threshold to the nearest integer instead of towards the file's rule.
        shortened: where a weight exponent would be negative, which floors sums, weights of fewer bits instead.
    """

    ratio: float
    exponent: int
    compensate: bool = True
    nearest: bool = False
    shortened: bool = False


@dataclass(frozen=True)
class Choice:
    """What was chosen for one group, with its own disagreement given the float network's inputs.

    Attributes:
        exponents: weight exponent (of a rotary bits of fraction) by synapse.
        lost: by synapse, the root mean square of what its current loses to the steps, as a share of that of the
            current; 0 where it is too small to matter to any neuron.
        decay_error: largest relative error of the share of u or v that the neurons lose each step.
    """

    group: Group
    scale: float
    exponents: Mapping[str, int]
    clip_ratio: float
    weights: int
    clipped: int
    zeroed: int
    peak_u: int
    peak_v: int
    mismatched: int
    merit: Merit
    lost: Mapping[str, float] = field(default_factory=dict)
    decay_error: float = 0.0

    def with_decay_errors(self, errors: Mapping[str, float]) -> Choice:
        """The choice with the largest error of its neurons."""
        return replace(self, decay_error=max((errors.get(name, 0.0) for name in self.group.neurons), default=0.0))


@dataclass(frozen=True)
class Candidate:
    """Integers of one group, not yet judged.

    Attributes:
        left: by synapse, what of its bias the neurons hold, in real units.
    """

    scale: float
    setting: Setting
    nodes: Mapping[str, Node]
    fixed: Mapping[str, dict[str, Any]]
    rounded: tuple[rounding.Rounded, ...]
    left: Mapping[str, np.ndarray]
    fits: bool

    def has_weights_of(self, other: Candidate) -> bool:
        """Whether its synapses send the same; of two candidates of one group."""
        return self.scale == other.scale and all(map(operator.is_, self.rounded, other.rounded))

    def has_integers_of(self, other: Candidate) -> bool:
        """Whether nothing differs but how it was rounded: the thresholds are the same, too."""
        return self.has_weights_of(other) and all(
            keys.get("vth") == other.fixed[name].get("vth") for name, keys in self.fixed.items()
        )
