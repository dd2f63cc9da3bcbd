"""A network in PyTorch on a device, in a precision, run in one of several ways: what is measured.

Its samples lie on the device, sorted by length; each batch is as long as its longest sample. What is compiled or
captured needs few shapes, so that its steps are rounded up there, and the padding says by how much.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from neurotarget.conversion.export.torch_network import TorchNetwork
from neurotarget.hardware.meters import samples
from neurotarget.hardware.meters.int8 import in_int8
from neurotarget.hardware.meters.windows import Bench, Pass
from neurotarget.model.networks.neuron import CompiledSteps
from spikingjelly.activation_based import functional, neuron
from torch import Tensor, nn

from neurotarget.errors import UserError

FP32, TF32, FP16, BF16, INT8 = PRECISIONS = ("FP32", "TF32", "FP16", "BF16", "INT8")
EAGER, COMPILED, GRAPH = WAYS = ("eager", "compiled", "CUDA graph")
SHAPE_STEPS = 16  # what is compiled or captured takes steps in multiples of it


class Impossible(UserError):
    """A precision or a way that the device does not have."""


@dataclass(frozen=True)
class Setting:
    """How a network is run.

    Attributes:
        precision: one of `PRECISIONS`; INT8 holds for linear layers, the rest is FP16 on a GPU and FP32 elsewhere.
        way: one of `WAYS`.
    """

    precision: str = FP32
    way: str = EAGER

    def dtype(self, device: torch.device) -> torch.dtype:
        """Of parameters and samples on a device."""
        half = self.precision == FP16 or (self.precision == INT8 and device.type == "cuda")
        return torch.float16 if half else torch.bfloat16 if self.precision == BF16 else torch.float32


@contextlib.contextmanager
def torch_bench(
    network: TorchNetwork, frames: np.ndarray, lengths: np.ndarray, device_name: str, setting: Setting = Setting()
) -> Iterator[Bench]:
    """A bench of a copy of the network.

    Args:
        frames: [samples, steps, ...], lengths: int64 [samples], as `samples.chosen` takes them.
        device_name: PyTorch's name.

    Raises:
        Impossible: the device has no such precision or way.
    """
    device = torch.device(device_name)
    if device.type != "cuda" and (setting.precision == TF32 or setting.way == GRAPH):
        raise Impossible(f"{TF32 if setting.precision == TF32 else GRAPH} needs a CUDA device")
    placed = network.to(device, setting.dtype(device))
    if setting.precision == INT8 and not in_int8(placed.module):
        raise Impossible("the network has no linear layer to compute in INT8")
    inputs = torch.as_tensor(np.asarray(frames, np.float32), device=device).to(setting.dtype(device))
    if setting.way == COMPILED:
        placed.module.compile()
    with _tensor_cores(setting.precision == TF32):
        yield Bench(lambda batch: _prepared(placed, inputs, lengths, batch, setting.way), _synchroniser(device))


@contextlib.contextmanager
def _tensor_cores(allowed: bool) -> Iterator[None]:
    """TF32 in products and convolutions, or true single precision: by default PyTorch takes TF32 in convolutions."""
    matmul, cudnn = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, cudnn


def _synchroniser(device: torch.device) -> Callable[[], None]:
    return (lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else lambda: None


def _prepared(network: TorchNetwork, inputs: Tensor, lengths: np.ndarray, batch: int, way: str) -> Pass:
    """The batches of a pass on the device, with their lengths; without any where every sample fills the batch."""
    multiple = 1 if way == EAGER else SHAPE_STEPS
    held = samples.batches(len(lengths), batch)
    steps = [min(-(-int(lengths[places].max()) // multiple) * multiple, inputs.shape[1]) for places in held]
    arguments = []
    for places, longest in zip(held, steps, strict=True):
        window = torch.as_tensor(lengths[places], device=inputs.device)
        whole = way == EAGER and bool((lengths[places] == longest).all())
        arguments.append((inputs[torch.as_tensor(places), :longest].contiguous(), None if whole else window))
    runs = _captured(network, arguments) if way == GRAPH else [_run(network, *each) for each in arguments]
    return Pass(runs, samples.padding(lengths, steps, batch))


def _run(network: Callable[..., Any], frames: Tensor, window: Tensor | None) -> Callable[[], Any]:
    def run() -> Any:
        with torch.inference_mode():
            return network(frames, window)

    return run


def _captured(network: Callable[..., Any], arguments: list[tuple[Tensor, Tensor | None]]) -> list[Callable[[], Any]]:
    """A graph per shape, replayed after the batch was copied into its input."""
    graphs: dict[torch.Size, tuple[torch.cuda.CUDAGraph, Tensor, Tensor, Any]] = {}
    for frames, window in arguments:
        if frames.shape not in graphs and window is not None:
            graphs[frames.shape] = _capture(network, frames.clone(), window.clone())

    def replayed(frames: Tensor, window: Tensor) -> Callable[[], Any]:
        graph, static_frames, static_window, output = graphs[frames.shape]

        def run() -> Any:
            static_frames.copy_(frames)
            static_window.copy_(window)
            graph.replay()
            return output

        return run

    return [replayed(frames, window) for frames, window in arguments if window is not None]


def _capture(
    network: Callable[..., Any], frames: Tensor, window: Tensor
) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor, Any]:
    """A graph of one forward pass, after some on a stream of their own, as PyTorch's notes on CUDA graphs ask for."""
    run = _run(network, frames, window)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = run()
    return graph, frames, window, output


def neurons_of(module: nn.Module, device_name: str, setting: Setting) -> str:
    """What computes the spiking neurons of a network; empty where it has none."""
    spiking = [node for node in module.modules() if isinstance(node, neuron.BaseNode)]
    if not spiking:
        return ""
    device = torch.device(device_name)
    if device.type == "cuda":
        if not all(isinstance(node, neuron.LIFNode) for node in spiking):
            return "SpikingJelly, its own choice"
        execution = "compile" if setting.way == COMPILED else "eager"
        found = functional.neuron_implementation("lif", device, execution=execution)
        return f"SpikingJelly, {found['implementation']}"
    example = torch.empty(1, dtype=setting.dtype(device))
    if all(isinstance(node, CompiledSteps) and node.compiled(example) for node in spiking):
        return "one compiled pass"
    return "SpikingJelly, torch"
