"""Chooses the integers of each group of synapses by what they do to the spikes.

For a group (units.py) the inputs are what the float network's neurons sent on the calibration samples, so each choice
is judged on its own, not on the errors before it (replay.py). A candidate is a largest weight: everything above is
clipped, and the smaller it is, the finer are the steps. Weights are rounded so that what one loses the others make up
for, where inputs go together (rounding.py). The candidate nearest to the float network wins (merit.py).
"""

from __future__ import annotations

import math
from collections import ChainMap
from dataclasses import replace
from typing import Any

import numpy as np
from neurotarget.conversion.fixed import merit
from neurotarget.conversion.fixed.candidates import Candidates
from neurotarget.conversion.fixed.choice import Candidate, Choice, Integers, Setting, WrapAround
from neurotarget.conversion.fixed.grading import grading
from neurotarget.conversion.fixed.replay import Replay, float_replay
from neurotarget.conversion.fixed.scales import Scales
from neurotarget.conversion.fixed.settled import Settled
from neurotarget.conversion.fixed.units import Group
from neurotarget.sim.graph import Graph
from neurotarget.sim.graph.kinds import SPIKING, STATEFUL
from neurotarget.sim.graph.node import Node
from neurotarget.sim.reference.integer import INTEGER, CurrentOverflow
from neurotarget.sim.reference.integer_kernels import ALIGN_BITS, STATE_LIMIT
from neurotarget.sim.trace import Trace, in_window, masked, partial_window

CLIP_RATIOS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.42, 0.35, 0.3, 0.25)  # largest weight kept, of the largest there is
# Calibration peaks stay below 2^23 by these factors: other speech may be louder. u would wrap around, v is clipped.
SPARE_U, SPARE_V = 4, 2
COARSEST = -40  # exponent of a group; that of a synapse ends at -24, and its weights become shorter
MATTERS = 0.01  # of a threshold: a smaller current may get lost

Judged = tuple[Choice, Candidate]


class Calibration:
    """The calibration samples, what the float network made of them, and the integers chosen so far."""

    def __init__(self, graph: Graph, trace: Trace) -> None:
        self.graph, self.trace = graph, trace
        steps = trace.input.shape[1]
        self.mask = partial_window(trace.lengths, steps)
        self.integers = Integers()
        self.integers.fixed[graph.input.name] = grading(trace.input, in_window(trace.lengths, steps))
        self.integers.nodes[graph.input.name] = graph.input
        self.scales = Scales(graph, self.integers)
        self.real = float_replay(graph, trace, self.mask)
        self.settled = Settled(graph, self.integers, self.mask)
        self.replay = Replay(graph, trace, self.settled.value, INTEGER, {})
        self.latest: Candidate | None = None  # that ran, and what its members sent
        self.sent: dict[str, np.ndarray] = {}

    # ---- one group ---------------------------------------------------------------------------------------------------

    def choose(self, group: Group) -> Choice:
        """Settles the integers of a group.

        Raises:
            WrapAround: no weight exponent keeps its neurons' states within 24 bits.
        """
        for source in {s for name in group.members for s in self.graph.nodes[name].sources} - {*group.members}:
            self.replay.value(source)  # once, not for each candidate
        candidates = Candidates(self.graph, group, self.scales, self.real, self.replay)
        ratios = CLIP_RATIOS if candidates.weights and (group.neurons or group.outputs) else (1.0,)
        finest, judged = candidates.finest, []
        for ratio in ratios:
            judged.append(self._judged(candidates, ratio, finest))
            finest = min(finest, judged[-1][1].setting.exponent + 1)  # smaller steps, but peaks may be clipped
        best = min(judged, key=_merit)
        if candidates.weights:
            best = self._better(best, candidates, compensate=False)
        self.latest, self.sent = None, {}
        choice, candidate = best
        self.integers.nodes |= candidate.nodes
        self.integers.fixed |= candidate.fixed
        self.integers.unit |= dict.fromkeys(group.synapses, candidate.scale)
        self.integers.choices.append(choice)
        for replay in (self.real, self.replay):  # currents that only neurons read are not asked for again
            for name in group.members:
                if all(reader.kind in STATEFUL | {"output"} for reader in self.graph.targets(name)):
                    replay.known.pop(name, None)
        return choice

    def _judged(self, candidates: Candidates, ratio: float, finest: int) -> Judged:
        """The finest exponent whose states fit, and for it the best ways to round threshold and sums."""
        best = self._fitting(candidates, Setting(ratio, finest))
        if best is None:
            raise WrapAround(
                f"layer {candidates.group.name}: its values do not fit 24-bit states, or 32-bit currents, whatever the "
                "weight exponent; its input is too large for its threshold"
            )
        choice, candidate = best
        if candidates.weights:
            best = self._better(best, candidates, nearest=True)
            if min(choice.exponents.values()) < 0:
                shortened = self._fitting(candidates, replace(candidate.setting, shortened=True))
                best = min(best, shortened or best, key=_merit)
        return best

    def _fitting(self, candidates: Candidates, setting: Setting) -> Judged | None:
        """The setting with the largest exponent, from its own down, whose states fit."""
        exponent = setting.exponent
        while exponent >= COARSEST:
            candidate = candidates.build(replace(setting, exponent=exponent))
            if not candidate.fits:
                exponent -= 1
                continue
            try:
                choice = self._run(candidates.group, candidate)
            except CurrentOverflow:
                exponent -= 1
                continue
            reach = self._reach(choice, exponent)
            if reach < STATE_LIMIT:
                return choice, candidate
            exponent -= max(int(math.log2(reach / STATE_LIMIT)) - 1, 1)  # by less than the peak is too large
        return None

    def _better(self, judged: Judged, candidates: Candidates, **changes: bool) -> Judged:
        """The better of a candidate and the same with a changed setting, where that fits and changes an integer."""
        setting = replace(judged[1].setting, **changes)
        candidate = candidates.build(setting)
        if not candidate.fits or candidate.has_integers_of(judged[1]):
            return judged
        choice = self._run(candidates.group, candidate)
        fits = self._reach(choice, setting.exponent) < STATE_LIMIT
        return min(judged, (choice, candidate), key=_merit) if fits else judged

    def _reach(self, choice: Choice, exponent: int) -> float:
        """How large u or v may become: the peak on the calibration samples with some to spare, or a proven bound.

        A rotary of spikes gives at most sqrt(2), and v at most that over the share of v that is lost each step. Slow
        pairs turn by so little that every bit of fraction counts at the threshold, so no bit is spared there.
        """
        group, node = choice.group, self.graph.nodes[choice.group.synapses[0]]
        spikes = len(node.sources) == 1 and self.graph.nodes[node.sources[0]].kind in SPIKING
        lost = [self.scales.dynamics[name].lost_v for name in group.neurons]
        if node.kind != "rotary" or not spikes or min(lost, default=0) == 0:
            return float(max(choice.peak_u * SPARE_U, choice.peak_v * SPARE_V))
        return float(np.sqrt(2) * 2 ** (exponent + ALIGN_BITS) / min(lost))

    def _run(self, group: Group, candidate: Candidate) -> Choice:
        def evaluate(node: Node, received: Any) -> np.ndarray:
            whole = candidate.nodes.get(node.name, self.settled.integer(node.name))
            return self.settled.evaluate(whole, candidate.fixed.get(node.name, {}), received)[0]

        if self.latest is None or not candidate.has_weights_of(self.latest):
            self.sent = {}
        self.latest = candidate
        known = ChainMap(self.sent, self.replay.known)
        replay = Replay(self.graph, self.trace, evaluate, INTEGER, known)
        peaks = np.zeros(2, INTEGER)
        mismatched, total = 0, merit.Merit()
        for name in group.neurons:
            node = candidate.nodes[name]
            out, own = self.settled.evaluate(node, candidate.fixed[name], replay.received(node))
            peaks = np.maximum(peaks, own)
            if name in self.trace.spikes:
                mismatched += int(np.count_nonzero(out != self.trace.spikes[name]))
                total += merit.of_spikes(self.trace.spikes[name], out)
            else:
                unit = self.scales.dynamics[name].gain * candidate.fixed[name]["scale"]
                real = masked(self.real.value(name), self.mask)
                total += merit.of_values(real, masked(out * (unit / (1 << ALIGN_BITS)), self.mask))
        lost = {name: self._lost(name, candidate, replay.value(name)) for name in candidate.left}
        total += merit.Merit(0.0, merit.CURRENTS * max(lost.values(), default=0.0) ** 2)
        if group.outputs:
            unit = candidate.scale * self.scales.relative(self.graph.output.sources[0])
            values = masked(replay.received(self.graph.output) * unit, self.mask)
            total += merit.of_values(self.trace.output, values)
        return Choice(
            group=group,
            scale=candidate.scale,
            exponents={name: self._shift(candidate, name) for name in group.synapses},
            clip_ratio=candidate.setting.ratio,
            weights=sum(r.weight.size for r in candidate.rounded),
            clipped=sum(r.clipped for r in candidate.rounded),
            zeroed=sum(r.zeroed for r in candidate.rounded),
            peak_u=int(peaks[0]),
            peak_v=int(peaks[1]),
            mismatched=mismatched,
            merit=total,
            lost={name: share if self._matters(name, group) else 0.0 for name, share in lost.items()},
        )

    def _shift(self, candidate: Candidate, name: str) -> int:
        keys = candidate.fixed[name]
        return int(keys["weight_exp" if "weight_exp" in keys else "fraction_bits"])

    def _lost(self, name: str, candidate: Candidate, whole: np.ndarray) -> float:
        """Root mean square of what the current of a synapse loses, as a share of that of the current.

        Args:
            whole: what it sends in integers, without the bias that the neurons hold, in steps of 1/64.
        """
        finest, shape = candidate.scale / (1 << ALIGN_BITS), self.graph.nodes[name].output_shape
        left = finest * np.rint(candidate.left[name] / finest).reshape(-1, *[1] * (len(shape) - 1))
        return merit.of_currents(self.real.value(name), whole, candidate.scale, left)

    def _matters(self, name: str, group: Group) -> bool:
        """Whether the current of a synapse can be noticed at a neuron that reads the group."""
        return self._reaches(self.real.largest(name), group) >= MATTERS

    def _reaches(self, current: float, group: Group) -> float:
        """How far such a current, kept up for a run, brings a neuron of the group, as a share of its threshold."""
        steps, furthest = self.trace.input.shape[1], 0.0
        for name in group.neurons:
            real = self.scales.dynamics[name]
            total = current / real.lost_u / max(real.lost_v, 1 / steps)
            whole = real.threshold_current if name in self.trace.spikes else self.real.largest(name) / real.gain
            furthest = max(furthest, total / whole if whole else math.inf)
        return furthest if group.neurons else math.inf


def _merit(judged: Judged) -> merit.Merit:
    return judged[0].merit
