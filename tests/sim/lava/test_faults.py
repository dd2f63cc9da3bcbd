"""However a run ends, it ends soon, says why, and leaves no process and no shared memory behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sim.lava
from sim.lava import LavaError, child, group, parent, segments
from sim.lava.plan import Plan, Spec
from tests.sim.lava.networks import chain, spikes

SOON_SECONDS = 5.0
# A shell starts background jobs with SIGINT ignored, and so would run the tests' children: restore Python's handler.
ENDLESS = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from tests.sim.lava.networks import *; import sim.lava; sim.lava.run(chain(), spikes(2000, 20, 4))"
)


def children(pid: int) -> list[int]:
    return [int(word) for task in Path(f"/proc/{pid}/task").glob("*/children") for word in task.read_text().split()]


def left_by(pid: int) -> list[Path]:
    return segments.of(f"neurotarget-{pid}-")


def wait_for(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)
    return found


@pytest.fixture(autouse=True)
def nothing_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test ends without processes of a Lava child or shared memory of its own."""
    groups: list[int] = []
    clean_up = child.clean_up

    def observed(process: subprocess.Popen[bytes], *arguments: Any) -> None:
        groups.append(process.pid)
        clean_up(process, *arguments)

    monkeypatch.setattr(child, "clean_up", observed)
    yield
    assert not [pid for number in groups for pid in group.alive(number)]
    assert not left_by(os.getpid())


def run_with(spoil: Callable[[Plan], None], monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
    make_plan = parent.make_plan

    def spoiled(*arguments: Any) -> Plan:
        plan = make_plan(*arguments)
        spoil(plan)
        return plan

    monkeypatch.setattr(parent, "make_plan", spoiled)
    sim.lava.run(chain(), spikes(200, 20, 4), **options)


def test_a_process_that_raises_is_named_with_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(plan: Plan) -> None:
        old = plan.specs["second"]
        plan.specs["second"] = Spec(old.name, old.kind, old.latency, old.values, {**old.arrays, "bias": np.zeros(5)})

    started = time.monotonic()
    with pytest.raises(
        LavaError, match=r"Process 'second' raised ValueError: operands could not be broadcast"
    ) as found:
        run_with(spoil, monkeypatch)
    assert time.monotonic() - started < 20
    assert "NeuronModel" in "".join(found.value.__notes__) or "neuron.py" in "".join(found.value.__notes__)


def test_a_process_that_cannot_be_built_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(plan: Plan) -> None:
        plan.specs["second"] = Spec("second", "unheard", 0)

    with pytest.raises(LavaError, match="unheard"):
        run_with(spoil, monkeypatch)


def test_deadline() -> None:
    started = time.monotonic()
    with pytest.raises(LavaError, match="within 3 s"):
        sim.lava.run(chain(), spikes(2000, 20, 4), deadline_seconds=3)
    assert time.monotonic() - started < 3 + SOON_SECONDS


@pytest.mark.parametrize("who", ["worker", "Process"])
def test_a_killed_child_is_noticed(who: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run_child = parent.run_child
    killed_at: list[float] = []

    def listen(folder: Path, deadline: float, on_event: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        def kill(event: dict[str, Any]) -> None:
            on_event(event)
            if event["event"] == "sample" and not killed_at:
                worker = next(p for p in children(os.getpid()) if b"sim.lava.worker" in _command(p))
                killed_at.append(time.monotonic())
                os.kill(worker if who == "worker" else children(worker)[3], signal.SIGKILL)

        return run_child(folder, deadline, kill)

    monkeypatch.setattr(parent, "run_child", listen)
    pattern = r"child was killed by SIGKILL" if who == "worker" else r"Lava Process '.+' was killed by SIGKILL"
    with pytest.raises(LavaError, match=pattern):
        sim.lava.run(chain(), spikes(2000, 20, 4))
    assert time.monotonic() - killed_at[0] < SOON_SECONDS


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.mark.parametrize(
    ("number", "send", "code", "text"),
    [
        (signal.SIGINT, os.kill, -signal.SIGINT, "KeyboardInterrupt"),
        (signal.SIGINT, os.killpg, -signal.SIGINT, "KeyboardInterrupt"),
        (signal.SIGTERM, os.kill, 143, "stopped by SIGTERM"),
        (signal.SIGKILL, os.kill, -signal.SIGKILL, ""),
    ],
)
def test_a_signal_to_the_parent_ends_everything(
    number: int, send: Callable[[int, int], None], code: int, text: str, tmp_path: Path
) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", ENDLESS],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        (worker,) = wait_for(lambda: [p for p in children(program.pid) if b"sim.lava.worker" in _command(p)])
        wait_for(lambda: len(children(worker)) > 8 and left_by(program.pid))
        time.sleep(0.5)
        sent = time.monotonic()
        send(program.pid, number)
        _, errors = program.communicate(timeout=SOON_SECONDS)
        assert program.returncode == code
        assert text in errors
        wait_for(lambda: not group.alive(worker), SOON_SECONDS)
        wait_for(lambda: not left_by(program.pid), SOON_SECONDS)
        wait_for(lambda: not list(tmp_path.iterdir()), SOON_SECONDS)
        assert time.monotonic() - sent < SOON_SECONDS
    finally:
        program.kill()
        program.wait()


def test_segments_of_the_dead_are_swept() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left, own = (Path(f"/dev/shm/neurotarget-{pid}-test") for pid in (gone.pid, os.getpid()))
    left.touch()
    own.touch()
    try:
        segments.sweep()
        assert not left.exists() and own.exists()
    finally:
        left.unlink(missing_ok=True)
        own.unlink(missing_ok=True)


def test_an_interpreter_without_lava_is_told_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    monkeypatch.setenv("NEUROTARGET_LAVA_PYTHON", str(bare))
    with pytest.raises(LavaError, match=r"^Lava is not installed: pip install --no-deps"):
        sim.lava.run(chain(), spikes(1, 5, 4))


def test_an_interpreter_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEUROTARGET_LAVA_PYTHON", "/nowhere/python")
    with pytest.raises(LavaError, match="/nowhere/python"):
        sim.lava.run(chain(), spikes(1, 5, 4))
