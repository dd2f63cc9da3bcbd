"""What an inference also takes and no energy of a report holds, each with as much of a figure as there is."""

from __future__ import annotations

from neurotarget.hardware.energy.front_end import FrontEnd
from neurotarget.hardware.energy.measured import Measurement, load_measured
from neurotarget.hardware.verdict.rows import COUNTED, ESTIMATED, UNKNOWN, LeftOut
from neurotarget.sim.observed import Observed

from neurotarget.figures import interval, rounded

BOARD, WITHOUT_HOST = "keyword spotting, Loihi 1", "keyword spotting, Loihi 1 without host"  # rows of measured.toml
DRAM_PJ_PER_64_BITS = (1300.0, 2600.0)  # 45 nm: M. Horowitz, ISSCC 2014
WEIGHT_BITS = 8


def left_out(
    front_end: FrontEnd | str, run: Observed, parameters: int, seconds: float | None, sample: str
) -> list[LeftOut]:
    """The rows.

    Args:
        front_end: of the data, or why it is not known.
        run: for what enters and leaves.
        parameters: stored weights and biases.
        seconds: that a sample lasts, mean; None where the file does not say how long a step is.
        sample: what it is called, with its article.
    """
    rows = {row.name: row for row in load_measured()}
    return [
        _front_end(front_end),
        _static(rows[BOARD], seconds, sample),
        _host(rows[BOARD], rows[WITHOUT_HOST]),
        _ports(run),
        _weights(parameters),
    ]


def _front_end(found: FrontEnd | str) -> LeftOut:
    if isinstance(found, str):
        return LeftOut("front end", found, UNKNOWN)
    figure = f"{found.name}: {rounded(found.energy_uj)} µJ of arithmetic at 45 nm, FP32"
    if found.spiking_uj and found.dense_uj and found.ratio_with:
        figure += (
            f", where the network takes {rounded(found.spiking_uj)}. With it on both sides dense over spiking is "
            f"{rounded(found.ratio_with)}, not {rounded(found.dense_uj / found.spiking_uj)}"
        )
    return LeftOut("front end", f"{figure}. {found.note}", ESTIMATED)


def _static(board: Measurement, seconds: float | None, sample: str) -> LeftOut:
    assert board.total_uj and board.dynamic_uj and board.seconds
    watts = (board.total_uj - board.dynamic_uj) / 1e6 / board.seconds
    figure = f"a board of Loihi 1 idles at {rounded(watts)} W"
    if seconds is None:
        return LeftOut("static power", f"{figure}; how long a step takes is not known", UNKNOWN)
    figure += f": {rounded(watts * seconds * 1e6)} µJ over the {rounded(seconds)} s of {sample} in real time"
    return LeftOut("static power", figure, ESTIMATED)


def _host(board: Measurement, without: Measurement) -> LeftOut:
    figure = (
        f"not known for this network; a keyword spotter took {rounded(board.dynamic_uj)} µJ on Loihi 1 with the host "
        f"that feeds it, {rounded(without.dynamic_uj)} without ({without.grade})"
    )
    return LeftOut("host", figure, UNKNOWN)


def _ports(run: Observed) -> LeftOut:
    samples = max(run.samples, 1)
    enter, leave = run.input_events / samples, run.outputs * run.sample_steps / samples
    figure = f"{rounded(enter)} input values enter and {rounded(leave)} output values leave per inference, at no price"
    return LeftOut("input and output", figure, COUNTED)


def _weights(parameters: int) -> LeftOut:
    words = parameters * WEIGHT_BITS / 64
    figure = (
        f"{rounded(parameters * WEIGHT_BITS / 8 / 1024)} KB at {WEIGHT_BITS} bits per weight. Fetched once from DRAM: "
        f"{interval(words * price / 1e6 for price in DRAM_PJ_PER_64_BITS)} µJ (45 nm, Horowitz 2014); nothing where "
        "they stay on the chip"
    )
    return LeftOut("weights off the chip", figure, ESTIMATED)
