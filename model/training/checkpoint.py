"""The checkpoint file: everything that is needed to use a trained network, and nothing that can run code.

`ckpt.pt` holds plain dictionaries, numbers, texts and tensors, so it loads with `weights_only=True`. It is written
beside its place and renamed: an interrupted write never destroys the last good one.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import io
import math
import pickle
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from neurotarget.model.training import registry

from neurotarget import kinds
from neurotarget.data import Standardisation
from neurotarget.errors import UserError
from neurotarget.files import write_bytes

FORMAT = 1
REQUIRED = ("format", "network", "config", "state", "metrics", "data", "classes", "step_seconds", "versions")
TYPES = {
    "config": dict,
    "state": dict,
    "metrics": dict,
    "data": str,
    "classes": list,
    "step_seconds": float,
    "versions": dict,
}


class CheckpointError(UserError):
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
        standardisation: of its log-mel frames, for data from elsewhere; None for spikes, and in files of before 0.2.
        versions: of the libraries that wrote it.
    """

    config: registry.Config
    state: Mapping[str, torch.Tensor]
    metrics: Mapping[str, float]
    data: str
    classes: tuple[str, ...]
    step_seconds: float
    versions: Mapping[str, str]
    standardisation: Standardisation | None = None

    def model(self) -> registry.Network:
        """The network with its weights, in evaluation mode."""
        with torch.random.fork_rng(devices=[]):  # whoever trains meanwhile goes on with the random numbers of before
            network = registry.build(self.config)
        network.load_state_dict(dict(self.state))
        return network.eval()


def versions() -> dict[str, str]:
    """Installed versions of the libraries that decide what a checkpoint computes."""
    return {name: importlib.metadata.version(name) for name in ("torch", "spikingjelly", "numpy", "nir")}


def save(path: str | Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint by rename."""
    content = {
        "format": FORMAT,
        "network": registry.name_of(checkpoint.config),
        "config": dataclasses.asdict(checkpoint.config),
        "state": dict(checkpoint.state),
        "metrics": dict(checkpoint.metrics),
        "data": checkpoint.data,
        "classes": list(checkpoint.classes),
        "step_seconds": float(checkpoint.step_seconds),
        "versions": dict(checkpoint.versions),
    }
    if checkpoint.standardisation is not None:
        content["standardisation"] = checkpoint.standardisation.as_dict()
    save_by_rename(path, content)


# What torch's reader of archives and pickles raises on a damaged file.
DAMAGE = (RuntimeError, EOFError, LookupError, TypeError, AttributeError, ValueError, zipfile.BadZipFile, struct.error)


def save_by_rename(path: str | Path, content: Mapping[str, Any]) -> None:
    """`torch.save` that leaves either the old file or the whole new one.

    Raises:
        OSError: it cannot be written; torch's own writer would hide a full disk behind a RuntimeError.
    """
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    write_bytes(path, buffer.getvalue())


def load_content(path: str | Path) -> dict[str, Any]:
    """Opens a file of dictionaries and tensors without running anything in it.

    Raises:
        CheckpointError: missing, damaged (checksums are compared), or a pickle that holds more than data.
    """
    if mistake := kinds.mistaken(path, kinds.CHECKPOINT):
        raise CheckpointError(mistake)
    try:
        _check_archive(path)
        with warnings.catch_warnings(action="ignore"):  # torch warns of sparse tensors, which `load` refuses
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path}: not a checkpoint: it holds objects that are no plain data") from error
    except DAMAGE as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(f"{path}: not a checkpoint, or damaged: {reason}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: not a checkpoint: holds a {type(content).__name__}, not a dictionary")
    return content


def _check_archive(path: str | Path) -> None:
    """torch.load compares no checksums, and would unpack an entry that is larger than the file."""
    with zipfile.ZipFile(path) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise zipfile.BadZipFile("it is compressed; torch.save does not compress")
        if damaged := archive.testzip():
            raise zipfile.BadZipFile(f"checksum of {damaged} is wrong; copy or train it again")


def load(path: str | Path) -> Checkpoint:
    """Reads and checks a checkpoint.

    Raises:
        CheckpointError: the file is missing, damaged or foreign, does not fit its own configuration, or holds NaN.
    """
    content = load_content(path)
    if missing := [key for key in REQUIRED if key not in content]:
        remedy = "write one with model.train"
        if content and all(isinstance(value, torch.Tensor) for value in content.values()):
            remedy = f"these are the weights of a network: give it too, --network MODULE:FACTORY --weights {path}"
        raise CheckpointError(f"{path}: not a checkpoint of this program: it lacks {', '.join(missing)}; {remedy}")
    if content["format"] != FORMAT or content["network"] not in tuple(registry.CONFIGS):
        found = f"{content['network']!r} in format {content['format']!r}"
        known = ", ".join(registry.CONFIGS)
        raise CheckpointError(f"{path}: holds {found}; this version reads {known} in format {FORMAT}")
    for key, kind in TYPES.items():
        if not isinstance(content[key], kind):
            raise CheckpointError(f"{path}: {key} is a {type(content[key]).__name__}; expected a {kind.__name__}")
    try:
        config = registry.CONFIGS[content["network"]](**content["config"])
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: its configuration is not valid: {error}") from error
    _check_state(path, config, content["state"])
    classes, step_seconds = tuple(content["classes"]), content["step_seconds"]
    if len(classes) != config.classes or not all(isinstance(name, str) for name in classes):
        raise CheckpointError(f"{path}: names {len(classes)} classes; its network has {config.classes}")
    if not 0 < step_seconds < math.inf:
        raise CheckpointError(f"{path}: step_seconds is {step_seconds}; expected a duration above 0 s")
    standardisation = None
    if "standardisation" in content:
        try:
            standardisation = Standardisation.of(content["standardisation"])
        except (ValueError, TypeError, RuntimeError) as error:
            raise CheckpointError(f"{path}: {error}") from error
    return Checkpoint(
        config=config,
        state=content["state"],
        metrics=content["metrics"],
        data=content["data"],
        classes=classes,
        step_seconds=step_seconds,
        versions=content["versions"],
        standardisation=standardisation,
    )


def load_spiking(path: str | Path) -> Checkpoint:
    """The same, of a network that spikes.

    Raises:
        CheckpointError: also for a twin.
    """
    loaded = load(path)
    if loaded.config.twin:
        raise CheckpointError(
            f"{path}: a twin does not spike, so that there is no NIR file of it; hardware.report --twin"
        )
    return loaded


def _check_state(path: str | Path, config: registry.Config, state: Mapping[str, Any]) -> None:
    if config.blocks > len(state):
        raise CheckpointError(f"{path}: {len(state)} parameters cannot fill {config.blocks} blocks")
    largest = max((value.numel() for value in state.values() if isinstance(value, torch.Tensor)), default=0)
    if config.width > largest:
        raise CheckpointError(f"{path}: its largest parameter has {largest} values; its network is {config.width} wide")
    with torch.device("meta"):  # shapes only: nothing is allocated for a file that does not fit
        expected = registry.build(config).state_dict()
    for name in sorted({*state, *expected}, key=str):
        if name not in expected or name not in state:
            where = "has no place in" if name not in expected else "is missing from the file, but belongs to"
            raise CheckpointError(f"{path}: parameter {name} {where} a network of this configuration")
        value, wanted = state[name], expected[name]
        if not isinstance(value, torch.Tensor):
            raise CheckpointError(f"{path}: parameter {name} is a {type(value).__name__}; expected a tensor")
        if not _is_plain(value):
            raise CheckpointError(f"{path}: parameter {name} is sparse, quantised or without data; save it dense")
        if value.shape != wanted.shape or value.is_floating_point() != wanted.is_floating_point():
            shapes = f"{value.dtype} {tuple(value.shape)}, expected {wanted.dtype} {tuple(wanted.shape)}"
            raise CheckpointError(f"{path}: parameter {name} is {shapes}")
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            bad = int((~torch.isfinite(value)).sum())
            raise CheckpointError(f"{path}: parameter {name} holds {bad} NaN or infinite values; train again")


def _is_plain(value: torch.Tensor) -> bool:
    """Whether each value stands in memory: views of one value with a large shape unpack to any size."""
    if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized or value.is_nested:
        return False
    return value.untyped_storage().nbytes() >= value.numel() * value.element_size()
