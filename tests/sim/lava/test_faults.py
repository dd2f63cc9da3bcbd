"""What is said when Lava cannot run, and what is swept; test_fault_table.py has how a run ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from neurotarget.sim import compare, lava, run
from neurotarget.sim.lava import LavaError, parent
from neurotarget.sim.lava.child import control as child
from neurotarget.sim.lava.child import group, segments
from neurotarget.sim.lava.plan.floating import Plan, Spec

from tests.sim.lava.command import children, process_file
from tests.sim.networks import chain, spikes


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
    assert not segments.of(f"neurotarget-{os.getpid()}-")


def run_with(spoil: Callable[[Plan], None], monkeypatch: pytest.MonkeyPatch) -> None:
    make_plan = parent.make_plan

    def spoiled(*arguments: Any) -> Plan:
        plan = make_plan(*arguments)
        spoil(plan)
        return plan

    monkeypatch.setattr(parent, "make_plan", spoiled)
    lava.run(chain(), spikes(200, 20, 4))


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
    with pytest.raises(LavaError, match=r"within 0\.1 s"):
        lava.run(chain(), spikes(2000, 20, 4), deadline_seconds=0.1)


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_does_not_interrupt_clean_up(
    number: signal.Signals, raised: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor when it arrives in another thread, as here; `nothing_left` sees whether clean-up came to its end."""
    end, finish = group.end, threading.Event()
    other = threading.Thread(target=finish.wait)

    def interrupted(pid: int) -> None:
        os.kill(os.getpid(), number)
        end(pid)

    monkeypatch.setattr(group, "end", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job starts with it ignored
    other.start()
    try:
        with pytest.raises(raised):
            lava.run(chain(), spikes(1, 5, 4))
        assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGINT, before)
        finish.set()
        other.join()


@pytest.mark.parametrize("command", [run, compare])
def test_an_interrupted_command_says_so(
    command: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "load", interrupted)
    assert command.main(["net.nir", "--input", "in.npz"]) == 130
    assert capsys.readouterr().err == "interrupted: there is no result\n"


def test_all_shared_memory_carries_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    found: set[str] = set()
    run_child = parent.run_child

    def listen(folder: Path, deadline: float, on_event: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        def look(event: dict[str, Any]) -> None:
            on_event(event)
            if event["event"] == "built":
                (worker,) = (
                    pid for pid in children(os.getpid()) if b"sim.lava.child.worker" in process_file(pid, "cmdline")
                )
                for pid in group.alive(worker):
                    found.update(re.findall(r"/dev/shm/(.+)", process_file(pid, "maps").decode()))

        return run_child(folder, deadline, look)

    monkeypatch.setattr(parent, "run_child", listen)
    lava.run(chain(), spikes(1, 5, 4))
    named = {name for name in found if not name.endswith(" (deleted)")}  # Python unlinks a semaphore when it is made
    assert len(named) > 10
    assert all(name.startswith(f"neurotarget-{os.getpid()}-") for name in named)


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
        lava.run(chain(), spikes(1, 5, 4))


@pytest.mark.parametrize("chosen", ["/nowhere/python", "/tmp"])
def test_an_interpreter_that_cannot_be_run_is_named(chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEUROTARGET_LAVA_PYTHON", chosen)
    with pytest.raises(LavaError, match=f"NEUROTARGET_LAVA_PYTHON is '{chosen}'"):
        lava.run(chain(), spikes(1, 5, 4))


@pytest.mark.parametrize(
    ("later", "said"),
    [
        ('{"event":"failed","process":"b","text":"Traceback\\\\nValueError: wide"}', "'b' raised ValueError: wide"),
        ("", "'a' ended with exit code 0 before the run had finished"),
    ],
)
def test_who_raised_is_named_though_another_had_ended_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: str, said: str
) -> None:
    """Lava ends the others, with exit code 0, before the one that raised says why."""
    fake = tmp_path / "python"
    died = '{"event":"died","process":"a","code":0}'
    then = f"sleep 0.3\necho '{later}' >/dev/fd/$6\n" if later else ""
    fake.write_text(f"#!/bin/sh\necho '{died}' >/dev/fd/$6\n{then}exec sleep 60\n")
    fake.chmod(0o755)
    monkeypatch.setenv("NEUROTARGET_LAVA_PYTHON", str(fake))
    monkeypatch.setattr(child, "PATIENCE_SECONDS", 3.0 if later else 0.2)
    with pytest.raises(LavaError, match=said):
        lava.run(chain(), spikes(1, 5, 4))
