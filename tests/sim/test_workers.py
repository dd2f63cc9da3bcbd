"""Worker processes give the same bits, in whatever number, and go on where one of them dies."""

import dataclasses
import os
import signal

import numpy as np
import pytest
from neurotarget.hardware.counts.tallies import Counting
from neurotarget.sim import reference
from neurotarget.sim.commands import run as run_command
from neurotarget.sim.graph.node import GraphError
from neurotarget.sim.observed import observe
from neurotarget.sim.reference import workers
from neurotarget.sim.reference.workers import WorkerLost

from tests.sim.golden import fields, golden


def doubled(number):
    return 2 * number


def refused(number):
    if number >= 3:
        raise GraphError(f"batch {number}")
    return number


def killed(path, number):
    """Dies at number 5 while no file says that it has been here."""
    if number == 5 and not os.path.exists(path):
        open(path, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def kills(number):
    os.kill(os.getpid(), signal.SIGKILL)


@dataclasses.dataclass(frozen=True)
class Killed:
    path: str

    def __call__(self, number):
        return killed(self.path, number)


@pytest.fixture(scope="module")
def two():
    yield
    for one in workers._SHARED.values():
        one.end()


def test_answers_come_in_order_and_the_first_error_in_order_is_raised(two):
    batches = [(number,) for number in range(20)]
    assert list(workers.shared(2).map(doubled, batches)) == [2 * number for (number,) in batches]
    answers = workers.shared(2).map(refused, batches)
    assert [next(answers) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(GraphError, match=r"batch 3$"):
        next(answers)


def test_what_a_dead_worker_had_is_done_by_another_and_what_kills_two_is_named(two, tmp_path):
    batches = [(number,) for number in range(20)]
    assert list(workers.shared(2).map(Killed(str(tmp_path / "once")), batches)) == list(range(20))
    assert (tmp_path / "once").exists() and not workers.running(2)
    with pytest.raises(WorkerLost, match=r"batch 0: a worker process ended with exit code -9"):
        list(workers.shared(2).map(kills, [(0,)]))


@pytest.mark.parametrize("file", ["model.nir", "model.q.nir"])
def test_two_workers_give_the_bits_of_none(two, tmp_path, file):
    graph, frames, lengths = golden(tmp_path, file)
    alone, shared = (reference.run(graph, frames, lengths, processes=processes) for processes in (1, 2))
    for name, spikes in alone.spikes.items():
        np.testing.assert_array_equal(shared.spikes[name], spikes)
    np.testing.assert_array_equal(shared.output, alone.output)
    assert shared.header == alone.header
    folds = [observe, Counting(graph)]
    one, both = (
        reference.folded(graph, frames, lengths, None, folds, batch=2, processes=processes) for processes in (1, 2)
    )
    assert one[1] == both[1]
    assert fields(dataclasses.replace(one[0], peaks={})) == fields(dataclasses.replace(both[0], peaks={}))


@pytest.mark.parametrize("file", ["model.nir", "model.q.nir"])
def test_a_trace_that_is_written_as_it_comes_is_the_same_file(two, tmp_path, file):
    graph, frames, lengths = golden(tmp_path, file)
    frames, lengths = np.tile(frames, (4, 1, 1)), np.tile(lengths, 4)
    labels = np.arange(len(frames)) % 3
    np.savez(tmp_path / "input.npz", input=frames, length=lengths, label=labels)
    reference.run(graph, frames, lengths, labels).save(tmp_path / "whole.npz")
    for count in ("1", "2"):
        arguments = ["--input", str(tmp_path / "input.npz"), "--trace", str(tmp_path / "parts.npz"), "--workers", count]
        assert run_command([str(tmp_path / file), *arguments]) == 0
        assert (tmp_path / "parts.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()
