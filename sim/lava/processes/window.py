"""Where a physical step stands in the stream of utterances."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """Utterances follow each other every `period` physical steps; the window of one is its first `length` steps.

    Attributes:
        period: physical steps from the start of an utterance to the start of the next.
        steps: logical steps of a run; no length is larger.
        lengths: steps of each utterance.
    """

    period: int
    steps: int
    lengths: tuple[int, ...]

    def locate(self, step: int, latency: int) -> tuple[int, int]:
        """Utterance and its logical step that a node of `latency` handles in physical `step`.

        The utterance is -1 before the first and after the last; the logical step runs from 0 to period - 1.
        """
        sample, logical = divmod(step - latency, self.period)
        return (sample if 0 <= sample < len(self.lengths) else -1), logical

    def inside(self, step: int, latency: int) -> bool:
        sample, logical = self.locate(step, latency)
        return sample >= 0 and logical < self.lengths[sample]

    def starts(self, step: int, latency: int) -> bool:
        sample, logical = self.locate(step, latency)
        return sample >= 0 and logical == 0
