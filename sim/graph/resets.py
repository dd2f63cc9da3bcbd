"""How a neuron resets and where its potential starts: metadata of its node, or the caller's word where they are silent.

NIR has one reset, `v = v_reset`, and says of no start. docs/semantics.md, "Reset", has the three resets as equations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from neurotarget.sim.graph import dialect
from neurotarget.sim.graph.kinds import RESETTING, Kind
from neurotarget.sim.graph.node import GraphError, Node
from neurotarget.sim.resets import RESET_ZERO, RESETS

HARD_RESET = ("hard", "zero", "to_zero", "v_reset", "value")  # words in metadata that mean NIR's own reset
SILENT = (
    "the file does not say how neurons reset; run with a reset to v_reset (NIR's equation); "
    "snnTorch's default is --reset subtract"
)


def reset_word(name: str, metadata: Mapping[str, Any], own: bool) -> str:
    """The reset that metadata ask for, one of `RESETS`; empty where they say nothing.

    Args:
        own: they are those of a neuron that resets; elsewhere only NIR's reset may be named.

    Raises:
        GraphError: a word that is not known, or a reset that is not the node's own: no other is guessed.
    """
    found = ""
    for key, value in metadata.items():
        if "reset" not in str(key).lower():
            continue
        word = RESET_ZERO if str(value).lower() in HARD_RESET else str(value)
        known = RESETS if own and key == dialect.KEY_RESET else (RESET_ZERO,)
        if word not in known or found not in ("", word):
            raise GraphError(
                f"{name}: its metadata say {key} = {value!r}; NIR has one reset, to v_reset, and no other is guessed: "
                f"write {dialect.KEY_RESET} = {', '.join(RESETS[:-1])} or {RESETS[-1]} into the "
                "metadata of each neuron that resets so"
            )
        found = word
    return found


def initial_potential(name: str, metadata: Mapping[str, Any], kind: Kind, shape: tuple[int, ...]) -> dict[str, Any]:
    """`v_initial` of a neuron as float64: a number, or one for each neuron; nothing where the metadata have none.

    Raises:
        GraphError: it is not real and finite, has another shape than the neuron's arrays, or no potential is kept.
    """
    if dialect.KEY_V_INITIAL not in metadata:
        return {}
    array = np.asarray(metadata[dialect.KEY_V_INITIAL])
    if not kind.states:
        raise GraphError(f"node {name}: {dialect.KEY_V_INITIAL}, but {kind.name} keeps no potential")
    if array.dtype.kind not in "biuf" or not np.isfinite(array).all() or (array.size != 1 and array.shape != shape):
        raise GraphError(
            f"node {name}: {dialect.KEY_V_INITIAL} must be one finite number, or one for each neuron of shape {shape}; "
            f"found {np.array2string(array, threshold=8)}"
        )
    return {dialect.KEY_V_INITIAL: array.astype(np.float64).reshape(shape if array.size > 1 else ())}


def settle_resets(nodes: Mapping[str, Node], asked: str | None, foreign: bool) -> tuple[dict[str, Node], bool]:
    """Gives every neuron that resets its word, and says whether NIR's own reset was assumed for want of one.

    Args:
        asked: the reset of neurons of which nothing is said.
        foreign: the file does not say it for all neurons: in our dialect silence means zero.

    Raises:
        GraphError: `asked` is not known, or the file says something else.
    """
    if asked is not None and asked not in RESETS:
        raise GraphError(f"reset {asked!r}; known are {', '.join(RESETS)}")
    settled, assumed = dict(nodes), False
    for node in (node for node in nodes.values() if node.kind in RESETTING):
        said = node.reset or ("" if foreign else RESET_ZERO)
        if asked is not None and said and said != asked:
            raise GraphError(f"node {node.name}: the file says reset {said!r}, asked to run with {asked!r}")
        assumed = assumed or not (said or asked)
        settled[node.name] = replace(node, reset=said or asked or RESET_ZERO)
    return settled, assumed
