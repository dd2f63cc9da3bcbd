"""What each axis of a tensor is while a network is followed: steps, samples, both in one, or a feature.

PyTorch's tensors do not say which of their axes is time. A network is followed with known sizes, and every change of
shape that a forward pass makes is read as a statement about these four kinds of axis.
"""

from __future__ import annotations

from collections.abc import Sequence

from neurotarget.errors import UserError

STEPS, SAMPLES, BOTH, FEATURE = "steps", "samples", "steps and samples", "feature"
Axes = tuple[str, ...]


class AxesError(UserError):
    """A shape that cannot be told: the message says what was done to which axes."""


def leading(axes: Axes) -> Axes:
    """The axes that are no features."""
    return tuple(axis for axis in axes if axis != FEATURE)


def features(axes: Axes, shape: Sequence[int]) -> tuple[int, ...]:
    """The sizes of the features.

    Raises:
        AxesError: a feature stands before the steps or the samples.
    """
    first = len(leading(axes))
    if FEATURE in axes[:first]:
        raise AxesError(f"the axes are {', '.join(axes)}; steps and samples must come before the features")
    return tuple(shape[first:])


def reshaped(axes: Axes, old: Sequence[int], new: Sequence[int]) -> Axes:
    """The axes after a tensor of shape `old` was viewed as `new`.

    Axes are matched from the left by the products of their sizes: a run of old axes with the product of a run of new
    ones has become these.

    Raises:
        AxesError: steps or samples were mixed with features.
    """
    result: list[str] = []
    for before, after in _runs(old, new):
        kinds = [axes[i] for i in before]
        if all(kind == FEATURE for kind in kinds):
            result += [FEATURE] * len(after)
        elif len(kinds) == len(after) == 1:
            result += kinds
        elif kinds == [STEPS, SAMPLES] and len(after) == 1:
            result += [BOTH]
        elif kinds == [BOTH] and len(after) == 2:
            result += [STEPS, SAMPLES]
        else:
            raise AxesError(f"axes {', '.join(kinds)} of sizes {[old[i] for i in before]} became {list(after)}")
    return tuple(result)


def _runs(old: Sequence[int], new: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Pairs of (indices of old axes, sizes of new ones) with equal products; axes of size 1 join the run before."""
    runs: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(old) and j < len(new):
        before, after, left, right = [i], [new[j]], old[i], new[j]
        i, j = i + 1, j + 1
        while left != right:
            if left < right and i < len(old):
                before, left, i = [*before, i], left * old[i], i + 1
            elif right < left and j < len(new):
                after, right, j = [*after, new[j]], right * new[j], j + 1
            else:
                raise AxesError(f"shape {list(old)} became {list(new)}")
        runs.append((before, after))
    if runs:
        runs[-1][0].extend(range(i, len(old)))  # what is left has size 1
        runs[-1][1].extend(new[j:])
    return runs
