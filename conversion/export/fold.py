"""Rewrites of the draft until every layer is one that NIR has.

Each is a function from draft to draft (in place); to_nir.py lists them in order. All arithmetic is in float64.
"""

from __future__ import annotations

import dataclasses
import math

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


def fold_parts(draft: Draft) -> None:
    """Splits a layer over several inputs side by side: W [a, b] = W_a a + W_b b. NIR sums inputs and joins none.

    Raises:
        UnsupportedModule: something else than a Linear or a convolution reads inputs side by side.
    """
    parts = {layer.name: layer for layer in draft.layers.values() if layer.kind == "part"}
    for reader in [layer for layer in draft.layers.values() if set(layer.sources) & set(parts)]:
        if (
            reader.kind not in ("linear", "conv")
            or set(reader.sources) - set(parts)
            or reader.parameters.get("groups", 1) != 1
        ):
            raise UnsupportedModule(
                f"layer {reader.name} ({reader.kind}): reads several tensors side by side (torch.cat); only a "
                "Linear or an ungrouped convolution can: put one there"
            )
        # The bias stands where no loop delays it: it acts from the first step on.
        of = sorted((parts[name] for name in reader.sources), key=lambda part: _late(draft, part))
        names: list[str] = []
        for part in of:
            weight = reader.parameters["weight"]
            width = draft.layers[part.sources[0]].shape[0]
            start = part.parameters["start"]
            bias = reader.parameters["bias"] if not names else None
            if bias is None and reader.kind == "conv":
                bias = np.zeros(len(weight))
            name = f"{reader.name}.{part.name.rpartition('.')[2]}"
            piece = dataclasses.replace(reader, name=name, sources=part.sources)
            names.append(name)
            draft.replace_before(reader.name, piece.changed(weight=weight[:, start : start + width], bias=bias))
        draft.rename_source(reader.name, tuple(names))
        del draft.layers[reader.name]
    for name in parts:
        del draft.layers[name]


def _late(draft: Draft, part: Layer) -> bool:
    """Whether what a part carries is drafted after it: a loop brings it."""
    order = list(draft.layers)
    return any(order.index(source) > order.index(part.name) for source in part.sources)


def fold_loop_bias(draft: Draft) -> None:
    """Moves the bias of a recurrent layer to one that is not in the loop.

    What a loop brings back is zero at the first step, and a layer in it that has a bias adds that bias from the second
    step on; in the network it adds it from the first. Both readers sum, so the bias may stand at another summand.

    Raises:
        UnsupportedModule: nothing else with weights feeds the same layer alone.
    """
    order = {name: place for place, name in enumerate(draft.layers)}
    for reader in list(draft.layers.values()):
        for late in [draft.layers[s] for s in reader.sources if order[s] >= order[reader.name]]:
            bias = late.parameters.get("bias")
            if bias is None or not bias.any():
                continue
            early = [draft.layers[s] for s in reader.sources if order[s] < order[reader.name]]
            alone = [one for one in early if one.kind == late.kind and len(draft.readers(one.name)) == 1]
            if not alone or len(draft.readers(late.name)) != 1:
                raise UnsupportedModule(
                    f"layer {late.name}: its bias acts one step late in the loop through {reader.name}, and no other "
                    f"{late.kind} layer feeds {reader.name} alone; build it with bias=False"
                )
            own = alone[0].parameters["bias"]
            draft.layers[late.name] = late.changed(bias=np.zeros_like(bias) if late.kind == "conv" else None)
            draft.layers[alone[0].name] = alone[0].changed(bias=bias if own is None else own + bias)


def settle_time_constants(draft: Draft, dt: float) -> None:
    """Moves the time constants of spiking neurons to the nearest ones whose factor cancels: `dt / (tau dt) tau = 1`.

    `fold_time_constant` multiplies a neuron's input by tau and a simulator divides it again. Where that rounds to less
    than one, an input of whole spikes no longer reaches a threshold of 1 from rest, as it does in the network. Learnt
    time constants would do so in many layers; of the double precision numbers next to one some do not.
    """
    for neuron in [layer for layer in draft.layers.values() if layer.kind == "lif"]:
        if not neuron.parameters["decay_input"]:
            settled = np.vectorize(_settled, otypes=[np.float64])(neuron.parameters["tau"], dt)
            draft.layers[neuron.name] = neuron.changed(tau=settled[()])


def _settled(tau: float, dt: float) -> float:
    nearest = (tau + sign * ulps * math.ulp(tau) for ulps in range(64) for sign in (1, -1))
    return next((value for value in nearest if value * dt and dt / (value * dt) * value == 1.0), tau)


def fold_time_constant(draft: Draft) -> None:
    """Multiplies what drives a LIF by tau, so that its NIR resistance is 1.

    SpikingJelly with `decay_input=False` computes `v = v (1 - 1/tau) + x`; NIR's Euler step is
    `v = v (1 - dt/tau_nir) + dt/tau_nir * r * I` with tau_nir = tau dt, so I = tau x for r = 1. tau goes into the
    weights of what drives the neuron, into the scale of an attention or rotary operation, or into a Scale of its own.
    """
    for neuron in [layer for layer in draft.layers.values() if layer.kind in ("lif", "li")]:
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
