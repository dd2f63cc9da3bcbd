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
from neurotarget.hardware.energy.front_end import FrontEnd
from neurotarget.hardware.energy.judgement import JudgedClaim
from neurotarget.hardware.energy.memory import MemoryLayer
from neurotarget.hardware.energy.published import PublishedFigure
from neurotarget.hardware.energy.sensitivity import Uncertainty
from neurotarget.hardware.energy.trained_twin import TrainedTwin
from neurotarget.hardware.energy.twin import TwinComparison
from neurotarget.hardware.energy.verdict import Verdict
from neurotarget.hardware.energy.whole_chip import WholeChip
from neurotarget.hardware.meters.measurement import Measured, Unmeasured
from neurotarget.hardware.sanafe.simulation import ChipSimulation
from neurotarget.hardware.verdict.integers import IntegerForm
from neurotarget.hardware.verdict.parity import ParityCheck, ParityUnavailable
from neurotarget.hardware.verdict.rows import Conclusion
from neurotarget.sim.activity import Activity, run_words

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
        verdict: one sentence, the questions under it, and what is left out.
        verdicts: against the same network computed densely, one per boundary.
        parity: comparisons of simulators.
        parity_unavailable: comparisons that were not made.
        precision: the reference in single against double precision. The same file in one simulator: a measurement of
            precision and no parity. `null` with a checkpoint, of which PyTorch's single precision stands in parity.
        integers: the quantised file on the same samples; `null` where there is none.
        layers: counts by layer.
        totals: sums over the layers.
        energy: energies by price table and boundary.
        memory_layers: energy by layer with memory included.
        uncertainty: of energies and ratios, by price table as `energy`: prices within their ranges, samples.
        front_end: what makes the input of sound; `null` where that is not known.
        networks: this network and those given with `--beside`; empty without.
        twin: the quantised twin.
        trained_twins: the trained twin in 32, 8 and fewer bits; empty without `--twin`.
        placement: one per chip, of the network in integers where its file ran, else of the float file.
        chip_simulation: the network on a simulated chip; `null` without `--chip-simulator`.
        whole_chips: one per class of chips with a model fitted on measurements.
        claims: judged; empty without `--claims`.
        counters: other packages' counts; `null` without `--compare-counters`.
        measured: PyTorch on this machine.
        measured_twin: the trained twin on this machine, in the same way; `null` without `--twin` or without a meter.
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
    verdict: Conclusion
    verdicts: tuple[Verdict, ...]
    parity: tuple[ParityCheck, ...]
    parity_unavailable: tuple[ParityUnavailable, ...]
    precision: ParityCheck | ParityUnavailable | None
    integers: IntegerForm | None
    layers: tuple[Layer, ...]
    totals: Totals
    energy: tuple[EnergyFigure, ...]
    memory_layers: tuple[MemoryLayer, ...]
    uncertainty: tuple[Uncertainty, ...]
    front_end: FrontEnd | None
    networks: tuple[NetworkRow, ...]
    twin: TwinComparison
    trained_twins: tuple[TrainedTwin, ...]
    placement: tuple[Fit | NotPlaced, ...]
    chip_simulation: ChipSimulation | None
    whole_chips: tuple[WholeChip, ...]
    claims: tuple[JudgedClaim, ...]
    counters: CounterComparison | None
    measured: Measured | Unmeasured
    measured_twin: Measured | Unmeasured | None
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
