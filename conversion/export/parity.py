"""Runs the PyTorch network and records what the simulators record, so that the two can be compared spike for spike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from neurotarget.model.networks.delays import DelaysNetwork
from neurotarget.model.spikescr import SpikeSCR
from neurotarget.model.training import checkpoint
from neurotarget.sim.trace import Trace, windowed
from spikingjelly.activation_based import base, functional, neuron
from torch import nn

BATCH = 64


def pytorch_trace(
    network: nn.Module | str | Path,
    frames: np.ndarray,
    lengths: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    precision: str = "float64",
) -> Trace:
    """Runs a network in evaluation mode and records every spiking layer.

    Args:
        network: a SpikeSCR, a DelaysNetwork or a SpikingJelly Sequential in multi-step mode, or the path of a
            checkpoint.
        frames: [samples, steps, *features].
        lengths: int64 [samples]; all steps when left out.
        precision: `float64` or `float32`.

    Raises:
        CheckpointError: the path is not a usable checkpoint.
    """
    module = checkpoint.load(network).model() if isinstance(network, (str, Path)) else network
    dtype = getattr(torch, precision)
    module = module.eval().to(dtype)
    steps = frames.shape[1]
    lengths = np.full(len(frames), steps) if lengths is None else np.asarray(lengths)
    recorded: dict[str, list[np.ndarray]] = {}
    outputs: list[np.ndarray] = []

    def recorder(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
            recorded.setdefault(name, []).append(output.detach().transpose(0, 1).to(torch.uint8).numpy())

        return hook

    hooks = [
        child.register_forward_hook(recorder(name))
        for name, child in module.named_modules()
        if isinstance(child, neuron.BaseNode)
    ]
    try:
        with torch.no_grad():
            for start in range(0, len(frames), BATCH):
                rows = slice(start, start + BATCH)
                x = torch.from_numpy(np.array(frames[rows], dtype=np.float64)).to(dtype)
                outputs.append(_forward(module, x, torch.from_numpy(lengths[rows].copy())).transpose(0, 1).numpy())
    finally:
        for hook in hooks:
            hook.remove()
    return Trace(
        spikes={name: windowed(np.concatenate(parts), lengths) for name, parts in recorded.items()},
        output=windowed(np.concatenate(outputs).astype(np.float64), lengths),
        input=windowed(np.asarray(frames), lengths),
        lengths=lengths.astype(np.int64),
        labels=labels,
        header={"backend": "pytorch", "precision": precision, "latency_steps": 0},
    )


def _forward(module: nn.Module, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    if isinstance(module, (SpikeSCR, DelaysNetwork)):
        return module(x, lengths)
    functional.reset_net(module)
    steps = [child for child in module.modules() if isinstance(child, base.StepModule)]
    if any(child.step_mode != "m" for child in steps):
        functional.set_step_mode(module, "m")
    output: torch.Tensor = module(x.transpose(0, 1))
    return output
