"""However a run ends, it ends soon, says why in one sentence, and leaves no process and no shared memory behind.

`TABLE` is the list of faults. Each strikes a command on Lava `RUNS` times: before Lava builds the network, while it
builds, and while it runs, at moments drawn with a fixed seed. Several commands run at a time.
"""

from __future__ import annotations

import os
import queue
import random
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from neurotarget.sim.lava.child import segments

from tests.sim.lava.command import Order, children, process_file, queued_seconds
from tests.sim.networks import Network, spikes

RUNS = 20
AT_A_TIME = 3
SOON_SECONDS = 5.0
HANGS_SECONDS = 60.0
PHASES = ("before build", "while building", "while running")
SEGMENTS, ACTORS = 14, 5  # that Lava makes for the network below; the fifth actor is its own service


class Command:
    """A command on Lava that was ordered: its reports, its processes, and what is left of it."""

    def __init__(self, connection: Connection, order: Order) -> None:
        self.connection, self.order, self.folder = connection, order, order.folder
        self.reports: dict[str, dict[str, Any]] = {}  # the last of each kind
        self.pid = 0
        connection.send(order)
        self.pid = self.report("started")["pid"]

    def report(self, event: str) -> dict[str, Any]:
        self.wait_for(lambda: event in self.reports)
        return self.reports[event]

    def wait_for(self, condition: Callable[[], Any]) -> Any:
        """Waits until something is the case, which is to happen before the command ends or, after that, at all."""
        until, had_ended = time.monotonic() + HANGS_SECONDS, "ended" in self.reports
        while not (found := condition()):
            assert had_ended or "ended" not in self.reports, f"ended too soon: {self.errors()}"
            assert time.monotonic() < until, f"hangs, with {self.left()} left; {self.errors()}"
            if self.connection.poll(0.002):
                report = self.connection.recv()
                self.reports[report["event"]] = report
        return found

    def end(self) -> None:
        """After a failure it may still run."""
        if "ended" not in self.reports:
            os.kill(self.pid, signal.SIGKILL)
            self.report("ended")

    def worker(self) -> list[int]:
        return children(self.pid)

    def actors(self) -> list[int]:
        """Lava's system processes; the worker starts the server of shared memory and its tracker before them."""
        return [pid for worker in self.worker() for pid in children(worker)[2:]]

    def errors(self) -> str:
        return (self.folder / "errors.txt").read_text()

    def shared_memory(self) -> list[Path]:
        """Segments, semaphores and sockets."""
        return segments.of(f"neurotarget-{self.pid}-")

    def left(self) -> list[Any]:
        """Shared memory, temporary files, and processes that were started with the folder of these files."""
        files = [path for path in self.folder.iterdir() if path.name != "errors.txt"]
        started = f"TMPDIR={self.folder}\0".encode()
        pids = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
        processes = [pid for pid in pids if started in process_file(pid, "environ")]
        return [*self.shared_memory(), *files, *processes]


# ---- how a fault strikes: each makes it happen in a phase, and returns when that was ---------------------------------


@dataclass(frozen=True)
class Moment:
    """Seconds on the machine's clock, and for how many of its own the command had waited for a processor."""

    at: float
    queued: float


Strike = Callable[[Command, str, random.Random], Moment]


def reach(command: Command, phase: str, draw: random.Random) -> None:
    """Waits for a moment of the phase: for what can be seen of it, and then a time that no event marks."""
    if phase == "before build":
        command.wait_for(command.worker)
        time.sleep(draw.uniform(0, 0.3))
    elif phase == "while building":
        made, started = draw.choice([(draw.randint(1, SEGMENTS), 0), (0, draw.randint(1, ACTORS))])
        command.wait_for(lambda: len(command.shared_memory()) > made and len(command.actors()) >= started)
        time.sleep(draw.uniform(0, 0.01))
    else:
        done = draw.randint(1, 10)
        command.wait_for(lambda: command.reports.get("sample", {"done": 0})["done"] >= done)
        time.sleep(draw.uniform(0, 0.02))


def sent(number: signal.Signals, send: Callable[[int, int], None] = os.kill) -> Strike:
    def strike(command: Command, phase: str, draw: random.Random) -> Moment:
        reach(command, phase, draw)
        moment = Moment(time.monotonic(), queued_seconds(command.pid))
        send(command.pid, number)
        return moment

    return strike


def worker_killed(command: Command, phase: str, draw: random.Random) -> Moment:
    reach(command, phase, draw)
    moment = Moment(time.monotonic(), queued_seconds(command.pid))
    os.kill(command.worker()[0], signal.SIGKILL)
    return moment


def process_killed(command: Command, phase: str, draw: random.Random) -> Moment:
    """One of Lava's system processes; before the build there is none, and the first is killed as it starts."""
    victim = 0 if phase == "before build" else draw.randrange(ACTORS)
    if phase == "while running":
        reach(command, phase, draw)
    command.wait_for(lambda: len(command.actors()) > victim)
    moment = Moment(time.monotonic(), queued_seconds(command.pid))
    os.kill(command.actors()[victim], signal.SIGKILL)
    return moment


def raised(command: Command, phase: str, draw: random.Random) -> Moment:
    """When the command hears of it, which is at once."""
    failed = command.report("failed")
    return Moment(failed["at"], failed["queued"])


def passed(command: Command, phase: str, draw: random.Random) -> Moment:
    started = command.report("started")
    assert command.order.deadline_seconds
    return Moment(started["at"] + command.order.deadline_seconds, started["queued"])  # it does nothing but wait between


# ---- the table -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """A row of the table.

    Attributes:
        strike: makes it happen in a phase of a command, and returns when that was.
        code: how the command ends: its exit code, or minus the signal.
        says: pattern of all that it writes to standard error.
        order: what the command is told besides what to run, in a phase.
    """

    name: str
    strike: Strike
    code: int
    says: str
    order: Callable[[str, random.Random], dict[str, Any]] = lambda phase, draw: {}


DEADLINE_SECONDS = {"before build": (0.02, 0.4), "while building": (0.5, 1.5), "while running": (1.5, 3.0)}  # or so
TABLE = (
    Fault(
        "model raises",
        raised,
        2,
        r"error: (Lava could not run: KeyError: 'unheard'"
        r"|Lava Process 'recorder 0' raised TypeError: data type 'unheard' not understood"
        r"|Lava Process 'input' raised IndexError: index 3 is out of bounds for axis 0 with size 3)",
        lambda phase, draw: {"spoil": phase},
    ),
    Fault(
        "child killed by SIGKILL",
        worker_killed,
        2,
        r"error: the Lava child was killed by SIGKILL before it finished; .+",
    ),
    Fault(
        "Process killed by SIGKILL",
        process_killed,
        2,
        r"error: Lava Process '.+' was killed by SIGKILL before the run had finished",
    ),
    Fault(
        "deadline",
        passed,
        2,
        r"error: Lava did not finish within [\d.e-]+ s and was ended; pass a larger deadline_seconds .+",
        lambda phase, draw: {"deadline_seconds": draw.uniform(*DEADLINE_SECONDS[phase])},
    ),
    Fault("SIGINT to the parent", sent(signal.SIGINT), 130, "interrupted: there is no result"),
    Fault("SIGINT to the group", sent(signal.SIGINT, os.killpg), 130, "interrupted: there is no result"),
    Fault("SIGTERM", sent(signal.SIGTERM), 143, "stopped by SIGTERM while Lava was running; its processes are gone"),
    Fault("parent killed by SIGKILL", sent(signal.SIGKILL), -signal.SIGKILL, ""),
)


@pytest.fixture(scope="module")
def commands() -> Iterator[queue.Queue[Connection]]:
    """Connections to interpreters that run a command at a time each."""
    # Threads of a matrix library would not survive the fork.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    free: queue.Queue[Connection] = queue.Queue()
    programs = []
    for _ in range(AT_A_TIME):
        ours, theirs = Pipe()
        with theirs:
            program = [sys.executable, "-m", "tests.sim.lava.command", str(theirs.fileno())]
            root = Path(__file__).parents[3]
            programs.append(subprocess.Popen(program, cwd=root, env=environment, pass_fds=[theirs.fileno()]))
        free.put(ours)
    for connection in list(free.queue):
        assert connection.poll(HANGS_SECONDS) and connection.recv() == "ready"
    yield free
    while not free.empty():
        free.get().close()
    for program in programs:
        program.wait(HANGS_SECONDS)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The smallest network, and an input on which it runs for much longer than any fault waits."""
    folder = tmp_path_factory.mktemp("network")
    net = Network(2)
    nir.write(folder / "net.nir", net.to_nir(net.layer("first", 2, 2, "input"), outputs=2))
    np.savez(folder / "in.npz", input=spikes(5000, 20, 2))
    return folder / "net.nir", folder / "in.npz"


@pytest.mark.slow
@pytest.mark.parametrize("fault", TABLE, ids=lambda fault: fault.name)
def test_fault(
    fault: Fault,
    commands: queue.Queue[Connection],
    network: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(number: int) -> tuple[float, float]:
        folder, phase, draw = tmp_path / str(number), PHASES[number % 3], random.Random(f"{fault.name} {number}")
        folder.mkdir()
        connection = commands.get()
        try:
            command = Command(connection, Order(*network, folder, **fault.order(phase, draw)))
            try:
                return outcome(command, fault, fault.strike(command, phase, draw))
            finally:
                command.end()
        except AssertionError as error:
            raise AssertionError(f"run {number}, {phase}: {error}") from error
        finally:
            commands.put(connection)

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        runs = list(pool.map(run, range(RUNS)))
    own, all_of_it = ([figures[i] for figures in runs] for i in (0, 1))
    with capsys.disabled():
        print(
            f"\n{fault.name}: {RUNS} runs, 0 processes and 0 shared memory left after {statistics.median(own):.2f} s, "
            f"at most {max(own):.2f} s (at most {max(all_of_it):.2f} s with the wait for a processor)",
            end=" ",
        )


def outcome(command: Command, fault: Fault, struck: Moment) -> tuple[float, float]:
    """Checks how the command ended and that nothing is left.

    Returns:
        Seconds from the fault until then, without and with those in which the command was ready to run and others had
        the processors: the promise is for its own work, however crowded the machine is.
    """
    ended = command.report("ended")
    left = command.left()
    alive = fault.code != -signal.SIGKILL  # then it has cleaned up itself
    assert not (alive and left), f"the command left {left}"
    command.wait_for(lambda: not command.left())
    gone = ended["at"] if alive else time.monotonic()
    assert ended["code"] == fault.code, f"ended with {ended['code']}: {command.errors()}"
    assert re.fullmatch(fault.says, command.errors().strip()), command.errors()
    own = gone - struck.at - (ended["queued"] - struck.queued)
    assert own < SOON_SECONDS, f"took {own:.1f} s"
    return own, gone - struck.at
