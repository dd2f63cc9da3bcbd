"""Our simulator against SpikingJelly's torch inference, our compiled LIF against SpikingJelly's: `make bench`.

Both sides of a ratio run alternately in one process on the same batch, so that whatever else the machine does hits
both. The figure is the ratio of the medians; results go to benchmarks/results.json.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from neurotarget.conversion.to_nir import to_nir
from neurotarget.model.networks.parts import Rotary, TemporalConv
from neurotarget.model.spikescr import SpikeSCR, SpikeSCRConfig, readout
from neurotarget.model.training import checkpoint
from neurotarget.sim import reference
from neurotarget.sim.graph import load
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn
from tqdm import tqdm

from benchmarks import results
from neurotarget.cli import Command, Result

BATCH, STEPS = 64, 100
SAMPLES_2D, STEPS_2D = 16, 20


def stock(network: SpikeSCR) -> SpikeSCR:
    """The same network with SpikingJelly's own LIF nodes, and torch's own operations before and after them."""
    for module in network.modules():
        if isinstance(module, TemporalConv | Rotary):
            module.forward = module.by_torch
        for name, child in module.named_children():
            if isinstance(child, neuron.LIFNode):
                own = neuron.LIFNode(
                    tau=child.tau,
                    decay_input=child.decay_input,
                    v_threshold=child.v_threshold,
                    v_reset=child.v_reset,
                    surrogate_function=child.surrogate_function,
                    detach_reset=child.detach_reset,
                    step_mode="m",
                )
                setattr(module, name, own)
    return network


def alternate(repeats: int, first: Callable[[], object], second: Callable[[], object]) -> tuple[float, float]:
    """Median seconds of two functions that take turns, after one unmeasured call of each."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for function in (first, second):
        function()
    for _ in tqdm(range(repeats), desc="alternating", disable=None):
        for function, list_ in zip((first, second), seconds, strict=True):
            started = time.perf_counter()
            function()
            list_.append(time.perf_counter() - started)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def inference(path: Path | None, repeats: int) -> dict[str, float]:
    """Reference simulator (float32) against PyTorch with SpikingJelly's neurons, one batch of the shd preset."""
    torch.manual_seed(0)
    network = checkpoint.load(path).model() if path else SpikeSCR(SpikeSCRConfig.preset("shd")).eval()
    prepared = reference.prepare(load(to_nir(network, (network.config.features,))), "float32")
    rng = np.random.default_rng(0)
    frames = rng.poisson(0.3, (BATCH, STEPS, network.config.features)).astype(np.float32)
    lengths = np.full(BATCH, STEPS)
    torch_network, x = stock(network), torch.from_numpy(frames)

    def by_torch() -> None:
        with torch.no_grad():
            torch_network(x)

    ours, theirs = alternate(repeats, lambda: reference.simulate(prepared, frames, lengths), by_torch)
    return {"reference_seconds": ours, "spikingjelly_seconds": theirs, "ratio": theirs / ours}


def training(repeats: int) -> dict[str, float]:
    """One training step of the shd preset with the compiled LIF against SpikingJelly's torch implementation."""
    torch.manual_seed(0)
    compiled = SpikeSCR(SpikeSCRConfig.preset("shd"))
    plain = stock(SpikeSCR(SpikeSCRConfig.preset("shd")))
    plain.load_state_dict(compiled.state_dict())
    x, labels = torch.poisson(torch.full((BATCH, STEPS, 140), 0.3)), torch.randint(0, 20, (BATCH,))

    def step(network: SpikeSCR) -> None:
        network.zero_grad()
        F.cross_entropy(readout(network(x)), labels).backward()

    ours, theirs = alternate(repeats, lambda: step(compiled), lambda: step(plain))
    return {"compiled_seconds": ours, "spikingjelly_seconds": theirs, "ratio": theirs / ours}


def convolutional(repeats: int) -> dict[str, float]:
    """A convolutional network on event frames of 2 x 34 x 34 in float32, 3 % events; the spikes must be equal."""
    torch.manual_seed(0)
    network = nn.Sequential(
        *(layer.Conv2d(2, 16, 5, padding=2, bias=False), neuron.LIFNode(), layer.AvgPool2d(2)),
        *(layer.Conv2d(16, 32, 3, padding=1, bias=False), neuron.LIFNode(), layer.AvgPool2d(2)),
        *(layer.Flatten(), layer.Linear(32 * 8 * 8, 10, bias=False), neuron.LIFNode()),
    ).eval()
    for parameter in network.parameters():  # as they are initialised nothing fires
        parameter.data.mul_(12).add_(0.03)
    functional.set_step_mode(network, "m")
    rng = np.random.default_rng(0)
    frames = (rng.random((SAMPLES_2D, STEPS_2D, 2, 34, 34)) < 0.03).astype(np.float32)
    prepared = reference.prepare(load(to_nir(network, frames.shape[2:])), "float32")
    lengths, x = np.full(SAMPLES_2D, STEPS_2D), torch.from_numpy(frames).transpose(0, 1).contiguous()

    def by_torch() -> torch.Tensor:
        functional.reset_net(network)
        with torch.no_grad():
            return network(x)

    def by_us() -> np.ndarray:
        return reference.simulate(prepared, frames, lengths).output

    spikes = by_torch().transpose(0, 1).numpy()
    ours, theirs = alternate(repeats, by_us, by_torch)
    differ = int((spikes != by_us()).sum())
    return {"reference_seconds": ours, "spikingjelly_seconds": theirs, "ratio": theirs / ours} | {
        "spikes": int(spikes.sum()),
        "spikes_that_differ": differ,
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", type=Path, help="trained network (default: random weights, which spike less)")
    parser.add_argument("--repeats", type=int, default=10)


def work(arguments: argparse.Namespace) -> Result:
    rows = {
        "inference": inference(arguments.checkpoint, arguments.repeats),
        "convolutional": convolutional(arguments.repeats),
        "training_step": training(arguments.repeats),
    }
    text = (
        f"inference, batch {BATCH}, {STEPS} steps: reference simulator {rows['inference']['ratio']:.2f} times as fast\n"
        f"convolutional network, {SAMPLES_2D} samples of {STEPS_2D} steps of 2 x 34 x 34: "
        f"{rows['convolutional']['ratio']:.2f} times as fast, {rows['convolutional']['spikes_that_differ']} of "
        f"{rows['convolutional']['spikes']} spikes differ\n"
        f"training step, same batch: compiled LIF {rows['training_step']['ratio']:.2f} times as fast"
    )
    environment = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "torch_threads": torch.get_num_threads(),
        **checkpoint.versions(),
    }
    result = {f"{name}_{key}": value for name, row in rows.items() for key, value in row.items()} | environment
    results.add(result)
    return Result(result, text)


main = Command(
    door="benchmarks.simulator",
    description="Our simulator and our compiled LIF against SpikingJelly's.",
    example="--repeats 20",
    add_arguments=add_arguments,
    work=work,
)

if __name__ == "__main__":
    sys.exit(main())
