"""Two readings of random NIR files: `python -m tests.fuzz.differential --graphs 20000 [--seed S]`.

Float: the simulator against the plain interpreter (plain.py). Where float64 rounds nowhere, every bit must agree;
elsewhere the rule of docs/semantics.md, "Parity", holds.

Integers: what conversion.quantize makes of a graph must keep the rate of each layer, and the simulator must give the
spikes and output of the plain integer interpreter (plain_fixed.py) exactly. A seed reproduces its graph.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from dataclasses import dataclass, field

import nir
import numpy as np
from tqdm import tqdm

from tests.fuzz import engine, graphs
from tests.fuzz.plain import Plain
from tests.fuzz.plain_fixed import PlainFixed

MANY, SLOWEST, FASTEST = 100, 0.8, 1.25  # spikes from which a layer's rate counts, and what integers may make of it
EXACT_STEPS = 40  # of the comparison in Python's integers, which is slow
OUTPUT = 1e-9  # docs/semantics.md, Parity; of the largest output where that exceeds 1


@dataclass
class Tally:
    """What a run of the fuzzing covered and found.

    Attributes:
        differences: a line for each, with the seed that reproduces it.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)

    def text(self) -> str:
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(self.kinds.items()))
        counts = ", ".join(f"{count} {what}" for what, count in self.counts.items())
        refusals = [f"refused {count}: {what}" for what, count in self.refusals.most_common()]
        return "\n".join([f"graphs by kind of node: {kinds}", counts, *refusals, *self.differences])


def compare(case: graphs.Case, tally: Tally) -> str | None:
    """What the simulator computes otherwise than the plain interpreter, in a sentence; None where they agree."""
    try:
        spikes, output = engine.run(case.graph, case.frames, case.lengths, case.in_file)
    except engine.REFUSALS as error:
        return f"refused: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    plain = Plain(case.graph).run(case.frames, case.lengths, None if case.exact else spikes)
    tally.counts["through a file"] += case.in_file
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


def compare_integers(case: graphs.Case, tally: Tally) -> str | None:
    """What quantisation makes of a graph that is wrong, in a sentence; None where all is well or it refuses."""
    try:
        spikes, _ = engine.run(case.graph, case.frames, case.lengths)
        quantised = engine.quantised(case.graph, case.frames, case.lengths)
        integers, _ = engine.run(quantised, case.frames, case.lengths)
    except engine.REFUSALS as error:
        tally.refusals[reason(error)] += 1
        return None
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    tally.counts["quantised"] += 1
    frames = case.frames[:, :EXACT_STEPS]
    lengths = None if case.lengths is None else np.minimum(case.lengths, frames.shape[1])
    plain = PlainFixed(quantised).run(frames, lengths)
    exact = differs(case, *engine.run(quantised, frames, lengths), plain.spikes, plain.output, exact=True)
    if exact is not None:
        return f"integers against Python's: {exact}"
    tally.counts["layers of which the rate counts"] += len(busy(spikes, integers))
    for name, (count, found) in busy(spikes, integers).items():
        if not SLOWEST * count <= found <= FASTEST * count:
            return f"rate of {name}: {count} spikes in float, {found} in integers"
    reversed_in_time(case, quantised, tally)
    return None


def reversed_in_time(case: graphs.Case, quantised: nir.NIRGraph, tally: Tally) -> None:
    """Counts what the rates are on frames that did not calibrate: no fault, the integers never saw them."""
    frames = np.ascontiguousarray(case.frames[:, ::-1])
    try:
        rates = busy(*(engine.run(graph, frames, case.lengths)[0] for graph in (case.graph, quantised)))
    except engine.REFUSALS:  # a sum that overflows
        tally.counts["quantised graphs refused on reversed frames"] += 1
        return
    tally.counts["layers on reversed frames"] += len(rates)
    outside = sum(not SLOWEST * count <= found <= FASTEST * count for count, found in rates.values())
    tally.counts["of them outside the band"] += outside


def busy(spikes: dict[str, np.ndarray], integers: dict[str, np.ndarray]) -> dict[str, tuple[int, int]]:
    """Spikes in float and in integers of the layers that fire often enough for their rate to count."""
    counts = {name: (int(spikes[name].sum(dtype=np.int64)), int(integers[name].sum(dtype=np.int64))) for name in spikes}
    return {name: both for name, both in counts.items() if max(both) > MANY}


def reason(error: Exception) -> str:
    """A refusal without the names of its nodes, so that equal ones count together."""
    words = str(error).split(": ", 1)[-1].split()
    return " ".join(word for word in words if word.isalpha())[:60]


def fuzz(
    seeds: range, tally: Tally, integers: bool = False, dtypes: tuple[str, ...] = graphs.DTYPES, progress: bool = True
) -> Tally:
    """Compares the graphs of some seeds, in float or in integers."""
    name = "integers" if integers else "float"
    for seed in tqdm(seeds, desc=name, unit="graph", disable=None if progress else True):
        case = graphs.case(seed, dtypes, quantisable=integers)
        tally.kinds.update(case.kinds.keys())
        tally.counts["graphs"] += 1
        if (difference := (compare_integers if integers else compare)(case, tally)) is not None:
            tally.differences.append(f"{name} seed {seed} ({case.frames.dtype}): {difference}")
            if progress:
                tqdm.write(tally.differences[-1], file=sys.stderr)  # a long run that is stopped has said what it found
    return tally


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.differential", description=__doc__.splitlines()[0])
    parser.add_argument("--graphs", type=int, default=1000, help="how many in float (default 1000)")
    parser.add_argument("--integers", type=int, help="how many in integers (default: a tenth of those in float)")
    parser.add_argument("--seed", type=int, default=0, help="of the first graph (default 0)")
    arguments = parser.parse_args(argv)
    found = 0
    for integers in (False, True):
        count = arguments.graphs if not integers else arguments.integers
        count = arguments.graphs // 10 if count is None else count
        tally = fuzz(range(arguments.seed, arguments.seed + count), Tally(), integers)
        print(f"{'integers' if integers else 'float'}: {tally.text()}")
        print(f"{len(tally.differences)} differences in {count} graphs\n")
        found += len(tally.differences)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
