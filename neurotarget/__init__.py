"""neurotarget: from a trained spiking network to a proven deployment and an honest energy figure.

The packages `model`, `conversion`, `sim` and `hardware` are installed inside this one. In a checkout they stand beside
it, and are found from here all the same; checkout.py lets them be called by their bare names there.
"""

import os
import signal
import sys


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


def __getattr__(name: str) -> str:
    if name == "__version__":  # read when asked for: Lava's child has no metadata of ours
        from importlib import metadata

        return metadata.version("neurotarget")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
