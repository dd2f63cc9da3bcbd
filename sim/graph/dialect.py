"""What our NIR files say beyond standard NIR: four extension operations and the graph's metadata keys.

NIR has no node that multiplies two inputs, looks ahead in time or knows its position in time. Each such operation is a
nested `NIRGraph` (Input -> Scale -> Output) whose `metadata["op"]` names it. The Scale inside holds NaN, so a tool that
does not know the operation computes NaN and never a wrong number. docs/nir_extensions.md is the specification.

An operation with several inputs (gate, attention) names in its metadata, by role, the node that feeds each of them. The
edges are ordinary NIR edges.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import nir
import numpy as np
from neurotarget.sim.graph.kinds import KINDS

from neurotarget.standardisation import FFT_KEY, RATE_KEY, Standardisation

DIALECT = "neurotarget-1"

# Graph metadata. `dt` in seconds; `rule` is how a neuron compares v with its threshold.
KEY_DIALECT, KEY_DT, KEY_SCHEME, KEY_RULE, KEY_THETA, KEY_READOUT = (
    "dialect",
    "dt",
    "scheme",
    "rule",
    "theta",
    "readout",
)
# What belongs to the data that a network was trained on: names of its outputs, and how log-mel frames were standardised
# (neurotarget/standardisation.py). Files without them run; data from elsewhere then brings its own.
KEY_CLASSES, KEY_INPUT_MEAN, KEY_INPUT_SCALE, KEY_INPUT_FMAX = "classes", "input_mean", "input_scale", "input_fmax_hz"
KEY_INPUT_FFT = "input_fft_samples"  # 256 where a file does not say
KEY_INPUT_RATE = "input_rate_hz"  # 8000 where a file does not say
KEYS_UNUSUAL = {FFT_KEY: KEY_INPUT_FFT, RATE_KEY: KEY_INPUT_RATE}
# Metadata of a convolution node: its kernel is block diagonal with this many blocks (nir 1.0.8 cannot check `groups`).
KEY_GROUPS = "groups"
# Metadata of a neuron: how it resets, and v before the first step of the window (docs/semantics.md, "Reset").
KEY_RESET, KEY_V_INITIAL = "reset", "v_initial"
# Metadata of a tap of a convolution over time: the name of its layer.
KEY_LAYER = "layer"
SCHEME_EULER = "euler"
RULE_REACHES = ">="  # v_threshold in the file is nextafter(theta, -inf): `v > v_threshold` is `v >= theta`
RULE_EXCEEDS = ">"
READOUT_SOFTMAX_SUM = "softmax_sum"  # class = argmax over classes of the sum over steps of softmax(output)
READOUT_SUM = "sum"  # class = argmax over classes of the sum over steps of the output
READOUT_MAX = "max"  # class = argmax over classes of the largest output of a step
DEFAULT_DT_SECONDS = 1e-4  # what snnTorch fixes and other importers assume when a file does not say

# Graph metadata of a quantised file (docs/fixed_point.md): which arithmetic its numbers are meant for, and, by the name
# of a node, the integers that NIR's primitives have no field for.
KEY_ARITHMETIC, KEY_FIXED = "arithmetic", "fixed"
ARITHMETIC_FLOAT = "float"
ARITHMETIC_LAVA_FIXED = "lava-fixed"

# Metadata of the graph whose words change what is computed -> the words that are known, the default first.
WORDS = {
    KEY_SCHEME: (SCHEME_EULER,),
    KEY_RULE: (RULE_EXCEEDS, RULE_REACHES),
    KEY_READOUT: (READOUT_SUM, READOUT_SOFTMAX_SUM, READOUT_MAX),
    KEY_ARITHMETIC: (ARITHMETIC_FLOAT, ARITHMETIC_LAVA_FIXED),
}


def extension(op: str, neurons: int | tuple[int, ...], metadata: Mapping[str, Any]) -> nir.NIRGraph:
    """Builds the nested graph that stands for one extension operation.

    Args:
        op: one of `kinds.EXTENSIONS`.
        neurons: shape of its input and of its output; a gate takes any, the others a vector.
        metadata: the operation's parameters, and a node name for each of its roles.

    Raises:
        ValueError: a parameter or role is missing, or one is not known.
    """
    taken = {*KINDS[op].roles, *KINDS[op].parameters}
    if set(metadata) != taken:
        raise ValueError(f"{op} takes {sorted(taken)}, got {sorted(metadata)}")
    shape = np.atleast_1d(neurons)
    return nir.NIRGraph(
        nodes={
            "input": nir.Input(input_type={"input": shape}),
            "undefined": nir.Scale(scale=np.full(shape, np.nan)),
            "output": nir.Output(output_type={"output": shape}),
        },
        edges=[("input", "undefined"), ("undefined", "output")],
        metadata={"op": op, **metadata},
    )


def data_metadata(classes: tuple[str, ...], standardisation: Standardisation | None) -> dict[str, Any]:
    """Metadata of a graph about the data that it was trained on; nothing where nothing is known."""
    metadata: dict[str, Any] = {KEY_CLASSES: list(classes)} if classes else {}
    if standardisation is not None:
        metadata[KEY_INPUT_MEAN], metadata[KEY_INPUT_SCALE] = standardisation.mean, standardisation.scale
        metadata[KEY_INPUT_FMAX] = standardisation.fmax_hz
        metadata |= {KEYS_UNUSUAL[name]: value for name, value in standardisation.unusual().items()}
    return metadata


def classes_of(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the outputs, from a graph's metadata; none where it has none."""
    names = np.atleast_1d(np.asarray(metadata.get(KEY_CLASSES, []), dtype=object))
    return tuple(name.decode() if isinstance(name, bytes) else str(name) for name in names)


def standardisation_of(metadata: Mapping[str, Any]) -> Standardisation | None:
    """How log-mel frames were standardised, from a graph's metadata.

    Raises:
        ValueError: the metadata are incomplete or hold no such numbers.
    """
    keys = {"mean": KEY_INPUT_MEAN, "scale": KEY_INPUT_SCALE, "fmax_hz": KEY_INPUT_FMAX, **KEYS_UNUSUAL}
    values = {name: metadata[key] for name, key in keys.items() if key in metadata}
    return Standardisation.of(values) if values else None
