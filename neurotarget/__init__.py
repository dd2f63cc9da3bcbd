"""neurotarget: from a trained spiking network to a proven deployment and an honest energy figure.

The packages `model`, `conversion`, `sim` and `hardware` are installed inside this one. In a checkout they stand beside
it, and are found from here all the same; checkout.py lets them be called by their bare names there.

The Python API is what `PUBLIC` names: `neurotarget.export(network, frames, "network.nir")` and what goes on from there.
"""

import importlib
import os
import signal
import sys
from typing import Any


def end_quietly(number: int, frame: object) -> None:
    """Ends the process on Ctrl-C while its libraries load: nothing is half done, and they turn it into other errors."""
    os.write(2, b"interrupted: nothing was done yet\n")
    os._exit(130)


def interrupt_ends_imports() -> None:
    """Until a command begins (cli.py), Ctrl-C ends a process that was started to run it."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, end_quietly)


if sys.argv[:1] == ["-m"]:  # `python -m` is looking for its module in here
    interrupt_ends_imports()

# Two pools of OpenMP threads (torch's and numba's) share the cores. By default an idle one spins and takes them from
# the other: on a busy machine a training step was measured four times slower. Read when OpenMP first loads, hence here.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_FOLDER = os.path.dirname(os.path.realpath(__file__))
if not os.path.isdir(os.path.join(_FOLDER, "model")):
    __path__.append(os.path.dirname(_FOLDER))


# The Python API: name -> where it is. `__init__.pyi` says the same to type checkers. Imported when asked for: torch
# takes seconds, and Lava's child has none of it.
PUBLIC = {
    "export": "conversion.to_nir:export",
    "check": "conversion.to_nir:check",
    "load": "sim.graph:load",
    "run": "sim.run:run",
    "compare": "sim.compare:compare",
    "quantize": "conversion.quantize:quantize_to",
    "place": "hardware.place:place",
    "count": "hardware.counts.layers:count",
    "report": "hardware.report:report",
    "Graph": "sim.graph:Graph",
    "Trace": "sim.trace:Trace",
    "Parity": "sim.parity:Parity",
    "UserError": "errors:UserError",
    "CheckFailed": "errors:CheckFailed",
}
__all__ = [*PUBLIC, "__version__"]


def imported(where: str) -> Any:
    """What `module:name` stands for, below neurotarget.

    Raises:
        PackageMissing: it needs a package of ours, or PyTorch or SpikingJelly, that is not installed.
    """
    from neurotarget.errors import package_missing

    module, _, member = where.partition(":")
    try:
        return getattr(importlib.import_module(f"neurotarget.{module}"), member)
    except ModuleNotFoundError as error:
        if (missing := package_missing(error)) is None:
            raise
        raise missing from error


def __getattr__(name: str) -> object:
    if name == "__version__":  # read when asked for: Lava's child has no metadata of ours
        from importlib import metadata

        return metadata.version("neurotarget")
    if name in PUBLIC:
        return imported(PUBLIC[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
