"""The questions of a verdict, in order, and what answers each: what is not known is never favourable."""

from __future__ import annotations

from collections.abc import Sequence

from neurotarget.hardware.chips.fit import Fit, NotPlaced
from neurotarget.hardware.energy.figure import MEMORY, OPERATIONS
from neurotarget.hardware.energy.trained_twin import TrainedTwin
from neurotarget.hardware.energy.twin import LOSES, TwinComparison
from neurotarget.hardware.energy.verdict import LESS, MORE, Verdict
from neurotarget.hardware.meters.measurement import Measured, Unmeasured
from neurotarget.hardware.meters.windows import Measurement, quotient
from neurotarget.hardware.sanafe.simulation import DIFFERS, EQUAL, ChipSimulation
from neurotarget.hardware.verdict.integers import IntegerForm
from neurotarget.hardware.verdict.parity import ParityCheck, ParityUnavailable
from neurotarget.hardware.verdict.rows import (
    ESTIMATED,
    FAVOURABLE,
    MEASURED,
    OPEN,
    SIMULATED,
    UNFAVOURABLE,
    UNKNOWN,
    VerdictRow,
    least_favourable,
)
from neurotarget.sim.parity import NOT_TESTED

from neurotarget.figures import interval, percent, rounded

PYTORCH = "pytorch"  # how sides of a comparison with the network in PyTorch begin
LARGEST_LOSS = 0.02  # of accuracy that integers may cost
EQUAL_ACCURACY = 0.01  # that a twin may be below and still count as equal
FEWEST_EQUAL = 0.95  # of the answers, where nothing is labelled


def float_row(parity: Sequence[ParityCheck], unavailable: Sequence[ParityUnavailable]) -> VerdictRow:
    """Favourable only where the network in PyTorch was compared: two simulators of one file prove that they agree."""
    required = [check for check in parity if check.required]
    figure = "; ".join(f"{check.sides}: {check.sentence}" for check in required)
    compared = any(check.sides.startswith(PYTORCH) for check in required)
    if any(not check.holds and check.outcome != NOT_TESTED for check in required):
        answer, standing = "its spikes are not the same on both sides of a comparison", UNFAVOURABLE
    elif any(not check.holds for check in required):
        answer, standing = "equality of spikes was not tested, because nothing fired", OPEN
    elif compared:
        answer, standing = "its spikes are those of the network in PyTorch", FAVOURABLE
    else:
        answer, standing = "its spikes were not compared with the network in PyTorch", OPEN
        figure = "; ".join([*([figure] if figure else []), *(f"{one.sides}: {one.reason}" for one in unavailable)])
    kind = SIMULATED if required else UNKNOWN
    return VerdictRow("float", "Does the file spike as the network does in float?", answer, figure, kind, standing)


def integers_row(found: IntegerForm | None, reason: str) -> VerdictRow:
    """Favourable where integers lose at most `LARGEST_LOSS` of the accuracy, or, without labels, where at least
    `FEWEST_EQUAL` of the answers are equal.

    Args:
        reason: why there is no comparison.
    """
    question = "Does it answer the same in 8 bits?"
    if found is None:
        return VerdictRow("integers", question, "its answers in 8 bits are not known", reason, UNKNOWN, OPEN)
    equal = f"{percent(found.equal)} of {found.samples} answers equal"
    if found.accuracy is None or found.accuracy_float is None:
        kept = found.equal >= FEWEST_EQUAL
        figure = f"{equal} ({found.file})"
    else:
        kept = found.accuracy_float - found.accuracy <= LARGEST_LOSS
        both = f"accuracy {percent(found.accuracy_float)} in float, {percent(found.accuracy)} in integers"
        figure = f"{both}, {equal} ({found.file})"
    answer = "in 8 bits it answers as in float" if kept else f"in 8 bits it answers otherwise: {equal}"
    return VerdictRow("integers", question, answer, figure, SIMULATED, FAVOURABLE if kept else UNFAVOURABLE)


def chip_row(placement: Sequence[Fit | NotPlaced]) -> VerdictRow:
    """Favourable where it fits every chip that was tried, unfavourable where it fits none."""
    fits = [result.chip for result in placement if result.fits]
    fails = [result.chip for result in placement if not result.fits]
    figure = " ".join(result.placed if isinstance(result, Fit) else result.reason for result in placement)
    if not fails:
        answer, standing = f"it fits {' and '.join(fits)}", FAVOURABLE if fits else OPEN
    elif fits:
        answer, standing = f"it fits {' and '.join(fits)}, not {' or '.join(fails)}", OPEN
    else:
        answer, standing = f"it fits neither {' nor '.join(fails)}", UNFAVOURABLE
    return VerdictRow("chip", "Does it fit the chip?", answer, figure, ESTIMATED, standing)


def simulated_row(simulation: ChipSimulation) -> VerdictRow:
    """Only where a chip simulator ran. Favourable where it computed every spiking population, with our spikes."""
    name = simulation.simulator
    if simulation.outcome == DIFFERS:
        answer, standing = f"its spikes differ in {name}", UNFAVOURABLE if simulation.required else OPEN
    elif simulation.outcome == EQUAL:
        answer = f"its spikes are the same in {name}" + ("" if simulation.complete else " where that computes them")
        standing = FAVOURABLE if simulation.complete else OPEN
    else:
        answer, standing = f"equality of spikes was not tested in {name}", OPEN
    question = "Does it spike the same on a simulated chip, and what does that take?"
    return VerdictRow("simulated", question, answer, ". ".join(simulation.sentences), SIMULATED, standing)


def twin_row(
    twin: TwinComparison, trained: Sequence[TrainedTwin], accuracy: float | None, withheld: str | None
) -> VerdictRow:
    """Against those forms of the trained twin whose accuracy is at most `EQUAL_ACCURACY` below the spiking network's:
    favourable where the spiking network takes less than each of them under every price, zeros skipped or not, and one
    of them is no more than `EQUAL_ACCURACY` better, so that no narrower one would do.

    Without a trained twin never favourable: counts of one that nobody trained are an estimate of its energy and say
    nothing of its accuracy.

    Args:
        accuracy: of the spiking network on the same samples.
        withheld: why the run decides nothing.
    """
    if trained and not withheld:
        answer, figure, standing = _against_trained(twin, trained, accuracy)
    else:
        answer, figure, standing = _against_counts(twin, withheld)
    question = "Does it take less than the best non-spiking twin, at equal accuracy?"
    return VerdictRow("twin", question, answer, figure, ESTIMATED, standing)


def _against_trained(
    twin: TwinComparison, trained: Sequence[TrainedTwin], accuracy: float | None
) -> tuple[str, str, str]:
    """Answer, figure and standing."""
    if accuracy is None or any(form.accuracy is None for form in trained):
        return "a twin was trained, and without labels its accuracy is not known", "", OPEN
    accuracies = ", ".join(f"{form.name} {percent(form.accuracy)}" for form in trained)
    figure = f"Accuracy: spiking {percent(accuracy)}, twin {accuracies}"
    equal = [form for form in trained if (form.accuracy or 0.0) >= accuracy - EQUAL_ACCURACY]
    if not equal:
        return "no form of the trained twin reaches its accuracy", figure, OPEN
    ratios = [ratio for form in equal for ratio in _ratios(form, twin.snn.total_uj)]
    if not ratios:
        return "no price holds for it and for the trained twin", figure, OPEN
    figure += f". Twin over spiking: {interval(ratios)} over {len(ratios)} prices and forms"
    if min(ratios) > 1 and all((form.accuracy or 0.0) > accuracy + EQUAL_ACCURACY for form in equal):
        # A narrower twin would be cheaper and may still be as accurate: this one is not the best rival.
        answer = f"the trained twin takes {interval(ratios)} times its energy and is more accurate: train narrower ones"
        return answer, figure, OPEN
    if min(ratios) > 1:
        return f"the trained twin takes {interval(ratios)} times its energy at equal accuracy", figure, FAVOURABLE
    if max(ratios) <= 1:
        return f"the trained twin takes {interval(ratios)} of its energy at equal accuracy", figure, UNFAVOURABLE
    return f"the trained twin takes {interval(ratios)} times its energy at equal accuracy, by the price", figure, OPEN


def _ratios(form: TrainedTwin, snn_22nm_uj: float) -> list[float]:
    """Twin over spiking under every price that holds for both, the lower one where zeros may be skipped."""
    found = [
        min(row.ratio, row.skipping_ratio)
        for row in form.energies
        if row.ratio is not None and row.skipping_ratio is not None
    ]
    if form.at_22nm is not None and form.at_22nm_skipping is not None and snn_22nm_uj:
        found.append(min(form.at_22nm.total_uj, form.at_22nm_skipping.total_uj) / snn_22nm_uj)
    return found


def _against_counts(twin: TwinComparison, withheld: str | None) -> tuple[str, str, str]:
    """Answer, figure and standing."""
    ratios = [one.total_ratio for one in twin.twins if one.total_ratio is not None]
    figure = "; ".join(
        f"twin that computes {one.title}: {rounded(one.total_ratio)} of its energy" for one in twin.twins
    )
    if withheld or not ratios:
        reason = withheld or "one of the two takes nothing"
        return f"against a twin there is no answer, because {reason}", figure, OPEN
    figure += f". Spikes per synapse and inference: {rounded(twin.spikes_per_synapse)}"
    if min(ratios) < 1:
        return (
            f"no twin was trained, and by count one would take {rounded(min(ratios))} of its energy",
            figure,
            UNFAVOURABLE,
        )
    if twin.dampfhoffer == LOSES:
        why = "with so many spikes per synapse it competes with no network (Dampfhoffer)"
        return f"no twin was trained, and {why}", figure, UNFAVOURABLE
    return "no twin was trained", figure, OPEN


STANDING_OF = {LESS: FAVOURABLE, MORE: UNFAVOURABLE}


def dense_row(verdicts: Sequence[Verdict], withheld: str | None) -> VerdictRow:
    """The least favourable of the boundaries that price both networks in the same technology.

    Args:
        withheld: why the run decides nothing.
    """
    both = [verdict for verdict in verdicts if verdict.boundary in (OPERATIONS, MEMORY)]
    standing = least_favourable([STANDING_OF.get(verdict.answer, OPEN) for verdict in both])
    ratios = [ratio for verdict in both for ratio in (verdict.low, verdict.high) if ratio is not None]
    if standing == FAVOURABLE:
        answer = f"it takes {interval(ratios)} times less energy than the same network computed densely"
    elif standing == UNFAVOURABLE:
        answer = "it takes more energy than the same network computed densely, under at least one boundary"
    else:
        answer = "whether it takes less than the same network computed densely is not decided"
        answer += f", because {withheld}" if withheld else ""
    figure = " ".join(verdict.sentence for verdict in both)
    question = "Does it take less than the same network computed densely?"
    return VerdictRow("dense", question, answer, figure, ESTIMATED if ratios else UNKNOWN, standing)


def measured_row(measured: Measured | Unmeasured, twin: Measured | Unmeasured | None = None) -> VerdictRow:
    """Never favourable on its own: what is measured here is PyTorch, and no chip.

    Args:
        twin: measured on the same device.
    """
    question = "Was it measured?"
    if isinstance(measured, Unmeasured):
        return VerdictRow("measured", question, "nothing was measured", measured.reason, UNKNOWN, OPEN)
    one = measured.batch_1
    figure = (
        f"{rounded(one.total_uj)} ± {rounded(one.total_uj_std)} µJ per inference at batch 1, {rounded(one.dynamic_uj)} "
        f"of it above idle, in PyTorch on {measured.device}"
    )
    answer = "it was measured in PyTorch alone, on no chip and beside no twin"
    if isinstance(twin, Measured):
        alone, batched = _ratio(one, twin.batch_1), _ratio(measured.best_batch, twin.best_batch)
        answer = f"in PyTorch it takes {alone} times the energy of its twin alone, {batched} in batches, and on a chip "
        answer += "it was not measured"
    return VerdictRow("measured", question, answer, figure, MEASURED, OPEN)


def _ratio(one: Measurement, other: Measurement) -> str:
    assert one.total_uj and other.total_uj  # with a counter there are energies
    value, deviation = quotient(one.total_uj, one.total_uj_std, other.total_uj, other.total_uj_std)
    return f"{rounded(value)} ± {rounded(deviation)}"
