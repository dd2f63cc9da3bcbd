"""Who shares the batches of a run: this process alone, workers on this machine, or those of a cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any, Protocol

from neurotarget.sim.reference.cluster import Cluster, connected
from neurotarget.sim.reference.workers import Task


class Crew(Protocol):
    """Workers, wherever they are.

    Attributes:
        count: batches that they run at the same time.
    """

    @property
    def count(self) -> int: ...

    def map(self, task: Task, batches: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        """`task(*batch)` of every batch, in their order."""


_CHOSEN: ContextVar[int | Cluster | None] = ContextVar("crew", default=None)


@contextlib.contextmanager
def sharing(count: int | None, scheduler: str | None = None) -> Iterator[None]:
    """Within it, runs are shared by so many processes where they are told nothing else; None leaves it to each run.

    Args:
        scheduler: address of a scheduler of dask.distributed, whose workers share what is folded instead.

    Raises:
        ClusterError, PackageMissing: the cluster cannot be used.
    """
    with contextlib.nullcontext(count) if scheduler is None else connected(scheduler) as crew:
        token = _CHOSEN.set(crew)
        try:
            yield
        finally:
            _CHOSEN.reset(token)


def chosen_processes() -> int | None:
    """Worker processes on this machine, where `sharing` says how many."""
    return chosen if isinstance(chosen := _CHOSEN.get(), int) else None


def chosen_cluster() -> Cluster | None:
    """The cluster that `sharing` connected to."""
    return chosen if isinstance(chosen := _CHOSEN.get(), Cluster) else None
