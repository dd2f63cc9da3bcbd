"""The parent's side of the Lava child: start it, listen, and leave nothing behind however it ends.

Lava hangs for ever when a Process raises or dies, hangs at exit without `stop()`, and leaks processes and shared memory
when killed. So it runs in a session of its own, under a deadline, with a token in the name of all its shared memory.
Whatever happens - success, a Process that raises, a death, the deadline, SIGINT, SIGTERM - the whole group is killed
and its segments are removed before `run_child` returns. When the parent itself is killed, the child notices its end of
a pipe and does the same (worker.py, `watch`).
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import selectors
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from neurotarget.sim.lava import LavaError
from neurotarget.sim.lava.child import group, segments

import neurotarget
from neurotarget.errors import UserError

POLL_SECONDS = 0.1
HANG_UP_SECONDS = 1.0  # what the child gets to end its group when it is told to
# A Process that raises has Lava end the others, which may be gone, with exit code 0, before it says what it raised
# (lava/magma/core/model/py/model.py, `run`: it tells the runtime, closes its ports, and then raises).
PATIENCE_SECONDS = 5.0
INTERPRETER = "NEUROTARGET_LAVA_PYTHON"  # another Python, with a Lava of its own
PACKAGE = str(Path(neurotarget.__file__).resolve())
# The child may be another Python: it finds our package by its file, and nothing else of this interpreter's.
FIND_US = """
import importlib.util, os, runpy, sys
file = sys.argv.pop(1)
spec = importlib.util.spec_from_file_location("neurotarget", file, submodule_search_locations=[os.path.dirname(file)])
sys.modules["neurotarget"] = package = importlib.util.module_from_spec(spec)
spec.loader.exec_module(package)
runpy.run_module("neurotarget.sim.lava.child.worker", run_name="__main__")
"""


def run_child(folder: Path, deadline_seconds: float, on_event: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Runs the plan in `folder`.

    Args:
        on_event: called with each report of the child, such as `{"event": "sample", "done": 3}`.

    Returns:
        The last report: `{"event": "finished", "seconds": ..., "steps": ...}`.

    Raises:
        LavaError: a Process raised or died, Lava is missing, or the deadline passed.
        KeyboardInterrupt, SystemExit: after SIGINT, and with 143 after SIGTERM, once the child is gone.
    """
    segments.sweep()
    token = segments.new_token()
    with signals_held() as arrived, contextlib.ExitStack() as stack:
        last = _listen(stack, folder, token, deadline_seconds, on_event, arrived)
    if signal.SIGTERM in arrived:
        print("stopped by SIGTERM while Lava was running; its processes are gone", file=sys.stderr)
        raise SystemExit(128 + signal.SIGTERM)
    if arrived:
        raise KeyboardInterrupt
    return last


def _listen(
    stack: contextlib.ExitStack,
    folder: Path,
    token: str,
    deadline_seconds: float,
    on_event: Callable[[dict[str, Any]], None],
    arrived: list[int],
) -> dict[str, Any]:
    """The last report, or nothing when a signal has arrived."""
    control_read, control_write = os.pipe()
    report_read, report_write = os.pipe()
    stack.callback(os.close, report_read)
    stack.callback(os.close, control_write)
    log, program = folder / "log.txt", interpreter(INTERPRETER, LavaError)
    with log.open("wb") as stream:
        child = subprocess.Popen(
            [program, "-c", FIND_US, PACKAGE, str(folder), str(control_read), str(report_write), token],
            pass_fds=(control_read, report_write),
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env=_environment(),
        )
    stack.callback(clean_up, child, control_write, token)
    os.close(control_read)
    os.close(report_write)
    selector = stack.enter_context(selectors.DefaultSelector())
    selector.register(report_read, selectors.EVENT_READ)
    deadline = time.monotonic() + deadline_seconds
    pending = b""
    ended, patience_ends = None, math.inf
    while not arrived:
        exited = _has_exited(child)
        received = b""
        if selector.select(0 if exited else POLL_SECONDS):
            received = os.read(report_read, 65536)
            *lines, pending = (pending + received).split(b"\n")
            for event in map(json.loads, lines):
                on_event(event)
                if event["event"] == "finished":
                    return event
                if event["event"] == "died" and not event["code"] and ended is None:
                    ended, patience_ends = event, time.monotonic() + PATIENCE_SECONDS
                elif event["event"] in ("failed", "died"):
                    raise _failure(event)
        if ended is not None and time.monotonic() > patience_ends:
            raise _failure(ended)
        if exited and not received:
            raise LavaError(f"the Lava child {_end(child.wait())} before it finished; {_last_line(log.read_text())}")
        if time.monotonic() > deadline:
            raise LavaError(
                f"Lava did not finish within {deadline_seconds:g} s and was ended; pass a larger deadline_seconds if "
                f"the network is large; {_last_line(log.read_text())}"
            )
    return {}


def interpreter(variable: str, error: type[UserError]) -> str:
    """The Python that runs a child: this one, or the one that the variable of the environment names.

    Raises:
        error: the one that is named cannot be run.
    """
    chosen = os.environ.get(variable, sys.executable)
    program = shutil.which(chosen)
    if program is None:
        raise error(f"{variable} is {chosen!r}, which is not a program that can be run")
    return program


def _environment() -> dict[str, str]:
    """Without this interpreter's search path; threads of a matrix library in many small Processes would collide."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    ours = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**ours, **threads, "PYTHONUNBUFFERED": "1"}


def _failure(event: dict[str, Any]) -> LavaError:
    process = event["process"]
    if event["event"] == "died":
        return LavaError(f"Lava Process {process!r} {_end(event['code'])} before the run had finished")
    last = event["text"].strip().splitlines()[-1]
    place = f"Lava Process {process!r} raised {last}" if process else f"Lava could not run: {last}"
    error = LavaError(place if "\n" in event["text"].strip() else last)
    error.add_note(event["text"])
    return error


def _end(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _last_line(log: str) -> str:
    lines = log.strip().splitlines()
    return f"its log ends with: {lines[-1]}" if lines else "its log is empty"


@contextlib.contextmanager
def signals_held() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM, for `_listen` to end at a safe point: they would interrupt clean-up, or prevent it.

    Signals that the program handles itself are left to it. To block them would not do: Python acts in the main thread
    on what arrives in any other.
    """
    arrived: list[int] = []
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    main = threading.current_thread() is threading.main_thread()
    held = {number: handler for number, handler in usual.items() if main and signal.getsignal(number) == handler}
    try:
        for number in held:
            signal.signal(number, lambda number, frame: arrived.append(number))
        yield arrived
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)


def clean_up(child: subprocess.Popen[bytes], control: int, token: str) -> None:
    """Ends the child's whole group, waits for its end, removes its shared memory.

    The child is first asked to do it itself, on its pipe: it knows when it is not half-way through making a
    semaphore, which exists under a name that nobody knows for an instant. Where it does not answer, it is killed.
    """
    with contextlib.suppress(BrokenPipeError):
        os.write(control, b".")
    until = time.monotonic() + HANG_UP_SECONDS
    while not _has_exited(child) and time.monotonic() < until:
        time.sleep(0.01)
    # Its number stays its own until it is waited for, and that of its group until the group is empty.
    group.end(child.pid)
    child.wait()
    segments.remove(token)


def _has_exited(child: subprocess.Popen[bytes]) -> bool:
    """Whether the child has ended; it is not waited for, so that its number stays its own."""
    if child.returncode is not None:
        return True
    return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
