"""What `neurotarget` offers, for type checkers: what `PUBLIC` in `__init__.py` imports when it is asked for."""

from typing import Any

from neurotarget.conversion.quantize import quantize_to as quantize
from neurotarget.conversion.to_nir import check, export
from neurotarget.errors import CheckFailed, UserError
from neurotarget.hardware.counts.layers import count
from neurotarget.hardware.place import place
from neurotarget.hardware.report import report
from neurotarget.sim.compare import compare
from neurotarget.sim.graph import Graph, load
from neurotarget.sim.parity import Parity
from neurotarget.sim.run import run
from neurotarget.sim.trace import Trace

__all__ = [
    "CheckFailed",
    "Graph",
    "Parity",
    "Trace",
    "UserError",
    "__version__",
    "check",
    "compare",
    "count",
    "export",
    "load",
    "place",
    "quantize",
    "report",
    "run",
]

__version__: str
PUBLIC: dict[str, str]

def imported(where: str) -> Any: ...
def end_quietly(number: int, frame: object) -> None: ...
def interrupt_ends_imports() -> None: ...
