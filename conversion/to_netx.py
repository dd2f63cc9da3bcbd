"""A quantised NIR file as the HDF5 that lava-dl's NetX loads: `python -m conversion.to_netx model.q.nir`.

Only networks that NetX computes bit for bit are written (netx.py); docs/netx.md says which, and how to load them.
"""

from __future__ import annotations

import sys

from neurotarget.conversion.commands import to_netx as main

if __name__ == "__main__":  # before the imports that take long: --help needs none of them
    sys.exit(main())

import argparse
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from neurotarget.conversion.netx.fit import fit
from neurotarget.conversion.netx.layers import Layer, NetX, to_layers
from neurotarget.sim.graph import Graph, load
from neurotarget.sim.graph.nir_file import to_bytes
from neurotarget.sim.graph.node import GraphError

from neurotarget.cli import Result
from neurotarget.files import check_output, hdf5, write_bytes
from neurotarget.terminal import results

INPUT_MESSAGE_BITS = 8  # any number above 0 tells NetX that the input is not spikes


def write(network: NetX, path: str | Path) -> None:
    """Writes the layers where `lava.lib.dl.netx.hdf5.Network` reads them."""

    def fill(file: h5py.File) -> None:
        file.attrs["input_message_bits"] = INPUT_MESSAGE_BITS
        for key in ("input_scale", "input_minimum", "input_maximum"):
            file.attrs[key] = getattr(network, key)
        groups = file.create_group("layer")
        _append(groups, {"type": "input", "shape": np.array(network.input_shape)})
        for layer in network.layers:
            if layer.flatten:
                _append(groups, {"type": "flatten"})
            _append(groups, _datasets(layer)).attrs["node"] = layer.neuron

    write_bytes(path, hdf5(fill))


def write_fitted(graph: Graph, path: Path) -> Graph:
    """Writes the nearest network that NetX can hold, once it has been converted from its own file."""
    if not graph.quantised:
        to_layers(graph)  # says what to do
    content = to_bytes(fit(graph))
    fitted = load(path, content=content)
    to_layers(fitted)
    write_bytes(path, content)
    return fitted


def _append(groups: Any, datasets: dict[str, Any]) -> Any:
    group = groups.create_group(str(len(groups)))
    for key, value in datasets.items():
        group.create_dataset(key, data=value)
    return group


def _datasets(layer: Layer) -> dict[str, Any]:
    datasets: dict[str, Any] = {
        "type": layer.kind,
        "shape": np.array(layer.shape),
        "weight": layer.weight.astype(np.int32),
        "neuron/type": "CUBA",
        "neuron/iDecay": layer.du + 1,  # NetX takes 1 off again
        "neuron/vDecay": layer.dv,
        "neuron/vThMant": layer.vth,
        "neuron/refDelay": 1,
        "neuron/gradedSpike": False,
    }
    if layer.kind == "conv":
        datasets |= {key: np.array(value) for key, value in layer.geometry.items() if key != "groups"}
        datasets["groups"] = layer.geometry["groups"]
    if layer.recurrent is not None:
        datasets["weight_rec"] = layer.recurrent.astype(np.int32)
    if layer.delay is not None:
        datasets["delay"] = layer.delay.astype(np.int32)
    if layer.bias is not None:
        # NetX does not turn a bias from channels, height, width to its own order, as it does shapes and weights.
        datasets["bias"] = layer.bias.transpose().astype(np.int32)
    return datasets


def summary(network: NetX) -> list[dict[str, Any]]:
    """One mapping a layer, for people and programs."""
    return [
        {
            "layer": layer.kind,
            "synapse": layer.synapse,
            "neuron": layer.neuron,
            "shape": list(layer.shape),
            "weights": int(layer.weight.size) + (0 if layer.recurrent is None else int(layer.recurrent.size)),
            "longest_delay": 0 if layer.delay is None else int(layer.delay.max()),
            "bias": layer.bias is not None,
        }
        for layer in network.layers
    ]


def default_target(model: Path) -> Path:
    """`model.net` beside `model.q.nir`."""
    return model.with_name(model.name.removesuffix(".nir").removesuffix(".q") + ".net")


def work(arguments: argparse.Namespace) -> Result:
    target = arguments.output or default_target(arguments.model)
    if target.resolve() == arguments.model.resolve():
        raise GraphError(f"{target}: would replace the model; name another file with -o")
    if arguments.fit is not None and arguments.fit.resolve() in (arguments.model.resolve(), target.resolve()):
        raise GraphError(f"{arguments.fit}: names the model or the target; give --fit a file of its own")
    check_output(target, arguments.fit)
    graph = load(arguments.model)
    network = to_layers(graph if arguments.fit is None else write_fitted(graph, arguments.fit))
    write(network, target)
    layers = summary(network)
    rows = [("layer", "synapse", "neuron", "shape", "bias", "weights", "longest delay, steps")]
    for layer in layers:
        shape, bias = " x ".join(map(str, layer["shape"])), "yes" if layer["bias"] else "no"
        counts = (str(layer["weights"]), str(layer["longest_delay"] or 0))
        rows.append((str(layer["layer"]), layer["synapse"], layer["neuron"], shape, bias, *counts))
    reset = ", reset_interval=STEPS, reset_offset=1" if any(layer["bias"] for layer in layers) else ""
    loading = f"Network({str(target)!r}, input_message_bits={INPUT_MESSAGE_BITS}{reset})"
    verdict = f"{target}: written; load it with {loading}"
    figures = {"file": str(target), "input_shape": network.input_shape, "layers": layers}
    return Result(figures, results(rows, [], verdict, texts=5))
