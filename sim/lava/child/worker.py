"""The child process: builds the network in Lava, runs it, reports on a pipe.

    python -m neurotarget.sim.lava.child.worker FOLDER CONTROL REPORT TOKEN

FOLDER holds the plan and receives the records. CONTROL is a descriptor that the parent writes to when it wants the end,
and that closes when the parent is gone; REPORT is one for JSON lines, TOKEN the name under which shared memory is made.
Runs on Python >= 3.10 and imports only numpy, scipy and Lava: a stock Lava on another interpreter can stand in.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import multiprocessing
import multiprocessing.connection
import os
import platform
import shutil
import signal
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurotarget.sim.lava.child import group, segments

PR_SET_PDEATHSIG = 1  # linux/prctl.h
NOT_INSTALLED = (
    "Lava is not installed: pip install --no-deps --ignore-requires-python -r requirements-lava.txt "
    "and pip install neurotarget[lava]"
)


def main(folder: Path, control: int, report: int, token: str) -> None:
    os.register_at_fork(after_in_child=die_with_parent)  # not the worker itself: `watch` has to clean up first
    segments.use(token)
    actors: list[Any] = []
    threading.Thread(target=watch, args=(folder, control, report, token, actors), daemon=True).start()
    try:
        run(folder, report, actors)
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0] == "lava"
        say(report, event="failed", process="", text=NOT_INSTALLED if missing else traceback.format_exc())
    except BaseException as error:
        say(report, event="failed", process=getattr(error, "process", ""), text=traceback.format_exc())
    # The parent ends this group through `watch`, which also cleans up. Lava's own exit handlers would wait, after a
    # failure, for Processes that no longer answer.
    threading.Event().wait()


def run(folder: Path, report: int, actors: list[Any]) -> None:
    """Builds the network and runs it. `actors` receives the system processes as they start."""
    from neurotarget.sim.lava.child import compat

    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    mended = compat.apply()
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from neurotarget.sim.lava.child.builder import build

    models, steps = build(folder, report)
    watch_system_processes(report, {process.id: process.name for process in models}, actors)
    first = next(iter(models))
    for process in models:
        process._log_config.level = logging.INFO
    first.create_runtime(run_cfg=Loihi2SimCfg(select_tag="floating_pt", exception_proc_model_map=models))
    say(report, event="built", processes=len(models), mended=mended, python=platform.python_version())
    started = time.perf_counter()
    first.run(condition=RunSteps(num_steps=steps))
    say(report, event="finished", seconds=time.perf_counter() - started, steps=steps)
    # All records are written: the parent ends the group. Lava's `stop` would wait for every Process to end by itself.
    threading.Event().wait()


def say(report: int, **event: Any) -> None:
    """Reports to the parent. When it is gone, `watch` is about to end this."""
    with contextlib.suppress(BrokenPipeError):
        os.write(report, json.dumps(event).encode() + b"\n")


def watch_system_processes(report: int, names: dict[int, str], actors: list[Any]) -> None:
    """Makes Lava start system processes that `watch` knows from the start and that say at once when they raise.

    Lava itself keeps a traceback until a join that may never come, and waits for ever for one that dies. Each gets the
    name of the Process that it runs; Lava's own services that of their class.
    """
    from lava.magma.runtime.message_infrastructure import multiprocessing as infrastructure

    class Watched(infrastructure.SystemProcess):
        def start(self) -> None:
            builder = self._kwargs["builder"]
            self.name = names.get(getattr(builder, "_model_id", -1), type(builder).__name__)
            self._kwargs["exception_q"] = Named(self._kwargs["exception_q"], self.name)
            super().start()
            actors.append(self)

        def run(self) -> None:
            try:
                multiprocessing.Process.run(self)
                self._cconn.send(None)
            except Exception as error:
                say(report, event="failed", process=getattr(error, "process", self.name), text=traceback.format_exc())
                self._cconn.send((error, traceback.format_exc()))

        def join(self) -> None:
            multiprocessing.Process.join(self)  # Lava would also close it, and `watch` still asks how it ended

    infrastructure.SystemProcess = Watched


@dataclass(frozen=True, eq=False)
class Named:
    """Lava's queue for what a Process raises while it is built, with that Process's name on it.

    Lava raises it again in the worker (runtime.py, `Runtime.initialize`), which may say so before the Process does.
    """

    queue: Any
    process: str

    def put(self, error: Exception | None) -> None:
        """Hands on an error, or None from a Process that was built."""
        if error is not None and not hasattr(error, "process"):  # a hosted model's name is there already
            error.process = self.process  # type: ignore[attr-defined]
        self.queue.put(error)


def die_with_parent() -> None:
    """Asks Linux to kill this process when the one that started it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def watch(folder: Path, control: int, report: int, token: str, actors: list[Any]) -> None:
    """Ends the whole group when the parent says so or is gone, and reports a Process that dies without a word."""
    while True:
        running = {actor.sentinel: actor for actor in list(actors)}
        ready = multiprocessing.connection.wait([control, *running], timeout=0.2)
        if control in ready:
            if not os.read(control, 1):
                clean_up_for_the_parent(folder, token)
            # A semaphore is made without giving up the interpreter's lock, which this thread holds now.
            os.killpg(0, signal.SIGKILL)
        dead = [running[key] for key in ready if key in running]
        if dead:
            actors.clear()
            until = time.monotonic() + 1
            while dead[0].exitcode is None and time.monotonic() < until:
                time.sleep(0.01)  # its pipe closes a moment before it can be waited for
            say(report, event="died", process=dead[0].name, code=dead[0].exitcode or 0)


def clean_up_for_the_parent(folder: Path, token: str) -> None:
    """Does what the parent would have done, from a process outside the group that can see the group end."""
    doomed = os.getpgrp()
    if os.fork():
        threading.Event().wait()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, 0)
    os.setsid()
    group.end(doomed)
    segments.remove(token)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
