"""Batches of samples on all cores: worker processes, each with one core, that are started once and kept.

Within one process chunks of samples run in threads (engine.py); a worker has an interpreter of its own, so that what is
done in Python, folds above all, runs side by side too. A worker holds the last tasks, each a network and what is wanted
of its batches; batches go out as it answers, and answers come back in order. What a worker was doing when it died is
done by another; what ends two of them is named.
"""

from __future__ import annotations

import atexit
import os
import pickle
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from neurotarget.errors import UserError

KEPT = 4  # tasks that a worker holds
WAITING = 16  # answers that may wait for one before them
AHEAD = 2  # batches that lie with a worker: it has the next one when it answers
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")

Task = Callable[..., Any]


class WorkerLost(UserError):
    """Worker processes that end by themselves: the message names the batch that they had."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(eq=False)
class Worker:
    """One process and what lies with it.

    Attributes:
        known: numbers of the tasks that it was given.
        batches: numbers of the batches that it has not answered, in order.
    """

    process: subprocess.Popen[bytes]
    connection: Connection
    known: set[int] = field(default_factory=set)
    batches: deque[int] = field(default_factory=deque)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.connection.close()


def _started() -> Worker:
    here, there = socket.socketpair()
    with there:
        environment = {**os.environ, **dict.fromkeys(ONE_THREAD, "1"), "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-m", "neurotarget.sim.reference.worker", str(there.fileno())]
        process = subprocess.Popen(command, pass_fds=[there.fileno()], env=environment, stdin=subprocess.DEVNULL)
    return Worker(process, Connection(here.detach()))


class Workers:
    """Worker processes; one set a program is enough (`shared`)."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.alive = [_started() for _ in range(count)]
        self.tasks: dict[int, tuple[Task, bytes]] = {}  # by number, the last `KEPT`; each pickled once
        self.given = 0

    def end(self) -> None:
        """Ends the processes."""
        for worker in self.alive:
            worker.end()
        self.alive = []

    def map(self, task: Task, batches: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        """`task(*batch)` of every batch, in their order.

        Args:
            task: what pickles; workers keep the last `KEPT`, so that the same object is sent once.
            batches: arguments of one call each; they are taken as workers come free.

        Raises:
            WorkerLost: all workers died, or two with the same batch.
            Exception: what the task raised, for the first batch in order that it was raised for.
        """
        try:
            yield from self._map(task, batches)
        except BaseException:  # answers are still to come that nobody waits for
            self.end()
            raise

    def _map(self, task: Task, batches: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        current = next((number for number, (known, _) in self.tasks.items() if known is task), None)
        if current is None:
            self.given = current = self.given + 1
            self.tasks[current] = task, pickle.dumps(task)
            self.tasks.pop(current - KEPT, None)
        coming = enumerate(batches)
        sent: dict[int, tuple[Any, ...]] = {}
        again: deque[int] = deque()
        lost: dict[int, int] = {}
        answers: dict[int, tuple[bool, Any]] = {}
        due = 0
        while True:
            while len((worker := min(self.alive, key=lambda worker: len(worker.batches))).batches) < AHEAD:
                if again:
                    number = again.popleft()
                elif len(answers) < WAITING and (following := next(coming, None)) is not None:
                    number, sent[following[0]] = following
                else:
                    break
                self._send(worker, current, number, sent[number])
            if not sent and not answers:
                return
            for connection in wait([worker.connection for worker in self.alive]):
                worker = next(worker for worker in self.alive if worker.connection is connection)
                try:
                    number, *answer = pickle.loads(worker.connection.recv_bytes())
                    worker.batches.remove(number)
                    del sent[number]
                    answers[number] = tuple(answer)
                except (EOFError, OSError):
                    self._bury(worker, again, lost)
            while due in answers:
                worked, value = answers.pop(due)
                if not worked:
                    raise value
                yield value
                due += 1

    def _send(self, worker: Worker, task: int, number: int, batch: tuple[Any, ...]) -> None:
        worker.batches.append(number)
        try:
            if task not in worker.known:
                worker.connection.send_bytes(pickle.dumps((task, KEPT)))
                worker.connection.send_bytes(self.tasks[task][1])
                worker.known.add(task)
            worker.connection.send_bytes(pickle.dumps((task, number, batch), protocol=5))
        except OSError:  # it has died; said when its answer is read
            pass

    def _bury(self, worker: Worker, again: deque[int], lost: dict[int, int]) -> None:
        self.alive.remove(worker)
        worker.end()
        if worker.batches:
            under_way = worker.batches[0]
            lost[under_way] = lost.get(under_way, 0) + 1
            if lost[under_way] > 1 or not self.alive:
                raise WorkerLost(
                    f"batch {under_way}: a worker process ended with exit code {worker.process.returncode} while it "
                    "ran; out of memory? take fewer --workers"
                )
        again.extend(worker.batches)


_SHARED: dict[int, Workers] = {}


def shared(count: int) -> Workers:
    """The program's workers; started where there are none of that number alive."""
    workers = _SHARED.get(count)
    if workers is None or len(workers.alive) < count:
        if workers is not None:
            workers.end()
        workers = _SHARED[count] = Workers(count)
    return workers


def running(count: int) -> bool:
    """Whether that many are there already."""
    return count in _SHARED and len(_SHARED[count].alive) == count


@atexit.register
def _end_all() -> None:
    for workers in _SHARED.values():
        workers.end()
