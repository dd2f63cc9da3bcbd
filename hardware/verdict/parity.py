"""What a comparison of two runs found, and the comparisons that were not made."""

from __future__ import annotations

from dataclasses import dataclass

from neurotarget.sim.parity import NOT_TESTED


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
