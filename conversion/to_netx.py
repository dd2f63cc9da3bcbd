"""A quantised NIR file as the HDF5 that lava-dl's NetX loads: `python -m conversion.to_netx model.q.nir`.

Only networks that NetX computes bit for bit are written (netx.py); docs/netx.md says which, and how to load them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
from neurotarget.conversion.netx.fit import fit
from neurotarget.conversion.netx.layers import Layer, NetX, to_layers
from neurotarget.sim.graph import Graph, load
from neurotarget.sim.graph.node import GraphError

INPUT_MESSAGE_BITS = 8  # any number above 0 tells NetX that the input is not spikes


def write(network: NetX, path: str | Path) -> None:
    """Writes the layers where `lava.lib.dl.netx.hdf5.Network` reads them, by rename."""
    temporary = Path(f"{path}.{os.getpid()}.part")
    try:
        with h5py.File(temporary, "w") as file:
            file.attrs["input_message_bits"] = INPUT_MESSAGE_BITS
            for key in ("input_scale", "input_minimum", "input_maximum"):
                file.attrs[key] = getattr(network, key)
            groups = file.create_group("layer")
            _append(groups, {"type": "input", "shape": np.array(network.input_shape)})
            for layer in network.layers:
                if layer.flatten:
                    _append(groups, {"type": "flatten"})
                _append(groups, _datasets(layer)).attrs["node"] = layer.neuron
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_fitted(graph: Graph, path: Path) -> Graph:
    """Writes the nearest network that NetX can hold, by rename, once it has been converted from its own file."""
    if not graph.quantised:
        to_layers(graph)  # says what to do
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        nir.write(temporary, fit(graph))
        fitted = load(temporary)
        to_layers(fitted)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
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


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m conversion.to_netx",
        description="Write a quantised NIR file as the HDF5 that lava-dl's NetX loads; the rest is refused.",
        epilog="example: python -m conversion.to_netx runs/demo/ckpt.q.nir -o runs/demo/ckpt.net",
    )
    parser.add_argument("model", type=Path, help="NIR file written by conversion.quantize")
    parser.add_argument("-o", "--output", type=Path, help="file to write (default: model.net beside the model)")
    parser.add_argument(
        "--fit", type=Path, metavar="FILE", help="first write the nearest network that NetX can hold to FILE (.q.nir)"
    )
    parser.add_argument("--json", action="store_true", help="print the layers as JSON")
    return parser


def main(argv: list[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    target = arguments.output or default_target(arguments.model)
    try:
        if target.resolve() == arguments.model.resolve():
            raise GraphError(f"{target}: would replace the model; name another file with -o")
        if arguments.fit is not None and arguments.fit.resolve() in (arguments.model.resolve(), target.resolve()):
            raise GraphError(f"{arguments.fit}: names the model or the target; give --fit a file of its own")
        graph = load(arguments.model)
        network = to_layers(graph if arguments.fit is None else write_fitted(graph, arguments.fit))
        write(network, target)
    except (GraphError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"interrupted: {target} not written", file=sys.stderr)
        return 130
    layers = summary(network)
    if arguments.json:
        print(json.dumps({"file": str(target), "input_shape": network.input_shape, "layers": layers}))
        return 0
    for layer in layers:
        extra = f", delays up to {layer['longest_delay']}" * bool(layer["longest_delay"]) + ", bias" * layer["bias"]
        shape = " x ".join(map(str, layer["shape"]))
        print(f"{layer['layer']} {layer['synapse']} -> {layer['neuron']}: {shape}, {layer['weights']} weights{extra}")
    reset = ", reset_interval=STEPS, reset_offset=1" if any(layer["bias"] for layer in layers) else ""
    print(f"{target}: written; load it with Network({str(target)!r}, input_message_bits={INPUT_MESSAGE_BITS}{reset})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
