"""Batches of samples on many machines: a scheduler of dask.distributed deals them out, as workers.py does on one.

The scheduler gives what a lost worker had to another. Here stays what makes the results those of one process: batches
go out as answers are taken, answers come back in order, and every worker has the packages of this process.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import pickle
import socket
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numba
from neurotarget.sim.reference.workers import KEPT, Task, WorkerLost

from neurotarget.errors import PackageMissing, UserError

if TYPE_CHECKING:
    from distributed import Client, Future

AHEAD = 4  # batches per thread of the cluster that are under way or wait to be taken
CONNECT_SECONDS, NO_WORKER_SECONDS = 10, 60
LARGEST_BATCH = "1GB"  # that goes out without a warning of dask's
PACKAGES = ("neurotarget", "numba", "numpy", "scipy")  # that results depend on, beside Python, dask and distributed


class ClusterError(UserError):
    """A cluster that cannot be used: the message names the address or the machine, and what to do."""


class Cluster:
    """The workers behind one scheduler.

    Attributes:
        address: of the scheduler.
    """

    def __init__(self, client: Client, address: str) -> None:
        self.client, self.address = client, address

    @property
    def count(self) -> int:
        """Batches that run at the same time: the threads of all workers."""
        return sum(self.client.nthreads().values())

    def map(self, task: Task, batches: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        """`task(*batch)` of every batch, in their order; as of `Workers.map`.

        Raises:
            ClusterError: a worker has other packages.
            WorkerLost: no worker is left, the scheduler is gone, or a batch ended several workers.
            Exception: what the task raised, for the first batch in order that it was raised for.
        """
        import dask
        from distributed import CancelledError, KilledWorker

        ahead = AHEAD * max(self.count, 1)
        due: deque[Future] = deque()
        try:
            with dask.config.set({"distributed.admin.large-graph-warning-threshold": LARGEST_BATCH}):
                order = self.client.submit(bytes, pickle.dumps((packages(), pickle.dumps(task))), pure=False)
                for batch in batches:
                    if len(due) >= ahead:
                        yield self._answer(due.popleft())
                    due.append(self.client.submit(done, order, *batch, pure=False))
                while due:
                    yield self._answer(due.popleft())
        except KilledWorker as error:
            raise WorkerLost(
                f"scheduler {self.address}: several workers ended while they ran the same batch; out of memory? start "
                "fewer on each machine"
            ) from error
        except CancelledError as error:
            raise WorkerLost(f"scheduler {self.address}: lost; start it again, and run the same command") from error
        finally:
            self.client.cancel(list(due))

    def _answer(self, future: Future) -> Any:
        while True:
            try:
                return future.result(timeout=NO_WORKER_SECONDS)
            except TimeoutError:
                if not self.count:
                    raise WorkerLost(
                        f"scheduler {self.address}: no worker is left; start some, and run the same command again"
                    ) from None


@contextlib.contextmanager
def connected(address: str) -> Iterator[Cluster]:
    """The cluster of the scheduler at an address like `tcp://10.0.0.1:8786`.

    Raises:
        PackageMissing: dask.distributed is not installed.
        ClusterError: nothing answers there, it has no worker, or packages differ on one.
    """
    try:
        from distributed import Client
        from distributed.comm import connect
        from distributed.versions import VersionMismatchWarning
    except ModuleNotFoundError as error:
        raise PackageMissing("--scheduler needs dask.distributed: pip install 'neurotarget[cluster]'") from error

    async def knock() -> None:
        (await connect(address, timeout=CONNECT_SECONDS)).abort()

    try:
        asyncio.run(knock())  # a client that cannot connect leaves threads behind that complain at the end
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"--scheduler {address}: cannot be reached ({error}); give the address that `dask scheduler` prints"
        ) from error
    with warnings.catch_warnings(action="ignore", category=VersionMismatchWarning):  # said below, in one sentence
        connecting = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    with connecting as client:
        try:
            client.wait_for_workers(1, timeout=NO_WORKER_SECONDS)
        except TimeoutError:
            raise ClusterError(f"--scheduler {address}: has no worker; start some: dask worker {address}") from None
        versions = client.get_versions(packages=list(PACKAGES))
        for place, found in {"the scheduler": versions["scheduler"], **versions["workers"]}.items():
            check_packages(f"--scheduler {address}: {place}", found["packages"], versions["client"]["packages"])
        yield Cluster(client, address)


def packages() -> dict[str, str | None]:
    """Versions in this process; None of what is not installed."""
    from distributed.versions import get_versions

    return get_versions(PACKAGES)["packages"]


def check_packages(place: str, found: Mapping[str, str | None], expected: Mapping[str, str | None]) -> None:
    """Raises ClusterError where a version at a place is another than here."""
    for name in ("python", "dask", "distributed", *PACKAGES):
        if found[name] != expected[name]:
            raise ClusterError(
                f"{place}: {name} {found[name] or 'is not installed'}, where the command has "
                f"{expected[name]}; install the same everywhere, results could differ"
            )


# ---- on a worker -----------------------------------------------------------------------------------------------------


def done(order: bytes, *batch: Any) -> Any:
    """What the task of an order gives for a batch, in one thread: how many batches a worker runs is dask's to say."""
    numba.set_num_threads(1)
    return _task(order)(*batch)


@functools.lru_cache(maxsize=KEPT)
def _task(order: bytes) -> Task:
    expected, task = pickle.loads(order)
    check_packages(f"a worker on {socket.gethostname()}", packages(), expected)  # it may have come later
    found: Task = pickle.loads(task)
    return found
