"""Hostile files of every kind that the commands read: `python -m tests.fuzz.attack --cases 2000 [--seed S]`.

A command must end with exit code 0, 1 or 2, without a traceback, within `SECONDS` and `BYTES` of memory. Commands run
in this process, forked for a batch, so that a crash or a hang costs one case. A seed reproduces its file.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tests.fuzz import commands
from tests.fuzz.mutations import mutate

SECONDS = 20  # of processor time, so that a busy machine is no finding
DEAF = 200  # seconds on the clock, for what waits or does not hear the alarm
BYTES = 2 * 2**30  # on top of what the process holds when a batch begins
BATCH = 50
GOOD = {"0", "1", "2"}


class Hang(BaseException):
    """The alarm of a case: nothing that a command catches."""


def attack(seed: int, files: dict[str, list[Path]], folder: Path) -> tuple[str, str]:
    """One case: the kind of file, and the exit code or what broke."""
    rng = np.random.default_rng(seed)
    kind = str(rng.choice(list(files)))
    good = files[kind][int(rng.integers(len(files[kind])))]
    path = folder / str(seed) / good.name
    path.parent.mkdir()
    path.write_bytes(mutate(kind, good.read_bytes(), rng))
    if kind == "spikes h5":
        shutil.copy(good.with_name("shd_test.h5"), path.parent)
    command = commands.COMMANDS[kind][int(rng.integers(len(commands.COMMANDS[kind])))]
    said = io.StringIO()
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            return kind, str(command(path, good))
    except SystemExit as error:
        return kind, str(error.code)
    except Hang:
        return kind, f"more than {SECONDS} s"
    except MemoryError:
        return kind, f"more than {BYTES >> 30} GiB {place()}"
    except BaseException as error:
        return kind, f"{type(error).__name__} {place()}: {str(error)[:100]!r}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        shutil.rmtree(path.parent, ignore_errors=True)


def place() -> str:
    """The innermost line of this project in the present traceback."""
    root = str(Path(__file__).parents[2])
    frames = [
        f
        for f in traceback.extract_tb(sys.exc_info()[2])
        if f.filename.startswith(root) and "/.venv/" not in f.filename
    ]
    return f"in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


def batch(seeds: list[int], files: dict[str, list[Path]], folder: Path, results: Connection) -> None:
    """A forked child: sends the seed before each case and its outcome after."""

    def ring(number: int, frame: object) -> None:
        raise Hang

    signal.signal(signal.SIGPROF, ring)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES,) * 2)
    os.environ["NEUROTARGET_CACHE"] = str(folder / "cache")
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)  # what libraries in C say
    for seed in seeds:
        results.send((seed, None))
        results.send((seed, attack(seed, files, folder)))


def run(seeds: list[int], files: dict[str, list[Path]], folder: Path) -> dict[int, tuple[str, str]]:
    """The outcome of each case; after a crash the rest goes to another child."""
    context, outcomes, pending = multiprocessing.get_context("fork"), {}, list(seeds)
    while pending:
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=batch, args=(pending, files, folder, theirs))
        child.start()
        theirs.close()
        current = pending[0]
        broke = ""
        try:
            while set(pending) - set(outcomes):
                if not ours.poll(DEAF):
                    broke = f"more than {DEAF} s, deaf to signals"
                    break
                current, outcome = ours.recv()
                if outcome is not None:
                    outcomes[current] = outcome
        except EOFError:
            child.join()
            code = child.exitcode or 0
            broke = f"killed by signal {-code}" if code < 0 else f"the attack itself ended with exit code {code}"
        child.kill()
        child.join()
        if broke:
            kinds = list(files)
            outcomes[current] = (str(np.random.default_rng(current).choice(kinds)), broke)
        pending = [seed for seed in pending if seed not in outcomes]
    return outcomes


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.attack", description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=1000, help="how many (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the first case (default 0)")
    parser.add_argument("--kinds", nargs="+", choices=list(commands.COMMANDS), help="kinds of file (default all)")
    arguments = parser.parse_args(argv)
    outcomes: dict[int, tuple[str, str]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # In a child: threads of numba and torch do not survive a fork, so this process must not start any.
        writer = multiprocessing.get_context("fork").Process(target=commands.write, args=(folder / "good",))
        writer.start()
        writer.join()
        files = commands.good_files(folder / "good")
        files = {kind: paths for kind, paths in files.items() if kind in (arguments.kinds or files)}
        seeds = range(arguments.seed, arguments.seed + arguments.cases)
        for start in tqdm(range(0, len(seeds), BATCH), desc="attack", unit="batch", disable=None):
            outcomes |= run(list(seeds[start : start + BATCH]), files, folder)
    print(table(outcomes))
    broken = {seed: outcome for seed, outcome in outcomes.items() if outcome[1] not in GOOD}
    for seed, (kind, outcome) in broken.items():
        print(f"seed {seed}, {kind}: {outcome}")
    print(f"{len(broken)} of {len(outcomes)} broke something")
    return 1 if broken else 0


def table(outcomes: dict[int, tuple[str, str]]) -> str:
    """A line per kind of file, a column per exit code."""
    counts = Counter((kind, outcome if outcome in GOOD else "broke") for kind, outcome in outcomes.values())
    columns = [*sorted(GOOD), "broke"]
    lines = [f"{'kind of file':16}" + "".join(f"{column:>8}" for column in columns)]
    for kind in sorted({kind for kind, _ in counts}):
        lines.append(f"{kind:16}" + "".join(f"{counts[kind, column]:8}" for column in columns))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
