"""The parent's side of SANA-FE's process: start it, wait under a deadline, end it where it or the wait fails.

It makes no processes of its own, and asks Linux to end it with the parent.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neurotarget.hardware.sanafe import SanafeError
from neurotarget.hardware.sanafe.child import NOT_INSTALLED
from neurotarget.sim.lava.child import group
from neurotarget.sim.lava.child.control import interpreter, signals_held

INTERPRETER = "NEUROTARGET_SANAFE_PYTHON"  # another Python, with SANA-FE installed
CHILD = Path(__file__).with_name("child.py")
POLL_SECONDS = 0.05
VERSION_SECONDS = 60.0
START_SECONDS = 120.0
# Measured on one core: 10 s for 540 000 synapses and 207 steps; a crowded machine may take many times that.
SECONDS_PER_SYNAPSE, SECONDS_PER_STEP = 5e-4, 1.0
REMEDY = (
    "SANA-FE is not installed: pip install 'neurotarget[sanafe]' (GPL-3.0), or name the Python of an environment that "
    f"has it in {INTERPRETER}"
)


def version() -> str:
    """The version of the SANA-FE that `run` would use.

    Raises:
        SanafeError: there is none, or the interpreter that was named cannot be run.
    """
    with tempfile.TemporaryDirectory(prefix="neurotarget-sanafe-") as folder:
        return _finish(["--version"], Path(folder), VERSION_SECONDS).strip()


def run(content: Mapping[str, Any], synapses: int) -> dict[str, Any]:
    """Runs a plan.

    Args:
        content: of a plan, see child.py.
        synapses: in it; they and the steps set the deadline.

    Returns:
        What child.py writes.

    Raises:
        SanafeError: SANA-FE is missing, raised or died, or did not finish in time.
    """
    steps = sum(sample["steps"] for sample in content["samples"])
    deadline = START_SECONDS + SECONDS_PER_SYNAPSE * synapses * len(content["samples"]) + SECONDS_PER_STEP * steps
    with tempfile.TemporaryDirectory(prefix="neurotarget-sanafe-") as name:
        folder = Path(name)
        (folder / "plan.json").write_text(json.dumps(content, allow_nan=False))
        _finish([name], folder, deadline)
        found: dict[str, Any] = json.loads((folder / "result.json").read_text())
        return found


def _finish(arguments: list[str], folder: Path, deadline_seconds: float) -> str:
    """Runs the child to its end and returns what it printed; it is ended at the deadline, by SIGINT and by SIGTERM."""
    log, program = folder / "log.txt", interpreter(INTERPRETER, SanafeError)
    with signals_held() as arrived:
        with log.open("wb") as stream:
            child = subprocess.Popen(
                [program, "-I", str(CHILD), *arguments],
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        try:
            deadline = time.monotonic() + deadline_seconds
            while (code := child.poll()) is None and not arrived and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
        finally:
            if child.returncode is None:
                group.end(child.pid)
                child.wait()
    if signal.SIGTERM in arrived:
        raise SystemExit(128 + signal.SIGTERM)
    if arrived:
        raise KeyboardInterrupt
    if code is None:
        raise SanafeError(
            f"SANA-FE did not finish within {deadline_seconds:.0f} s and was ended; fewer samples take less"
        )
    said = log.read_text(errors="replace")
    if code == NOT_INSTALLED:
        raise SanafeError(REMEDY)
    if code:
        end = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        lines = [line for line in said.splitlines() if line.strip()]
        raise SanafeError(f"SANA-FE {end}; its log ends with: {lines[-1].strip() if lines else 'nothing'}")
    return said
