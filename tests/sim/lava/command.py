"""Program, `python -m tests.sim.lava.command DESCRIPTOR`: one `python -m sim.run ... --backend lava` after another.

Each is a fork of this interpreter, because importing numba and scipy takes longer than the runs. It is a command as
at a terminal: a process group of its own, Python's own handling of signals, standard error in a file. Orders come on
the connection at DESCRIPTOR. Back go `ready`, and for each order `started`, what the Lava child reports, and `ended`,
each with the process number, the time on the machine's clock, and `queued`, see `queued_seconds`.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from neurotarget.sim import run
from neurotarget.sim.lava import parent
from neurotarget.sim.lava.child import control as child
from neurotarget.sim.lava.plan.floating import Plan


@dataclass(frozen=True)
class Order:
    """What to run, and what is wrong with it.

    Attributes:
        model, frames: the arguments of the command.
        folder: for all temporary files of the run, and `errors.txt`, its standard error.
        deadline_seconds: in place of the one that goes with the work.
        spoil: key of SPOILERS: when the network is to raise.
    """

    model: Path
    frames: Path
    folder: Path
    deadline_seconds: float | None = None
    spoil: str | None = None


def _in_the_builder(plan: Plan) -> None:
    plan.specs["first.lif"] = dataclasses.replace(plan.specs["first.lif"], kind="unheard")


def _in_a_constructor(plan: Plan) -> None:
    plan.records[0]["dtype"] = "unheard"


def _in_a_step(plan: Plan) -> None:
    frames = plan.specs["input"].arrays["frames"]
    plan.specs["input"] = dataclasses.replace(plan.specs["input"], arrays={"frames": frames[:3]})


SPOILERS = {"before build": _in_the_builder, "while building": _in_a_constructor, "while running": _in_a_step}


def main(connection: Connection) -> None:
    connection.send("ready")
    while True:
        try:
            order = connection.recv()
        except EOFError:
            return
        pid = os.fork()
        if not pid:
            sys.exit(command(connection, order))
        end = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # and keeps what /proc says of it
        assert end
        tell(connection, pid, event="ended", code=end.si_status if end.si_code == os.CLD_EXITED else -end.si_status)
        os.waitpid(pid, 0)


def tell(connection: Connection, pid: int, **event: Any) -> None:
    connection.send({**event, "pid": pid, "at": time.monotonic(), "queued": queued_seconds(pid)})


def children(pid: int) -> list[int]:
    """Of the first thread of a process, oldest first."""
    return [int(word) for word in process_file(pid, f"task/{pid}/children").split()]


def process_file(pid: int, name: str) -> bytes:
    """A file under /proc, empty when the process has ended or is another user's."""
    try:
        return Path(f"/proc/{pid}", name).read_bytes()
    except OSError:
        return b""


def queued_seconds(pid: int) -> float:
    """Time for which a process was ready and no processor was free, 0 where Linux does not count it (sched-stats)."""
    _, queued, _ = map(int, process_file(pid, "schedstat").split() or (0, 0, 0))
    return queued / 1e9


def command(connection: Connection, order: Order) -> int:
    """The command, in a process of its own."""
    os.setsid()
    os.environ["TMPDIR"] = str(order.folder)
    os.dup2(os.open(order.folder / "errors.txt", os.O_WRONLY | os.O_CREAT), 2)
    # A shell starts background jobs with SIGINT ignored, and so would run this one.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    make_plan = parent.make_plan

    def spoiled_plan(*arguments: Any) -> Plan:
        plan = make_plan(*arguments)
        if order.spoil:
            SPOILERS[order.spoil](plan)
        return plan

    def observed_child(folder: Path, seconds: float, on_event: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        def observe(event: dict[str, Any]) -> None:
            tell(connection, os.getpid(), **event)
            on_event(event)

        tell(connection, os.getpid(), event="started")
        return child.run_child(folder, order.deadline_seconds or seconds, observe)

    parent.make_plan, parent.run_child = spoiled_plan, observed_child
    return run.main([str(order.model), "--input", str(order.frames), "--backend", "lava"])


if __name__ == "__main__":
    main(Connection(int(sys.argv[1])))
