"""What one run of a network leaves behind: the spikes of every spiking node, the output, the input.

The file is an `.npz`: `spikes/<node>` [samples, steps, *neurons] uint8, `input`, `output` (float64), `length`, `label`,
and `header`, a JSON text. It is the hand-off from simulators to counters and to the comparison.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurotarget import kinds
from neurotarget.arrays import ArraysError, read_arrays
from neurotarget.errors import UserError
from neurotarget.files import write_npz

if TYPE_CHECKING:
    from neurotarget.sim.graph import Graph

FORMAT = 1
LARGEST_BYTES = 2**33  # each spike counted as 8 bytes: a gigabyte of them in memory


class TraceError(UserError):
    """A trace or input file that cannot be read: the message names the file and what is wrong."""


@dataclass(frozen=True, eq=False)
class Trace:
    """One run.

    Attributes:
        spikes: node -> uint8 [samples, steps, *neurons]; zero outside the window of the sample.
        output: float64 [samples, steps, *outputs]; zero outside the window.
        input: [samples, steps, *features], zero outside the window.
        lengths: int64 [samples]: the window of a sample is its steps 0 .. length - 1.
        labels: int64 [samples], or None.
        header: `backend`, `precision`, `source`, `dt`, `readout`, `latency_steps` and what the backend adds.
        graph: the network that ran, in the process that ran it; a file holds none.
        peaks: of the neurons of a quantised network the largest |u| and |v|, in the process that ran it.
    """

    spikes: Mapping[str, np.ndarray]
    output: np.ndarray
    input: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray | None = None
    header: Mapping[str, Any] = field(default_factory=dict)
    graph: Graph | None = None
    peaks: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def samples(self) -> int:
        return len(self.lengths)

    @property
    def sample_steps(self) -> int:
        """Steps inside the windows, over all samples."""
        return int(self.lengths.sum())

    def rows(self, rows: slice | list[int]) -> Trace:
        """The same run of some of the samples."""
        return replace(
            self,
            spikes={name: array[rows] for name, array in self.spikes.items()},
            output=self.output[rows],
            input=self.input[rows],
            lengths=self.lengths[rows],
            labels=None if self.labels is None else self.labels[rows],
        )

    def save(self, path: str | Path) -> None:
        """Writes the trace; the file appears under its name only when complete."""
        write_npz(path, {**columns(self), **header_array(self.header)})

    @classmethod
    def load(cls, path: str | Path) -> Trace:
        """Reads a trace.

        Raises:
            TraceError: the file is missing, damaged or not a trace.
        """
        if mistake := kinds.mistaken(path, kinds.TRACE):
            raise TraceError(mistake)
        try:
            arrays = read_arrays(path, largest_bytes=LARGEST_BYTES)
            header = json.loads(str(arrays["header"]))
            if header.get("format") != FORMAT:
                raise TraceError(f"{path}: trace format {header.get('format')!r}, this version reads {FORMAT}")
            return cls(
                spikes={key.removeprefix("spikes/"): arrays[key] for key in arrays if key.startswith("spikes/")},
                output=arrays["output"],
                input=arrays["input"],
                lengths=arrays["length"],
                labels=arrays.get("label"),
                header=header,
            )
        except ArraysError as error:
            raise TraceError(str(error)) from error
        except (KeyError, AttributeError, json.JSONDecodeError, RecursionError) as error:
            raise TraceError(f"{path}: not a trace: {error}") from error


def columns(trace: Trace) -> dict[str, np.ndarray]:
    """The arrays of a trace's file whose first axis is that of the samples, in the file's order."""
    arrays = {f"spikes/{name}": array for name, array in trace.spikes.items()}
    arrays |= {"input": trace.input, "output": trace.output, "length": trace.lengths}
    return arrays if trace.labels is None else arrays | {"label": trace.labels}


def header_array(header: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The array behind them, of a run's header."""
    return {"header": np.array(json.dumps({"format": FORMAT, **header}))}


def in_window(lengths: np.ndarray, steps: int) -> np.ndarray:
    """Mask [samples, steps]: true where the step lies inside the window of the sample."""
    mask: np.ndarray = np.arange(steps) < np.asarray(lengths)[:, None]
    return mask


def partial_window(lengths: np.ndarray, steps: int) -> np.ndarray | None:
    """The mask of `in_window`, or None where every step of every sample lies inside."""
    return None if np.min(lengths, initial=steps) >= steps else in_window(lengths, steps)


def masked(values: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """The values [samples, steps, ...], in their own type, zero where the mask [samples, steps] is false."""
    if mask is None:
        return values
    inside = values.copy()  # and zeros into it: a copy that asks at each value takes several times as long
    inside[~mask] = 0
    return inside


def windowed(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The values [samples, steps, ...], zero outside the window of each sample."""
    return masked(values, partial_window(lengths, values.shape[1]))


def unreadable(output: np.ndarray) -> str | None:
    """Why no class can be read from outputs [samples, steps, *outputs], in one sentence; None where one can."""
    shape = list(output.shape[2:])
    if len(shape) == 1 and shape[0]:
        return None
    return (
        f"labels cannot be read from outputs of shape {shape}: a vector, one number per class, is needed; no accuracy"
    )


def classify(output: np.ndarray, lengths: np.ndarray, readout: str) -> np.ndarray:
    """Class of each sample, int64 [samples], from outputs [samples, steps, classes].

    `softmax_sum` (SpikeSCR) sums softmax(output) over the steps of the window, `sum` sums the output itself, `max`
    takes the largest output of a step.
    """
    values = output.astype(np.float64)
    if readout == "softmax_sum":
        values = np.exp(values - values.max(axis=-1, keepdims=True))
        values /= values.sum(axis=-1, keepdims=True)
    mask = in_window(lengths, output.shape[1])[..., None]
    if readout == "max":
        return np.argmax(np.where(mask, values, -np.inf).max(axis=1), axis=-1)
    return np.argmax((values * mask).sum(axis=1), axis=-1)


def accuracy(trace: Trace, readout: str) -> float | None:
    """Share of the samples that `classify` gets right; None without labels, or where the output is no vector."""
    if trace.labels is None or unreadable(trace.output):
        return None
    return float(np.mean(classify(trace.output, trace.lengths, readout) == trace.labels))
