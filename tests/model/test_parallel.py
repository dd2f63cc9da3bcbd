"""Two processes under torchrun against one process with the same configuration.

The comparison is in double precision. In single precision a sum of another order moves a potential across the threshold
now and then, and AdamW makes a full step of a gradient that is nothing but rounding (a bias ahead of batch
normalisation), so that curves drift apart without being wrong.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from neurotarget.model import train
from neurotarget.model.training import checkpoint, parallel
from neurotarget.model.training.run_folder import COLUMNS
from spikingjelly.activation_based import layer

ROOT = Path(__file__).parents[2]
FILES = ["ckpt.pt", "curves.png", "last.pt", "metrics.csv", "metrics.json"]
LOSSES, WEIGHTS = 1e-9, 1e-7  # tolerances in double precision: a bias ahead of batch normalisation only rounds
CURVES = [name for name in COLUMNS if name != "seconds"]

# One process and two run the same lines. Each process has a working directory of its own, as machines do. Arguments:
# configuration, folder, and for each run PRESET:NAME:EPOCH, after which it is interrupted.
LESSON = """
import os, sys, torch
from pathlib import Path
from neurotarget.model import train
from neurotarget.model.training import loop, parallel, run_folder, settings
torch.set_default_dtype(torch.float64)
machine = Path(sys.argv[2]) / f"machine{os.environ.get('RANK', '0')}"
machine.mkdir(parents=True, exist_ok=True)
os.chdir(machine)
parallel.join()
whole = loop.train_epoch
for preset, name, last in (text.split(":") for text in sys.argv[3:]):
    def epoch(*arguments):
        if arguments[-1] > int(last):
            raise KeyboardInterrupt
        return whole(*arguments)
    loop.train_epoch = epoch
    try:
        train.train(settings.read(sys.argv[1], [f"model.preset={preset}"]), Path(name), run_folder.Start.RESUME)
    except KeyboardInterrupt:
        pass
parallel.leave()
threads = [thread.read_text() for thread in Path("/proc/self/task").glob("*/comm")]
assert not [name for name in threads if "gloo" in name], threads  # one that is left may abort the interpreter's end
"""

# From the second epoch on the first process finds the disk full; or the second one computes NaN, or is killed. Or the
# first one takes its time for the last file, or finds the disk full then, and the second one aborts when it has ended.
FAULT = """
import errno, os, signal, sys, time
from neurotarget.model import train
from neurotarget.model.training import evaluation, loop, run_folder
whole, rank = loop.train_epoch, int(os.environ["RANK"])
def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "last.pt")
def epoch(*arguments):
    if arguments[-1] == 2 and sys.argv[1] == "full disk":
        run_folder.save_last = full
    if arguments[-1] == 2 and rank == 1 and sys.argv[1] == "killed":
        # After a forward pass, whose sums over both processes need the first one to have written the first epoch.
        evaluation.readout = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    if arguments[-1] == 2 and rank == 1 and sys.argv[1] == "nan":
        readout = evaluation.readout
        evaluation.readout = lambda *scores: readout(*scores) * float("nan")
    return whole(*arguments)
def slow(*arguments):
    time.sleep(2)
    plot(*arguments)
plot = run_folder.plot
if sys.argv[1] in ("full at the end", "abort"):
    run_folder.plot = full if sys.argv[1] == "full at the end" else slow
loop.train_epoch = epoch
code = train.main(sys.argv[2:])
if rank == 1 and sys.argv[1] == "abort":
    os.abort()
sys.exit(code)
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory, words):
    """32 samples in batches of 11, 11 and 10: shares of 6 and 5; a test and validation split of 12 in batches of 9."""
    path = tmp_path_factory.mktemp("config") / "tiny.toml"
    path.write_text(
        f'[data]\nspec = "{words}?steps=50"\n[model]\npreset = "tiny"\ndropout = 0.2\n'
        "[training]\nepochs = 4\nbatch = 9\nlearning_rate = 0.02\nwarmup_epochs = 1\n"
        "[augmentation]\ntime_mask = 0.2\nfeature_mask = 10\nshift = 1\n"
    )
    return path


def run(*command):
    """A finished run of one process, or of two under torchrun; its stdout and stderr are texts."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    line = [sys.executable, *map(str, command)]
    return subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)


TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def curves(out):
    """[epochs, columns] of metrics.csv, without the time that it took."""
    rows = np.atleast_1d(np.genfromtxt(out / "metrics.csv", delimiter=",", names=True))
    return np.array([[row[name] for name in CURVES] for row in rows])


def assert_equal_runs(one, two):
    assert sorted(file.name for file in one.iterdir()) == sorted(file.name for file in two.iterdir()) == FILES
    np.testing.assert_allclose(curves(one), curves(two), rtol=LOSSES)
    for name in ("ckpt.pt", "last.pt"):
        states = [dict(checkpoint.load_content(out / name)["state"]) for out in (one, two)]
        torch.testing.assert_close(states[0], states[1], rtol=WEIGHTS, atol=WEIGHTS)


@pytest.mark.slow
def test_two_processes_are_one_and_go_on_where_one_stopped(config, tmp_path):
    script, one, two = tmp_path / "lesson.py", tmp_path / "one/machine0", tmp_path / "two/machine0"
    script.write_text(LESSON)
    runs = ["tiny:tiny:4", "delays_tiny:delays:4"]
    done = run(script, config, one.parent, *runs, "tiny:stopped:2")
    assert done.returncode == 0, done.stderr
    assert len(curves(one / "stopped")) == 2
    shutil.copytree(one / "stopped", two / "stopped")
    done = run(*TORCHRUN, script, config, two.parent, *runs, "tiny:stopped:4")
    assert done.returncode == 0, done.stderr
    assert not list(two.with_name("machine1").iterdir())  # one writer, and no shared folder needed
    for name in ("tiny", "delays"):
        assert_equal_runs(one / name, two / name)
    assert_equal_runs(one / "tiny", two / "stopped")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("full disk", "error: last.pt: No space left on device; what was written before is whole; mend this"),
        ("killed", "error: another process of this training ended or cannot be reached"),
        ("nan", "error: epoch 2, batch 1: the loss is nan; the last good checkpoint is kept"),
    ],
)
def test_a_fault_of_one_process_ends_both_with_one_sentence(config, tmp_path, fault, sentence):
    script = tmp_path / "fault.py"
    script.write_text(FAULT)
    done = run(*TORCHRUN, script, fault, config, "--out", tmp_path / "run")
    assert done.returncode != 0 and not done.stdout
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert said.startswith(sentence)
    checkpoint.load(tmp_path / "run/ckpt.pt")
    assert len(curves(tmp_path / "run")) == 1


@pytest.mark.slow
def test_what_ends_a_process_that_is_done_ends_no_writing(config, tmp_path):
    script, out = tmp_path / "fault.py", tmp_path / "run"
    script.write_text(FAULT)
    done = run(*TORCHRUN, script, "abort", config, "--out", out, "--set", "training.epochs=1")
    assert done.returncode != 0  # it did abort
    assert sorted(file.name for file in out.iterdir()) == FILES and "error:" not in done.stderr


@pytest.mark.slow
def test_a_fault_while_the_others_wait_ends_all(config, tmp_path):
    script = tmp_path / "fault.py"
    script.write_text(FAULT)
    done = run(*TORCHRUN, script, "full at the end", config, "--out", tmp_path / "run", "--set", "training.epochs=1")
    assert done.returncode != 0 and not done.stdout
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert said.startswith("error: last.pt: No space left on device; what was written before is whole; mend this")


# ---- in one process --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("processes", [1, 2, 3, 5])
def test_shares_are_those_of_array_split(monkeypatch, processes):
    monkeypatch.setattr(parallel.dist, "is_initialized", lambda: True)
    monkeypatch.setattr(parallel.dist, "get_world_size", lambda: processes)
    for samples in range(12):
        for rank, rows in enumerate(np.array_split(np.arange(samples), processes)):
            monkeypatch.setattr(parallel.dist, "get_rank", lambda rank=rank: rank)
            assert np.arange(samples)[parallel.share(samples)].tolist() == rows.tolist()


@given(steps=st.integers(2, 5), samples=st.integers(1, 4), channels=st.integers(1, 5), seed=st.integers(0, 2**20))
def test_batch_normalisation_of_one_process_is_spikingjellys(steps, samples, channels, seed):
    generator = torch.Generator().manual_seed(seed)
    inputs = 3 * torch.randn(steps, samples, channels, generator=generator, dtype=torch.float64) + 1
    weights = torch.randn(steps, samples, channels, generator=generator, dtype=torch.float64)
    results = []
    for kind in (layer.BatchNorm1d, parallel.SharedBatchNorm):
        norm = kind(channels, step_mode="m").double()
        torch.nn.init.uniform_(norm.weight, generator=torch.Generator().manual_seed(seed))
        x = inputs.clone().requires_grad_()
        for _ in range(2):
            out = norm(x)
        (out * weights).sum().backward()
        evaluated = norm.eval()(inputs)
        results.append([out, x.grad, norm.weight.grad, norm.bias.grad, dict(norm.state_dict()), evaluated])
    torch.testing.assert_close(results[0], results[1], rtol=1e-7, atol=1e-7)


class Store:
    """Says when it is asked whether the first process has written, and no more than that."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def check(self, keys):
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        if callable(answer):
            answer()
        return answer is True


@pytest.fixture
def second(monkeypatch):
    """Makes this the second of two processes, with a store of such answers; a list of what it did."""
    done = []
    monkeypatch.setattr(parallel.dist, "is_initialized", lambda: True)
    monkeypatch.setattr(parallel.dist, "get_rank", lambda: 1)
    monkeypatch.setattr(parallel.dist, "destroy_process_group", lambda: done.append("left"))
    monkeypatch.setattr(parallel, "BETWEEN_LOOKS", 0.0)
    return lambda *answers: (monkeypatch.setattr(parallel, "_store", Store(*answers)), done)[1]


def test_the_others_leave_after_the_first(second):
    done = second(lambda: done.append("asked"), lambda: done.append("asked"), True)
    assert parallel.spoken("result") is None
    assert done == ["asked", "asked", "left"]


def test_waiting_ends_with_the_first_its_store_or_the_hour(second, monkeypatch):
    before = signal.signal(signal.SIGTERM, parallel._ended)
    try:
        done = second(lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(parallel.ProcessError, match="torchrun ended this one"):
            parallel.leave()
    finally:
        signal.signal(signal.SIGTERM, before)
    second(False, RuntimeError("Connection reset by peer"))
    with pytest.raises(parallel.ProcessError, match=r"cannot be reached \(Connection reset by peer\)"):
        parallel.leave()
    monkeypatch.setattr(parallel, "LONGEST_WAIT", 0.0)
    second(False)
    with pytest.raises(parallel.ProcessError, match="has not written its results 0 seconds after"):
        parallel.leave()
    assert not done


def test_dropout_is_a_share_of_the_whole_batchs(monkeypatch):
    x = torch.ones(3, 7, 5)
    torch.manual_seed(1)
    whole = layer.Dropout(0.5, step_mode="m")(x)
    parts = []
    for rows in (slice(0, 4), slice(4, 7)):
        torch.manual_seed(1)
        monkeypatch.setattr(parallel, "share", lambda samples, rows=rows: rows)
        parallel.begin_batch(7)
        parts.append(parallel.SharedDropout(0.5, step_mode="m")(x[:, rows]))
    assert torch.equal(torch.cat(parts, dim=1), whole)


def test_processes_with_other_settings_or_too_few_samples_are_refused(config, tmp_path, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(parallel, "from_first", lambda make: {**make(), "samples": {"train": 31}})
        assert train.main([str(config), "--out", str(tmp_path / "run")]) == 2
    message = capsys.readouterr().err
    assert "two processes of this training differ" in message
    assert "samples.train in the first process 31, here 32" in message
    monkeypatch.setattr(parallel, "processes", lambda: 10)
    assert train.main([str(config), "--out", str(tmp_path / "run")]) == 2
    message = capsys.readouterr().err
    assert "training.batch 9 of 32 samples leaves some of 10 processes, or of training.accumulate 1 parts" in message


def test_a_process_that_torchrun_did_not_start_says_what_is_missing(config, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    assert train.main([str(config), "--out", str(tmp_path / "run")]) == 2
    expected = "error: WORLD_SIZE is 2, but RANK, LOCAL_RANK, MASTER_ADDR, MASTER_PORT is not set; start with torchrun"
    assert capsys.readouterr().err.startswith(expected) and not (tmp_path / "run").exists()
