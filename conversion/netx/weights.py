"""Weights of a synapse as NetX holds them: a matrix with delays or a kernel, in 8 bits, without an exponent."""

from __future__ import annotations

from typing import Any

import numpy as np
from neurotarget.sim.graph.node import GraphError, Node
from neurotarget.sim.reference.integer import lava_weights
from neurotarget.sim.reference.operations import Parameters


def kernel(node: Node, p: Parameters) -> tuple[np.ndarray, dict[str, Any]]:
    """Weights [outputs, inputs / groups, height, width] and geometry of a convolution over space."""
    geometry = {key: tuple(p[key]) for key in ("stride", "padding", "dilation")}
    weight = p["weight"]
    if node.kind == "conv1d":
        weight = weight[:, :, None]
        neutral = {"stride": 1, "padding": 0, "dilation": 1}
        geometry = {key: (neutral[key], *value) for key, value in geometry.items()}
    return weight, {**geometry, "groups": int(p["groups"])}


def matrix(node: Node, p: Parameters) -> tuple[np.ndarray, np.ndarray]:
    """Weights and delays [outputs, inputs] of a synapse that is not a convolution over space."""
    weight = p["weight"]
    if node.kind == "affine":
        return weight, np.zeros_like(weight)
    if node.kind == "scale":
        diagonal = np.diag(np.broadcast_to(weight, node.output_shape))
        return diagonal, np.zeros_like(diagonal)
    if p["look_ahead"]:
        raise GraphError(f"node {node.name}: looks ahead by {p['look_ahead']} steps; a chain of NetX cannot wait")
    used = weight != 0
    several = int(np.sum(used.sum(axis=-1) > 1))
    if several:
        raise GraphError(
            f"node {node.name}: {several} connections have weights at more than one delay; NetX has one per synapse"
        )
    delay = np.where(used.any(axis=-1), weight.shape[-1] - 1 - used.argmax(axis=-1), 0)
    total = weight.sum(axis=-1)
    return (total, delay) if node.kind == "temporal_conv" else (np.diag(total), np.diag(delay))


def folded(node: Node, weight: np.ndarray, exponent: int) -> np.ndarray:
    """Weights that need no exponent.

    `sum << e` is the sum of `w << e`; the floor of `sum >> e` is the sum of `w >> e` where each weight is a multiple of
    2^e.
    """
    scaled = weight << exponent if exponent > 0 else weight >> -exponent
    exact = exponent >= 0 or np.array_equal(scaled << -exponent, weight)
    if not exact or not np.array_equal(lava_weights(scaled), scaled):
        raise GraphError(
            f"node {node.name}: NetX has no weight exponent, and with its {exponent} the weights do not fit 8 bits; "
            "--fit FILE takes the nearest network without"
        )
    return scaled


def check_same(node: Node, weight: np.ndarray, kept: np.ndarray | None) -> None:
    if kept is None or not np.array_equal(kept, weight):
        raise GraphError(f"node {node.name}: NetX would change its weights ({weight.min()} .. {weight.max()})")


def netx_weights(*parts: np.ndarray) -> list[np.ndarray | None]:
    """What NetX and then Lava's Dense make of the integer weights of one layer, [outputs, inputs] each.

    lava/lib/dl/netx/utils.py, `optimize_weight_bits`, moves the weights up to fill 8 bits and back down after the sum,
    those of a loop beside those before it; lava/utils/weightutils.py, `clip_weights` and `truncate_weights`, then
    decide the signs of each matrix anew. Nothing where that shifts by less than 0 or leaves a remainder, or where NetX
    raises.
    """
    whole = np.concatenate(parts, axis=1)
    high, low = int(whole.max()), int(whole.min())
    if high == low == 0 or high > 255 or low < -256 or (high > 254 and low < 0):
        return [None] * len(parts)
    mixed = high >= 0 > low
    if mixed:
        scale = min(127 / high if high else np.inf, -128 / low)
    elif low >= 0:
        scale = 255 / high
    else:
        scale = -256 / low
    shift = int(np.floor(np.log2(scale))) + mixed
    multiple = next((n for n in range(8, 0, -1) if not np.any(whole & ((1 << n) - 1))), 0) - mixed
    return [_in_lava(part, shift, shift + multiple) for part in parts]


def _in_lava(weight: np.ndarray, shift: int, dropped: int) -> np.ndarray | None:
    """Weights moved up by `shift`, after Dense dropped so many bits (one more where their signs are mixed)."""
    moved = weight << max(shift, 0)
    both = bool(weight.min() < 0 < weight.max())
    dropped += both
    if shift < 0 or dropped < 0:
        return None
    if both:
        moved = (np.clip(moved, -256, 255) >> dropped) << dropped
    else:
        moved = np.sign(moved) * ((np.minimum(np.abs(moved), 255) >> dropped) << dropped)
    # A remainder would be floored after the sum, not weight by weight: no weights do the same.
    return None if np.any(moved & ((1 << shift) - 1)) else moved >> shift
