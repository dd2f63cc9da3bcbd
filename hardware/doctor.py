"""What works here? `python -m hardware.doctor`: each part by itself, and the command that gets what is missing.

Nothing is asked of a part that is not used to find it out: Lava runs a neuron, a meter is opened, eSpeak is loaded.
"""

from __future__ import annotations

import sys

from neurotarget.hardware.commands import doctor as main

if __name__ == "__main__":  # before the imports that take long: --help needs none of them
    sys.exit(main())

import argparse
import dataclasses
import importlib
import importlib.metadata
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurotarget.cli import Result
from neurotarget.errors import UserError
from neurotarget.terminal import results

LAVA = "pip install --no-deps --ignore-requires-python -r requirements-lava.txt && pip install 'neurotarget[lava]'"
DATA_SETS = {  # variable that names the folder -> what is in it, and a file or folder by which it is known
    "NEUROTARGET_SHD": ("Spiking Heidelberg Digits", "shd_train.h5"),
    "NEUROTARGET_SSC": ("Spiking Speech Commands", "ssc_train.h5"),
    "NEUROTARGET_GSC": ("Google Speech Commands", "yes"),
    "NEUROTARGET_FSDD": ("Free Spoken Digit Dataset", "0_jackson_0.wav"),
}


@dataclass(frozen=True)
class Check:
    """One part.

    Attributes:
        part: its name.
        works: whether it does.
        found: what was found, or why it does not work.
        remedy: what to do where it does not; empty where it works.
        required: no command works without it.
    """

    part: str
    works: bool
    found: str
    remedy: str
    required: bool


def check(part: str, find: Callable[[], str], remedy: str, required: bool = False) -> Check:
    """Whether a part works: `find` says what it found, or raises."""
    try:
        return Check(part, True, find(), "", required)
    except (UserError, ImportError, OSError, RuntimeError) as error:
        return Check(part, False, str(error).partition("\n")[0] or type(error).__name__, remedy, required)


# ---- the parts -------------------------------------------------------------------------------------------------------


def python() -> str:
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        raise UserError(f"{platform.python_version()} was not tested")
    return platform.python_version()


def packages(*names: str) -> Callable[[], str]:
    """Finds installed packages by their names in the registry, without importing them."""
    return lambda: ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)


def simulator() -> str:
    """The reference simulator runs one neuron: what it compiles is kept for the next run."""
    from neurotarget.sim import reference

    graph, frames = _neuron()
    return f"runs a neuron: {int(reference.run(graph, frames).spikes['lif'].sum())} spikes"


def in_lava() -> str:
    """Lava runs the same neuron, in the interpreter that NEUROTARGET_LAVA_PYTHON names or this one."""
    from neurotarget.sim import lava

    graph, frames = _neuron()
    trace = lava.run(graph, frames)
    return f"runs a neuron: {int(trace.spikes['lif'].sum())} spikes, in Python {trace.header['python']}"


def _neuron() -> tuple[Any, Any]:
    """A LIF that an input of 1 brings over its threshold at every second step, as a graph; frames [1, 8, 1]."""
    import nir
    import numpy as np
    from neurotarget.sim.graph import load

    one, dt = np.ones(1), 1e-3
    neuron = nir.LIF(tau=2 * dt * one, r=2 * one, v_leak=0 * one, v_threshold=1.2 * one, v_reset=0 * one)
    ports = {"input": nir.Input({"input": np.array([1])}), "output": nir.Output({"output": np.array([1])})}
    nodes = {**ports, "weight": nir.Linear(np.eye(1)), "lif": neuron}
    edges = [("input", "weight"), ("weight", "lif"), ("lif", "output")]
    return load(nir.NIRGraph(nodes, edges, metadata={"dt": dt})), np.ones((1, 8, 1))


def gpu() -> str:
    import torch

    if not torch.cuda.is_available():
        raise UserError("PyTorch sees no CUDA device; training runs on the processor")
    return str(torch.cuda.get_device_name(0))


def meter(kind: str) -> Callable[[], str]:
    """Opens a meter, `nvml` or `rapl`."""

    def find() -> str:
        from neurotarget.hardware.meters import sensors

        opened = {"nvml": sensors.open_nvml, "rapl": sensors.open_rapl}[kind]()
        return f"{opened.source}: {opened.device}"

    return find


def sanafe() -> str:
    from neurotarget.hardware.sanafe import parent

    return f"SANA-FE {parent.version()}"


def espeak() -> str:
    import espeakng_loader

    espeakng_loader.get_library_path()
    return f"espeakng-loader {importlib.metadata.version('espeakng-loader')}"


def data_set(variable: str, known_by: str, environment: Mapping[str, str]) -> Callable[[], str]:
    """Finds a data set by the variable of the environment that names its folder."""

    def find() -> str:
        if variable not in environment:
            raise UserError(f"{variable} is not set")
        folder = Path(environment[variable])
        if not any(path.exists() for path in (folder / known_by, folder / "recordings" / known_by)):
            raise UserError(f"{variable} is {folder}, where no {known_by} is")
        return str(folder)

    return find


def checks() -> list[Check]:
    """All parts, those that every command needs first."""
    train, meters = "pip install 'neurotarget[train]'", "pip install 'neurotarget[meter]'; docs/measuring.md says more"
    found = [
        check("Python", python, "Python 3.11 to 3.13", required=True),
        check("simulator", simulator, "pip install --force-reinstall neurotarget", required=True),
        check("PyTorch", packages("torch", "spikingjelly"), train),
        check("GPU", gpu, "a CUDA device, its driver and a PyTorch with CUDA"),
        check("Lava", in_lava, LAVA),
        check("SANA-FE", sanafe, "pip install 'neurotarget[sanafe]'"),
        check("meter of a GPU", meter("nvml"), meters),
        check("meter of the CPU", meter("rapl"), meters),
        check("speech (synth)", espeak, "pip install 'neurotarget[demo]'"),
        check("event cameras", packages("tonic", "aedat"), "pip install 'neurotarget[events]'"),
        check("learnt delays", packages("dcls"), "pip install 'neurotarget[delays]'"),
        check("several machines", packages("distributed"), "pip install 'neurotarget[cluster]'"),
        check("other counters", packages("syops", "neurobench"), "pip install --no-deps -r requirements-counters.txt"),
    ]
    for variable, (name, known_by) in DATA_SETS.items():
        remedy = f"download it and export {variable}=FOLDER; docs/data.md says where it is"
        found.append(check(name, data_set(variable, known_by, os.environ), remedy))
    return found


# ---- the command -----------------------------------------------------------------------------------------------------


def work(arguments: argparse.Namespace) -> Result:
    found = checks()
    holds = all(one.works for one in found if one.required)
    figures = {"works": holds, "parts": [dataclasses.asdict(one) for one in found]}
    return Result(figures, words(found), holds)


def words(found: list[Check]) -> str:
    """A line for each part, another where something gets it, and one of verdict."""
    rows = [("state", "part", "found")]
    for one in found:
        rows.append(("works" if one.works else "missing", one.part, one.found))
        if one.remedy:
            rows.append(("", "", f"get it: {one.remedy}"))
    broken = [one.part for one in found if one.required and not one.works]
    works = sum(one.works for one in found)
    what = f"{', '.join(broken)}: no command works without" if broken else "what every command needs works"
    return results(rows, [], f"{works} of {len(found)} parts work; {what}", texts=3)
