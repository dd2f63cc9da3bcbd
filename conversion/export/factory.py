"""A network of the user's own by name: `package.module:factory`, with weights from a file."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from neurotarget.model.training import checkpoint
from torch import nn

from neurotarget.errors import UserError, nearest


class NetworkError(UserError):
    """A network that cannot be made: the message names module, factory or weights, and what is wrong."""


def make_network(name: str, weights: str | Path | None = None) -> nn.Module:
    """The network that a factory makes, in evaluation mode.

    Args:
        name: `package.module:factory`, a function or class that is called without arguments, or a network. The module
            is in the working folder or installed.
        weights: file with the network's state_dict, opened with `weights_only=True`.

    Raises:
        NetworkError: there is no such factory, it fails, or the weights are another network's.
        CheckpointError: the file of weights is missing, damaged or holds more than data.
    """
    module_name, colon, factory = name.partition(":")
    if not (colon and factory.isidentifier() and all(part.isidentifier() for part in module_name.split("."))):
        raise NetworkError(f"--network {name}: package.module:factory is expected, such as networks:small")
    with working_folder():
        module = _imported(name, module_name)
        made = _made(name, module, factory)
    if not isinstance(made, nn.Module):
        raise NetworkError(f"--network {name}: {factory} gives a {type(made).__name__}; return a torch.nn.Module")
    if weights is not None:
        load_weights(made, name, weights)
    return made.eval()


@contextmanager
def working_folder() -> Iterator[None]:
    """The working folder comes first among the places that modules are found in, as for Python itself."""
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _imported(name: str, module_name: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing == module_name or module_name.startswith(f"{missing}."):
            raise NetworkError(
                f"--network {name}: no module {missing} in {os.getcwd()} or among the installed packages"
            ) from None
        raise _failed(name, f"importing {module_name}", error) from error
    except (Exception, SystemExit) as error:
        raise _failed(name, f"importing {module_name}", error) from error


def _made(name: str, module: ModuleType, factory: str) -> Any:
    found = getattr(module, factory, None)
    if found is None:
        names = [word for word, value in vars(module).items() if callable(value)]
        raise NetworkError(f"--network {name}: {module.__name__} has no {factory}{nearest(factory, names)}")
    if isinstance(found, nn.Module):
        return found
    if not callable(found):
        raise NetworkError(
            f"--network {name}: {factory} is a {type(found).__name__}; name a function that makes the network"
        )
    try:
        return found()
    except (Exception, SystemExit) as error:
        raise _failed(name, f"calling {factory}()", error) from error


def _failed(name: str, what: str, error: BaseException) -> NetworkError:
    """An exception of the user's code with its place there."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if len(frames) > 1 else ""
    words = str(error).partition("\n")[0]
    return NetworkError(f"--network {name}: {what} raised {type(error).__name__}{words and ': '}{words}{place}")


def load_weights(network: nn.Module, name: str, path: str | Path) -> None:
    """Loads a state_dict into a network, whose keys and shapes it must have.

    Raises:
        NetworkError, CheckpointError: it does not fit, or cannot be read.
    """
    try:
        state = checkpoint.load_content(path)
    except checkpoint.CheckpointError as error:
        remedy = "; write it with torch.save(network.state_dict(), FILE)" * ("not a checkpoint" in str(error))
        raise NetworkError(f"{error}{remedy}") from error
    others = [key for key, value in state.items() if not isinstance(value, torch.Tensor)]
    if others:
        raise NetworkError(
            f"{path}: {others[0]} is a {type(state[others[0]]).__name__}, no tensor; save network.state_dict() alone"
        )
    own = network.state_dict()
    missing, unexpected = ([key for key in a if key not in b] for a, b in ((own, state), (state, own)))
    if missing or unexpected:
        found = [f"it lacks {missing[0]}"] if missing else []
        found += [f"it has {unexpected[0]}, which the network has not"] if unexpected else []
        raise NetworkError(
            f"{path}: not the weights of {name}: {' and '.join(found)} ({len(missing)} missing, {len(unexpected)} more)"
        )
    for key, value in own.items():
        if state[key].shape != value.shape:
            shapes = f"{tuple(state[key].shape)} in the file and {tuple(value.shape)} in the network"
            raise NetworkError(f"{path}: not the weights of {name}: {key} is {shapes}")
    network.load_state_dict(state)
