"""Two readings of random NIR files: `python -m tests.fuzz.differential --graphs 20000 [--seed S]`.

The simulator against the plain interpreter (plain.py). Where float64 rounds nowhere, every bit must agree; elsewhere
the rule of docs/semantics.md, "Parity", holds. A seed reproduces its graph.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

from tests.fuzz import engine, graphs
from tests.fuzz.plain import Plain

OUTPUT = 1e-9  # docs/semantics.md, Parity; of the largest output where that exceeds 1


@dataclass
class Tally:
    """What a run of the fuzzing covered and found.

    Attributes:
        differences: a line for each, with the seed that reproduces it.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)

    def text(self) -> str:
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(self.kinds.items()))
        counts = ", ".join(f"{count} {what}" for what, count in self.counts.items())
        return "\n".join([f"graphs by kind of node: {kinds}", counts, *self.differences])


def compare(case: graphs.Case, tally: Tally) -> str | None:
    """What the simulator computes otherwise than the plain interpreter, in a sentence; None where they agree."""
    try:
        spikes, output = engine.run(case.graph, case.frames, case.lengths)
    except engine.REFUSALS as error:
        return f"refused: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    plain = Plain(case.graph).run(case.frames, case.lengths, None if case.exact else spikes)
    tally.counts["ties taken over"] += len(plain.ties)
    difference = differs(case, spikes, output, plain.spikes, plain.output)
    if difference and case.exact:
        wide = Plain(case.graph, number=np.longdouble).run(case.frames, case.lengths)
        same = all(np.array_equal(wide.spikes[name], plain.spikes[name]) for name in wide.spikes)
        if not same or not np.array_equal(wide.output, plain.output):
            tally.counts["exact graphs that round"] += 1
            plain = Plain(case.graph).run(case.frames, case.lengths, spikes)
            difference = differs(case, spikes, output, plain.spikes, plain.output, exact=False)
    tally.counts["spikes"] += sum(int(array.sum()) for array in plain.spikes.values())
    tally.counts["spiking layers"] += len(plain.spikes)
    tally.counts["silent layers"] += sum(not array.any() for array in plain.spikes.values())
    return difference


def differs(
    case: graphs.Case,
    spikes: dict[str, np.ndarray],
    output: np.ndarray,
    plain_spikes: dict[str, np.ndarray],
    plain_output: np.ndarray,
    exact: bool | None = None,
) -> str | None:
    """The first node whose spikes differ, or how far the outputs are apart."""
    if set(spikes) != set(plain_spikes):
        return f"spiking nodes {sorted(spikes)}, expected {sorted(plain_spikes)}"
    for name, expected in plain_spikes.items():
        if spikes[name].shape != expected.shape:
            return f"node {name}: spikes of shape {spikes[name].shape}, expected {expected.shape}"
        if (places := np.argwhere(spikes[name] != expected)).size:
            first = tuple(int(i) for i in min(places, key=lambda place: place[1]))
            return f"node {name}: {len(places)} spikes differ, first at {first}"
    apart = np.abs(output - plain_output).max(initial=0)
    strict = case.exact if exact is None else exact
    allowed = 0.0 if strict else OUTPUT * max(1.0, np.abs(plain_output).max(initial=0))
    return None if apart <= allowed else f"outputs differ by {apart:g}"


def fuzz(seeds: range, tally: Tally, dtypes: tuple[str, ...] = graphs.DTYPES) -> Tally:
    """Compares the graphs of some seeds."""
    for seed in tqdm(seeds, desc="graphs", unit="graph", disable=None):
        case = graphs.case(seed, dtypes)
        tally.kinds.update(case.kinds.keys())
        tally.counts["graphs"] += 1
        if (difference := compare(case, tally)) is not None:
            tally.differences.append(f"seed {seed} ({case.frames.dtype}): {difference}")
    return tally


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.differential", description=__doc__.splitlines()[0])
    parser.add_argument("--graphs", type=int, default=1000, help="how many (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the first graph (default 0)")
    arguments = parser.parse_args(argv)
    tally = fuzz(range(arguments.seed, arguments.seed + arguments.graphs), Tally())
    print(tally.text())
    print(f"{len(tally.differences)} differences in {arguments.graphs} graphs")
    return 1 if tally.differences else 0


if __name__ == "__main__":
    sys.exit(main())
