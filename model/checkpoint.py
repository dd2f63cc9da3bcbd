"""The checkpoint file: everything that is needed to use a trained network, and nothing that can run code.

`ckpt.pt` holds plain dictionaries, numbers, texts and tensors, so it loads with `weights_only=True`. It is written
beside its place and renamed: an interrupted write never destroys the last good one.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from model.spikescr import SpikeSCR, SpikeSCRConfig

FORMAT = 1
REQUIRED = ("format", "network", "config", "state", "metrics", "data", "classes", "step_seconds", "versions")


class CheckpointError(ValueError):
    """A file that is not a usable checkpoint: the message names the file and what is wrong."""


@dataclasses.dataclass(frozen=True, eq=False)
class Checkpoint:
    """A trained network.

    Attributes:
        config: shape of the network.
        state: its state dictionary.
        metrics: accuracies and losses, by name.
        data: SPEC of the data set it was trained on.
        classes: name of each output.
        step_seconds: duration of a step of the data.
        versions: of the libraries that wrote it.
    """

    config: SpikeSCRConfig
    state: Mapping[str, torch.Tensor]
    metrics: Mapping[str, float]
    data: str
    classes: tuple[str, ...]
    step_seconds: float
    versions: Mapping[str, str]

    def model(self) -> SpikeSCR:
        """The network with its weights, in evaluation mode."""
        network = SpikeSCR(self.config)
        network.load_state_dict(dict(self.state))
        return network.eval()


def versions() -> dict[str, str]:
    """Installed versions of the libraries that decide what a checkpoint computes."""
    return {name: importlib.metadata.version(name) for name in ("torch", "spikingjelly", "numpy", "nir")}


def save(path: str | Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint by rename."""
    content = {
        "format": FORMAT,
        "network": "SpikeSCR",
        "config": dataclasses.asdict(checkpoint.config),
        "state": dict(checkpoint.state),
        "metrics": dict(checkpoint.metrics),
        "data": checkpoint.data,
        "classes": list(checkpoint.classes),
        "step_seconds": checkpoint.step_seconds,
        "versions": dict(checkpoint.versions),
    }
    save_by_rename(path, content)


def save_by_rename(path: str | Path, content: Mapping[str, Any]) -> None:
    """`torch.save` that leaves either the old file or the whole new one."""
    temporary = Path(f"{path}.{os.getpid()}.part")
    try:
        torch.save(content, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_content(path: str | Path) -> dict[str, Any]:
    """Opens a file of dictionaries and tensors without running anything in it.

    Raises:
        CheckpointError: missing, damaged, or a pickle that holds more than data.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path}: not a checkpoint: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: not a checkpoint: holds a {type(content).__name__}, not a dictionary")
    return content


def load(path: str | Path) -> Checkpoint:
    """Reads and checks a checkpoint.

    Raises:
        CheckpointError: the file is missing, damaged or foreign, does not fit its own configuration, or holds NaN.
    """
    content = load_content(path)
    if missing := [key for key in REQUIRED if key not in content]:
        raise CheckpointError(
            f"{path}: not a checkpoint of this program: it lacks {', '.join(missing)}; write one with model.train"
        )
    if content["format"] != FORMAT or content["network"] != "SpikeSCR":
        found = f"{content['network']!r} in format {content['format']!r}"
        raise CheckpointError(f"{path}: holds {found}; this version reads SpikeSCR in format {FORMAT}")
    try:
        config = SpikeSCRConfig(**content["config"])
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: its configuration is not valid: {error}") from error
    state = content["state"]
    with torch.device("meta"):  # shapes only: nothing is allocated for a file that does not fit
        expected = SpikeSCR(config).state_dict()
    for name in sorted({*state, *expected}):
        if name not in expected or name not in state:
            where = "has no place in" if name not in expected else "is missing from the file, but belongs to"
            raise CheckpointError(f"{path}: parameter {name} {where} a network of this configuration")
        if state[name].shape != expected[name].shape:
            shapes = f"{tuple(state[name].shape)}, expected {tuple(expected[name].shape)}"
            raise CheckpointError(f"{path}: parameter {name} has shape {shapes}")
        if state[name].is_floating_point() and not bool(torch.isfinite(state[name]).all()):
            bad = int((~torch.isfinite(state[name])).sum())
            raise CheckpointError(f"{path}: parameter {name} holds {bad} NaN or infinite values; train again")
    return Checkpoint(
        config=config,
        state=state,
        metrics=content["metrics"],
        data=content["data"],
        classes=tuple(content["classes"]),
        step_seconds=float(content["step_seconds"]),
        versions=content["versions"],
    )
