"""Everything that a report holds: `report.json` is this class, field by field (docs/report.md)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from neurotarget.hardware.chips.fit import Fit, NotPlaced
from neurotarget.hardware.counts.other_packages import CounterComparison
from neurotarget.hardware.counts.summary import Layer, Totals
from neurotarget.hardware.energy.beside import NetworkRow
from neurotarget.hardware.energy.figure import EnergyFigure
from neurotarget.hardware.energy.judgement import JudgedClaim
from neurotarget.hardware.energy.memory import MemoryLayer
from neurotarget.hardware.energy.published import PublishedFigure
from neurotarget.hardware.energy.twin import TwinComparison
from neurotarget.hardware.energy.verdict import Verdict
from neurotarget.hardware.energy.whole_chip import WholeChip
from neurotarget.hardware.meters.measurement import Measured, Unmeasured
from neurotarget.sim.activity import Activity, run_words
from neurotarget.sim.parity import NOT_TESTED

FORMAT = 1


@dataclass(frozen=True)
class Model:
    """The NIR file.

    Attributes:
        file, sha256: its path and its hash.
        nodes, spiking_nodes: how many.
        neurons, parameters: as in totals.
        dt_seconds: duration of a step.
        dt_is_default: whether the file does not say.
        readout: how the output becomes a class.
        notes: what the file left open, and what was assumed.
    """

    file: str
    sha256: str
    nodes: int
    spiking_nodes: int
    neurons: int
    parameters: int
    dt_seconds: float
    dt_is_default: bool
    readout: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class InputRun:
    """What the network ran on.

    Attributes:
        spec: INPUT as it was given.
        samples: that were run.
        steps: inside the windows, over all samples.
    """

    spec: str
    samples: int
    steps: int


@dataclass(frozen=True)
class ParityCheck:
    """A comparison of two runs, spike for spike. Entries with `required` decide the exit code: PyTorch in double
    precision against the reference, and the reference against Lava. PyTorch in single precision is a measurement.

    Attributes:
        sides: what was compared with what.
        samples, steps: that were compared; steps inside the windows, over all samples.
        spikes: of the first side.
        mismatched: places whose spikes differ.
        near_threshold: of them, in samples whose first divergence is a tie: potential within 1e-7 of the threshold.
        output_difference: largest, in samples without a mismatch.
        first_divergence: in words; `null` without one.
        exact: integers: outputs must be equal and no tie exists.
        untested: why equality would prove nothing: nothing fired, or nothing can fire and every output is 0; `null`
            otherwise.
        silent: whether nothing fired on either side, though something can.
        never_fire, always_fire: spiking nodes without a spike on either side, where nothing was tested; those of which
            every neuron fires at every step.
        states, states_mismatched: numbers u and v that were compared, and those that differ.
        first_state: the first of these; `null` without one.
        outcome: `holds`, `differs`, or `not tested` where nothing differs and nothing could.
        holds: whether the outcome is `holds`: the two are the same network as far as anything fired.
        required: whether it decides the exit code.
    """

    sides: str
    samples: int
    steps: int
    spikes: int
    mismatched: int
    near_threshold: int
    output_difference: float
    first_divergence: str | None
    exact: bool
    untested: str | None
    silent: bool
    never_fire: tuple[str, ...]
    always_fire: tuple[str, ...]
    states: int
    states_mismatched: int
    first_state: str | None
    outcome: str
    holds: bool
    required: bool

    @property
    def sentence(self) -> str:
        """The outcome in words."""
        if self.outcome == NOT_TESTED:
            return f"not tested: {self.untested} in {self.samples} samples and {self.steps} steps"
        if self.holds:
            ties = f", {self.near_threshold} ties" if self.near_threshold else ""
            gap = f"; not tested in {', '.join(self.never_fire)}, which never fire" if self.never_fire else ""
            return f"equal, {self.spikes} spikes over {self.samples} samples and {self.steps} steps{ties}{gap}"
        if not self.mismatched:
            return f"no spike differs in {self.samples} samples, outputs differ by up to {self.output_difference:.3g}"
        difference = f"first divergence: {self.first_divergence}"
        return f"{self.mismatched} of {self.spikes} spikes differ in {self.samples} samples, {difference}"


@dataclass(frozen=True)
class ParityUnavailable:
    """A comparison that was not made.

    Attributes:
        sides: what would be compared with what.
        reason: why it was not.
    """

    sides: str
    reason: str

    @property
    def sentence(self) -> str:
        """The same in words."""
        return f"not made: {self.reason}"


@dataclass(frozen=True)
class Environment:
    """Where the report was made.

    Attributes:
        python, system: versions.
        cores: of the processor.
        versions: package: version; `null` where it is not installed.
    """

    python: str
    system: str
    cores: int | None
    versions: Mapping[str, str | None]


@dataclass(frozen=True)
class Report:
    """The whole file.

    Attributes:
        format: 1.
        model: the NIR file.
        input: what it ran on.
        accuracy: share of samples classified right by the reference simulator; `null` without labels.
        accuracy_note: on what it was measured; says so when the speech is synthetic.
        activity: which nodes never fire, and which always do.
        latency_steps: steps from an input to its output when the network streams (sim/schedule.py).
        latency_ms: the same in milliseconds; `null` where the step is a default.
        withheld: why there is no verdict on energy: the network never fires, or is not above chance; `null` otherwise.
        verdicts: one per boundary.
        parity: comparisons of simulators.
        parity_unavailable: comparisons that were not made.
        precision: the reference in single against double precision. The same file in one simulator: a measurement of
            precision and no parity. `null` with a checkpoint, of which PyTorch's single precision stands in parity.
        layers: counts by layer.
        totals: sums over the layers.
        energy: energies by price table and boundary.
        memory_layers: energy by layer with memory included.
        networks: this network and those given with `--beside`; empty without.
        twin: the quantised twin.
        placement: one per chip.
        whole_chips: one per class of chips with a model fitted on measurements.
        claims: judged; empty without `--claims`.
        counters: other packages' counts; `null` without `--compare-counters`.
        measured: PyTorch on this machine.
        published: figures of others.
        environment: where the report was made.
    """

    format: int
    model: Model
    input: InputRun
    accuracy: float | None
    accuracy_note: str
    activity: Activity
    latency_steps: int
    latency_ms: float | None
    withheld: str | None
    verdicts: tuple[Verdict, ...]
    parity: tuple[ParityCheck, ...]
    parity_unavailable: tuple[ParityUnavailable, ...]
    precision: ParityCheck | ParityUnavailable | None
    layers: tuple[Layer, ...]
    totals: Totals
    energy: tuple[EnergyFigure, ...]
    memory_layers: tuple[MemoryLayer, ...]
    networks: tuple[NetworkRow, ...]
    twin: TwinComparison
    placement: tuple[Fit | NotPlaced, ...]
    whole_chips: tuple[WholeChip, ...]
    claims: tuple[JudgedClaim, ...]
    counters: CounterComparison | None
    measured: Measured | Unmeasured
    published: tuple[PublishedFigure, ...]
    environment: Environment

    @property
    def silence(self) -> str | None:
        """What stands first where nothing fired, in words."""
        if not self.activity.silent:
            return None
        model = self.model
        ran = run_words(self.input.samples, self.input.steps, model.dt_seconds, model.dt_is_default)
        return f"nothing fired in {ran}"


def as_json(report: Report) -> dict[str, Any]:
    """`report.json`: the dataclasses as dictionaries and lists, NumPy's numbers as Python's."""
    text = json.dumps(dataclasses.asdict(report), allow_nan=False, default=_plain)
    content: dict[str, Any] = json.loads(text)
    return content


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} does not belong in a report")
