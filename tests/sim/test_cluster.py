"""A real scheduler and real worker processes: the same bytes for any number of them, and with one that dies."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from distributed import Client
from neurotarget.conversion.commands import quantize
from neurotarget.hardware.commands import report
from neurotarget.sim.commands import run
from neurotarget.sim.graph.node import GraphError
from neurotarget.sim.reference.cluster import connected

from tests.sim.golden import golden

ROOT = Path(__file__).parents[2]

# What a worker loads first; dask runs it twice. One ends itself when it has run a batch, before it can say so.
DIES = """
import os, signal
from neurotarget.sim.reference import cluster
def dying(order, *batch):
    cluster._task(order)(*batch)
    os.kill(os.getpid(), signal.SIGKILL)
cluster.done = dying
"""
OTHER_NUMPY = """
import distributed.versions as versions
from importlib.metadata import version
versions.version = lambda name: "1.0" if name == "numpy" else version(name)
"""


def refused(number):
    if number >= 3:
        raise GraphError(f"batch {number}")
    return number


class Processes:
    """A scheduler and its workers, on ports of this machine that are free."""

    def __init__(self, folder):
        self.folder, self.workers = folder, []
        file = folder / "scheduler.json"
        self.scheduler = self.started("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file))
        while not (file.exists() and file.read_text().endswith("}")):
            assert self.scheduler.poll() is None
        self.address = json.loads(file.read_text())["address"]

    def started(self, what, *arguments):
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *arguments, "--no-dashboard"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
        with (self.folder / f"{what}.log").open("ab") as log:
            return subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=log)

    def add(self, count, preload=""):
        """Starts workers, and waits until the scheduler knows them."""
        arguments = [self.address, "--nthreads", "1", "--no-nanny", "--local-directory", str(self.folder)]
        if preload:
            (self.folder / "first.py").write_text(preload)
            arguments += ["--preload", str(self.folder / "first.py")]
        self.workers += [self.started("worker", *arguments) for _ in range(count)]
        alive = sum(worker.poll() is None for worker in self.workers)
        with Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(alive, timeout=120)

    def end(self):
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path):
    processes = Processes(tmp_path)
    yield processes
    processes.end()


@pytest.fixture
def network(tmp_path):
    """A golden network on more samples than one batch holds."""
    _, frames, lengths = golden(tmp_path, "model.nir")
    frames = np.concatenate([np.roll(frames, shift, axis=2) for shift in range(8)])
    labels = np.arange(len(frames)) % 3
    np.savez(tmp_path / "input.npz", input=frames, length=np.tile(lengths, 8), label=labels)
    return tmp_path / "model.nir"


def result(command, network, capsys, *how):
    """All that a command says and writes, but for the seconds."""
    folder, given, target = network.parent, str(network.with_name("input.npz")), network.with_name("model.q.nir")
    arguments = {
        run: ["--input", given],
        quantize: ["--calibrate", given, "-o", str(target), "--accept"],
        report: ["--input", given, "--lava-samples", "0", "--out", str(folder / "report")],
    }
    assert command([str(network), *arguments[command], "--json", *how]) == 0
    figures = json.loads(capsys.readouterr().out)
    figures.pop("seconds", None)
    files = [file for file in (target, folder / "report" / "report.json") if file.exists()]
    return json.dumps(figures), [(file.name, file.read_bytes(), file.unlink()) for file in files]


@pytest.mark.slow  # a process of dask's takes seconds to start
def test_any_number_of_workers_gives_the_same_bytes(cluster, network, capsys):
    alone = {command: result(command, network, capsys, "--workers", "1") for command in (run, quantize, report)}
    for added, command in ((1, run), (1, quantize), (2, run)):
        cluster.add(added)
        assert result(command, network, capsys, "--scheduler", cluster.address) == alone[command]
    assert result(report, network, capsys, "--scheduler", cluster.address) == alone[report]


@pytest.mark.slow
def test_what_a_worker_had_that_dies_is_run_by_another(cluster, network, capsys):
    alone = result(report, network, capsys, "--workers", "1")
    cluster.add(1, DIES)
    (lost,) = cluster.workers

    def replace():
        lost.wait()
        cluster.add(1)

    replacing = threading.Thread(target=replace)
    replacing.start()
    assert result(report, network, capsys, "--scheduler", cluster.address) == alone
    replacing.join()
    assert lost.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_what_cannot_be_used_is_one_sentence(cluster, network, capsys):
    arguments = [str(network), "--input", str(network.with_name("input.npz"))]
    cluster.add(1)
    with connected(cluster.address) as crew:
        answers = crew.map(refused, [(number,) for number in range(20)])
        assert [next(answers) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(GraphError, match=r"batch 3$"):
            next(answers)
    cluster.add(1, OTHER_NUMPY)
    assert run([*arguments, "--scheduler", cluster.address]) == 2
    said = capsys.readouterr().err
    assert "numpy 1.0, where the command has" in said and said.count("\n") == 1
    cluster.end()
    assert run([*arguments, "--scheduler", cluster.address]) == 2
    said = capsys.readouterr().err
    assert f"--scheduler {cluster.address}: cannot be reached" in said and said.count("\n") == 1
    assert run([*arguments, "--scheduler", cluster.address, "--workers", "2"]) == 2
    assert "not allowed with" in capsys.readouterr().err
