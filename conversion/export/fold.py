"""Rewrites of the draft until every layer is one that NIR has.

Each is a function from draft to draft (in place); to_nir.py lists them in order. All arithmetic is in float64.
"""

from __future__ import annotations

import numpy as np
from neurotarget.conversion.export.draft import Draft, Layer, UnsupportedModule

WEIGHTED = ("linear", "conv", "temporal_conv")


def fold_batch_norm(draft: Draft) -> None:
    """Folds each batch normalisation into the layer before it: y = scale * (W x + b) + shift.

    Ioffe and Szegedy 2015, section 3.1, with the running statistics of evaluation.

    Raises:
        UnsupportedModule: there is no layer with weights before it that it alone reads.
    """
    for norm in [layer for layer in draft.layers.values() if layer.kind == "batch_norm"]:
        before = draft.layers[norm.sources[0]]
        if len(norm.sources) != 1 or before.kind not in WEIGHTED or len(draft.readers(before.name)) != 1:
            raise UnsupportedModule(
                f"layer {norm.name}: batch normalisation after {before.name} ({before.kind}) cannot be folded; "
                "put it right after a Linear or convolution that nothing else reads"
            )
        scale, shift = norm.parameters["scale"], norm.parameters["shift"]
        bias = before.parameters["bias"]
        folded = _times(before.parameters["weight"], scale)
        draft.layers[before.name] = before.changed(weight=folded, bias=shift if bias is None else bias * scale + shift)
        draft.bypass(norm.name)


def fold_time_constant(draft: Draft) -> None:
    """Multiplies what drives a LIF by tau, so that its NIR resistance is 1.

    SpikingJelly with `decay_input=False` computes `v = v (1 - 1/tau) + x`; NIR's Euler step is
    `v = v (1 - dt/tau_nir) + dt/tau_nir * r * I` with tau_nir = tau dt, so I = tau x for r = 1. tau goes into the
    weights of what drives the neuron, into the scale of an attention or rotary operation, or into a Scale of its own.
    """
    for neuron in [layer for layer in draft.layers.values() if layer.kind == "lif"]:
        tau = neuron.parameters["tau"]
        if neuron.parameters["decay_input"] or "gain" in neuron.parameters:
            continue  # the input decays too: that is r = 1 already; or the neuron's own resistance holds the factor
        drivers = [_driver(draft, draft.layers[name], neuron.name) for name in neuron.sources]
        if any(driver is None for driver in drivers):
            size = neuron.shape
            gain = Layer(f"{neuron.name}.gain", "scale", (), size, {"weight": np.full(size, tau)})
            draft.insert_before(neuron.name, gain)
            continue
        for driver in drivers:
            if driver is None:
                continue
            if driver.kind in ("rotary", "attention"):
                draft.layers[driver.name] = driver.changed(scale=driver.parameters["scale"] * tau)
            else:
                bias = driver.parameters["bias"]
                weight = driver.parameters["weight"] * tau
                draft.layers[driver.name] = driver.changed(weight=weight, bias=None if bias is None else bias * tau)


def _driver(draft: Draft, layer: Layer, reader: str) -> Layer | None:
    """The layer whose factor may grow by tau because only `reader` sees the result."""
    if [other.name for other in draft.readers(layer.name)] != [reader]:
        return None
    if layer.kind == "gate":  # a product: the factor goes into the current, not into the spike
        return _driver(draft, draft.layers[layer.roles["current"]], layer.name)
    return layer if layer.kind in (*WEIGHTED, "rotary", "attention") else None


def _times(weight: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Weights times one factor per output channel (the first axis)."""
    return weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
