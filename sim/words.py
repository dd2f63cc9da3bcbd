"""Words in a stream of steps: where one begins and ends, and which it is."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from neurotarget.sim.graph import Graph, dialect
from neurotarget.sim.inputs import InputError
from neurotarget.sim.reference import Stream
from neurotarget.sim.trace import unreadable


@dataclass(frozen=True)
class Word:
    """What was said.

    Attributes:
        word: name of the class, its number where the file names none.
        label: number of the class.
        score: of the class, mean over the steps of the word: its softmax, or its output where the file's readout sums;
            the largest output where it takes that.
        start_step, end_step: first step of the word, and the step after its last.
        start_ms, end_ms: the same in milliseconds; None where nothing says how long a step is.
    """

    word: str
    label: int
    score: float
    start_step: int
    end_step: int
    start_ms: float | None
    end_ms: float | None

    def __str__(self) -> str:
        steps = f"steps {self.start_step} to {self.end_step}"
        place = steps if self.start_ms is None else f"{self.start_ms:.0f} to {self.end_ms:.0f} ms"
        return f"{place}  {self.word}  {self.score:.3f}"


class Words:
    """Cuts a stream into words and reads the class of each.

    A word begins with the first step that is not quiet: the network starts afresh there, as it did with each utterance
    of its training. It ends with the last step before `pause` quiet ones, which the network has seen by then, or where
    `end` is called. So a word is what `sim.run` gives of its steps and that pause.
    """

    _start: int | None  # step in which the word under way began
    _quiet: int  # steps at its end
    _total: np.ndarray  # of what its steps say

    def __init__(self, stream: Stream, pause: int | None = None) -> None:
        """Takes `pause` in steps, at least 1; None for words that only `end` ends.

        Raises:
            InputError: no class can be read from the output of the network.
        """
        graph = stream.graph
        if reason := unreadable(np.empty((1, 1, *graph.output.output_shape))):
            raise InputError(f"{graph.source}: {reason}")
        self.stream, self.pause = stream, pause
        self.step = 0  # of all that was pushed
        self.steps_run, self.busy_seconds = 0, 0.0  # steps of the network, processor time in them
        self._largest = graph.readout == dialect.READOUT_MAX
        self._begin()

    def push(self, frames: np.ndarray, quiet: Iterable[bool]) -> Iterator[Word]:
        """Takes frames [steps, *features], and of each whether it is quiet; gives the words that end there."""
        for frame, silent in zip(frames, quiet, strict=True):
            self.step += 1
            if self._start is None and silent:
                continue
            if self._start is None:
                self._start = self.step - 1
            started = time.process_time()
            output = self.stream.push(frame[None])[0]
            self.busy_seconds += time.process_time() - started
            self.steps_run += 1
            read = _read(output, self.stream.graph)
            self._total = np.maximum(self._total, read) if self._largest else self._total + read
            self._quiet = self._quiet + 1 if silent else 0
            if self._quiet == self.pause:
                yield from self.end()

    def end(self) -> Iterator[Word]:
        """The word that has begun, where one has."""
        if self._start is not None:
            yield self._word(self._start)
        self._begin()

    def _begin(self) -> None:
        self.stream.reset()
        self._start, self._quiet = None, 0
        self._total = np.full(self.stream.graph.output.output_shape, -np.inf if self._largest else 0.0)

    def _word(self, start: int) -> Word:
        graph, end = self.stream.graph, self.step - self._quiet
        label = int(np.argmax(self._total))
        name = graph.classes[label] if label < len(graph.classes) else str(label)
        unit = None if graph.dt_is_default else 1000 * graph.dt
        start_ms, end_ms = (None if unit is None else round(unit * step, 3) for step in (start, end))
        score = float(self._total[label]) / (1 if self._largest else self.stream.step)
        return Word(name, label, score, start, end, start_ms, end_ms)


def _read(output: np.ndarray, graph: Graph) -> np.ndarray:
    """What a step adds to each class: sim/trace.py, `classify`."""
    if graph.readout != dialect.READOUT_SOFTMAX_SUM:
        return output
    exponentials: np.ndarray = np.exp(output - output.max())
    return exponentials / exponentials.sum()
